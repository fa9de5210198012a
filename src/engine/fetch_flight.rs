//! Single flight: what one task asks of the object store, any number of tasks wait for.
//!
//! A flight runs as a task of its own, so no reader that gives up takes it away from the others.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use chunk::chunk::payload_range;
use chunk::limits::FRAME_BLOCKS;
use chunk::map_object::read_page;
use chunk::{
    ChunkId, ErrorKind, Frames, MapPage, ObjectName, ObjectStore, PageIdentity, PageIndex, PageRef,
    PayloadBlock, ReadError, StoreError,
};
use futures_lite::future::or;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, VolumeId};

use super::Env;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{FRAMES_AT_ONCE, READ_TIMEOUT, RETRY_FIRST};
use super::read::longer;
use super::shared::Shared;
use super::signal::Signal;

/// Something that was asked for once and that several tasks wait for.
pub(super) struct Flight<T> {
    outcome: RefCell<Option<Result<T, VolumeError>>>,
    waiting: RefCell<Vec<Rc<Signal>>>,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { outcome: RefCell::default(), waiting: RefCell::default() }
    }
}

impl<T: Clone> Flight<T> {
    /// The outcome, once it is there.
    pub(super) fn outcome(&self) -> Option<Result<T, VolumeError>> {
        self.outcome.borrow().clone()
    }

    /// Whether it is there.
    pub(super) fn has_landed(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Notifies `signal` when the outcome is there.
    pub(super) fn tell(&self, signal: &Rc<Signal>) {
        if !self.has_landed() {
            self.waiting.borrow_mut().push(signal.clone());
        }
    }

    pub(super) fn land(&self, outcome: Result<T, VolumeError>) {
        let before = self.outcome.replace(Some(outcome));
        assert!(before.is_none(), "a flight lands once");
        for signal in self.waiting.take() {
            signal.notify();
        }
    }
}

/// Payload blocks of one chunk on their way from the store.
pub(super) struct RangeFlight {
    pub(super) blocks: Range<u32>,
    pub(super) flight: Flight<Rc<Vec<u8>>>,
}

impl RangeFlight {
    pub(super) fn new(blocks: Range<u32>) -> Rc<Self> {
        Rc::new(Self { blocks, flight: Flight::default() })
    }
}

type PageFlight = Flight<Rc<MapPage>>;

/// A map page at a place; a volume may have it at another one meanwhile.
type PageKey = (VolumeId, PageIndex, ChunkId, u32);

type RangesByChunk = AHashMap<(VolumeId, ChunkId), Vec<Rc<RangeFlight>>>;

/// What a core has on its way from the store.
#[derive(Default)]
pub(super) struct Fetches {
    ranges: RefCell<RangesByChunk>,
    pages: RefCell<AHashMap<PageKey, Rc<PageFlight>>>,
}

impl Fetches {
    /// The flight that brings a payload block, or how many blocks from it on none brings.
    pub(super) fn find(
        &self,
        volume: VolumeId,
        chunk: ChunkId,
        block: u32,
    ) -> Result<Rc<RangeFlight>, u32> {
        let ranges = self.ranges.borrow();
        let Some(flights) = ranges.get(&(volume, chunk)) else { return Err(u32::MAX) };
        if let Some(found) = flights.iter().find(|flight| flight.blocks.contains(&block)) {
            return Ok(found.clone());
        }
        let next = flights.iter().map(|flight| flight.blocks.start).filter(|start| *start > block);
        Err(next.min().map_or(u32::MAX, |start| start - block))
    }

    fn remove(&self, volume: VolumeId, chunk: ChunkId, gone: &Rc<RangeFlight>) {
        let mut ranges = self.ranges.borrow_mut();
        let flights = ranges.get_mut(&(volume, chunk)).expect("it was put there");
        flights.retain(|flight| !Rc::ptr_eq(flight, gone));
        if flights.is_empty() {
            ranges.remove(&(volume, chunk));
        }
    }
}

impl<E: Env> Core<E> {
    /// Payload blocks of a chunk, from the store: those that were asked for already, or in a
    /// flight of their own.
    pub(super) fn fetch_range(
        self: &Rc<Self>,
        shared: &Arc<Shared>,
        chunk: ChunkId,
        wanted: Range<u32>,
        blocks: Range<u32>,
    ) -> Rc<RangeFlight> {
        let volume = shared.lineage.writer(chunk);
        if let Ok(found) = self.fetches.find(volume, chunk, wanted.start)
            && wanted.end <= found.blocks.end
        {
            return found;
        }
        let started = RangeFlight::new(blocks);
        let key = (volume, chunk);
        self.fetches.ranges.borrow_mut().entry(key).or_default().push(started.clone());
        let (core, shared, flight) = (self.clone(), shared.clone(), started.clone());
        self.runtime.spawn(async move {
            let outcome = core.get_payload(&shared, chunk, wanted, flight.blocks.clone()).await;
            let bytes = outcome.as_ref().ok().cloned();
            flight.flight.land(outcome);
            core.fetches.remove(volume, chunk, &flight);
            let first = flight.blocks.start;
            drop(flight);
            if let Some(bytes) = bytes {
                core.chunk_cache.fill(&core.disk, (volume, chunk), first, &bytes).await;
            }
        });
        started
    }

    /// Reads payload blocks of a chunk; those after the wanted ones only as far as the object goes.
    async fn get_payload(
        &self,
        shared: &Shared,
        chunk: ChunkId,
        wanted: Range<u32>,
        blocks: Range<u32>,
    ) -> Result<Rc<Vec<u8>>, VolumeError> {
        let name = shared.lineage.chunk_name(chunk);
        let frames = match self.frames(shared, chunk).await {
            Err(_) if planted::is(Bug::ZerosOnStoreError) => return Err(timed_out(&name)),
            frames => frames?,
        };
        if let Some(frames) = frames.filter(Frames::is_framed) {
            return self.get_framed(shared, &name, frames, (wanted, blocks)).await.map(Rc::new);
        }
        let whole = payload_range(PayloadBlock(blocks.start), blocks.len() as u32);
        let least = payload_range(PayloadBlock(blocks.start), wanted.end - blocks.start);
        let get = async || {
            let object = match self.store.get_range(&name, whole.clone()).await {
                Err(StoreError::Range { len, .. }) if len >= least.end && len < whole.end => {
                    let unit = BLOCK_BYTES as u64;
                    let end = whole.start + (len - whole.start) / unit * unit;
                    self.store.get_range(&name, whole.start..end).await
                }
                other => other,
            };
            Ok(object?)
        };
        if planted::is(Bug::ZerosOnStoreError) && get().await.is_err() {
            return Err(timed_out(&name));
        }
        self.patiently(shared.volume, get).await.map(Rc::new)
    }

    /// The same, of a chunk with frames that may be compressed.
    async fn get_framed(
        &self,
        shared: &Shared,
        name: &ObjectName,
        frames: Frames,
        (wanted, blocks): (Range<u32>, Range<u32>),
    ) -> Result<Vec<u8>, VolumeError> {
        let corrupt = |found: String| VolumeError::Corrupt {
            volume: shared.volume.to_string(),
            lba: 0,
            found: format!("{name}: {found}"),
        };
        if wanted.end > frames.payload_blocks() {
            return Err(corrupt(format!("it has no payload block {}", wanted.end - 1)));
        }
        let blocks = blocks.start..blocks.end.min(frames.payload_blocks());
        let range = frames.range(blocks.clone());
        let get = async || Ok(self.store.get_range(name, range.clone()).await?);
        if planted::is(Bug::ZerosOnStoreError) && get().await.is_err() {
            return Err(timed_out(name));
        }
        let stored = self.patiently(shared.volume, get).await?;
        let touched = blocks.end.div_ceil(FRAME_BLOCKS) - blocks.start / FRAME_BLOCKS;
        let unpacked = match touched <= FRAMES_AT_ONCE {
            true => frames.unpack(blocks, &stored),
            false => self.runtime.compute(move || frames.unpack(blocks, &stored)).await,
        };
        unpacked.map_err(|error| corrupt(error.to_string()))
    }

    /// A map page as it is in the store.
    pub(super) async fn fetch_page(
        self: &Rc<Self>,
        identity: PageIdentity,
        at: PageRef,
        deadline: Duration,
    ) -> Result<Rc<MapPage>, VolumeError> {
        let key = (identity.volume, identity.index, at.object, at.offset);
        let known = self.fetches.pages.borrow().get(&key).cloned();
        let flight = known.unwrap_or_else(|| {
            let started = Rc::new(PageFlight::default());
            self.fetches.pages.borrow_mut().insert(key, started.clone());
            let (core, flight) = (self.clone(), started.clone());
            self.runtime.spawn(async move {
                let ask = async || read_page(&core.store, identity, at).await;
                let page = core.patiently(identity.volume, ask).await.map(Rc::new);
                core.fetches.pages.borrow_mut().remove(&key);
                flight.land(page);
            });
            started
        });
        let landed = Rc::new(Signal::default());
        flight.tell(&landed);
        let outcome = self.until(&landed, deadline, || flight.outcome()).await;
        outcome.unwrap_or_else(|| Err(timed_out(&at.object.map_name(identity.volume))))
    }

    /// Waits for a value that comes with a signal; `None` at the deadline.
    pub(super) async fn until<T>(
        &self,
        signal: &Signal,
        deadline: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = ready() {
            return Some(value);
        }
        let left = deadline.saturating_sub(self.runtime.now());
        let expired = async {
            self.runtime.sleep(left).await;
            None
        };
        or(async { Some(signal.until(ready).await) }, expired).await
    }

    /// Asks the store again while it may help, in all no longer than a read may take.
    pub(super) async fn patiently<T, F>(&self, volume: VolumeId, ask: F) -> Result<T, VolumeError>
    where
        F: AsyncFn() -> Result<T, ReadError>,
    {
        let start = self.runtime.now();
        let mut pause = RETRY_FIRST;
        loop {
            let begun = self.runtime.now();
            let outcome = ask().await;
            let now = self.runtime.now();
            self.note_call(&outcome, ReadError::kind, now.saturating_sub(begun));
            let error = match outcome {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let spent = now.saturating_sub(start);
            match error.kind() {
                ErrorKind::Retry | ErrorKind::NoSpace if spent < READ_TIMEOUT => {}
                ErrorKind::Retry | ErrorKind::NoSpace => return Err(error.into()),
                ErrorKind::Corrupt | ErrorKind::Fenced => {
                    let (volume, found) = (volume.to_string(), error.to_string());
                    return Err(VolumeError::Corrupt { volume, lba: 0, found });
                }
            }
            self.runtime.sleep(pause).await;
            pause = longer(pause);
        }
    }
}

/// What a read says that waited for the store as long as a read may.
pub(super) fn timed_out(object: &ObjectName) -> VolumeError {
    let source = std::io::ErrorKind::TimedOut.into();
    StoreError::Io { action: "read", object: object.to_string(), source }.into()
}

#[cfg(test)]
mod tests;
