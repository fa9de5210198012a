//! Uploading all that was acknowledged of one volume, because somebody waits for it.

use std::rc::Rc;
use std::time::Duration;

use chunk::VolumeName;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::error::ServeError;
use super::limits::{COUNT_PAUSE, COUNT_TIMEOUT};
use super::local::Local;
use super::patience::in_time;
use crate::config::ByteSize;
use crate::engine::cache::VolumeNo;
use crate::engine::error::VolumeError;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// Why a volume is not drained.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The time is over.
    #[error(
        "volume {name} is not drained after {timeout:?}{}: nothing is lost, ask again or wait \
         longer with --timeout", remaining(*left)
    )]
    TimedOut {
        /// The volume.
        name: VolumeName,
        /// How long it was tried.
        timeout: Duration,
        /// What is not in the store, if that is known.
        left: Option<ByteSize>,
    },
    /// It is being deleted.
    #[error("volume {name} is being deleted")]
    Deleting {
        /// The volume.
        name: VolumeName,
    },
    /// It cannot be opened, or is stopped.
    #[error("volume {name} cannot be drained: {source}")]
    Volume {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
}

fn remaining(left: Option<ByteSize>) -> String {
    left.map_or_else(String::new, |bytes| format!(", {bytes} are not in the store"))
}

impl DrainError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TimedOut { .. } => ErrorKind::Retry,
            Self::Deleting { .. } => ErrorKind::NotFound,
            Self::Volume { source, .. } => source.into(),
        }
    }
}

/// Uploads everything that was acknowledged of a volume before the call. One that is not open is
/// opened if its log holds anything.
pub(super) async fn drain(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    timeout: Duration,
) -> Result<(), DrainError> {
    let drained = in_time(timeout, async {
        let number = match local.number(id) {
            Some(number) => number,
            None if local.clients.is_deleting(id) => return Ok(false),
            // Whoever deletes the volume from here on waits for this.
            None => match local.core.recover(id).await? {
                Some(number) => number,
                None => return Ok(true),
            },
        };
        local.core.drain(number).await.map(|()| true)
    });
    match drained.await {
        Some(Ok(true)) => Ok(()),
        Some(Ok(false)) => Err(DrainError::Deleting { name: name.clone() }),
        Some(Err(source)) => Err(DrainError::Volume { name: name.clone(), source }),
        None => {
            let left = match local.number(id) {
                Some(number) => undrained(local, number).await,
                None => None,
            };
            Err(DrainError::TimedOut { name: name.clone(), timeout, left })
        }
    }
}

/// Bytes of an open volume that are not in the store.
async fn undrained(local: &Local, number: VolumeNo) -> Option<ByteSize> {
    let counts = in_time(COUNT_TIMEOUT, local.core.count(number)).await?;
    counts.ok().map(|counts| ByteSize(counts.dirty + counts.logged))
}

/// Draining where no server runs: opens the volume, drains and closes it.
pub(super) struct Drain {
    pub(super) name: VolumeName,
    pub(super) id: VolumeId,
    pub(super) timeout: Duration,
    /// Hears from time to time how much is left.
    pub(super) tell: Box<dyn Fn(ByteSize) + Send>,
}

impl Drain {
    /// Runs on core 0, and gives the volume back even if there was nothing to drain.
    pub(super) async fn give_back(self, local: Rc<Local>) -> Result<(), ServeError> {
        let opened = local.core.attach(self.id).await;
        match opened {
            Ok(volume) => {
                drop(volume);
                self.run(local).await
            }
            Err(source) => Err(DrainError::Volume { name: self.name, source }.into()),
        }
    }

    /// Runs on core 0.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let telling = async {
            loop {
                if let Some(number) = local.number(self.id)
                    && let Some(left) = undrained(&local, number).await
                {
                    (self.tell)(left);
                }
                GlommioRuntime.sleep(COUNT_PAUSE).await;
            }
        };
        let draining = drain(&local, &self.name, self.id, self.timeout);
        let drained = futures_lite::future::or(draining, telling).await;
        // One that could not be drained is not closed, as that would try again: what is in its log
        // stays there, as after a crash.
        let closed = match &drained {
            Ok(()) => local.core.shut(self.id).await,
            Err(_) => Ok(()),
        };
        drained?;
        let name = self.name;
        Ok(closed.map_err(|source| DrainError::Volume { name, source })?)
    }
}
