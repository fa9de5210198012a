//! `krait volume delete`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use chunk::{Manifest, SnapshotId, VolumeName, clones};
use futures_lite::future::block_on;
use serde::Serialize;

use super::error::VolumeError;
use super::{Known, known, random_id, store};
use crate::cli::output;
use crate::cli::progress::Progress;
use crate::config::{ByteSize, Settings, StoreUrl};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock};
use crate::engine::open::NO_HOST;
use crate::error::Error;
use crate::server::attach::is_elsewhere;
use crate::server::host_id;

/// The JSON output.
#[derive(Serialize)]
struct DeletedView {
    name: String,
    deleted: bool,
}

/// Deletes a volume: through the server if one runs on the data directory, else in its place.
pub(super) fn delete(
    settings: &Settings,
    name: &VolumeName,
    (yes, snapshots): (bool, bool),
    json: bool,
) -> Result<(), Error> {
    if !yes && !is_confirmed(settings, name)? {
        return Err(VolumeError::Unconfirmed { name: name.clone() }.into());
    }
    remove(settings, name, snapshots)?;
    if json {
        return output::print_json(&DeletedView { name: name.to_string(), deleted: true });
    }
    output::print(&format!("deleted volume {name}\n"))
}

/// The same, for who has asked, and tells by itself.
pub(in crate::cli) fn remove(
    settings: &Settings,
    name: &VolumeName,
    snapshots: bool,
) -> Result<(), Error> {
    let Some(mut client) = ControlClient::connect_if_running(settings)? else {
        return delete_alone(settings, name, snapshots);
    };
    store::agree(settings, &client.server()?)?;
    let _progress = Progress::start(format!("deleting {name}"));
    client.delete(name.to_string(), snapshots)?;
    Ok(())
}

/// Asks on a terminal, if there is one, for the name of the volume.
fn is_confirmed(settings: &Settings, name: &VolumeName) -> Result<bool, Error> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    // A volume that is not there is no question.
    let size = match &settings.store {
        StoreUrl::Memory => String::new(),
        _ => {
            let size = known(&store::open(settings)?, name)?.manifest.size_bytes;
            format!(" of {}", ByteSize(size))
        }
    };
    let failed = |error| Error::file("ask on", Path::new("the terminal"), error);
    write!(io::stderr(), "This destroys volume {name}{size} and all its data. Type its name: ")
        .map_err(failed)?;
    let mut typed = String::new();
    io::stdin().read_line(&mut typed).map_err(failed)?;
    Ok(typed.trim() == name.as_str())
}

/// Deletes a volume while nobody serves the data directory.
///
/// 1. Delete its snapshots, if they are to go, its name and objects. A power cut within leaves objects without a name, which cost
///    space only.
/// 2. Delete its log. A power cut before leaves files of an identity that no volume has again.
fn delete_alone(settings: &Settings, name: &VolumeName, snapshots: bool) -> Result<(), Error> {
    let store = store::open(settings)?;
    match known(&store, name) {
        Ok(Known { manifest, .. }) => {
            let host = host_id::peek(&settings.data_dir).unwrap_or(NO_HOST);
            if is_elsewhere(&manifest, host) {
                let Manifest { name, owner, tenure, .. } = manifest;
                return Err(VolumeError::Elsewhere { name, owner, tenure: tenure.0 }.into());
            }
        }
        // What is damaged may go: no host can serve it.
        Err(VolumeError::NoManifest { .. } | VolumeError::Manifest { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    let progress = Progress::start(format!("deleting {name}"));
    let turn = SnapshotId(random_id()?);
    let deleted = block_on(clones::delete_volume(&store, name, snapshots, turn));
    let deleted = deleted.map_err(VolumeError::Delete)?;
    let Some(id) = deleted else {
        return Err(VolumeError::NotFound { name: name.clone() }.into());
    };
    let wal = settings.wal_dir(id);
    match std::fs::remove_dir_all(&wal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("remove", &wal, error));
        }
        _ => {}
    }
    drop(progress);
    Ok(())
}
