//! `krait volume`: the commands that work on the store, with or without a server beside them.

mod attach;
mod check;
mod delete;
mod drain;
pub mod error;
mod info;
mod log;
mod status;
mod store;

use std::path::Path;

use chunk::catalog::{self, NameError};
use chunk::manifest_log::latest;
use chunk::{Manifest, ManifestSeq, ObjectStore, ReadError, VolumeName};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::VolumeId;
use wal::layout::MIN_STRIPE_SHIFT;

use super::args::VolumeCommand;
use super::output::{self, Align, Table};
use crate::config::{ByteSize, Settings, VolumeSize};
use crate::control::lock::make_data_dir;
use crate::error::Error;
use error::VolumeError;

/// Does what was typed.
///
/// # Errors
/// If it cannot be done, or something is damaged.
pub(super) fn run(settings: &Settings, command: &VolumeCommand) -> Result<(), Error> {
    match command {
        VolumeCommand::Create { name, size, json, promises: _ } => {
            create(settings, name, *size, json.json)
        }
        VolumeCommand::List { json } => list(settings, json.json),
        VolumeCommand::Info { name, json } => info::info(settings, name, json.json),
        VolumeCommand::Status { name, json } => status::status(settings, name, json.json),
        VolumeCommand::Check { name, json } => check::check(settings, name, json.json),
        VolumeCommand::Drain { name, timeout, json } => {
            drain::drain(settings, name, *timeout, json.json)
        }
        VolumeCommand::Attach { name, force, json } => {
            attach::attach(settings, name, *force, json.json)
        }
        VolumeCommand::Detach { name, timeout, json } => {
            attach::detach(settings, name, *timeout, json.json)
        }
        VolumeCommand::DropLog { name, yes, json } => {
            attach::drop_log(settings, name, *yes, json.json)
        }
        VolumeCommand::Delete { name, yes, json } => {
            delete::delete(settings, name, *yes, json.json)
        }
    }
}

/// A volume as the store knows it.
struct Known {
    id: VolumeId,
    seq: ManifestSeq,
    manifest: Manifest,
}

/// Reads the newest manifest of the volume with this name.
fn known<S: ObjectStore>(store: &S, name: &VolumeName) -> Result<Known, VolumeError> {
    block_on(async {
        let missing = || VolumeError::NotFound { name: name.clone() };
        let id = catalog::find(store, name).await?.ok_or_else(missing)?;
        let (seq, bytes) = latest(store, id).await?.ok_or(VolumeError::NoManifest { id })?;
        let manifest = Manifest::decode_as(&bytes, id, seq)
            .map_err(|source| VolumeError::Manifest { object: seq.object_name(id), source })?;
        Ok(Known { id, seq, manifest })
    })
}

/// One volume in JSON; the same fields in every command that prints it.
#[derive(Serialize)]
struct VolumeView {
    name: String,
    id: String,
    size_bytes: u64,
    /// RFC 3339, UTC.
    created: String,
    /// Number of its last opening for writing; 0 if there was none.
    incarnation: u64,
    durability: &'static str,
    fencing: &'static str,
    /// How long a lease lasts, where one is needed.
    lease_seconds: Option<u16>,
}

impl VolumeView {
    fn new(name: &VolumeName, manifest: &Manifest) -> Self {
        Self {
            name: name.to_string(),
            id: manifest.volume.to_string(),
            size_bytes: manifest.size_bytes,
            created: time_text(manifest.created_unix_ms),
            incarnation: manifest.incarnation.0,
            durability: manifest.promises.durability.name(),
            fencing: manifest.promises.fencing.name(),
            lease_seconds: manifest.promises.fencing.lease().map(chunk::LeaseTerm::seconds),
        }
    }
}

/// A time in milliseconds since 1970, as RFC 3339 in UTC with whole seconds.
fn time_text(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{unix_ms} ms after 1970"), |time| time.to_string())
}

fn create(
    settings: &Settings,
    name: &VolumeName,
    size: VolumeSize,
    json: bool,
) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    make_data_dir(&settings.data_dir)?;
    let store = store::open_or_make(settings)?;
    let new = new_volume(settings, name, size)?;
    let manifest = block_on(catalog::create(&store, new)).map_err(VolumeError::Create)?;
    let view = VolumeView::new(name, &manifest);
    if json {
        return output::print_json(&view);
    }
    output::print(&format!("created volume {name} of {size}, id {}\n", view.id))
}

/// A volume with an identity of its own, created now.
fn new_volume(
    settings: &Settings,
    name: &VolumeName,
    size: VolumeSize,
) -> Result<catalog::NewVolume, Error> {
    let mut id = [0; 16];
    let source = Path::new("/dev/urandom");
    let random = std::fs::File::open(source);
    random
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut id))
        .map_err(|error| Error::file("read", source, error))?;
    #[expect(clippy::disallowed_methods, reason = "a command has no runtime to ask")]
    let now = std::time::SystemTime::now();
    let since_1970 = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(catalog::NewVolume {
        name: name.clone(),
        id: VolumeId(id),
        size_bytes: size.bytes().0,
        stripe_shift: MIN_STRIPE_SHIFT,
        promises: settings.new_volumes,
        created_unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The JSON output of `list`.
#[derive(Serialize)]
struct ListView {
    volumes: Vec<VolumeView>,
    /// Volumes that cannot be read, as messages.
    damaged: Vec<String>,
}

fn list(settings: &Settings, json: bool) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    let store = store::open(settings)?;
    let mut view = ListView { volumes: Vec::new(), damaged: Vec::new() };
    for entry in block_on(catalog::list(&store)).map_err(VolumeError::Store)? {
        match entry.map_err(VolumeError::from).and_then(|(name, _)| {
            let known = known(&store, &name)?;
            Ok(VolumeView::new(&name, &known.manifest))
        }) {
            Ok(volume) => view.volumes.push(volume),
            // Deleted since it was listed.
            Err(VolumeError::NotFound { .. }) => {}
            Err(error) if error.kind() == crate::error::ErrorKind::Corrupt => {
                view.damaged.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    if json {
        output::print_json(&view)?;
    } else {
        output::print(&list_text(&view))?;
    }
    match view.damaged.len() {
        0 => Ok(()),
        count => Err(VolumeError::Damaged { count }.into()),
    }
}

fn list_text(view: &ListView) -> String {
    let columns = [
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("CREATED", Align::Left),
        ("ID", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for volume in &view.volumes {
        table.row(vec![
            volume.name.clone(),
            ByteSize(volume.size_bytes).to_string(),
            volume.created.clone(),
            volume.id.clone(),
        ]);
    }
    let damaged: String = view.damaged.iter().map(|text| format!("damaged: {text}\n")).collect();
    table.text() + &damaged
}

impl From<NameError> for VolumeError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Read(error) => Self::Read(error),
            NameError::Grammar { .. } => Self::Name(error),
        }
    }
}

impl From<ReadError> for VolumeError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}
