//! `krait gc`: removing what no volume and no snapshot needs.

use chunk::{VolumeName, catalog};
use futures_lite::future::block_on;
use serde::Serialize;

use super::args::GcCommand;
use super::output::{self, Align, Table};
use super::progress::Progress;
use super::volume::error::VolumeError;
use super::volume::{known, store};
use crate::config::{ByteSize, Settings};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock};
use crate::engine::collect::Collected;
use crate::error::Error;

/// One volume in JSON.
#[derive(Serialize)]
struct View {
    volume: String,
    dry_run: bool,
    #[serde(flatten)]
    collected: Collected,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Look,
    Collect,
}

impl Wish {
    /// # Errors
    /// If nothing was said.
    pub(super) fn of(dry_run: bool, command: Option<&GcCommand>) -> Result<Self, Error> {
        match (dry_run, command) {
            (true, _) => Ok(Self::Look),
            (false, Some(GcCommand::Run)) => Ok(Self::Collect),
            (false, None) => Err(VolumeError::GcUnclear.into()),
        }
    }
}

/// Does what was typed.
///
/// # Errors
/// If some volume's garbage cannot be collected; that of the others is.
pub(super) fn run(
    settings: &Settings,
    wish: Wish,
    volume: Option<&VolumeName>,
    json: bool,
) -> Result<(), Error> {
    let dry_run = wish == Wish::Look;
    let volumes = match volume {
        Some(volume) => vec![volume.clone()],
        None => all(settings)?,
    };
    let (mut views, mut failed) = (Vec::new(), None);
    for volume in volumes {
        match collect(settings, &volume, dry_run) {
            Ok(collected) => views.push(View { volume: volume.to_string(), dry_run, collected }),
            Err(error) => {
                output::complain(&format!("{volume}: {error}"));
                failed.get_or_insert(error);
            }
        }
    }
    if json {
        output::print_json(&views)?;
    } else {
        output::print(&text(&views))?;
    }
    failed.map_or(Ok(()), Err)
}

fn all(settings: &Settings) -> Result<Vec<VolumeName>, Error> {
    store::agree_with_server(settings)?;
    let store = store::open(settings)?;
    let listed = block_on(catalog::list(&store)).map_err(VolumeError::Store)?;
    let names = listed.into_iter().map(|entry| entry.map(|(name, _)| name));
    Ok(names.collect::<Result<_, _>>().map_err(VolumeError::from)?)
}

fn collect(settings: &Settings, volume: &VolumeName, dry_run: bool) -> Result<Collected, Error> {
    let doing = if dry_run { "looking at" } else { "collecting the garbage of" };
    match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            let _progress = Progress::start(format!("{doing} {volume}"));
            Ok(client.collect(volume.to_string(), dry_run)?)
        }
        None => {
            let store = store::open(settings)?;
            let id = known(&store, volume)?.id;
            make_data_dir(&settings.data_dir)?;
            let _lock = DataDirLock::acquire(settings)?;
            let _progress = Progress::start(format!("{doing} {volume}"));
            Ok(crate::server::collect(settings, (volume.clone(), id), dry_run)?)
        }
    }
}

fn text(views: &[View]) -> String {
    let columns = [
        ("VOLUME", Align::Left),
        ("STORED", Align::Right),
        ("NEEDED", Align::Right),
        ("GARBAGE", Align::Right),
        ("REMOVED", Align::Right),
        ("COMPACTED", Align::Right),
        ("MOVED", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for View { volume, collected: c, .. } in views {
        let size = |bytes| ByteSize(bytes).to_string();
        table.row(vec![
            volume.clone(),
            size(c.bytes),
            size(c.live_bytes),
            format!("{} in {}", size(c.garbage_bytes), c.garbage),
            format!("{} in {}", size(c.removed_bytes), c.removed),
            format!("{} chunks", c.victims),
            size(c.moved_bytes),
        ]);
    }
    table.text()
}
