//! `krait volume drain`.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use chunk::VolumeName;
use serde::Serialize;

use super::{known, log, store};
use crate::cli::output;
use crate::cli::progress::Progress;
use crate::config::{ByteSize, Settings, Wait};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, ControlError, DataDirLock};
use crate::error::Error;

/// Pause between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// The JSON output.
#[derive(Serialize)]
struct DrainedView {
    name: String,
    drained: bool,
}

/// Waits until all that was acknowledged of a volume is in the store: the server sees to it if one
/// runs on the data directory, else this process.
pub(super) fn drain(
    settings: &Settings,
    name: &VolumeName,
    timeout: Wait,
    json: bool,
) -> Result<(), Error> {
    if let Some(mut client) = ControlClient::connect_if_running(settings)? {
        store::agree(settings, &client.server()?)?;
        drain_served(settings, client, name, timeout)?;
    } else {
        drain_alone(settings, name, timeout)?;
    }
    if json {
        return output::print_json(&DrainedView { name: name.to_string(), drained: true });
    }
    output::print(&format!("drained volume {name}: all that was acknowledged is in the store\n"))
}

/// Asks the server, and on a connection of its own how far it is, if a person looks on.
fn drain_served(
    settings: &Settings,
    mut client: ControlClient,
    name: &VolumeName,
    timeout: Wait,
) -> Result<(), Error> {
    let progress = Progress::start(format!("draining {name}"));
    let mut looking = match progress.is_seen() {
        true => ControlClient::connect_if_running(settings)?,
        false => None,
    };
    let (sender, outcome) = sync_channel(1);
    let volume = name.to_string();
    thread::Builder::new()
        .spawn(move || {
            // Received below, whatever it is.
            drop(sender.send(client.drain(volume, timeout)));
        })
        .map_err(|error| Error::file("start a thread for", &settings.control_path(), error))?;
    loop {
        match outcome.recv_timeout(LOOK) {
            Ok(outcome) => return Ok(outcome?),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ControlError::Closed { path: settings.control_path() }.into());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        // The number is a service only: one that is not to be had changes nothing.
        let status = looking.as_mut().and_then(|client| client.status(name.to_string()).ok());
        if let Some(left) = status.and_then(|status| status.unpublished_bytes()) {
            progress.say(text(name, ByteSize(left)));
        }
    }
}

/// Opens the volume here, drains and closes it.
fn drain_alone(settings: &Settings, name: &VolumeName, timeout: Wait) -> Result<(), Error> {
    let id = known(&store::open(settings)?, name)?.id;
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    let wal = settings.wal_dir(id);
    let (files, _) = log::usage(&wal).map_err(|error| Error::file("list", &wal, error))?;
    if files == 0 {
        return Ok(());
    }
    let progress = Arc::new(Progress::start(format!("draining {name}")));
    let (bar, named) = (progress.clone(), name.clone());
    let tell = Box::new(move |left| bar.say(text(&named, left)));
    crate::server::drain(settings, (name.clone(), id), timeout.duration(), tell)?;
    drop(progress);
    Ok(())
}

fn text(name: &VolumeName, left: ByteSize) -> String {
    format!("draining {name}: {left} left")
}
