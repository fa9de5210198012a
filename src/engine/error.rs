//! What can go wrong with a volume.

use chunk::snapshot::SnapshotError;
use chunk::{ReadError, StoreError};
use wal::PoolError;
use wal::disk::DiskError;

/// Why a volume did not do what it was asked. Crosses cores, so the causes are shared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VolumeError {
    /// A write or sync of the log failed; what was not durable may be gone. Final until reopen.
    #[error("volume {volume} stopped after a failed write or sync of its log: {cause}")]
    Poisoned {
        /// The volume's id.
        volume: String,
        /// What failed first.
        cause: String,
    },
    /// The volume was opened for writing elsewhere.
    #[error("volume {volume} was taken over: {detail}")]
    Fenced {
        /// The volume's id.
        volume: String,
        /// By whom, as far as is known.
        detail: String,
    },
    /// There is no room for the log, and no segment of it will come free.
    #[error("no room for the log below the data directory: {0}")]
    NoSpace(std::sync::Arc<PoolError>),
    /// The local disk failed.
    #[error(transparent)]
    Disk(#[from] std::sync::Arc<DiskError>),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] std::sync::Arc<ReadError>),
    /// Stored bytes are not what they must be; they are not returned.
    #[error("volume {volume}, block {lba}: {found}")]
    Corrupt {
        /// The volume's id.
        volume: String,
        /// Block address, 0 where it is about the volume as a whole.
        lba: u64,
        /// What is wrong, where.
        found: String,
    },
    /// A snapshot was not made.
    #[error(transparent)]
    Snapshot(std::sync::Arc<SnapshotError>),
    /// The store took too long for a snapshot's cut; all is as if it had not been asked for.
    #[error("volume {volume}: the store did not take all in time, so no snapshot was made")]
    Late {
        /// The volume's id.
        volume: String,
    },
    /// The volume is larger than it is to grow to: others made it larger meanwhile.
    #[error("volume {volume} has {size_bytes} bytes, and would shrink")]
    Shrinks {
        /// The volume's id.
        volume: String,
        /// Its size.
        size_bytes: u64,
    },
    /// The volume is being closed.
    #[error("the volume is closed")]
    Closed,
}

impl From<DiskError> for VolumeError {
    fn from(error: DiskError) -> Self {
        PoolError::from(error).into()
    }
}

impl From<PoolError> for VolumeError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Disk(error) => Self::Disk(std::sync::Arc::new(error)),
            full @ (PoolError::Full { .. } | PoolError::NoSpace(_)) => {
                Self::NoSpace(std::sync::Arc::new(full))
            }
        }
    }
}

impl From<ReadError> for VolumeError {
    fn from(error: ReadError) -> Self {
        Self::Store(std::sync::Arc::new(error))
    }
}

impl From<StoreError> for VolumeError {
    fn from(error: StoreError) -> Self {
        ReadError::from(error).into()
    }
}
