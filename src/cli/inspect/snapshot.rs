//! A snapshot.

use chunk::Snapshot;
use serde::Serialize;

use super::manifest::{self, ManifestView};
use crate::cli::output;
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct SnapshotView {
    kind: &'static str,
    volume: String,
    name: String,
    id: String,
    created_unix_ms: u64,
    /// The manifest of its cut.
    of: ManifestView,
}

/// Prints a snapshot.
pub(super) fn show(snapshot: &Snapshot, json: bool) -> Result<(), Error> {
    let view = SnapshotView {
        kind: "snapshot",
        volume: snapshot.manifest.volume.to_string(),
        name: snapshot.name.to_string(),
        id: snapshot.id.to_string(),
        created_unix_ms: snapshot.created_unix_ms,
        of: manifest::view(snapshot.seq, &snapshot.manifest),
    };
    if json {
        return output::print_json(&view);
    }
    let SnapshotView { volume, name, id, created_unix_ms, of, .. } = &view;
    let head = format!("snapshot {name} of volume {volume}, id {id}, made at {created_unix_ms}\n");
    output::print(&(head + &manifest::text(of)))
}
