//! `krait snapshot create --group`: several volumes at one instant.

use chunk::{SnapshotName, VolumeName};
use serde::Serialize;

use super::output;
use super::progress::Progress;
use super::snapshot::SnapshotView;
use super::volume::error::VolumeError;
use super::volume::{known, store};
use crate::config::{Settings, Wait};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock, SnapshotInfo};
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct GroupView {
    name: String,
    /// In the order of the volumes.
    snapshots: Vec<SnapshotView>,
}

/// Makes snapshots of this name of several volumes: the server does if one runs on the data
/// directory, else this process.
pub(super) fn create_group(
    settings: &Settings,
    volumes: &[VolumeName],
    name: &SnapshotName,
    timeout: Wait,
    json: bool,
) -> Result<(), Error> {
    if let Some(twice) = volumes.iter().enumerate().find(|(n, it)| volumes[..*n].contains(it)) {
        return Err(VolumeError::Twice { name: twice.1.clone() }.into());
    }
    let what = format!("making snapshot {name} of {} volumes", volumes.len());
    let made = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            let _progress = Progress::start(what);
            let names = volumes.iter().map(VolumeName::to_string).collect();
            client.create_snapshots(names, name.to_string(), timeout)?
        }
        None => {
            let store = store::open_to_write(settings)?;
            let mut named = Vec::new();
            for volume in volumes {
                named.push((volume.clone(), known(&store, volume)?.id));
            }
            make_data_dir(&settings.data_dir)?;
            let _lock = DataDirLock::acquire(settings)?;
            let _progress = Progress::start(what);
            let (name, timeout) = (name.clone(), timeout.duration());
            let made = crate::server::snapshot_group(settings, named, name, timeout)?;
            volumes.iter().zip(&made).map(|(name, made)| SnapshotInfo::new(name, made)).collect()
        }
    };
    let view = |info| SnapshotView::new(info, Vec::new());
    let snapshots: Vec<_> = made.into_iter().map(view).collect();
    if json {
        return output::print_json(&GroupView { name: name.to_string(), snapshots });
    }
    let names: Vec<_> = volumes.iter().map(|volume| format!("{volume}@{name}")).collect();
    output::print(&format!("made snapshots {} of one instant\n", names.join(", ")))
}
