//! `krait volume attach`, `detach` and `drop-log`: which host has a volume.

use chunk::{Manifest, VolumeName};
use serde::Serialize;

use super::error::VolumeError;
use super::{known, store};
use crate::cli::output;
use crate::cli::progress::Progress;
use crate::config::{ByteSize, Settings, Wait};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock};
use crate::error::Error;
use crate::server::{host_id, kept};

/// The JSON output of `attach`.
#[derive(Serialize)]
struct AttachedView {
    name: String,
    attached: bool,
    /// Number of the opening; nobody has it open if no server runs.
    incarnation: u64,
}

/// Opens a volume for this host: in its server if one runs, else for the next one.
pub(super) fn attach(
    settings: &Settings,
    name: &VolumeName,
    force: bool,
    json: bool,
) -> Result<(), Error> {
    let (incarnation, kept) = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            let _progress = Progress::start(format!("attaching {name}"));
            let incarnation = client.attach(name.to_string(), force)?;
            // A service only: nothing is wrong if it is not to be had.
            let status = client.status(name.to_string()).ok();
            (incarnation, status.map_or(0, |status| status.kept_aside_bytes))
        }
        None => attach_alone(settings, name, force)?,
    };
    if json {
        let name = name.to_string();
        return output::print_json(&AttachedView { name, attached: true, incarnation });
    }
    let aside = match kept {
        0 => String::new(),
        bytes => format!(
            "; {} of a log that this host lost are kept aside: see `krait volume status {name}`",
            ByteSize(bytes)
        ),
    };
    output::print(&format!("attached volume {name}, incarnation {incarnation}{aside}\n"))
}

fn attach_alone(settings: &Settings, name: &VolumeName, force: bool) -> Result<(u64, u64), Error> {
    let store = store::open(settings)?;
    let id = known(&store, name)?.id;
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    let progress = Progress::start(format!("attaching {name}"));
    crate::server::attach(settings, (name.clone(), id), force)?;
    drop(progress);
    let manifest = known(&store, name)?.manifest;
    Ok((manifest.incarnation.0, find_kept(settings, &manifest)?.bytes))
}

fn find_kept(settings: &Settings, manifest: &Manifest) -> Result<kept::Kept, Error> {
    let directory = settings.wal_dir(manifest.volume);
    let host = host_id::peek(&settings.data_dir);
    kept::find(&directory, manifest, host).map_err(|error| Error::file("list", &directory, error))
}

/// The JSON output of `detach`.
#[derive(Serialize)]
struct DetachedView {
    name: String,
    detached: bool,
}

/// Uploads all of a volume and gives it back, so that any host may open it.
pub(super) fn detach(
    settings: &Settings,
    name: &VolumeName,
    timeout: Wait,
    json: bool,
) -> Result<(), Error> {
    match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            let _progress = Progress::start(format!("detaching {name}"));
            client.detach(name.to_string(), timeout)?;
        }
        None => detach_alone(settings, name, timeout)?,
    }
    if json {
        return output::print_json(&DetachedView { name: name.to_string(), detached: true });
    }
    output::print(&format!("detached volume {name}: any host may open it\n"))
}

fn detach_alone(settings: &Settings, name: &VolumeName, timeout: Wait) -> Result<(), Error> {
    let store = store::open(settings)?;
    let id = known(&store, name)?.id;
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    let _progress = Progress::start(format!("detaching {name}"));
    Ok(crate::server::detach(settings, (name.clone(), id), timeout.duration())?)
}

/// The JSON output of `drop-log`.
#[derive(Serialize)]
struct DroppedView {
    name: String,
    files: usize,
    bytes: u64,
}

/// Removes what is kept aside of a volume's log on this host.
pub(super) fn drop_log(
    settings: &Settings,
    name: &VolumeName,
    yes: bool,
    json: bool,
) -> Result<(), Error> {
    if !yes {
        return Err(VolumeError::LogUnconfirmed { name: name.clone() }.into());
    }
    let (files, bytes) = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            client.drop_log(name.to_string())?
        }
        None => {
            let store = store::open(settings)?;
            make_data_dir(&settings.data_dir)?;
            let _lock = DataDirLock::acquire(settings)?;
            let manifest = known(&store, name)?.manifest;
            let kept = find_kept(settings, &manifest)?;
            let directory = settings.wal_dir(manifest.volume);
            kept.remove().map_err(|error| Error::file("remove files of", &directory, error))?;
            (kept.files.len(), kept.bytes)
        }
    };
    if files == 0 {
        return Err(VolumeError::NothingKept { name: name.clone() }.into());
    }
    if json {
        return output::print_json(&DroppedView { name: name.to_string(), files, bytes });
    }
    let bytes = ByteSize(bytes);
    output::print(&format!("removed {bytes} of log that was kept aside of volume {name}\n"))
}
