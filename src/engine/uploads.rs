//! Uploading: how many objects a core has in memory on their way to the store, and their puts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use chunk::{
    ChunkBuilder, ChunkIndex, ErrorKind, MapObjectBuilder, ObjectName, ObjectStore, StoreError,
};
use wal::BLOCK_BYTES;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::core::Core;
use super::error::VolumeError;
use super::limits::RETRY_FIRST;
use super::read::longer;
use super::shared::Shared;
use super::signal::Signal;

/// What a core may have in memory of objects that are being built or uploaded, over all volumes.
pub(super) struct UploadMemory {
    free: Rc<Free>,
    /// Objects under way, and their bytes.
    under_way: Cell<(usize, u64)>,
    /// Memory of objects that were uploaded, for the next ones.
    kept: RefCell<Vec<Vec<u8>>>,
    /// As many as may be under way: what is not kept is touched anew by the next cut.
    most_kept: usize,
}

struct Free {
    objects: Cell<usize>,
    changed: Signal,
}

/// The right to have one object in memory. Nobody waits for a second one while holding one, so
/// whoever holds one can go on.
pub(super) struct UploadPermit(Rc<Free>);

impl UploadMemory {
    /// Memory for so many objects.
    pub(super) fn new(objects: usize) -> Self {
        let free = Free { objects: Cell::new(objects), changed: Signal::default() };
        Self {
            free: Rc::new(free),
            under_way: Cell::default(),
            kept: RefCell::default(),
            most_kept: objects,
        }
    }

    /// Objects under way, and their bytes.
    pub(super) fn under_way(&self) -> (usize, u64) {
        self.under_way.get()
    }

    /// Waits for memory for one more object.
    pub(super) async fn take(&self) -> UploadPermit {
        let free = &self.free;
        let objects = || free.objects.get().checked_sub(1);
        free.objects.set(free.changed.until(objects).await);
        UploadPermit(free.clone())
    }

    /// Memory that held an object before, if there is some.
    pub(super) fn reuse(&self) -> Vec<u8> {
        self.kept.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the memory of an object that the store has, if nobody else holds it.
    fn keep(&self, object: Bytes) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < self.most_kept
            && let Ok(memory) = object.try_into_mut()
        {
            kept.push(memory.into());
        }
    }
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        self.0.objects.set(self.0.objects.get() + 1);
        self.0.changed.notify();
    }
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
    /// Chunks that were made.
    chunks: RefCell<Vec<ChunkIndex>>,
    changed: Signal,
}

impl<E: Env> Uploads<E> {
    pub(super) fn new(core: Rc<Core<E>>, shared: Arc<Shared>) -> Self {
        Self { core, shared, progress: Rc::default() }
    }

    /// Starts a put; waits while too many are under way on this core.
    pub(super) async fn start(
        &self,
        name: ObjectName,
        object: impl Into<Bytes>,
    ) -> Result<(), VolumeError> {
        let permit = kept_permit(self.core.uploads.take().await);
        self.failure()?;
        let object = object.into();
        let under_way = UnderWay::begin(&self.core, &self.progress, object.len() as u64);
        let (core, shared) = (self.core.clone(), self.shared.clone());
        self.core.runtime.spawn(async move {
            under_way.put(&core, &shared, &name, object).await;
            drop(permit);
        });
        Ok(())
    }

    /// Makes an object of a chunk and starts its put, and meanwhile copies it to the caches on the
    /// disk. If the put fails for good, nobody will ever ask for that name.
    ///
    /// # Errors
    /// One that was started before failed for good.
    pub(super) fn start_chunk(
        &self,
        permit: UploadPermit,
        chunk: ChunkBuilder,
    ) -> Result<(), VolumeError> {
        self.failure()?;
        let bytes = u64::from(chunk.payload_blocks()) * BLOCK_BYTES as u64;
        let under_way = UnderWay::begin(&self.core, &self.progress, bytes);
        let (core, shared, progress) =
            (self.core.clone(), self.shared.clone(), self.progress.clone());
        let permit = kept_permit(permit);
        self.core.runtime.spawn(async move {
            let (object, index) = finish(&core, chunk).await;
            let (name, object) = (index.info().id.chunk_name(shared.volume), Bytes::from(object));
            shared.note_sealed(&index);
            start_copy(&core, &shared, index.clone(), (object.clone(), permit.clone()));
            progress.chunks.borrow_mut().push(index);
            under_way.put(&core, &shared, &name, object).await;
            drop(permit);
        });
        Ok(())
    }

    /// The chunks that were started, in the order of their names.
    pub(super) fn take_chunks(&self) -> Vec<ChunkIndex> {
        let mut chunks = self.progress.chunks.take();
        chunks.sort_unstable_by_key(|index| index.info().id);
        chunks
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
        let ended = || match self.failure() {
            Err(failed) => Some(Err(failed)),
            Ok(()) => (self.progress.under_way.get() == 0).then_some(Ok(())),
        };
        self.progress.changed.until(ended).await
    }

    fn failure(&self) -> Result<(), VolumeError> {
        self.progress.failed.borrow().clone().map_or(Ok(()), Err)
    }
}

/// An upload that was started and has not ended.
struct UnderWay {
    progress: Rc<Progress>,
    bytes: u64,
}

impl UnderWay {
    fn begin<E: Env>(core: &Core<E>, progress: &Rc<Progress>, bytes: u64) -> Self {
        progress.under_way.set(progress.under_way.get() + 1);
        let (objects, before) = core.uploads.under_way();
        core.uploads.under_way.set((objects + 1, before + bytes));
        Self { progress: progress.clone(), bytes }
    }

    /// Puts the object, and tells how that ended.
    async fn put<E: Env>(self, core: &Core<E>, shared: &Shared, name: &ObjectName, object: Bytes) {
        if let Err(cause) = put(core, shared, name, object.clone()).await {
            self.progress.failed.replace(Some(cause));
        }
        self.progress.under_way.set(self.progress.under_way.get() - 1);
        self.progress.changed.notify();
        let (objects, before) = core.uploads.under_way();
        core.uploads.under_way.set((objects - 1, before - self.bytes));
        // Whoever of this and the copy is last has the memory for itself, and gives it back.
        core.uploads.keep(object);
    }
}

/// A permit for as long as somebody has the memory.
fn kept_permit(permit: UploadPermit) -> Option<Rc<UploadPermit>> {
    Some(permit).filter(|_| !planted::is(Bug::PermitDroppedEarly)).map(Rc::new)
}

/// Makes an object of a chunk. Checksums, and more so compressing, take long, and wait for idle
/// processors: whoever writes comes first, and when memory is full, waits and leaves them idle.
async fn finish<E: Env>(core: &Core<E>, chunk: ChunkBuilder) -> (Vec<u8>, ChunkIndex) {
    let compression = core.tuning.compression;
    core.runtime.compute_behind(move || chunk.finish_as(compression)).await
}

/// Starts to copy a chunk to the caches on the disk.
fn start_copy<E: Env>(
    core: &Rc<Core<E>>,
    shared: &Arc<Shared>,
    index: ChunkIndex,
    (object, permit): (Bytes, Option<Rc<UploadPermit>>),
) {
    if !core.chunk_cache.is_on() {
        return;
    }
    let (core, shared) = (core.clone(), shared.clone());
    core.clone().runtime.spawn(async move {
        core.keep_chunk(&shared, &index, &object).await;
        core.uploads.keep(object);
        drop(permit);
    });
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
        let begun = core.runtime.now();
        let outcome = core.store.put(name, object.clone()).await;
        let span = core.runtime.now().saturating_sub(begun);
        core.note_call(&outcome, StoreError::kind, span);
        match outcome {
            Ok(()) => return Ok(()),
            Err(_) if planted::is(Bug::UploadErrorIgnored) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error.into()),
            Err(_) => core.runtime.sleep(pause).await,
        }
        pause = longer(pause);
    }
}
