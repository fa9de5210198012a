//! What a host uploads it need not read back: chunks go to the caches of the cores whose blocks
//! they hold.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use chunk::{ChunkIndex, Content};
use wal::runtime::Runtime;

use super::SLOT_BLOCKS;
use crate::engine::Env;
use crate::engine::core::Core;
use crate::engine::limits::KEEP_BLOCKS;
use crate::engine::mesh::CoreId;
use crate::engine::message::{Ask, Kept};
use crate::engine::shared::Shared;

impl<E: Env> Core<E> {
    /// Keeps the payload of a chunk that was uploaded: each core what it will read.
    pub(in crate::engine) async fn keep_chunk(
        self: &Rc<Self>,
        shared: &Shared,
        index: &ChunkIndex,
        object: &Bytes,
    ) {
        if !self.chunk_cache.is_on() || index.payload_blocks() == 0 {
            return;
        }
        let chunk = (shared.volume, index.info().id);
        for core in (0..self.cores()).map(CoreId) {
            for blocks in parts_of(shared, index, core) {
                let first = blocks.start;
                let Some(payload) = self.payload_of(index, object, blocks).await else { continue };
                let kept = Kept { chunk, payload, first };
                if core == self.id() {
                    self.keep_part(&kept).await;
                } else {
                    // One copy less, if that core did not keep it.
                    let _ = self.peers.start(core, Ask::Keep(Box::new(kept))).await.await;
                }
            }
        }
    }

    /// The bytes of payload blocks of an object.
    async fn payload_of(
        &self,
        index: &ChunkIndex,
        object: &Bytes,
        blocks: Range<u32>,
    ) -> Option<Bytes> {
        let frames = index.frames().clone();
        let range = frames.range(blocks.clone());
        let stored = object.slice(range.start as usize..range.end as usize);
        if !frames.is_framed() {
            return Some(stored);
        }
        let unpacked = self.runtime.compute(move || frames.unpack(blocks, &stored)).await;
        unpacked.ok().map(Bytes::from)
    }

    /// Keeps what this core or another one uploaded.
    pub(in crate::engine) async fn keep_part(&self, kept: &Kept) {
        self.chunk_cache.keep(&self.disk, kept.chunk, kept.first, &kept.payload).await;
    }
}

/// Whole slots of a chunk that have blocks of a core's shards, merged; of a compressed chunk no more
/// than is to be decompressed at a time.
fn parts_of(shared: &Shared, index: &ChunkIndex, core: CoreId) -> Vec<Range<u32>> {
    let mut parts: Vec<Range<u32>> = Vec::new();
    let mut runs: Vec<Range<u32>> = Vec::new();
    for (run, content) in index.pieces(shared.layout, wal::ShardId(core.0)) {
        if let Content::Data(first) = content {
            let end = (first.0 + run.count as u32).next_multiple_of(SLOT_BLOCKS);
            runs.push(first.0 / SLOT_BLOCKS * SLOT_BLOCKS..end.min(index.payload_blocks()));
        }
    }
    runs.sort_unstable_by_key(|run| run.start);
    for run in runs {
        match parts.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => parts.push(run),
        }
    }
    let most = if index.frames().is_framed() { KEEP_BLOCKS } else { u32::MAX };
    let split = |part: Range<u32>| {
        let ends = part.clone().step_by(most as usize);
        ends.map(move |start| start..part.end.min(start.saturating_add(most)))
    };
    parts.into_iter().flat_map(split).collect()
}
