//! A chunk.

use std::fmt::Write as _;
use std::path::Path;

use chunk::{ChunkIndex, Compression, Content, Entry, Frames, PayloadBlock};
use serde::Serialize;
use wal::{BLOCK_BYTES, Lba};

use super::InspectError;
use crate::cli::output;
use crate::config::ByteSize;
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
    /// `lz4`, or `none` if all blocks are stored as they are.
    compression: &'static str,
    /// Bytes that the payload takes.
    stored_bytes: u32,
    /// Bytes of each frame of up to 16 blocks, if some are compressed.
    frames: Vec<FrameView>,
    damaged_blocks: u64,
    entries: Vec<EntryView>,
}

#[derive(Serialize)]
struct FrameView {
    first_payload_block: u32,
    blocks: u32,
    stored_bytes: u64,
    is_compressed: bool,
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
    let payload = unpacked(object, index);
    let entries: Vec<_> =
        index.entries().iter().map(|entry| view(&payload, index, entry)).collect();
    let frames = index.frames();
    let compression =
        if frames.is_framed() { Compression::Lz4.name() } else { Compression::None.name() };
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
        compression,
        stored_bytes: frames.stored_bytes(),
        frames: frame_views(frames),
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

/// The blocks of the payload; `None` for those of a frame that cannot be decompressed.
fn unpacked(object: &[u8], index: &ChunkIndex) -> Vec<Option<Vec<u8>>> {
    let blocks = index.payload_blocks();
    if blocks == 0 {
        return Vec::new();
    }
    let parts = index.frames().of_object(0..blocks, object);
    parts
        .flat_map(|(part, content)| {
            let block = |n: usize| {
                let bytes = content.as_ref().ok()?;
                Some(bytes[n * BLOCK_BYTES..(n + 1) * BLOCK_BYTES].to_vec())
            };
            (0..part.len()).map(block).collect::<Vec<_>>()
        })
        .collect()
}

fn frame_views(frames: &Frames) -> Vec<FrameView> {
    let count = if frames.is_framed() { frames.count() } else { 0 };
    let view = |frame| {
        let blocks = frames.blocks(frame);
        let range = frames.range(blocks.clone());
        FrameView {
            first_payload_block: blocks.start,
            blocks: blocks.len() as u32,
            stored_bytes: range.end - range.start,
            is_compressed: frames.is_compressed(frame),
        }
    };
    (0..count).map(view).collect()
}

fn view(payload: &[Option<Vec<u8>>], index: &ChunkIndex, entry: &Entry) -> EntryView {
    let (kind, first) = match entry.content {
        Content::Data(first) => ("data", Some(first)),
        Content::Zero => ("zero", None),
        Content::Discard => ("discard", None),
    };
    let is_damaged = |first: PayloadBlock, offset: u64| {
        let block = PayloadBlock(first.0 + offset as u32);
        let bytes = payload[block.0 as usize].as_deref();
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
         payload in {} (compression {}), {} entries\n",
        view.id,
        view.volume,
        view.epoch,
        view.shards,
        view.stripe_shift,
        view.object_bytes,
        view.payload_blocks,
        ByteSize(view.stored_bytes.into()),
        view.compression,
        view.entries.len(),
    );
    for frame in &view.frames {
        let end = frame.first_payload_block + frame.blocks;
        let how = if frame.is_compressed { "compressed" } else { "as they are" };
        // Writing into a text cannot fail.
        let _ = writeln!(
            text,
            "  payload blocks [{}, {end}) in {} bytes, {how}",
            frame.first_payload_block, frame.stored_bytes
        );
    }
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
