//! `krait snapshot`: named cuts of volumes.

use chunk::catalog::NameError;
use chunk::snapshot;
use chunk::{SnapshotId, SnapshotName, VolumeName, clones};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::VolumeId;

use super::args::SnapshotCommand;
use super::diff::diff;
use super::group::create_group;
use super::output::{self, Align, Table};
use super::progress::Progress;
use super::volume::error::VolumeError;
use super::volume::{known, log, random_id, store, time_text};
use crate::config::{ByteSize, Settings, Wait};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock, SnapshotInfo};
use crate::engine::snapshot::NewSnapshot;
use crate::error::Error;
use crate::runtime::clock::unix_ms;
use crate::server::copies::snapshot_at_rest;
use crate::server::{AnyStore, ServeError};

/// Does what was typed.
///
/// # Errors
/// If it cannot be done.
pub(super) fn run(settings: &Settings, command: &SnapshotCommand) -> Result<(), Error> {
    match command {
        SnapshotCommand::Create { what, group, timeout, json } => {
            match (what.as_slice(), group.as_slice()) {
                ([volume, name], []) => {
                    let volume = VolumeName::new(volume.as_str()).expect("names are of one kind");
                    create(settings, &volume, name, *timeout, json.json)
                }
                ([name], [_, ..]) => create_group(settings, group, name, *timeout, json.json),
                _ => Err(VolumeError::SnapshotOfWhat.into()),
            }
        }
        SnapshotCommand::List { volume, json } => list(settings, volume, json.json),
        SnapshotCommand::Diff { volume, from, to, json } => {
            diff(settings, volume, (from, to.as_ref()), json.json)
        }
        SnapshotCommand::Delete { volume, name, json } => delete(settings, volume, name, json.json),
    }
}

/// One snapshot in JSON; the same fields in every command that prints it.
#[derive(Serialize)]
pub(super) struct SnapshotView {
    volume: String,
    name: String,
    id: String,
    /// RFC 3339, UTC.
    created: String,
    size_bytes: u64,
    /// Number of the manifest that it holds; `None` while it is on its way to the store.
    manifest: Option<u64>,
    /// Volumes that were cloned from it.
    clones: Vec<String>,
}

impl SnapshotView {
    pub(super) fn new(info: SnapshotInfo, clones: Vec<String>) -> Self {
        Self {
            created: time_text(info.created_unix_ms),
            volume: info.volume,
            name: info.name,
            id: info.id,
            size_bytes: info.size_bytes,
            manifest: info.manifest,
            clones,
        }
    }
}

fn create(
    settings: &Settings,
    volume: &VolumeName,
    name: &SnapshotName,
    timeout: Wait,
    json: bool,
) -> Result<(), Error> {
    let info = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            let _progress = Progress::start(format!("making snapshot {volume}@{name}"));
            client.create_snapshot(volume.to_string(), name.to_string(), timeout)?
        }
        None => {
            let store = store::open_to_write(settings)?;
            let new = new_snapshot(name.clone(), timeout)?;
            let id = known(&store, volume)?.id;
            make_data_dir(&settings.data_dir)?;
            let _lock = DataDirLock::acquire(settings)?;
            let _progress = Progress::start(format!("making snapshot {volume}@{name}"));
            take_alone(settings, &store, (volume, id), new)?
        }
    };
    let view = SnapshotView::new(info, Vec::new());
    if json {
        return output::print_json(&view);
    }
    output::print(&format!("made snapshot {volume}@{name} of {}\n", view.created))
}

/// A snapshot to be made now.
pub(super) fn new_snapshot(name: SnapshotName, timeout: Wait) -> Result<NewSnapshot, Error> {
    let id = SnapshotId(random_id()?);
    let created_unix_ms = unix_ms();
    Ok(NewSnapshot { id, name, created_unix_ms, patience: timeout.duration() })
}

/// Makes a snapshot while nobody serves the data directory: from the newest manifest of a volume
/// that no host has, else by opening it, which recovers its log. The caller holds the lock.
pub(super) fn take_alone(
    settings: &Settings,
    store: &AnyStore,
    (volume, id): (&VolumeName, VolumeId),
    new: NewSnapshot,
) -> Result<SnapshotInfo, Error> {
    let at_rest = block_on(snapshot_at_rest(store, id, &new)).map_err(ServeError::from)?;
    let made = match at_rest {
        Some(made) => made,
        None => crate::server::snapshot(settings, (volume.clone(), id), new)?,
    };
    Ok(SnapshotInfo::new(volume, &made))
}

/// The JSON output of `list`.
#[derive(Serialize)]
struct ListView {
    volume: String,
    snapshots: Vec<SnapshotView>,
    /// Snapshots that cannot be read, as messages.
    damaged: Vec<String>,
}

fn list(settings: &Settings, volume: &VolumeName, json: bool) -> Result<(), Error> {
    // Asked first: what comes to the store meanwhile is seen there.
    let asked = match store::server(settings)? {
        Some(mut server) => Some(server.coming_snapshots(volume.to_string())?),
        None => None,
    };
    let store = store::open(settings)?;
    let found = known(&store, volume)?;
    let id = found.id;
    let coming = asked.unwrap_or_else(|| {
        // What a server that died has left; `volume check` tells if that cannot be read.
        let left = log::read(settings, &found).map(|log| log.coming).unwrap_or_default();
        let named = left.iter().filter(|header| header.name.clone_id().is_none());
        named.map(|header| SnapshotInfo::new(volume, header)).collect()
    });
    let mut view =
        ListView { volume: volume.to_string(), snapshots: Vec::new(), damaged: Vec::new() };
    let pins = block_on(clones::pins(&store, id)).map_err(VolumeError::Snapshot)?.live;
    for found in block_on(snapshot::headers(&store, id)).map_err(VolumeError::Store)? {
        match found {
            // Made for a clone, which is all that people need to know of it.
            Ok(header) if header.name.clone_id().is_some() => {}
            Ok(header) => {
                let of = pins.iter().filter(|pin| pin.snapshot == header.name);
                let clones = of.map(|pin| pin.name.to_string()).collect();
                let info = SnapshotInfo::new(volume, &header);
                view.snapshots.push(SnapshotView::new(info, clones));
            }
            Err(error) if error.kind() == chunk::ErrorKind::Corrupt => {
                view.damaged.push(error.to_string());
            }
            Err(NameError::Read(error)) => return Err(VolumeError::Read(error).into()),
            Err(error @ NameError::Grammar { .. }) => view.damaged.push(error.to_string()),
        }
    }
    for info in coming {
        if view.snapshots.iter().all(|stored| stored.name != info.name) {
            view.snapshots.push(SnapshotView::new(info, Vec::new()));
        }
    }
    view.snapshots.sort_by(|one, other| one.name.cmp(&other.name));
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
        ("STORED", Align::Left),
        ("CLONES", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for snapshot in &view.snapshots {
        table.row(vec![
            snapshot.name.clone(),
            ByteSize(snapshot.size_bytes).to_string(),
            snapshot.created.clone(),
            if snapshot.manifest.is_some() { "yes" } else { "soon" }.to_owned(),
            snapshot.clones.join(", "),
        ]);
    }
    let damaged: String = view.damaged.iter().map(|text| format!("damaged: {text}\n")).collect();
    table.text() + &damaged
}

/// The JSON output of `delete`.
#[derive(Serialize)]
struct DeletedView {
    volume: String,
    name: String,
    deleted: bool,
}

fn delete(
    settings: &Settings,
    volume: &VolumeName,
    name: &SnapshotName,
    json: bool,
) -> Result<(), Error> {
    match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            client.delete_snapshot(volume.to_string(), name.to_string())?;
        }
        None => {
            let store = store::open_to_write(settings)?;
            make_data_dir(&settings.data_dir)?;
            let _lock = DataDirLock::acquire(settings)?;
            let found = known(&store, volume)?;
            // One of these may be it, put and not published yet: it would come again.
            if !log::read(settings, &found)?.coming.is_empty() {
                return Err(VolumeError::SnapshotsComing { name: volume.clone() }.into());
            }
            let turn = SnapshotId(random_id()?);
            let deleted = block_on(snapshot::delete(&store, (found.id, volume), name, turn));
            deleted.map_err(VolumeError::Snapshot)?;
        }
    }
    if json {
        let (volume, name) = (volume.to_string(), name.to_string());
        return output::print_json(&DeletedView { volume, name, deleted: true });
    }
    output::print(&format!("deleted snapshot {volume}@{name}\n"))
}
