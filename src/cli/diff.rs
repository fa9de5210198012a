//! `krait snapshot diff`: what changed between two states of a volume.

use chunk::diff::{Change, diff as compare};
use chunk::snapshot::{self, SnapshotError};
use chunk::{Manifest, ObjectStore, SnapshotName, VolumeName};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::{BLOCK_BYTES, VolumeId};

use super::output::{self, Align, Table};
use super::progress::Progress;
use super::volume::error::VolumeError;
use super::volume::{known, store};
use crate::config::{ByteSize, Settings};
use crate::error::Error;
use crate::server::limits::SETTLE_TIMEOUT;

/// The JSON output.
#[derive(Serialize)]
struct DiffView {
    volume: String,
    from: String,
    /// `None`: the newest cut of the volume itself.
    to: Option<String>,
    /// Sizes of the volume in the two.
    from_size_bytes: u64,
    to_size_bytes: u64,
    /// Sum of the ranges.
    changed_bytes: u64,
    changes: Vec<ChangeView>,
}

/// One range, in bytes.
#[derive(Serialize)]
struct ChangeView {
    offset: u64,
    length: u64,
    /// Whether all of it reads as zeros in the second one.
    zero: bool,
}

/// Prints the ranges in which the second state may hold other bytes than the first.
pub(super) fn diff(
    settings: &Settings,
    volume: &VolumeName,
    (from, to): (&SnapshotName, Option<&SnapshotName>),
    json: bool,
) -> Result<(), Error> {
    if let Some(mut server) = store::server(settings)? {
        let what = format!("waiting for the snapshots of {volume} to be in the store");
        let _progress = Progress::start(what);
        server.settle_snapshots(volume.to_string(), SETTLE_TIMEOUT)?;
    }
    let store = store::open(settings)?;
    let known = known(&store, volume)?;
    let (id, newest) = (known.id, known.manifest);
    let older = state(&store, (id, volume), from)?;
    let newer = match to {
        Some(to) => state(&store, (id, volume), to)?,
        None => newest,
    };
    let progress = Progress::start(format!("comparing {volume}@{from}"));
    let end = newer.size_bytes;
    let mut changes = Vec::new();
    let note = |Change { first, blocks, is_zeros }: Change| {
        let block = BLOCK_BYTES as u64;
        let offset = first.0 * block;
        let length = (blocks * block).min(end - offset);
        changes.push(ChangeView { offset, length, zero: is_zeros });
    };
    block_on(compare(&store, &older, &newer, note)).map_err(VolumeError::Read)?;
    drop(progress);
    let view = DiffView {
        volume: volume.to_string(),
        from: from.to_string(),
        to: to.map(SnapshotName::to_string),
        from_size_bytes: older.size_bytes,
        to_size_bytes: end,
        changed_bytes: changes.iter().map(|change| change.length).sum(),
        changes,
    };
    if json {
        return output::print_json(&view);
    }
    output::print(&text(&view))
}

/// The manifest of a snapshot.
fn state<S: ObjectStore>(
    store: &S,
    (id, volume): (VolumeId, &VolumeName),
    name: &SnapshotName,
) -> Result<Manifest, Error> {
    let found = block_on(snapshot::read(store, id, name)).map_err(VolumeError::Read)?;
    let missing = || SnapshotError::NotFound { volume: volume.clone(), name: name.clone() };
    let found = found.ok_or_else(|| VolumeError::Snapshot(missing()))?;
    Ok(found.manifest)
}

fn text(view: &DiffView) -> String {
    let columns = [("OFFSET", Align::Right), ("LENGTH", Align::Right), ("NOW", Align::Left)];
    let mut table = Table::new(&columns);
    for change in &view.changes {
        let now = if change.zero { "zeros" } else { "data" };
        table.row(vec![change.offset.to_string(), change.length.to_string(), now.to_owned()]);
    }
    let (from, to) = (ByteSize(view.from_size_bytes), ByteSize(view.to_size_bytes));
    let size = match from == to {
        true => String::new(),
        false => format!("the volume had {from}, and has {to}\n"),
    };
    let changed = ByteSize(view.changed_bytes);
    format!("{}{size}{changed} changed in {} ranges\n", table.text(), view.changes.len())
}
