//! Fetching what a request misses in memory: several reads at a time, of the log, of the cache on
//! the local disk, and of the store.
//!
//! A chunk never changes, so what is fetched of it is what the map said when it was asked, however
//! long that takes. A log entry can go while its turn comes: a manifest covers it by then, and the
//! map knows a newer home.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use chunk::ChunkId;
use wal::disk::{Disk, DiskFile};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Lba, ShardBlock, ShardRun};

use super::Env;
use super::chunk_cache::ChunkKey;
use super::error::VolumeError;
use super::fetch_flight::{RangeFlight, timed_out};
use super::fetch_plan::{ChunkJob, Job, Spot, Wanted, plan, rounded};
use super::limits::{COPY_QUANTUM_BYTES, FETCHES_PER_REQUEST};
use super::log_state::Entry;
use super::place::LogPlace;
use super::read::Home;
use super::shard::Shard;
use super::signal::Signal;

/// What is to be fetched.
#[derive(Default)]
pub(super) struct Fetch {
    /// Written since the memory cache was looked at.
    pub(super) in_memory: Vec<ShardRun>,
    pub(super) logged: Vec<(ShardRun, LogPlace)>,
    pub(super) chunks: Vec<Wanted>,
}

/// Where a task of its own puts what it read.
type Slot<T> = Rc<RefCell<Option<T>>>;
type CacheRead<E> = <<<E as Env>::Disk as Disk>::File as DiskFile>::Read;

/// A read under way.
enum Running<E: Env> {
    Log(ShardRun, LogPlace, Slot<Result<Option<Entry<E>>, VolumeError>>),
    Cached(ChunkJob, Slot<Option<CacheRead<E>>>),
    Store(ChunkJob, Rc<RangeFlight>),
}

impl<E: Env> Running<E> {
    fn has_ended(&self) -> bool {
        match self {
            Self::Log(_, _, slot) => slot.borrow().is_some(),
            Self::Cached(_, slot) => slot.borrow().is_some(),
            Self::Store(_, flight) => flight.flight.has_landed(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Log(_, place, _) => usize::from(place.blocks()) * BLOCK_BYTES,
            Self::Cached(job, _) | Self::Store(job, _) => job.blocks.len() * BLOCK_BYTES,
        }
    }
}

/// Bytes that one read under way has of what the core may fetch at a time.
struct Share<'c>(&'c Cell<usize>, usize);

impl<'c> Share<'c> {
    fn take(fetching: &'c Cell<usize>, bytes: usize) -> Self {
        fetching.set(fetching.get() + bytes);
        Self(fetching, bytes)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

/// What became of a read.
enum Ended {
    /// All of it was taken.
    Taken,
    /// The map knows another home by now.
    Moved(ShardRun),
    /// The local disk has not what the store has.
    Lost(ChunkJob),
}

impl<E: Env> Shard<E> {
    /// Fetches what is wanted, hands it to `take` in parts, and keeps it in the memory cache.
    /// Returns the runs that are no longer where the map said: there the map knows better.
    pub(super) async fn fetch(
        &self,
        mut fetch: Fetch,
        deadline: Duration,
        mut take: impl FnMut(ShardRun, &[u8]),
    ) -> Result<Vec<ShardRun>, VolumeError> {
        let mut moved = Vec::new();
        for run in std::mem::take(&mut fetch.in_memory) {
            self.take_cached(run, &mut take, &mut moved);
        }
        if let (true, true, [(run, place)]) =
            (moved.is_empty(), fetch.chunks.is_empty(), &fetch.logged[..])
        {
            let entry = self.log.read_entry(*place, self.entry_extent(*run, *place)).await?;
            let ended = self.take_logged(*run, *place, entry, &mut take);
            return Ok(if matches!(ended, Ended::Taken) { Vec::new() } else { vec![*run] });
        }
        let mut waiting = self.plan(fetch);
        let arrived = Rc::new(Signal::default());
        let mut running: Vec<Running<E>> = Vec::new();
        let mut shares = Vec::new();
        let mut slice = 0;
        loop {
            // One at a time is every request's right; more is what the core has to spare.
            while running.len() < FETCHES_PER_REQUEST
                && (running.is_empty() || self.core.fetching.get() < self.core.tuning.fetch_bytes)
                && let Some(job) = waiting.pop_front()
            {
                let job = self.start(job, &arrived);
                shares.push(Share::take(&self.core.fetching, job.bytes()));
                running.push(job);
            }
            if running.is_empty() {
                return Ok(moved);
            }
            let at = self.first_ended(&running, &arrived, deadline).await?;
            let ended = running.remove(at);
            drop(shares.remove(at));
            slice += ended.bytes();
            match self.end(ended, &mut take)? {
                Ended::Taken => {}
                Ended::Moved(run) => moved.push(run),
                Ended::Lost(job) => waiting.push_front(Job::Chunk(job)),
            }
            if slice >= COPY_QUANTUM_BYTES {
                slice = 0;
                self.core.runtime.pause().await;
            }
        }
    }

    /// Hands out blocks that were in memory when the map was asked; those that are in the log alone
    /// by now moved.
    fn take_cached(
        &self,
        run: ShardRun,
        take: &mut impl FnMut(ShardRun, &[u8]),
        moved: &mut Vec<ShardRun>,
    ) {
        let cache = self.core.cache.borrow();
        for block in (run.start.0..run.end().0).map(ShardBlock) {
            let run = ShardRun { start: block, count: 1 };
            match cache.peek(self.volume, block) {
                Some(content) => take(run, content),
                None => moved.push(run),
            }
        }
    }

    fn plan(&self, fetch: Fetch) -> VecDeque<Job> {
        let (core, lineage) = (&self.core, &self.shared.lineage);
        let around = |chunk, blocks| self.around(chunk, blocks);
        let chunks = plan(fetch.chunks, around, |chunk, block| {
            let volume = lineage.writer(chunk);
            match core.fetches.find(volume, chunk, block) {
                Ok(flight) => {
                    let holds = flight.blocks.end - block;
                    (Spot::Flying(flight), holds)
                }
                Err(free) => {
                    let (is_cached, holds) = core.chunk_cache.look((volume, chunk), block);
                    let spot = if is_cached { Spot::Cached } else { Spot::Store };
                    (spot, holds.min(free))
                }
            }
        });
        let logged = fetch.logged.into_iter().map(|(run, place)| Job::Log(run, place));
        logged.chain(chunks.into_iter().map(Job::Chunk)).collect()
    }

    /// What the caches know a chunk by: clones have the chunks of their ancestors in common.
    fn chunk_key(&self, chunk: ChunkId) -> ChunkKey {
        (self.shared.lineage.writer(chunk), chunk)
    }

    /// The blocks of a chunk that a read of the store takes along: whole slots of the cache on the
    /// disk, and whole frames, where they are compressed.
    fn around(&self, chunk: ChunkId, blocks: Range<u32>) -> Range<u32> {
        let frames = self.core.frame_tables.get(self.chunk_key(chunk));
        let framed = frames.filter(|frames| blocks.end <= frames.payload_blocks());
        let blocks = framed.map_or(blocks.clone(), |frames| frames.around(blocks));
        rounded(&blocks, self.core.chunk_cache.granule())
    }

    fn start(&self, job: Job, arrived: &Rc<Signal>) -> Running<E> {
        match job {
            Job::Log(run, place) => {
                let entry = self.entry_extent(run, place);
                let (log, slot, signal) = (self.log.clone(), Slot::default(), arrived.clone());
                let found: Slot<_> = Rc::clone(&slot);
                self.core.runtime.spawn(async move {
                    let outcome = log.read_entry(place, entry).await;
                    found.replace(Some(outcome));
                    signal.notify();
                });
                Running::Log(run, place, slot)
            }
            Job::Chunk(job) => match &job.spot {
                Spot::Flying(flight) => {
                    let flight = flight.clone();
                    flight.flight.tell(arrived);
                    Running::Store(job, flight)
                }
                Spot::Cached => {
                    let (slot, signal) = (Slot::default(), arrived.clone());
                    let (core, found) = (self.core.clone(), Rc::clone(&slot));
                    let (key, blocks) = (self.chunk_key(job.chunk), job.blocks.clone());
                    self.core.runtime.spawn(async move {
                        let read = core.chunk_cache.read(key, blocks).await;
                        found.replace(Some(read));
                        signal.notify();
                    });
                    Running::Cached(job, slot)
                }
                Spot::Store => {
                    let (wanted, blocks) = (job.wanted(), job.blocks.clone());
                    let flight = self.core.fetch_range(&self.shared, job.chunk, wanted, blocks);
                    flight.flight.tell(arrived);
                    Running::Store(job, flight)
                }
            },
        }
    }

    /// Waits for one of the reads; for the store no longer than until the deadline.
    async fn first_ended(
        &self,
        running: &[Running<E>],
        arrived: &Signal,
        deadline: Duration,
    ) -> Result<usize, VolumeError> {
        let ended = || running.iter().position(Running::has_ended);
        let asks_store = |read: &Running<E>| match read {
            Running::Store(job, _) => Some(self.shared.lineage.chunk_name(job.chunk)),
            Running::Log(..) | Running::Cached(..) => None,
        };
        match running.iter().find_map(asks_store) {
            None => Ok(arrived.until(ended).await),
            Some(name) => {
                let ended = self.core.until(arrived, deadline, ended).await;
                ended.ok_or_else(|| timed_out(&name))
            }
        }
    }

    fn end(
        &self,
        ended: Running<E>,
        take: &mut impl FnMut(ShardRun, &[u8]),
    ) -> Result<Ended, VolumeError> {
        match ended {
            Running::Log(run, place, slot) => {
                let entry = slot.take().expect("it has ended")?;
                Ok(self.take_logged(run, place, entry, take))
            }
            Running::Cached(job, slot) => {
                let is_right = match &slot.take().expect("it has ended") {
                    None => false,
                    Some(bytes) => {
                        let is_right = self.is_right(&job, job.blocks.start, bytes)
                            || planted::is(Bug::CacheUnchecked);
                        if is_right {
                            self.take_chunk(&job, job.blocks.start, bytes, take);
                        }
                        is_right
                    }
                };
                if is_right {
                    return Ok(Ended::Taken);
                }
                self.core.chunk_cache.forget(self.chunk_key(job.chunk), job.blocks.start);
                Ok(Ended::Lost(job.into_store_job(|chunk, blocks| self.around(chunk, blocks))))
            }
            Running::Store(job, flight) => {
                let bytes = match flight.flight.outcome().expect("it has landed") {
                    Ok(bytes) => bytes,
                    Err(_) if planted::is(Bug::ZerosOnStoreError) => {
                        let zeros = |part: &Wanted| vec![0; part.run.count as usize * BLOCK_BYTES];
                        job.parts.iter().for_each(|part| take(part.run, &zeros(part)));
                        return Ok(Ended::Taken);
                    }
                    Err(error) => return Err(error),
                };
                let first = flight.blocks.start;
                let is_right = self.is_right(&job, first, &bytes);
                if !is_right && !planted::is(Bug::NoChunkChecksum) {
                    let name = self.shared.lineage.chunk_name(job.chunk);
                    let lba = self.shared.layout.to_volume(self.id, job.parts[0].run.start);
                    let found = format!("{name} holds other bytes than were sealed");
                    return Err(self.corrupt(lba, found));
                }
                self.take_chunk(&job, first, &bytes, take);
                Ok(Ended::Taken)
            }
        }
    }

    fn take_logged(
        &self,
        run: ShardRun,
        place: LogPlace,
        entry: Option<Entry<E>>,
        take: &mut impl FnMut(ShardRun, &[u8]),
    ) -> Ended {
        let home = Home::Log(place);
        let Some(entry) = entry else {
            assert_ne!(self.version(run.start), Some(home), "the map names a home that is gone");
            return Ended::Moved(run);
        };
        let from = usize::from(place.skipped()) * BLOCK_BYTES;
        let content = &entry[from..from + run.count as usize * BLOCK_BYTES];
        take(run, content);
        self.keep_read(run, home, content);
        Ended::Taken
    }

    /// Whether bytes, from block `first` of the payload on, have all parts with their checksums.
    fn is_right(&self, job: &ChunkJob, first: u32, bytes: &[u8]) -> bool {
        job.parts.iter().all(|part| {
            let Some(content) = content(part, first, bytes) else { return false };
            let lba = self.shared.layout.to_volume(self.id, part.run.start);
            let mut blocks = content.chunks_exact(BLOCK_BYTES).zip(&part.sums).zip(lba.0..);
            let right = |((block, sum), lba): ((&[u8], &u32), u64)| {
                chunk::block_crc(Lba(lba), block) == *sum
            };
            blocks.all(right)
        })
    }

    fn take_chunk(
        &self,
        job: &ChunkJob,
        first: u32,
        bytes: &[u8],
        take: &mut impl FnMut(ShardRun, &[u8]),
    ) {
        for part in &job.parts {
            let content = content(part, first, bytes).expect("looked at before");
            take(part.run, content);
            self.keep_read(part.run, part.home(), content);
        }
    }

    /// Puts what was read in the memory cache, if it is still the newest version.
    fn keep_read(&self, run: ShardRun, home: Home, content: &[u8]) {
        let still = self.maps.borrow().resolve(run);
        if still != Ok(vec![(run, home)]) && !planted::is(Bug::StaleCacheFill) {
            return;
        }
        let mut cache = self.core.cache.borrow_mut();
        for (block, content) in (run.start.0..).zip(content.chunks_exact(BLOCK_BYTES)) {
            let block = ShardBlock(block);
            // Another reader of the same bytes may have been first.
            if cache.peek(self.volume, block).is_none() || planted::is(Bug::StaleCacheFill) {
                cache.put(self.volume, block, content);
            }
        }
    }
}

/// The bytes of a part, within those from block `first` of the payload on.
fn content<'b>(part: &Wanted, first: u32, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let from = (part.first.0 - first) as usize * BLOCK_BYTES;
    bytes.get(from..from + part.run.count as usize * BLOCK_BYTES)
}
