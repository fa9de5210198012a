//! `krait clone flatten`.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use chunk::VolumeName;
use serde::Serialize;

use super::output;
use super::progress::Progress;
use super::volume::{known, store};
use crate::config::{ByteSize, Settings};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, ControlError, DataDirLock};
use crate::engine::flatten::{Flattened, Flattening};
use crate::error::Error;

/// Pause between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// The JSON output.
#[derive(Serialize)]
struct FlattenedView {
    name: String,
    /// Whether it was a clone.
    was_clone: bool,
    copied_bytes: u64,
}

/// Separates a clone from what it was made of: the server does if one runs on the data directory,
/// else this process.
pub(super) fn flatten(settings: &Settings, name: &VolumeName, json: bool) -> Result<(), Error> {
    let Flattened { was_clone, copied_bytes } = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => {
            store::agree(settings, &client.server()?)?;
            flatten_served(settings, client, name)?
        }
        None => flatten_alone(settings, name)?,
    };
    if json {
        let name = name.to_string();
        return output::print_json(&FlattenedView { name, was_clone, copied_bytes });
    }
    let copied = ByteSize(copied_bytes);
    output::print(&match was_clone {
        true => format!("volume {name} shares nothing any more: {copied} were copied\n"),
        false => format!("volume {name} shares nothing: it is no clone\n"),
    })
}

/// Asks the server, and on a connection of its own how far it is, if a person looks on.
fn flatten_served(
    settings: &Settings,
    mut client: ControlClient,
    name: &VolumeName,
) -> Result<Flattened, Error> {
    let progress = Progress::start(text(name, Flattening::default()));
    let mut looking = match progress.is_seen() {
        true => ControlClient::connect_if_running(settings)?,
        false => None,
    };
    let (sender, outcome) = sync_channel(1);
    let volume = name.to_string();
    thread::Builder::new()
        .spawn(move || {
            // Received below, whatever it is.
            drop(sender.send(client.flatten(volume)));
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
        let seen = looking.as_mut().and_then(|client| client.flattening(name.to_string()).ok());
        if let Some(seen) = seen {
            progress.say(text(name, seen));
        }
    }
}

/// Opens the clone here, separates and closes it.
fn flatten_alone(settings: &Settings, name: &VolumeName) -> Result<Flattened, Error> {
    let id = known(&store::open_to_write(settings)?, name)?.id;
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    let progress = Arc::new(Progress::start(text(name, Flattening::default())));
    let (bar, named) = (progress.clone(), name.clone());
    let tell = Box::new(move |seen| bar.say(text(&named, seen)));
    let flattened = crate::server::flatten(settings, (name.clone(), id), tell)?;
    drop(progress);
    Ok(flattened)
}

fn text(name: &VolumeName, seen: Flattening) -> String {
    let Flattening { copied_bytes, pages, of_pages } = seen;
    let share = (pages * 100).checked_div(of_pages).unwrap_or(0);
    format!("separating {name}: {share} %, {} copied", ByteSize(copied_bytes))
}
