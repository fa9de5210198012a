//! What a client may know of a range without reading it.

use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Extent, Lba, ShardBlock, ShardId, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::limits::{COUNT_SLICE_ENTRIES, STATUS_BLOCKS, STATUS_RUNS};
use super::message::{Answer, Counts, ShardAsk, Status, StatusRun};
use super::place::Place;
use super::places::Places;
use super::read::Home;
use super::sealed::{PAGE_BLOCKS, PageNo, SealedPlace};
use super::shard::{Maps, Shard};
use super::volume::Volume;

impl From<Home> for Status {
    fn from(home: Home) -> Self {
        match home {
            Home::Log(_) | Home::Memory | Home::Sealed(SealedPlace::Data { .. }) => Self::Data,
            Home::Sealed(SealedPlace::Zero) => Self::Zero,
            Home::Sealed(SealedPlace::Hole) => Self::Hole,
        }
    }
}

impl<E: Env> Shard<E> {
    /// What the blocks of a run hold, from its start on, in a bounded number of runs: the answer
    /// may end before the run does, but is never empty.
    pub(super) async fn status(&self, run: ShardRun) -> Result<Vec<StatusRun>, VolumeError> {
        let mut found: Vec<StatusRun> = Vec::new();
        let mut at = run.start.0;
        while at < run.end().0 && found.len() < STATUS_RUNS {
            let rest = ShardRun { start: ShardBlock(at), count: run.end().0 - at };
            let untouched = self.maps.borrow().untouched(rest);
            if untouched > 0 {
                push(&mut found, ShardRun { count: untouched, ..rest }, Status::Hole);
                at += untouched;
                continue;
            }
            let page_end = (PageNo::of(rest.start).0 + 1) * PAGE_BLOCKS;
            let part = ShardRun { count: rest.count.min(page_end - at), ..rest };
            for (run, home) in self.resolve(part).await? {
                push(&mut found, run, home.into());
            }
            at = part.end().0;
        }
        Ok(found)
    }
}

impl Maps {
    /// How many blocks from the start of a run on no map knows anything of.
    fn untouched(&self, run: ShardRun) -> u64 {
        let end = PageNo(run.end().0.div_ceil(PAGE_BLOCKS));
        let page = self.sealed.next_page(PageNo::of(run.start), end);
        let first = [
            self.dirty.next_from(run.start).map(|(run, _)| run.start),
            self.sealed.next_delta(run.start),
            page.map(PageNo::start),
        ];
        let frozen = self.frozen.iter().filter_map(|frozen| frozen.map.next_from(run.start));
        let frozen = frozen.map(|(run, _)| run.start);
        let first = first.into_iter().flatten().chain(frozen).min().unwrap_or(run.end());
        first.min(run.end()).0.saturating_sub(run.start.0)
    }
}

fn push(found: &mut Vec<StatusRun>, run: ShardRun, status: Status) {
    match found.last_mut() {
        Some(last) if last.status == status && last.run.end() == run.start => {
            last.run.count += run.count;
        }
        _ => found.push(StatusRun { run, status }),
    }
}

impl<E: Env> Shard<E> {
    /// What the shard holds, in bytes. Zeros and holes take none.
    pub(super) async fn counts(&self) -> Counts {
        let block = BLOCK_BYTES as u64;
        let dirty = self.blocks_of(|maps| Some(&maps.dirty)).await;
        let mut frozen = DataBlocks::default();
        let cuts = self.maps.borrow().frozen.len();
        for index in 0..cuts {
            let cut = self.blocks_of(|maps| maps.frozen.get(index).map(|cut| &cut.map)).await;
            frozen.in_log += cut.in_log;
            frozen.in_memory += cut.in_memory;
        }
        let (buffered, log_files) = self.log.counts();
        let in_log = (dirty.in_log + frozen.in_log) * block;
        // Of these the map says that the log has them. Heads of records are in buffers as well.
        let buffered = buffered.min(in_log);
        Counts {
            dirty: (dirty.in_memory + frozen.in_memory) * block + buffered,
            logged: in_log - buffered,
            // Nothing once the last chunk is uploaded, though the map is kept for some longer.
            syncing: self.syncing_bytes.get().min((frozen.in_log + frozen.in_memory) * block),
            cached: self.core.cache.borrow().blocks() * block,
            log_files,
            // The coordinator knows them.
            written: 0,
            sealed: 0,
            stored: 0,
            unpublished_age: None,
            published_age: None,
            disk_cached: self.core.chunk_cache.bytes(),
            disk_cache: self.core.chunk_cache.counts(),
            store: self.core.health.borrow().state(),
        }
    }

    /// Blocks of a map that are data. The map may change between two parts of it.
    async fn blocks_of(&self, map: impl Fn(&Maps) -> Option<&Places>) -> DataBlocks {
        let (mut blocks, mut at) = (DataBlocks::default(), ShardBlock(0));
        loop {
            let mut walked = 0;
            if let Some(map) = map(&self.maps.borrow()) {
                for (run, place) in map.iter_from(at).take(COUNT_SLICE_ENTRIES) {
                    match place {
                        Place::Log(_) => blocks.in_log += run.count,
                        Place::Memory => blocks.in_memory += run.count,
                        Place::Zero | Place::Hole => {}
                    }
                    (at, walked) = (run.end(), walked + 1);
                }
            }
            if walked < COUNT_SLICE_ENTRIES {
                return blocks;
            }
            self.core.runtime.pause().await;
        }
    }
}

/// Blocks of a map that are neither zeros nor holes.
#[derive(Default)]
struct DataBlocks {
    in_log: u64,
    in_memory: u64,
}

/// Memory of one core that grows with its load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Append buffers, of the shard that has most of them.
    pub buffers: usize,
    /// Their bytes, of the shard that has most of those.
    pub appends: u64,
    /// Objects under way to the store.
    pub objects: usize,
    /// Their bytes.
    pub uploads: u64,
    /// Cached blocks.
    pub cached: u64,
}

impl<E: Env> super::core::Core<E> {
    /// What the core holds in memory.
    pub fn held(&self) -> Held {
        let (mut buffers, mut appends) = (0, 0);
        for shard in self.all_shards() {
            let state = shard.log.state.borrow();
            buffers = buffers.max(state.filled.len() + usize::from(state.open.is_some()));
            appends = appends.max(state.buffer_bytes());
        }
        let (objects, uploads) = self.uploads.under_way();
        Held {
            buffers,
            appends,
            objects,
            uploads,
            cached: self.cache.borrow().blocks() * BLOCK_BYTES as u64,
        }
    }
}

impl<E: Env> Volume<E> {
    /// What `len` bytes at `offset` hold, from the start on, as (bytes, status): neighbours
    /// differ; the answer may end before the range does (block granular), but is never empty.
    ///
    /// # Errors
    /// The map cannot be read.
    pub async fn status(&self, offset: u64, len: u64) -> Result<Vec<(u64, Status)>, VolumeError> {
        let block = BLOCK_BYTES as u64;
        let first = offset / block;
        let count = ((offset + len).div_ceil(block) - first).min(STATUS_BLOCKS);
        let extent = Extent::new(Lba(first), count).expect("a status request is not empty");
        let mut shards = Vec::new();
        for shard in (0..self.shared().layout.shards()).map(ShardId) {
            let runs = match self.shared().layout.owned(shard, extent) {
                None => Vec::new(),
                Some(run) if self.is_own(shard) => self.own().status(run).await?,
                Some(run) => match self.start(shard, ShardAsk::Status(run)).await.await? {
                    Answer::Status(runs) => runs,
                    _ => unreachable!("a status request is answered by statuses"),
                },
            };
            shards.push(runs.into_iter().peekable());
        }
        Ok(self.merge(extent, &mut shards, offset, len))
    }

    /// Lays the answers of the shards out along the volume, until one of them ends.
    fn merge<I: Iterator<Item = StatusRun>>(
        &self,
        extent: Extent,
        shards: &mut [std::iter::Peekable<I>],
        offset: u64,
        len: u64,
    ) -> Vec<(u64, Status)> {
        let layout = self.shared().layout;
        let mut merged: Vec<(u64, Status)> = Vec::new();
        let mut at = extent.lba().0;
        while at < extent.end().0 && merged.len() <= STATUS_RUNS {
            let runs = &mut shards[usize::from(layout.owner(Lba(at)).0)];
            let own = layout.to_shard(Lba(at));
            while runs.next_if(|run| run.run.end() <= own).is_some() {}
            let Some(run) = runs.peek() else { break };
            let stripe_end = (at / layout.stripe_blocks() + 1) * layout.stripe_blocks();
            let next = stripe_end.min(at + (run.run.end().0 - own.0)).min(extent.end().0);
            let start = (at * BLOCK_BYTES as u64).max(offset);
            let bytes = (next * BLOCK_BYTES as u64).min(offset + len) - start;
            match merged.last_mut() {
                Some((before, status)) if *status == run.status => *before += bytes,
                _ => merged.push((bytes, run.status)),
            }
            at = next;
        }
        merged
    }
}
