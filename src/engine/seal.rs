//! Sealing: the frozen part of a shard, packed into chunks.
//!
//! What a power cut leaves after each step:
//! 1. the map is frozen: nothing changed on disk; the log has it all.
//! 2. chunks are uploaded: objects that no manifest names, garbage under names never used again.
//! 3. the manifest is published (by the coordinator): the chunks count, the log below the cut is
//!    skipped by recovery.
//! 4. the frozen map is dropped and segments are given back: only memory changes; a segment is
//!    overwritten later, and what it held is covered by step 3.

use chunk::ChunkIndex;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Epoch, HoleKind, Lsn, ShardBlock, ShardRun};

use super::Env;
use super::abreast::abreast;
use super::error::VolumeError;
use super::frozen::Frozen;
use super::limits::{MAP_SLICE_ENTRIES, SEAL_READ_BLOCKS, SEAL_READS, SEAL_SLICE_BLOCKS};
use super::log_state::Entry;
use super::message::{EndedCut, Sealed};
use super::packer::Packer;
use super::place::{LogPlace, Place};
use super::shard::Shard;

impl<E: Env> Shard<E> {
    /// Freezes what belongs to the cut, if that has not happened yet, and seals it. May be called
    /// again for the same cut if it failed.
    ///
    /// # Errors
    /// The volume is stopped, or the log does not give back what was written.
    pub(super) async fn seal(&self, cut: Epoch) -> Result<Sealed, VolumeError> {
        let position = self.freeze_for(cut);
        let mut packer = Packer::new(&self.core, &self.shared, &self.ids, cut);
        let mut content = Vec::new();
        let mut at = ShardBlock(0);
        loop {
            let group = self.frozen_group(at);
            let Some((last, _)) = group.last() else { break };
            at = last.end();
            let entries = self.read_group(&mut packer, &group).await?;
            for ((run, place), entry) in group.into_iter().zip(entries) {
                match place {
                    Place::Zero | Place::Hole => {
                        let is_zero = place == Place::Zero;
                        let kind = if is_zero { HoleKind::Zero } else { HoleKind::Discard };
                        self.pack_hole(&mut packer, kind, run).await?;
                        self.pace.packed_hole(run.count);
                    }
                    Place::Log(place) => {
                        let from = (place, entry);
                        self.pack_data(&mut packer, run, from, &mut content).await?;
                    }
                    Place::Memory => self.pack_memory(&mut packer, run, &mut content).await?,
                }
            }
        }
        self.pace.all_packed(self.core.runtime.now());
        let (chunks, rest) = packer.finish().await?;
        if planted::is(Bug::RecycleBeforeManifest) {
            let _ = self.log.reclaim(position);
        }
        if planted::is(Bug::FrozenDroppedEarly) {
            self.maps.borrow_mut().frozen.pop_front();
        }
        Ok(Sealed { chunks, rest, position })
    }

    pub(super) async fn pack_hole(
        &self,
        packer: &mut Packer<'_, E>,
        hole: HoleKind,
        run: ShardRun,
    ) -> Result<(), VolumeError> {
        let extent = self.shared.layout.span(self.id, run);
        let filter = (extent.count() != run.count).then_some(self.id);
        packer.hole(hole, extent, filter).await
    }

    /// Freezes what belongs to a cut, the oldest one that is not published, and tells the newest
    /// record of it.
    fn freeze_for(&self, cut: Epoch) -> Lsn {
        let mut maps = self.maps.borrow_mut();
        self.freeze(&mut maps, cut.next());
        let frozen = maps.frozen.front().expect("an epoch ends by a freeze");
        assert_eq!(frozen.epoch, cut, "cuts are sealed in the order of their epochs");
        self.syncing_bytes.set(frozen.map.blocks() * BLOCK_BYTES as u64);
        let (held, most) = (self.core.cache.borrow().held(), self.core.tuning.unlogged_blocks);
        let now = self.core.runtime.now();
        self.pace.begin(frozen.map.blocks(), held.into(), most.into(), now);
        frozen.position.unwrap_or(Lsn(0))
    }

    /// The next few frozen runs from a block on. One that begins before it counts from there: what
    /// was in memory as several runs may have gone to the log as one meanwhile.
    fn frozen_group(&self, from: ShardBlock) -> Vec<(ShardRun, Place)> {
        let maps = self.maps.borrow();
        let frozen = maps.frozen.front().expect("frozen until it is published");
        let Some(first) = frozen.map.next_from(from) else { return Vec::new() };
        let others = frozen.map.iter_from(first.0.end()).map(|(run, place)| (run, *place));
        let mut blocks = 0;
        let fits = |(_, place): &(ShardRun, Place)| {
            let is_first = blocks == 0;
            blocks += match place {
                Place::Log(place) => u64::from(place.blocks()),
                Place::Zero | Place::Hole | Place::Memory => 1,
            };
            is_first || blocks <= SEAL_READ_BLOCKS
        };
        std::iter::once(first).chain(others).take(SEAL_READS).take_while(fits).collect()
    }

    /// Reads the log entries of a few runs that memory lacks, all at a time: one after the other
    /// they would take longer than the store does.
    async fn read_group(
        &self,
        packer: &mut Packer<'_, E>,
        group: &[(ShardRun, Place)],
    ) -> Result<Vec<Option<Entry<E>>>, VolumeError> {
        let lacks = |(run, place): &(ShardRun, Place)| match place {
            Place::Zero | Place::Hole | Place::Memory => None,
            Place::Log(place) => {
                let (maps, cache) = (self.maps.borrow(), self.core.cache.borrow());
                let is_cached = maps.frozen_content(0, self.volume, *run, &cache).is_some();
                (!is_cached).then_some((*run, *place))
            }
        };
        let lacking: Vec<_> = group.iter().map(lacks).collect();
        if lacking.iter().all(Option::is_none) {
            return Ok(lacking.into_iter().map(|_| None).collect());
        }
        // Who has memory for a chunk has some for this, too.
        packer.room_blocks().await?;
        let read = async |lacking: Option<(ShardRun, LogPlace)>| match lacking {
            Some((run, place)) => self.log.read_entry(place, self.entry_extent(run, place)).await,
            None => Ok(None),
        };
        abreast(SEAL_READS, lacking.into_iter().map(read)).await
    }

    /// Packs blocks from the memory cache, or from their log entry: the log keeps a frozen one until
    /// its cut is published.
    async fn pack_data(
        &self,
        packer: &mut Packer<'_, E>,
        run: ShardRun,
        (place, entry): (LogPlace, Option<Entry<E>>),
        content: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let mut done = 0;
        while done < run.count {
            let room = packer.room_blocks().await?;
            let start = ShardBlock(run.start.0 + done);
            let mut part = ShardRun { start, count: room.min(run.count - done) };
            let lba = self.shared.layout.to_volume(self.id, start);
            if let Some(entry) = &entry {
                let from = (usize::from(place.skipped()) + done as usize) * BLOCK_BYTES;
                let blocks = &entry[from..from + part.count as usize * BLOCK_BYTES];
                packer.data(lba, blocks).await?;
            } else if let Some(packed) = self.pack_cached(packer, part) {
                part.count = packed;
            } else {
                content.resize(part.count as usize * BLOCK_BYTES, 0);
                let found = self.fetch_logged(part, place.skip(done), content).await?;
                assert!(found, "the log keeps a frozen entry until its cut is published");
                packer.data(lba, content).await?;
            }
            if let Some(frozen) = self.maps.borrow().frozen.front() {
                frozen.packed(self.volume, part, &mut self.core.cache.borrow_mut());
            }
            self.pace.packed(part.count);
            packer.pause_after(part.count as usize * BLOCK_BYTES).await;
            done += part.count;
        }
        Ok(())
    }

    /// Packs blocks that were in memory only, or are still.
    async fn pack_memory(
        &self,
        packer: &mut Packer<'_, E>,
        run: ShardRun,
        content: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let mut start = run.start;
        while start < run.end() {
            let room = packer.room_blocks().await?.min(SEAL_SLICE_BLOCKS);
            // One that was closed meanwhile has nothing in memory any more.
            self.shared.alive()?;
            let count = room.min(run.end().0 - start.0).min(self.stripe_left(start));
            // Nothing awaits between this look and the packing.
            let (mut part, place) = self.frozen_part(ShardRun { start, count });
            if let Place::Log(place) = place {
                // Somebody flushed meanwhile.
                self.pack_data(packer, part, (place, None), content).await?;
            } else {
                let Some(packed) = self.pack_held(packer, part) else {
                    // The chunk takes no further entry: the next one does.
                    packer.next_chunk().await?;
                    continue;
                };
                part.count = packed;
                self.pace.packed(packed);
                packer.pause_after(part.count as usize * BLOCK_BYTES).await;
            }
            start = part.end();
        }
        Ok(())
    }

    /// The first part of a frozen run that has one place, as the map says now.
    fn frozen_part(&self, run: ShardRun) -> (ShardRun, Place) {
        let maps = self.maps.borrow();
        let frozen = maps.frozen.front().expect("frozen until it is published");
        let (part, place) = frozen.map.first_part(run);
        (part, place.expect("what is frozen stays frozen"))
    }

    /// Packs blocks straight from the memory cache, if they are there. Returns how many, at least
    /// one; `None`: nothing was packed.
    fn pack_cached(&self, packer: &mut Packer<'_, E>, run: ShardRun) -> Option<u64> {
        let (maps, cache) = (self.maps.borrow(), self.core.cache.borrow());
        let blocks = maps.frozen_content(0, self.volume, run, &cache)?;
        let packed = packer.blocks(self.shared.layout.to_volume(self.id, run.start), blocks);
        (packed > 0).then_some(packed)
    }

    /// The same with blocks that only memory has.
    fn pack_held(&self, packer: &mut Packer<'_, E>, run: ShardRun) -> Option<u64> {
        let (maps, cache) = (self.maps.borrow(), self.core.cache.borrow());
        let frozen = maps.frozen.front().expect("frozen until it is published");
        let blocks = frozen.held(self.volume, run, &cache);
        let packed = packer.blocks(self.shared.layout.to_volume(self.id, run.start), blocks);
        (packed > 0).then_some(packed)
    }

    /// A manifest is durable: its chunks become part of the map, in slices. If it is that of a cut,
    /// the frozen map covers them until then; then that and its log go.
    pub(super) async fn published(&self, chunks: &[ChunkIndex], cut: Option<EndedCut>) {
        let mut applied = 0;
        for index in chunks {
            self.maps.borrow_mut().sealed.note_chunk(index);
            self.core.note_frames(&self.shared, index);
            for (run, content) in index.pieces(self.shared.layout, self.id) {
                if planted::is(Bug::RunDroppedByFirstBlock)
                    && self.maps.borrow().dirty.get(run.start).is_some()
                {
                    continue;
                }
                self.maps.borrow_mut().sealed.apply(run, index.info().id, content);
                applied += 1;
                if applied % MAP_SLICE_ENTRIES == 0 {
                    self.core.runtime.pause().await;
                }
            }
        }
        let Some(EndedCut { epoch: cut, is_published }) = cut else { return };
        let is_it = |frozen: &Frozen| frozen.epoch == cut || planted::is(Bug::FrozenDroppedEarly);
        assert!(self.maps.borrow().frozen.front().is_none_or(is_it), "cuts come in order");
        while self.settle_frozen() {
            self.core.runtime.pause().await;
        }
        while self.drop_aside() {
            self.core.runtime.pause().await;
        }
        let frozen = self.maps.borrow_mut().frozen.pop_front();
        if let Some(position) = frozen.and_then(|frozen| frozen.position).filter(|_| is_published)
            && self.log.reclaim(position)
        {
            self.core.note_dirty(self.volume, true);
        }
        if self.maps.borrow().dirty.is_empty() {
            self.core.runtime.spawn(self.log.clone().trim());
        }
        self.syncing_bytes.set(0);
        if self.pace.end() {
            // Who waited for this cut waits for the next one soon.
            self.core.note_dirty(self.volume, true);
        }
    }

    /// Forgets some of what was kept for the cut; true if there is more.
    fn drop_aside(&self) -> bool {
        let maps = self.maps.borrow();
        let mut cache = self.core.cache.borrow_mut();
        maps.frozen.front().is_some_and(|frozen| frozen.drop_aside(self.volume, &mut cache))
    }
}
