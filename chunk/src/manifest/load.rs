//! The newest manifest of a volume, read and checked.

use wal::VolumeId;

use super::Manifest;
use crate::error::{ErrorKind, FormatError};
use crate::ids::ManifestSeq;
use crate::manifest_log::{ManifestLogError, latest};
use crate::store::ObjectStore;

/// Why the newest manifest could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error(transparent)]
    Log(#[from] ManifestLogError),
    /// It is damaged.
    #[error("manifest {seq} of volume {volume}: {source}")]
    Format {
        /// The volume.
        volume: VolumeId,
        /// Its number.
        seq: ManifestSeq,
        /// What is wrong.
        #[source]
        source: FormatError,
    },
}

impl LoadError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Log(error) => error.kind(),
            Self::Format { .. } => ErrorKind::Corrupt,
        }
    }
}

/// The newest manifest of a volume and its number; `None` if there is no such volume.
///
/// # Errors
/// If it cannot be read or is damaged: then neither an older manifest nor nothing stands in.
pub async fn load<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
) -> Result<Option<(ManifestSeq, Manifest)>, LoadError> {
    let Some((seq, body)) = latest(store, volume).await? else { return Ok(None) };
    match Manifest::decode_as(&body, volume, seq) {
        Ok(manifest) => Ok(Some((seq, manifest))),
        Err(source) => Err(LoadError::Format { volume, seq, source }),
    }
}
