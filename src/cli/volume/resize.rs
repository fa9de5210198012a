//! `krait volume resize`.

use serde::Serialize;

use super::{known, store};
use crate::cli::args::ResizeOptions;
use crate::cli::output;
use crate::cli::progress::Progress;
use crate::config::{ByteSize, Settings};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock};
use crate::error::Error;
use crate::server::resize::{NewSize, Resized};

/// The JSON output.
#[derive(Serialize)]
struct ResizedView {
    name: String,
    size_bytes: u64,
    /// What it was.
    before_bytes: u64,
    /// Clients that see the new size when they connect again.
    clients: u32,
}

/// Gives a volume another size: the server does if one runs on the data directory, else this process.
pub(super) fn resize(settings: &Settings, options: &ResizeOptions) -> Result<(), Error> {
    let ResizeOptions { name, size, danger_discard_tail, timeout, json } = options;
    let discards_tail = *danger_discard_tail;
    let Resized { before_bytes, size_bytes, clients } =
        match ControlClient::connect_if_running(settings)? {
            Some(mut client) => {
                store::agree(settings, &client.server()?)?;
                let _progress = Progress::start(format!("resizing {name}"));
                client.resize(name.to_string(), (*size, discards_tail), *timeout)?
            }
            None => {
                let id = known(&store::open_to_write(settings)?, name)?.id;
                make_data_dir(&settings.data_dir)?;
                let _lock = DataDirLock::acquire(settings)?;
                let _progress = Progress::start(format!("resizing {name}"));
                let new = NewSize { size: *size, discards_tail, patience: timeout.duration() };
                crate::server::resize(settings, (name.clone(), id), new)?
            }
        };
    if json.json {
        let name = name.to_string();
        return output::print_json(&ResizedView { name, size_bytes, before_bytes, clients });
    }
    let (now, before) = (ByteSize(size_bytes), ByteSize(before_bytes));
    let mut text = match size_bytes == before_bytes {
        true => format!("volume {name} has {now} already\n"),
        false => format!("volume {name} has {now}, {before} before\n"),
    };
    if clients > 0 && size_bytes != before_bytes {
        text += "clients that are connected see that when they connect again\n";
    }
    output::print(&text)
}
