//! A chunk.

use std::fmt::Write as _;
use std::path::Path;

use chunk::chunk::payload_range;
use chunk::{ChunkIndex, Content, Entry, PayloadBlock};
use serde::Serialize;
use wal::Lba;

use super::InspectError;
use crate::cli::output;
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct ChunkView {
    kind: &'static str,
    volume: String,
    id: String,
    incarnation: u64,
    sequence: u64,
    shards: u16,
    stripe_shift: u8,
    epoch: u64,
    object_bytes: usize,
    payload_blocks: u32,
    damaged_blocks: u64,
    entries: Vec<EntryView>,
}

#[derive(Serialize)]
struct EntryView {
    /// `data`, `zero` or `discard`.
    kind: &'static str,
    lba: u64,
    blocks: u64,
    payload_block: Option<u32>,
    /// If set, only those of the blocks that this shard owns.
    shard: Option<u16>,
    damaged_blocks: u64,
}

/// Prints the index of a chunk and checks its payload.
///
/// # Errors
/// If payload is damaged, once everything is printed.
pub(super) fn show(
    path: &Path,
    object: &[u8],
    index: &ChunkIndex,
    json: bool,
) -> Result<(), Error> {
    let info = index.info();
    let entries: Vec<_> = index.entries().iter().map(|entry| view(object, index, entry)).collect();
    let view = ChunkView {
        kind: "chunk",
        volume: info.volume.to_string(),
        id: info.id.to_string(),
        incarnation: info.id.incarnation().0,
        sequence: info.id.sequence(),
        shards: info.layout.shards(),
        stripe_shift: info.layout.stripe_shift(),
        epoch: info.epoch.0,
        object_bytes: object.len(),
        payload_blocks: index.payload_blocks(),
        damaged_blocks: entries.iter().map(|entry| entry.damaged_blocks).sum(),
        entries,
    };
    if json {
        output::print_json(&view)?;
    } else {
        output::print(&text(&view))?;
    }
    match view.damaged_blocks {
        0 => Ok(()),
        blocks => Err(InspectError::Payload { path: path.to_owned(), blocks }.into()),
    }
}

fn view(object: &[u8], index: &ChunkIndex, entry: &Entry) -> EntryView {
    let (kind, first) = match entry.content {
        Content::Data(first) => ("data", Some(first)),
        Content::Zero => ("zero", None),
        Content::Discard => ("discard", None),
    };
    let is_damaged = |first: PayloadBlock, offset: u64| {
        let block = PayloadBlock(first.0 + offset as u32);
        let range = payload_range(block, 1);
        let bytes = object.get(range.start as usize..range.end as usize);
        let lba = Lba(entry.extent.lba().0 + offset);
        !bytes.is_some_and(|bytes| index.check_block(block, lba, bytes))
    };
    let damaged = first.map_or(0, |first| {
        (0..entry.extent.count()).filter(|offset| is_damaged(first, *offset)).count()
    });
    EntryView {
        kind,
        lba: entry.extent.lba().0,
        blocks: entry.extent.count(),
        payload_block: first.map(|first| first.0),
        shard: entry.filter.map(|shard| shard.0),
        damaged_blocks: damaged as u64,
    }
}

fn text(view: &ChunkView) -> String {
    let mut text = format!(
        "chunk {} of volume {}\nepoch {}, shards {}, stripe 2^{} blocks\n{} bytes, {} blocks of \
         payload, {} entries\n",
        view.id,
        view.volume,
        view.epoch,
        view.shards,
        view.stripe_shift,
        view.object_bytes,
        view.payload_blocks,
        view.entries.len(),
    );
    for entry in &view.entries {
        let end = entry.lba + entry.blocks;
        // Writing into a text cannot fail.
        let _ = write!(text, "  {} [{}, {end})", entry.kind, entry.lba);
        if let Some(block) = entry.payload_block {
            let _ = write!(text, " at payload block {block}");
        }
        if let Some(shard) = entry.shard {
            let _ = write!(text, " of shard {shard} only");
        }
        if entry.damaged_blocks > 0 {
            let _ = write!(text, ": {} DAMAGED", entry.damaged_blocks);
        }
        text.push('\n');
    }
    text
}
