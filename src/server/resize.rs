//! Another size for a volume, because somebody says so.

use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chunk::VolumeName;
use serde::{Deserialize, Serialize};
use wal::VolumeId;
use wal::runtime::Runtime;

use super::attach::{AttachError, attach};
use super::env::ProductEnv;
use super::error::ServeError;
use super::local::Local;
use super::patience::in_time;
use crate::config::{ByteSize, VolumeSize};
use crate::engine::error::VolumeError;
use crate::engine::volume::Volume;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct NewSize {
    /// The size.
    pub size: VolumeSize,
    /// Whether the volume may shrink, which destroys what is behind the new end.
    pub discards_tail: bool,
    /// How long it may take.
    pub patience: Duration,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resized {
    /// Bytes that the volume had.
    pub before_bytes: u64,
    /// Bytes that it has.
    pub size_bytes: u64,
    /// Clients that keep the size that they were told, until they connect again.
    pub clients: u32,
}

/// Why a volume has no other size.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// It is being deleted.
    #[error("volume {name} is being deleted")]
    Deleting {
        /// The volume.
        name: VolumeName,
    },
    /// It would shrink, and nobody said that it may.
    #[error(
        "volume {name} has {has}: making it smaller destroys what is behind the new end; add \
         --danger-discard-tail if nobody needs that"
    )]
    Shrinks {
        /// The volume.
        name: VolumeName,
        /// Its size.
        has: ByteSize,
    },
    /// It would shrink while somebody uses it.
    #[error("volume {name} is in use: disconnect its clients before it shrinks")]
    InUse {
        /// The volume.
        name: VolumeName,
    },
    /// The time is over.
    #[error(
        "volume {name} had no other size after {patience:?}, as the store did not take all: it may \
         get it yet, `krait volume info {name}` tells which it has"
    )]
    TimedOut {
        /// The volume.
        name: VolumeName,
        /// How long it was tried.
        patience: Duration,
    },
    /// The volume cannot be opened, as another host has it, or for another reason.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The volume is stopped, or its map cannot be read.
    #[error("volume {name}: {source}")]
    Volume {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
}

impl ResizeError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Deleting { .. } => ErrorKind::NotFound,
            Self::Shrinks { .. } => ErrorKind::Invalid,
            Self::InUse { .. } => ErrorKind::Busy,
            Self::TimedOut { .. } => ErrorKind::Retry,
            Self::Attach(error) => error.kind(),
            Self::Volume { source, .. } => source.into(),
        }
    }
}

/// Gives a volume another size: see [`crate::engine::resize`]. Clients may go on while it grows; it
/// shrinks only while it has none, and none may come.
pub(super) async fn resize(
    local: &Rc<Local>,
    name: &VolumeName,
    id: VolumeId,
    new: NewSize,
) -> Result<Resized, ResizeError> {
    let patience = new.patience;
    let (task, named) = (local.clone(), name.clone());
    // What is half published must come to an end, whoever waits for it.
    let resized = detached(async move { change(&task, &named, id, new).await });
    let resized = in_time(patience, resized).await;
    let resized =
        resized.ok_or_else(|| ResizeError::TimedOut { name: name.clone(), patience })??;
    let (before, after) = (ByteSize(resized.before_bytes), ByteSize(resized.size_bytes));
    log::info!("volume {name} has {after}, {before} before");
    Ok(resized)
}

/// The result of work that goes on when nobody waits for it any more.
pub(super) async fn detached<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    let (done, outcome) = async_channel::bounded(1);
    GlommioRuntime.spawn(async move {
        // There is room for one. Nobody may be there to take it.
        let _ = done.try_send(work.await);
    });
    outcome.recv().await.expect("the work ends by its outcome")
}

async fn change(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    new: NewSize,
) -> Result<Resized, ResizeError> {
    let size_bytes = new.size.bytes().0;
    let failed = |source| ResizeError::Volume { name: name.clone(), source };
    let clients = local.clients.of(id);
    let entered = local.clients.enter(id);
    let entered = entered.ok_or_else(|| ResizeError::Deleting { name: name.clone() })?;
    let volume = open(local, name, id).await?;
    let before_bytes = volume.size_bytes();
    if size_bytes >= before_bytes {
        volume.grow(size_bytes).await.map_err(failed)?;
        return Ok(Resized { before_bytes, size_bytes, clients });
    }
    if !new.discards_tail {
        return Err(ResizeError::Shrinks { name: name.clone(), has: ByteSize(before_bytes) });
    }
    drop((volume, entered));
    // From here on nobody comes in, and whoever comes after this sees the new size.
    let alone = local.clients.begin_deleting(id);
    let _alone = alone.ok_or_else(|| ResizeError::InUse { name: name.clone() })?;
    let volume = open(local, name, id).await?;
    let before_bytes = volume.size_bytes();
    volume.shrink(size_bytes).await.map_err(failed)?;
    Ok(Resized { before_bytes, size_bytes, clients: 0 })
}

async fn open(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
) -> Result<Volume<ProductEnv>, ResizeError> {
    attach(local, name, id, false).await?;
    let closed = || ResizeError::Volume { name: name.clone(), source: VolumeError::Closed };
    local.core.opened(id).ok_or_else(closed)
}

/// Another size where no server runs: opens the volume, changes it, and gives it back.
pub(super) struct ChangeSize {
    pub(super) name: VolumeName,
    pub(super) id: VolumeId,
    pub(super) new: NewSize,
    /// Takes what was done.
    pub(super) done: SyncSender<Resized>,
}

impl ChangeSize {
    /// Runs on core 0.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let resized = resize(&local, &self.name, self.id, self.new).await?;
        let closed = local.core.shut(self.id).await;
        // Received when the cores have ended; there is room for one.
        let _ = self.done.try_send(resized);
        let name = self.name;
        Ok(closed.map_err(|source| ResizeError::Volume { name, source })?)
    }
}
