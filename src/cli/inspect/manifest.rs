//! A manifest.

use chunk::{Manifest, ManifestSeq};
use serde::Serialize;
use wal::BLOCK_BYTES;

use crate::cli::output;
use crate::config::ByteSize;
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
pub(super) struct ManifestView {
    kind: &'static str,
    manifest: u64,
    volume: String,
    name: String,
    size_bytes: u64,
    stripe_bytes: u64,
    created_unix_ms: u64,
    incarnation: u64,
    owner: String,
    salt: String,
    cut: CutView,
    directory: Vec<SegmentPlace>,
    unfolded: Vec<String>,
    parent: Option<ParentView>,
    ancestors: Vec<AncestorView>,
    /// First incarnation whose chunks may be compressed.
    compressed_since: Option<u64>,
}

#[derive(Serialize)]
struct ParentView {
    volume: String,
    snapshot: String,
    snapshot_id: String,
}

#[derive(Serialize)]
struct AncestorView {
    volume: String,
    /// The last one whose objects are that volume's.
    incarnation: u64,
}

#[derive(Serialize)]
struct CutView {
    incarnation: u64,
    epoch: u64,
    positions: Vec<PositionView>,
}

#[derive(Serialize)]
struct PositionView {
    shard: u16,
    lsn: u64,
}

#[derive(Serialize)]
struct SegmentPlace {
    segment: u32,
    object: String,
    offset: u32,
    bytes: u32,
}

/// Prints a manifest.
pub(super) fn show(seq: ManifestSeq, manifest: &Manifest, json: bool) -> Result<(), Error> {
    let view = view(seq, manifest);
    if json { output::print_json(&view) } else { output::print(&text(&view)) }
}

/// What a manifest says.
pub(super) fn view(seq: ManifestSeq, manifest: &Manifest) -> ManifestView {
    let positions = manifest.cut.positions.iter();
    let directory = manifest.directory.iter().map(|(segment, place)| SegmentPlace {
        segment: segment.0,
        object: place.object.to_string(),
        offset: place.offset,
        bytes: place.len,
    });
    let parent = manifest.parent.as_ref().map(|parent| ParentView {
        volume: parent.volume.to_string(),
        snapshot: parent.name.to_string(),
        snapshot_id: parent.snapshot.to_string(),
    });
    let ancestors = manifest.ancestors.iter().map(|ancestor| AncestorView {
        volume: ancestor.volume.to_string(),
        incarnation: ancestor.last.0,
    });
    ManifestView {
        kind: "manifest",
        manifest: seq.0,
        volume: manifest.volume.to_string(),
        name: manifest.name.to_string(),
        size_bytes: manifest.size_bytes,
        stripe_bytes: (BLOCK_BYTES as u64) << manifest.stripe_shift,
        created_unix_ms: manifest.created_unix_ms,
        incarnation: manifest.incarnation.0,
        owner: manifest.owner.iter().map(|byte| format!("{byte:02x}")).collect(),
        salt: format!("{:016x}", manifest.salt),
        cut: CutView {
            incarnation: manifest.cut.incarnation.0,
            epoch: manifest.cut.epoch.0,
            positions: positions
                .map(|(shard, lsn)| PositionView { shard: shard.0, lsn: lsn.0 })
                .collect(),
        },
        directory: directory.collect(),
        unfolded: manifest.unfolded.iter().map(ToString::to_string).collect(),
        parent,
        ancestors: ancestors.collect(),
        compressed_since: manifest.compressed_since.map(|since| since.0),
    }
}

/// The same for people.
pub(super) fn text(view: &ManifestView) -> String {
    let mut text = format!(
        "manifest {} of volume {} ({})\nsize {}, stripe {}\nincarnation {} of host {}, salt {}\n\
         cut at epoch {} of incarnation {}\n",
        view.manifest,
        view.volume,
        view.name,
        ByteSize(view.size_bytes),
        ByteSize(view.stripe_bytes),
        view.incarnation,
        view.owner,
        view.salt,
        view.cut.epoch,
        view.cut.incarnation,
    );
    for position in &view.cut.positions {
        text.push_str(&format!("  shard {} up to lsn {}\n", position.shard, position.lsn));
    }
    text.push_str(&format!("{} directory segments\n", view.directory.len()));
    for place in &view.directory {
        let SegmentPlace { segment, object, offset, bytes } = place;
        text.push_str(&format!("  segment {segment}: {bytes} bytes at {offset} of map {object}\n"));
    }
    text.push_str(&format!("{} chunks not folded in\n", view.unfolded.len()));
    for id in &view.unfolded {
        text.push_str(&format!("  chunk {id}\n"));
    }
    if let Some(ParentView { volume, snapshot, snapshot_id }) = &view.parent {
        let from = format!("clone of snapshot {snapshot} ({snapshot_id}) of volume {volume}\n");
        text.push_str(&from);
    }
    for AncestorView { volume, incarnation } in &view.ancestors {
        text.push_str(&format!("  objects up to incarnation {incarnation} are of {volume}\n"));
    }
    if let Some(since) = view.compressed_since {
        text.push_str(&format!("chunks may be compressed from incarnation {since} on\n"));
    }
    text
}
