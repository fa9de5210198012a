//! What a client hears of a failure.

use nbd::Errno;

use crate::engine::error::VolumeError;

/// The error number of a request that failed.
pub(super) fn errno(error: &VolumeError) -> Errno {
    match error {
        VolumeError::Poisoned { .. }
        | VolumeError::Disk(_)
        | VolumeError::Store(_)
        | VolumeError::Corrupt { .. } => Errno::Io,
        VolumeError::Snapshot(_)
        | VolumeError::Late { .. }
        | VolumeError::Shrinks { .. }
        | VolumeError::Inherited { .. }
        | VolumeError::Unpin(_) => Errno::Io,
        VolumeError::NoSpace(_) => Errno::NoSpace,
        VolumeError::Fenced { .. } | VolumeError::Closed => Errno::Shutdown,
    }
}
