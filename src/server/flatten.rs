//! Separating a clone from what it was made of, because somebody says so.

use std::rc::Rc;
use std::sync::mpsc::SyncSender;

use chunk::VolumeName;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::attach::{AttachError, attach};
use super::error::ServeError;
use super::limits::COUNT_PAUSE;
use super::local::Local;
use super::resize::detached;
use crate::engine::error::VolumeError;
use crate::engine::flatten::{Flattened, Flattening};
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// Why a clone is not separated from what it was made of.
#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    /// It is being deleted.
    #[error("volume {name} is being deleted")]
    Deleting {
        /// The volume.
        name: VolumeName,
    },
    /// It cannot be opened, as another host has it, or for another reason.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Snapshots of it share.
    #[error(
        "{source}: flatten or delete the clones, which `krait volume info {name}` names, then delete the \
         snapshots, which `krait snapshot list {name}` shows"
    )]
    Shared {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        source: VolumeError,
    },
    /// It is stopped, or something of it cannot be read. The next run goes on.
    #[error("volume {name}: {source}")]
    Volume {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
}

impl FlattenError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Deleting { .. } => ErrorKind::NotFound,
            Self::Attach(error) => error.kind(),
            Self::Shared { source, .. } | Self::Volume { source, .. } => source.into(),
        }
    }
}

/// Copies what a clone shares with what it was made of, and ends that; goes on when nobody waits for
/// it any more. Clients may work meanwhile.
pub(super) async fn flatten(
    local: &Rc<Local>,
    name: &VolumeName,
    id: VolumeId,
) -> Result<Flattened, FlattenError> {
    let (task, named) = (local.clone(), name.clone());
    let flattened = detached(async move { separate(&task, &named, id).await }).await?;
    if flattened.was_clone {
        log::info!(
            "volume {name} shares nothing any more, {} bytes copied",
            flattened.copied_bytes
        );
    }
    Ok(flattened)
}

async fn separate(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
) -> Result<Flattened, FlattenError> {
    let entered = local.clients.enter(id);
    let _entered = entered.ok_or_else(|| FlattenError::Deleting { name: name.clone() })?;
    attach(local, name, id, false).await?;
    let failed = |source| match source {
        source @ VolumeError::Inherited { .. } => {
            FlattenError::Shared { name: name.clone(), source }
        }
        source => FlattenError::Volume { name: name.clone(), source },
    };
    let opened = local.core.opened(id).ok_or_else(|| failed(VolumeError::Closed))?;
    local.core.flatten(opened.number()).await.map_err(failed)
}

/// How far it is, if the volume is open.
pub(super) async fn flattening(local: &Local, id: VolumeId) -> Flattening {
    match local.number(id) {
        Some(number) => local.core.flattening(number).await.unwrap_or_default(),
        None => Flattening::default(),
    }
}

/// The same where no server runs: opens the clone, separates it, and gives it back.
pub(super) struct Separate {
    pub(super) name: VolumeName,
    pub(super) id: VolumeId,
    /// Hears from time to time how far it is.
    pub(super) tell: Box<dyn Fn(Flattening) + Send>,
    /// Takes what was done.
    pub(super) done: SyncSender<Flattened>,
}

impl Separate {
    /// Runs on core 0.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let telling = async {
            loop {
                (self.tell)(flattening(&local, self.id).await);
                GlommioRuntime.sleep(COUNT_PAUSE).await;
            }
        };
        let flattening = flatten(&local, &self.name, self.id);
        let flattened = futures_lite::future::or(flattening, telling).await?;
        let closed = local.core.shut(self.id).await;
        // Received when the cores have ended; there is room for one.
        let _ = self.done.try_send(flattened);
        let name = self.name;
        Ok(closed.map_err(|source| FlattenError::Volume { name, source })?)
    }
}
