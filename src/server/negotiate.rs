//! The handshake of one client.

use std::io::{self, IoSlice};
use std::rc::Rc;

use chunk::catalog::{self, NameError};
use chunk::{ReadError, SnapshotName, VolumeName, snapshot};
use nbd::{
    CloseReason, Config, ExportInfo, ExportSummary, Handshake, Negotiated, Purpose, Refusal, Step,
    TlsPolicy,
};
use wal::VolumeId;
use wal::runtime::Runtime;

use super::clients::Entered;
use super::copies::settle;
use super::env::ProductEnv;
use super::input::Input;
use super::limits::{HANDSHAKE_TIMEOUT, SETTLE_TIMEOUT};
use super::line::{Arrival, Line};
use super::local::Local;
use super::volumes;
use crate::engine::error::VolumeError;
use crate::engine::volume::Volume;
use crate::runtime::{ByteStream, GlommioRuntime};

/// How a handshake ended.
pub(super) enum Outcome {
    /// Requests come next.
    Transmission(Negotiated, Volume<ProductEnv>, Entered),
    /// The client gave up, or was given up.
    Close(CloseReason),
    /// The client went away, or the server stops.
    Gone,
}

/// A client gets no export, for a reason that may be worth telling.
struct No {
    refusal: Refusal,
    reason: Option<String>,
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, reason: None }
    }
}

struct Opened {
    volume: Volume<ProductEnv>,
    entered: Entered,
}

/// Runs the handshake. What the client sent beyond it stays in the input.
pub(super) async fn negotiate<S: ByteStream>(
    local: &Rc<Local>,
    line: &Line<S>,
    input: &mut Input,
) -> io::Result<Outcome> {
    let mut deadline = GlommioRuntime.now() + HANDSHAKE_TIMEOUT;
    let mut out = Vec::new();
    let mut handshake = Handshake::new(Config { tls: TlsPolicy::Unsupported }, &mut out);
    let mut opened = None;
    loop {
        let advance = handshake.advance(input.bytes(), &mut out);
        input.consume(advance.consumed);
        if !out.is_empty() {
            line.write(&mut [IoSlice::new(&out)]).await?;
            out.clear();
        }
        // Only the client's own time counts.
        let asked = GlommioRuntime.now();
        match advance.step {
            Step::NeedInput { bytes } => {
                line.must_enter_by(Some(deadline));
                while input.bytes().len() < bytes {
                    match line.read(input.room(bytes), &local.slice).await? {
                        Arrival::Bytes(count) => input.filled(count),
                        Arrival::End | Arrival::Stopping => return Ok(Outcome::Gone),
                    }
                }
                line.must_enter_by(None);
                continue;
            }
            Step::ListExports => list(local, &mut handshake, &mut out).await,
            Step::FindExport { name, purpose } => match find(local, &name, purpose).await {
                Ok((export, found)) => {
                    handshake.answer_export(&export, &mut out);
                    opened = found.or(opened);
                }
                Err(No { refusal, reason: None }) => handshake.refuse(refusal, &mut out),
                Err(No { refusal, reason: Some(reason) }) => {
                    handshake.refuse_saying(refusal, &reason, &mut out);
                }
            },
            Step::StartTls => unreachable!("it is not offered"),
            Step::Transmission(negotiated) => {
                let Opened { volume, entered } = opened.expect("opening comes before this step");
                return Ok(Outcome::Transmission(negotiated, volume, entered));
            }
            Step::Close(reason) => return Ok(Outcome::Close(reason)),
        }
        deadline += GlommioRuntime.now() - asked;
    }
}

async fn list(local: &Local, handshake: &mut Handshake, out: &mut Vec<u8>) {
    match names(local).await {
        Ok(names) => {
            let summary = |(name, _)| ExportSummary { name, description: "" };
            let exports = names.iter().map(|(name, id)| (name.as_str(), id)).map(summary);
            handshake.answer_list(exports, out);
        }
        Err(refusal) => handshake.refuse(refusal, out),
    }
}

/// All volumes that have a sound name.
async fn names(local: &Local) -> Result<Vec<(VolumeName, VolumeId)>, Refusal> {
    let entries = catalog::list(&local.core.store).await.map_err(|error| {
        log::error!("list the volumes: {error}");
        Refusal::Policy
    })?;
    let sound = |entry: Result<_, NameError>| match entry {
        Ok(volume) => Some(volume),
        Err(error) => {
            log::error!("a volume is not listed: {error}");
            None
        }
    };
    Ok(entries.into_iter().filter_map(sound).collect())
}

/// Finds an export, and opens its volume if the client goes on with it. The default export, of the
/// empty name, is the only volume if there is just one.
async fn find(
    local: &Rc<Local>,
    name: &str,
    purpose: Purpose,
) -> Result<(ExportInfo, Option<Opened>), No> {
    let (name, id) = match name {
        "" => match <[_; 1]>::try_from(names(local).await?) {
            Ok([only]) => only,
            Err(_) => return Err(Refusal::UnknownExport.into()),
        },
        name if name.contains('@') => return find_snapshot(local, name, purpose).await,
        name => {
            let name = VolumeName::new(name).map_err(|_| Refusal::UnknownExport)?;
            let found = catalog::find(&local.core.store, &name).await;
            let id = found.map_err(|error| unusable(&name, &error))?;
            (name, id.ok_or(Refusal::UnknownExport)?)
        }
    };
    match purpose {
        Purpose::Describe => {
            let manifest = volumes::manifest(&local.core.store, id).await;
            let size = manifest.map_err(|error| unusable(&name, &error))?.size_bytes;
            Ok((local.export(&name, size), None))
        }
        Purpose::Open => {
            local.clients.note_name(&name, id);
            let entered = local.clients.enter(id).ok_or(Refusal::UnknownExport)?;
            let opened = local.core.attach(id).await;
            let volume = opened.map_err(|error| match error {
                VolumeError::Fenced { detail, .. } => fenced(&name, &detail),
                error => unusable(&name, &error),
            })?;
            let export = local.export(&name, volume.size_bytes());
            Ok((export, Some(Opened { volume, entered })))
        }
    }
}

/// Finds the snapshot `volume@snapshot`, and opens it for reading if the client goes on with it.
async fn find_snapshot(
    local: &Rc<Local>,
    text: &str,
    purpose: Purpose,
) -> Result<(ExportInfo, Option<Opened>), No> {
    let store = &local.core.store;
    let (name, snapshot) = text.split_once('@').expect("it has one");
    let name = VolumeName::new(name).map_err(|_| Refusal::UnknownExport)?;
    let snapshot = SnapshotName::new(snapshot).map_err(|_| Refusal::UnknownExport)?;
    let found = catalog::find(store, &name).await.map_err(|error| unusable(&name, &error))?;
    let id = found.ok_or(Refusal::UnknownExport)?;
    let export = |size| ExportInfo { read_only: true, ..ExportInfo::new(text, size) };
    match purpose {
        Purpose::Describe => {
            let look = async || snapshot::read_header(store, id, &snapshot).await;
            let header = look_twice(local, (&name, id), look).await?;
            Ok((export(header.size_bytes), None))
        }
        Purpose::Open => {
            let look = async || snapshot::read(store, id, &snapshot).await;
            let snapshot = look_twice(local, (&name, id), look).await?;
            let entered = local.clients.enter(snapshot.id.as_volume());
            let entered = entered.ok_or(Refusal::UnknownExport)?;
            let opened = local.core.view(snapshot).await;
            let volume = opened.map_err(|error| unusable(&name, &error))?;
            Ok((export(volume.size_bytes()), Some(Opened { volume, entered })))
        }
    }
}

/// Looks for a snapshot; for one that is not in the store once more when those are that were made a
/// moment ago.
async fn look_twice<T>(
    local: &Local,
    (name, id): (&VolumeName, VolumeId),
    look: impl AsyncFn() -> Result<Option<T>, ReadError>,
) -> Result<T, No> {
    if let Some(found) = look().await.map_err(|error| unusable(name, &error))? {
        return Ok(found);
    }
    let settled = settle(local, name, id, SETTLE_TIMEOUT).await;
    settled.map_err(|error| unusable(name, &error))?;
    let found = look().await.map_err(|error| unusable(name, &error))?;
    found.ok_or_else(|| Refusal::UnknownExport.into())
}

/// Why a volume cannot be used, for the log; the client hears only what it can do something about.
fn unusable(name: &VolumeName, error: &dyn std::error::Error) -> No {
    log::error!("volume {name} cannot be served: {error}");
    Refusal::Policy.into()
}

fn fenced(name: &VolumeName, detail: &str) -> No {
    log::error!("volume {name} cannot be served: {detail}");
    No { refusal: Refusal::Policy, reason: Some(format!("volume {name}: {detail}")) }
}
