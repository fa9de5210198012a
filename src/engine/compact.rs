//! Compaction: what is still needed of chunks that are mostly dead moves into new ones.
//!
//! It changes the sealed part of the map and nothing else, between two cuts: blocks that were
//! written since stay where they are, and the order of writes in the store is that of cuts.
//!
//! What a power cut leaves after each step:
//! 1. blocks are read and packed again, and uploaded: garbage that no manifest names.
//! 2. the manifest that names the new chunks after all others is published: each block that moved
//!    has its new place. The old chunks are garbage from here on.
//! 3. shards applied it: only memory changes.

use std::sync::Arc;

use chunk::chunk::read_index;
use chunk::{ChunkId, ChunkIndex, Content};
use wal::planted::{self, Bug};
use wal::{BLOCK_BYTES, Epoch, Lsn, ShardRun};

use super::Env;
use super::abreast::abreast;
use super::coordinator::Coordinator;
use super::error::VolumeError;
use super::limits::OPENING_READS;
use super::message::{Answer, Sealed, ShardAsk};
use super::packer::Packer;
use super::read::Home;
use super::sealed::{PAGE_BLOCKS, PageNo, SealedPlace};
use super::shard::Shard;

impl<E: Env> Shard<E> {
    /// Packs what the sealed map still has of some chunks into new ones.
    ///
    /// # Errors
    /// Some of it cannot be read.
    pub(super) async fn compact(
        &self,
        victims: &[ChunkIndex],
        cut: Epoch,
    ) -> Result<Sealed, VolumeError> {
        let mut packer = Packer::new(&self.core, &self.shared, &self.ids, cut);
        for index in victims {
            for (run, content) in index.pieces(self.shared.layout, self.id) {
                if let Content::Data(block) = content {
                    let place = SealedPlace::Data { chunk: index.info().id, block };
                    self.compact_run(&mut packer, run, place).await?;
                }
            }
        }
        let (chunks, rest) = packer.finish().await?;
        Ok(Sealed { chunks, rest, position: Lsn(0) })
    }

    /// Packs what of a run is at `place`, as far as manifests know, and nothing newer.
    pub(super) async fn compact_run(
        &self,
        packer: &mut Packer<'_, E>,
        run: ShardRun,
        place: SealedPlace,
    ) -> Result<(), VolumeError> {
        let mut start = run.start;
        while start.0 < run.end().0 {
            let page_end = PageNo(PageNo::of(start).0 + 1).start();
            let part = ShardRun { start, count: run.end().0.min(page_end.0) - start.0 };
            debug_assert!(part.count <= PAGE_BLOCKS);
            for (found, home) in self.resolve(part).await? {
                let here = chunk::Piece::skip(&place, found.start.0 - run.start.0);
                if home == Home::Sealed(here) || planted::is(Bug::CompactionTakesNewer) {
                    self.move_run(packer, found, here).await?;
                }
            }
            start = part.end();
        }
        Ok(())
    }

    /// Packs blocks that are at `place`, and leaves out those that are not any more by the time
    /// they were read: a cut has them, or will.
    async fn move_run(
        &self,
        packer: &mut Packer<'_, E>,
        run: ShardRun,
        place: SealedPlace,
    ) -> Result<(), VolumeError> {
        let mut done = 0;
        while done < run.count {
            let room = packer.room_blocks().await?;
            let start = wal::ShardBlock(run.start.0 + done);
            let part = ShardRun { start, count: room.min(run.count - done) };
            let mut content = vec![0; part.count as usize * BLOCK_BYTES];
            self.read_quietly(start, &mut content).await?;
            for (found, home) in self.resolve(part).await? {
                let here = chunk::Piece::skip(&place, found.start.0 - run.start.0);
                if home != Home::Sealed(here) && !planted::is(Bug::CompactionTakesNewer) {
                    continue;
                }
                let from = (found.start.0 - start.0) as usize * BLOCK_BYTES;
                let bytes = &content[from..from + found.count as usize * BLOCK_BYTES];
                packer.data(self.shared.layout.to_volume(self.id, found.start), bytes).await?;
            }
            packer.pause_after(content.len()).await;
            done += part.count;
        }
        Ok(())
    }
}

impl<E: Env> Coordinator<E> {
    /// Moves what is still needed of some chunks. Returns the bytes of the new ones.
    ///
    /// # Errors
    /// The volume is stopped or being closed, or something cannot be read.
    pub(super) async fn compact(&self, victims: &[ChunkId]) -> Result<u64, VolumeError> {
        let _turn = self.between_cuts().await?;
        let cut = self.newest.borrow().1.cut.epoch;
        let read = |id: &ChunkId| read_index(&self.core.store, self.shared.volume, *id);
        let indexes = Arc::new(abreast(OPENING_READS, victims.iter().map(read)).await?);
        let (mut chunks, mut rests) = (Vec::new(), Vec::new());
        for (_, outcome) in self.ask_all(|_| ShardAsk::Compact(indexes.clone(), cut)).await {
            let Answer::Sealed(Sealed { chunks: full, rest, .. }) = outcome? else {
                unreachable!("compaction is answered by what was packed")
            };
            chunks.extend(full);
            rests.extend(rest);
        }
        chunks.extend(self.pack(cut, rests).await?);
        if chunks.is_empty() {
            return Ok(0);
        }
        self.make_room_for(chunks.len()).await?;
        self.publish(|manifest| {
            manifest.unfolded.extend(chunks.iter().map(|index| index.info().id));
        })
        .await?;
        let blocks: u64 = chunks.iter().map(|index| index.crcs().len() as u64).sum();
        let chunks = Arc::new(chunks);
        for (_, outcome) in self.ask_all(|_| ShardAsk::Published(chunks.clone(), None)).await {
            outcome?;
        }
        self.fold_if_due().await?;
        Ok(blocks * BLOCK_BYTES as u64)
    }
}
