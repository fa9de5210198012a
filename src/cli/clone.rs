//! `krait clone`: volumes that begin as a snapshot of another one.

use std::str::FromStr;

use chunk::clones::{self, NewClone};
use chunk::{SnapshotId, SnapshotName, VolumeName, VolumeNameError, snapshot};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::VolumeId;

use super::args::CloneCommand;
use super::output;
use super::progress::Progress;
use super::snapshot::{new_snapshot, take_alone};
use super::volume::error::VolumeError;
use super::volume::{known, random_id, store};
use crate::config::{Settings, Wait};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock};
use crate::error::Error;

/// What is to be cloned, as it is typed: `vm1@before-upgrade`, or `vm1` for that volume as it is
/// now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    /// The volume.
    pub(super) volume: VolumeName,
    snapshot: Option<SnapshotName>,
}

impl FromStr for Source {
    type Err = VolumeNameError;

    fn from_str(text: &str) -> Result<Self, VolumeNameError> {
        let (volume, snapshot) = match text.split_once('@') {
            Some((volume, snapshot)) => (volume, Some(SnapshotName::new(snapshot)?)),
            None => (text, None),
        };
        Ok(Self { volume: VolumeName::new(volume)?, snapshot })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.snapshot {
            Some(snapshot) => write!(f, "{}@{snapshot}", self.volume),
            None => self.volume.fmt(f),
        }
    }
}

/// Does what was typed.
///
/// # Errors
/// If it cannot be done.
pub(super) fn run(settings: &Settings, command: &CloneCommand) -> Result<(), Error> {
    let CloneCommand::Create { name, from, timeout, json } = command;
    create(settings, name, from, *timeout, json.json)
}

/// The JSON output.
#[derive(Serialize)]
struct CloneView {
    name: String,
    id: String,
    /// What it was made from.
    from: String,
}

fn create(
    settings: &Settings,
    name: &VolumeName,
    from: &Source,
    timeout: Wait,
    json: bool,
) -> Result<(), Error> {
    let id = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            let _progress = Progress::start(format!("cloning {from}"));
            let snapshot = from.snapshot.as_ref().map(SnapshotName::to_string);
            client.clone_volume(name.to_string(), (from.volume.to_string(), snapshot), timeout)?
        }
        None => create_alone(settings, name, from, timeout)?.to_string(),
    };
    if json {
        let (name, from) = (name.to_string(), from.to_string());
        return output::print_json(&CloneView { name, id, from });
    }
    output::print(&format!("created volume {name}, a clone of {from}, id {id}\n"))
}

/// Makes a clone while nobody serves the data directory.
fn create_alone(
    settings: &Settings,
    name: &VolumeName,
    from: &Source,
    timeout: Wait,
) -> Result<VolumeId, Error> {
    let store = store::open_to_write(settings)?;
    let source = known(&store, &from.volume)?.id;
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    let _progress = Progress::start(format!("cloning {from}"));
    let id = VolumeId(random_id()?);
    let wanted = from.snapshot.clone().unwrap_or_else(|| SnapshotName::of_clone(id));
    let made = new_snapshot(wanted.clone(), timeout)?;
    let created_unix_ms = made.created_unix_ms;
    let is_hidden = from.snapshot.is_none();
    if is_hidden {
        take_alone(settings, &store, (&from.volume, source), made)?;
    }
    let new = NewClone {
        name: name.clone(),
        id,
        source: (source, from.volume.clone()),
        snapshot: wanted.clone(),
        created_unix_ms,
    };
    let cloned = block_on(clones::create(&store, new)).map_err(VolumeError::Clone);
    if cloned.is_err() && is_hidden {
        let turn = SnapshotId(random_id()?);
        // What is left of it goes with the volume.
        let _ = block_on(snapshot::delete(&store, (source, &from.volume), &wanted, turn));
    }
    Ok(cloned?.volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_volume_or_a_snapshot_of_it() {
        let parse = |text: &str| text.parse::<Source>();
        assert_eq!(parse("vm1@day-1").unwrap().to_string(), "vm1@day-1");
        assert_eq!(parse("vm1").unwrap().snapshot, None);
        for bad in ["", "@", "vm1@", "@s", "a@b@c", "VM1", "vm1@_x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
