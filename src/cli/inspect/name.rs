//! The object that gives a volume its name.

use serde::Serialize;
use wal::VolumeId;

use crate::cli::output;
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct NameView {
    kind: &'static str,
    name: String,
    volume: String,
}

/// Prints a name.
pub(super) fn show(name: String, volume: VolumeId, json: bool) -> Result<(), Error> {
    let view = NameView { kind: "name", name, volume: volume.to_string() };
    if json {
        return output::print_json(&view);
    }
    output::print(&format!("name {} of volume {}\n", view.name, view.volume))
}
