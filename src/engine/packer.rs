//! Packing the extents of a cut into chunks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use chunk::{ChunkBuilder, ChunkIndex, ChunkInfo};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Epoch, Extent, HoleKind, Lba, ShardId};

use super::Env;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{SEAL_REST, SEAL_SLICE_BYTES};
use super::message::ObjectIds;
use super::shared::Shared;
use super::uploads::{UploadPermit, Uploads};

/// Packs extents into chunks and uploads those that are full.
pub(super) struct Packer<'s, E: Env> {
    core: &'s Core<E>,
    shared: &'s Shared,
    ids: &'s RefCell<ObjectIds>,
    cut: Epoch,
    /// The chunk that is being filled, and the permit for its memory.
    open: Option<(ChunkBuilder, UploadPermit)>,
    uploads: Uploads<E>,
    /// Bytes handled since the last pause.
    slice: usize,
}

impl<'s, E: Env> Packer<'s, E> {
    pub(super) fn new(
        core: &'s Rc<Core<E>>,
        shared: &'s Arc<Shared>,
        ids: &'s RefCell<ObjectIds>,
        cut: Epoch,
    ) -> Self {
        let uploads = Uploads::new(core.clone(), shared.clone());
        Self { core, shared, ids, cut, open: None, uploads, slice: 0 }
    }

    /// The chunk that is being filled; waits for memory if there is none yet.
    async fn builder(&mut self) -> &mut ChunkBuilder {
        if self.open.is_none() {
            let permit = self.core.uploads.take().await;
            let (volume, layout) = (self.shared.volume, self.shared.layout);
            let id = self.ids.borrow_mut().draw();
            let info = ChunkInfo { volume, id, layout, epoch: self.cut };
            let memory = self.core.uploads.reuse();
            self.open = Some((ChunkBuilder::reusing(memory, info), permit));
        }
        let (builder, _) = self.open.as_mut().expect("just made");
        builder
    }

    /// Blocks of data that the open chunk still takes, at least one.
    pub(super) async fn room_blocks(&mut self) -> Result<u64, VolumeError> {
        let most = self.core.tuning.chunk_blocks;
        if self.open.as_ref().is_some_and(|(builder, _)| builder.payload_blocks() == most) {
            self.next_chunk().await?;
        }
        Ok(u64::from(most - self.builder().await.payload_blocks()))
    }

    /// Packs blocks that lie apart in memory and for which [`Self::room_blocks`] has found room.
    /// Returns how many: the chunk may take no further entry.
    pub(super) fn blocks(&mut self, lba: Lba, blocks: Vec<&[u8]>) -> u64 {
        let (builder, _) = self.open.as_mut().expect("room was found");
        builder.push_blocks(lba, blocks.into_iter()) as u64
    }

    pub(super) async fn data(&mut self, lba: Lba, content: &[u8]) -> Result<(), VolumeError> {
        let (mut lba, mut rest) = (lba, content);
        while !rest.is_empty() {
            let most = rest.len().min(self.room_blocks().await? as usize * BLOCK_BYTES);
            let taken = self.builder().await.push_data(lba, &rest[..most]);
            rest = &rest[taken * BLOCK_BYTES..];
            lba = Lba(lba.0 + taken as u64);
            if taken == 0 {
                self.next_chunk().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn hole(
        &mut self,
        hole: HoleKind,
        extent: Extent,
        filter: Option<ShardId>,
    ) -> Result<(), VolumeError> {
        while !self.builder().await.push_hole(hole, extent, filter) {
            self.next_chunk().await?;
        }
        self.pause_after(BLOCK_BYTES).await;
        Ok(())
    }

    /// Lets other tasks run when enough bytes were handled.
    pub(super) async fn pause_after(&mut self, bytes: usize) {
        self.slice += bytes;
        if self.slice >= SEAL_SLICE_BYTES {
            self.slice = 0;
            match self.core.naming.get() {
                0 => self.core.runtime.pause().await,
                _ => self.core.runtime.sleep(SEAL_REST).await,
            }
        }
    }

    /// Uploads the open chunk, if anything is in it.
    pub(super) async fn next_chunk(&mut self) -> Result<(), VolumeError> {
        // One that was opened for what then was not to be packed stays empty.
        let open = self.open.take().filter(|(builder, _)| !builder.is_empty());
        let Some((builder, permit)) = open else { return Ok(()) };
        self.uploads.start_chunk(permit, builder)
    }

    /// Waits for the uploads. What is less than half a chunk is handed on, to be packed together
    /// with that of other shards, if there are any.
    pub(super) async fn finish(
        mut self,
    ) -> Result<(Vec<ChunkIndex>, Option<ChunkBuilder>), VolumeError> {
        let half = self.core.tuning.chunk_blocks / 2;
        let is_alone = self.shared.layout.shards() == 1;
        let small = self.open.take_if(|(builder, _)| !is_alone && builder.payload_blocks() < half);
        let rest = small.map(|(builder, _)| builder).filter(|builder| !builder.is_empty());
        Ok((self.finish_all().await?, rest))
    }

    /// Uploads what is left, full or not, and waits until everything is durable.
    pub(super) async fn finish_all(mut self) -> Result<Vec<ChunkIndex>, VolumeError> {
        self.next_chunk().await?;
        self.uploads.finish().await?;
        Ok(self.uploads.take_chunks())
    }
}
