//! Sealing: the frozen part of a shard, packed into chunks.
//!
//! What a power cut leaves after each step:
//! 1. the map is frozen: nothing changed on disk; the log has it all.
//! 2. chunks are uploaded: objects that no manifest names, garbage under names never used again.
//! 3. the manifest is published (by the coordinator): the chunks count, the log below the cut is
//!    skipped by recovery.
//! 4. the frozen map is dropped and segments are given back: only memory changes; a segment is
//!    overwritten later, and what it held is covered by step 3.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use chunk::ObjectStore;
use chunk::{
    ChunkBuilder, ChunkIndex, ChunkInfo, ErrorKind, ExtentMap, MapObjectBuilder, ObjectName,
};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Epoch, Extent, HoleKind, Lba, Lsn, ShardBlock, ShardId, ShardRun};

use super::Env;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{MAP_SLICE_ENTRIES, RETRY_FIRST, SEAL_SLICE_BYTES, UPLOADS_PER_SHARD};
use super::message::{ObjectIds, Sealed};
use super::place::Place;
use super::shard::Shard;
use super::shared::Shared;
use super::signal::Signal;

impl<E: Env> Shard<E> {
    /// Freezes what belongs to the cut, if that has not happened yet, and seals it. May be called
    /// again for the same cut if it failed.
    ///
    /// # Errors
    /// The volume is stopped, or the log does not give back what was written.
    pub(super) async fn seal(&self, cut: Epoch) -> Result<Sealed, VolumeError> {
        let (map, position) = self.freeze_for(cut);
        let mut packer = Packer::new(&self.core, &self.shared, &self.ids, cut);
        let mut content = Vec::new();
        for (run, place) in map.iter() {
            match *place {
                Place::Zero => self.pack_hole(&mut packer, HoleKind::Zero, run).await?,
                Place::Hole => self.pack_hole(&mut packer, HoleKind::Discard, run).await?,
                Place::Log(logged) => {
                    content.resize(run.count as usize * BLOCK_BYTES, 0);
                    let found = self.copy_cached(run, &mut content)
                        || self.fetch_logged(run, logged, &mut content).await?;
                    assert!(found, "the log keeps a frozen entry until its cut is published");
                    let lba = self.shared.layout.to_volume(self.id, run.start);
                    packer.data(lba, &content).await?;
                }
            }
        }
        let (chunks, rest) = packer.finish().await?;
        if planted::is(Bug::RecycleBeforeManifest) {
            let _ = self.log.reclaim(position);
        }
        if planted::is(Bug::FrozenDroppedEarly) {
            self.maps.borrow_mut().frozen = None;
        }
        Ok(Sealed { chunks, rest, position })
    }

    async fn pack_hole(
        &self,
        packer: &mut Packer<'_, E>,
        hole: HoleKind,
        run: ShardRun,
    ) -> Result<(), VolumeError> {
        let extent = self.shared.layout.span(self.id, run);
        let filter = (extent.count() != run.count).then_some(self.id);
        packer.hole(hole, extent, filter).await
    }

    fn freeze_for(&self, cut: Epoch) -> (Rc<ExtentMap<Place>>, Lsn) {
        let mut maps = self.maps.borrow_mut();
        if maps.epoch <= cut {
            self.freeze(&mut maps, cut.next());
        }
        let frozen = maps.frozen.as_ref().expect("an epoch ends by a freeze");
        (frozen.map.clone(), frozen.position)
    }

    /// Copies a frozen run from the memory cache, if all of it is there and none of it was
    /// overwritten since.
    fn copy_cached(&self, run: ShardRun, content: &mut [u8]) -> bool {
        let maps = self.maps.borrow();
        if maps.dirty.iter_range(run).any(|(_, newer)| newer.is_some()) {
            return false;
        }
        let mut cache = self.core.cache.borrow_mut();
        for (block, to) in (run.start.0..).zip(content.chunks_exact_mut(BLOCK_BYTES)) {
            match cache.get(self.volume, ShardBlock(block)) {
                Some(cached) => to.copy_from_slice(cached),
                None => return false,
            }
        }
        true
    }

    /// The manifest of the newest cut is durable: its chunks become part of the map, in slices,
    /// while the frozen map still covers them; then the frozen map and its log go.
    pub(super) async fn published(&self, chunks: &[ChunkIndex]) {
        let mut applied = 0;
        for index in chunks {
            self.maps.borrow_mut().sealed.note_chunk(index);
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
        let frozen = self.maps.borrow_mut().frozen.take();
        if let Some(frozen) = frozen {
            let still_full = self.log.reclaim(frozen.position);
            if still_full {
                self.core.note_dirty(self.volume, true);
            }
        }
        if self.maps.borrow().dirty.is_empty() {
            self.core.runtime.spawn(self.log.clone().trim());
        }
        self.syncing_bytes.set(0);
    }
}

/// Packs extents into chunks and uploads those that are full.
pub(super) struct Packer<'s, E: Env> {
    core: &'s Core<E>,
    shared: &'s Shared,
    ids: &'s RefCell<ObjectIds>,
    cut: Epoch,
    builder: Option<ChunkBuilder>,
    uploads: Uploads<E>,
    chunks: Vec<ChunkIndex>,
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
        Self { core, shared, ids, cut, builder: None, uploads, chunks: Vec::new(), slice: 0 }
    }

    fn builder(&mut self) -> &mut ChunkBuilder {
        let (volume, layout, epoch) = (self.shared.volume, self.shared.layout, self.cut);
        let (ids, core) = (self.ids, self.core);
        self.builder.get_or_insert_with(|| {
            let info = ChunkInfo { volume, id: ids.borrow_mut().draw(), layout, epoch };
            ChunkBuilder::reusing(core.objects.borrow_mut().pop().unwrap_or_default(), info)
        })
    }

    pub(super) async fn data(&mut self, lba: Lba, content: &[u8]) -> Result<(), VolumeError> {
        let (mut lba, mut rest) = (lba, content);
        while !rest.is_empty() {
            let room = self.core.tuning.chunk_blocks - self.builder().payload_blocks();
            let most = rest.len().min(room as usize * BLOCK_BYTES);
            let taken = self.builder().push_data(lba, &rest[..most]);
            rest = &rest[taken * BLOCK_BYTES..];
            lba = Lba(lba.0 + taken as u64);
            if !rest.is_empty() {
                self.next_chunk().await?;
            }
        }
        self.pause_after(content.len()).await;
        Ok(())
    }

    pub(super) async fn hole(
        &mut self,
        hole: HoleKind,
        extent: Extent,
        filter: Option<ShardId>,
    ) -> Result<(), VolumeError> {
        while !self.builder().push_hole(hole, extent, filter) {
            self.next_chunk().await?;
        }
        self.pause_after(BLOCK_BYTES).await;
        Ok(())
    }

    async fn pause_after(&mut self, bytes: usize) {
        self.slice += bytes;
        if self.slice >= SEAL_SLICE_BYTES {
            self.slice = 0;
            self.core.runtime.pause().await;
        }
    }

    async fn next_chunk(&mut self) -> Result<(), VolumeError> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        let (object, index) = builder.finish();
        let name = index.info().id.chunk_name(self.shared.volume);
        self.chunks.push(index);
        self.uploads.start(name, object).await
    }

    /// Waits for the uploads. What is less than half a chunk is handed on, to be packed together
    /// with that of other shards.
    async fn finish(mut self) -> Result<(Vec<ChunkIndex>, Option<Rest>), VolumeError> {
        let half = self.core.tuning.chunk_blocks / 2;
        let small = self.builder.take_if(|builder| builder.payload_blocks() < half);
        let rest = small.map(|builder| {
            let (object, index) = builder.finish();
            Rest { object, index }
        });
        Ok((self.finish_all().await?, rest))
    }

    /// Uploads what is left, full or not, and waits until everything is durable.
    pub(super) async fn finish_all(mut self) -> Result<Vec<ChunkIndex>, VolumeError> {
        self.next_chunk().await?;
        self.uploads.finish().await?;
        Ok(self.chunks)
    }
}

/// A chunk that is not uploaded yet.
pub struct Rest {
    /// The whole object.
    pub object: Vec<u8>,
    /// What is in it.
    pub index: ChunkIndex,
}

/// Puts of immutable objects, a bounded number at a time, each tried until it succeeds.
pub(super) struct Uploads<E: Env> {
    core: Rc<Core<E>>,
    shared: Arc<Shared>,
    progress: Rc<Progress>,
}

#[derive(Default)]
struct Progress {
    under_way: Cell<usize>,
    failed: RefCell<Option<VolumeError>>,
    changed: Signal,
}

impl<E: Env> Uploads<E> {
    pub(super) fn new(core: Rc<Core<E>>, shared: Arc<Shared>) -> Self {
        Self { core, shared, progress: Rc::default() }
    }

    /// Starts a put; waits while too many are under way.
    pub(super) async fn start(
        &self,
        name: ObjectName,
        object: impl Into<Bytes>,
    ) -> Result<(), VolumeError> {
        let object = object.into();
        self.wait(UPLOADS_PER_SHARD - 1).await?;
        let progress = self.progress.clone();
        progress.under_way.set(progress.under_way.get() + 1);
        let (core, shared) = (self.core.clone(), self.shared.clone());
        self.core.runtime.spawn(async move {
            if let Err(cause) = put(&core, &shared, &name, object).await {
                progress.failed.replace(Some(cause));
            }
            progress.under_way.set(progress.under_way.get() - 1);
            progress.changed.notify();
        });
        Ok(())
    }

    /// Starts the put of a map object, unless it is empty.
    pub(super) async fn start_map(&self, builder: MapObjectBuilder) -> Result<(), VolumeError> {
        if builder.is_empty() {
            return Ok(());
        }
        let name = builder.id().map_name(self.shared.volume);
        self.start(name, builder.finish()).await
    }

    /// Waits until all are durable.
    pub(super) async fn finish(&self) -> Result<(), VolumeError> {
        self.wait(0).await
    }

    async fn wait(&self, most: usize) -> Result<(), VolumeError> {
        let progress = &self.progress;
        let ended = || {
            let failed = progress.failed.borrow().clone();
            match failed {
                Some(cause) => Some(Err(cause)),
                None => (progress.under_way.get() <= most).then_some(Ok(())),
            }
        };
        progress.changed.until(ended).await
    }
}

/// Puts one object under a name that is never used again, until that succeeds or the volume stops.
async fn put<E: Env>(
    core: &Core<E>,
    shared: &Shared,
    name: &ObjectName,
    object: Bytes,
) -> Result<(), VolumeError> {
    let mut pause = RETRY_FIRST;
    loop {
        shared.alive()?;
        match core.store.put(name, object.clone()).await {
            Ok(()) => {
                keep_memory(core, object);
                return Ok(());
            }
            Err(_) if planted::is(Bug::UploadErrorIgnored) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error.into()),
            Err(_) => core.runtime.sleep(pause).await,
        }
        pause = super::read::longer(pause);
    }
}

/// Keeps the memory of an object that the store has, if nobody else holds it.
fn keep_memory<E: Env>(core: &Core<E>, object: Bytes) {
    let mut kept = core.objects.borrow_mut();
    if kept.len() < UPLOADS_PER_SHARD / 2
        && let Ok(memory) = object.try_into_mut()
    {
        kept.push(memory.into());
    }
}
