//! Uploading: how many objects a core has in memory on their way to the store, and their puts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use chunk::{ChunkIndex, ErrorKind, MapObjectBuilder, ObjectName, ObjectStore};
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
            most_kept: (objects / 2).max(1),
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
        let permit = self.core.uploads.take().await;
        self.start_with(permit, name, object.into(), None)
    }

    /// Starts the put of a chunk, and meanwhile copies it to the caches on the disk. If the put fails
    /// for good, nobody will ever ask for that name.
    ///
    /// # Errors
    /// One that was started before failed for good.
    pub(super) fn start_chunk(
        &self,
        permit: UploadPermit,
        index: ChunkIndex,
        object: Vec<u8>,
    ) -> Result<(), VolumeError> {
        let name = index.info().id.chunk_name(self.shared.volume);
        self.start_with(permit, name, object.into(), Some(index))
    }

    fn start_with(
        &self,
        permit: UploadPermit,
        name: ObjectName,
        object: Bytes,
        chunk: Option<ChunkIndex>,
    ) -> Result<(), VolumeError> {
        self.failure()?;
        let progress = self.progress.clone();
        progress.under_way.set(progress.under_way.get() + 1);
        let (core, shared) = (self.core.clone(), self.shared.clone());
        let permit = Some(permit).filter(|_| !planted::is(Bug::PermitDroppedEarly)).map(Rc::new);
        let bytes = object.len() as u64;
        let (objects, before) = core.uploads.under_way();
        core.uploads.under_way.set((objects + 1, before + bytes));
        if let Some(index) = chunk {
            self.start_copy(index, object.clone(), permit.clone());
        }
        self.core.runtime.spawn(async move {
            let outcome = put(&core, &shared, &name, object.clone()).await;
            if let Err(cause) = outcome {
                progress.failed.replace(Some(cause));
            }
            progress.under_way.set(progress.under_way.get() - 1);
            progress.changed.notify();
            let (objects, before) = core.uploads.under_way();
            core.uploads.under_way.set((objects - 1, before - bytes));
            // Whoever of the two is last has the memory for itself, and gives it back.
            core.uploads.keep(object);
            drop(permit);
        });
        Ok(())
    }

    fn start_copy(&self, index: ChunkIndex, object: Bytes, permit: Option<Rc<UploadPermit>>) {
        let (core, shared) = (self.core.clone(), self.shared.clone());
        self.core.runtime.spawn(async move {
            core.keep_chunk(&shared, &index, &object).await;
            core.uploads.keep(object);
            drop(permit);
        });
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
        let has_failed = matches!(&outcome, Err(error) if error.kind() == ErrorKind::Retry);
        core.health.borrow_mut().note(!has_failed, span);
        match outcome {
            Ok(()) => return Ok(()),
            Err(_) if planted::is(Bug::UploadErrorIgnored) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error.into()),
            Err(_) => core.runtime.sleep(pause).await,
        }
        pause = longer(pause);
    }
}
