//! What a host uploads it need not read back: chunks go to the caches of the cores whose blocks
//! they hold.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use chunk::chunk::payload_range;
use chunk::{ChunkIndex, Content, PayloadBlock};
use wal::BLOCK_BYTES;

use super::SLOT_BLOCKS;
use crate::engine::Env;
use crate::engine::core::Core;
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
        let range = payload_range(PayloadBlock(0), index.payload_blocks());
        let payload = object.slice(range.start as usize..range.end as usize);
        let chunk = (shared.volume, index.info().id);
        for core in (0..self.cores()).map(CoreId) {
            let parts = parts_of(shared, index, core);
            if parts.is_empty() {
                continue;
            }
            let kept = Kept { chunk, payload: payload.clone(), parts };
            if core == self.id() {
                self.keep_parts(&kept).await;
            } else {
                // One copy less, if that core did not keep it.
                let _ = self.peers.start(core, Ask::Keep(Box::new(kept))).await.await;
            }
        }
    }

    /// Keeps what another core uploaded.
    pub(in crate::engine) async fn keep_parts(&self, kept: &Kept) {
        for part in &kept.parts {
            let bytes = part.start as usize * BLOCK_BYTES..part.end as usize * BLOCK_BYTES;
            let payload = &kept.payload[bytes];
            self.chunk_cache.keep(&self.disk, kept.chunk, part.start, payload).await;
        }
    }
}

/// Whole slots of a chunk that have blocks of a core's shards, merged.
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
    parts
}
