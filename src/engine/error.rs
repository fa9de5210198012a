//! What can go wrong with a volume.

use chunk::clones::DeleteError;
use chunk::snapshot::SnapshotError;
use chunk::{ReadError, SnapshotName, StoreError, VolumeName};
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
    /// The log took too long for what a snapshot has; nobody waits for it any more.
    #[error("volume {volume}: its log did not take all in time, so no snapshot was made")]
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
    /// Snapshots of a clone were made while it shared with what it was cloned from.
    #[error("volume {volume} stays a clone: {} with what it was cloned from", sharing(snapshots))]
    Inherited {
        /// The volume.
        volume: VolumeName,
        /// The snapshots.
        snapshots: Vec<SnapshotName>,
    },
    /// What keeps the snapshot that a volume was cloned from is not removed.
    #[error(transparent)]
    Unpin(std::sync::Arc<DeleteError>),
    /// The volume is being closed.
    #[error("the volume is closed")]
    Closed,
}

/// Who shares, for a sentence.
fn sharing(snapshots: &[SnapshotName]) -> String {
    let named: Vec<_> = snapshots.iter().filter(|name| name.clone_id().is_none()).collect();
    let names: Vec<_> = named.iter().map(|name| name.as_str()).collect();
    match (names.len(), snapshots.len()) {
        (0, 1) => "a clone of it shares".to_owned(),
        (0, clones) => format!("{clones} clones of it share"),
        (1, 1) => format!("its snapshot {} shares", names[0]),
        (named, all) if named == all => format!("its snapshots {} share", names.join(", ")),
        (named, all) => {
            format!("its snapshots {} and {} clones of it share", names.join(", "), all - named)
        }
    }
}

impl From<DeleteError> for VolumeError {
    fn from(error: DeleteError) -> Self {
        Self::Unpin(std::sync::Arc::new(error))
    }
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
