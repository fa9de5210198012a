//! The one protocol on the store: numbered manifests, each published by a conditional put. It
//! knows nothing of blocks; the manifests are bytes to it.
//!
//! Whoever publishes number `n + 1` has read number `n` and owns the step. A writer that sleeps
//! long enough could find its number free *again*, because others went past it and pruned. So
//! pruning goes from old to new and always keeps the newest two, and a publisher whose put
//! succeeded looks for its predecessor: if that is gone, the number was free only because of
//! pruning, and the publisher has lost. That costs one HEAD instead of a listing.

use bytes::Bytes;
use wal::VolumeId;
use wal::planted::{self, Bug};

use crate::error::ErrorKind;
use crate::ids::{ManifestSeq, manifest_prefix};
use crate::limits::{LATEST_TRIES, MAX_MANIFEST_BYTES, MIN_KEPT_MANIFESTS};
use crate::store::{ObjectName, ObjectStore, StoreError};

/// Why the manifests of a volume could not be listed or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestLogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is stored among the manifests that is none.
    #[error("{object}: not the name of a manifest")]
    Stranger {
        /// The object.
        object: ObjectName,
    },
    /// An object that is too long for a manifest.
    #[error("{object}: {bytes} bytes are too many for a manifest")]
    TooLong {
        /// The object.
        object: ObjectName,
        /// Its length.
        bytes: u64,
    },
    /// Each manifest vanished between being listed and being read.
    #[error("volume {volume}: its newest manifest vanished {LATEST_TRIES} times while being read")]
    Unsettled {
        /// The volume.
        volume: VolumeId,
    },
}

impl ManifestLogError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Stranger { .. } | Self::TooLong { .. } => ErrorKind::Corrupt,
            Self::Unsettled { .. } => ErrorKind::Retry,
        }
    }
}

/// Why a manifest was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another writer published this number or a later one: whoever gets this has been fenced.
    #[error("manifest {seq} of volume {volume}: another writer was first")]
    Lost {
        /// The volume.
        volume: VolumeId,
        /// The number.
        seq: ManifestSeq,
    },
    /// The store failed; the manifest may be published or not. Publishing the same bytes again
    /// finds out.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost { .. } => ErrorKind::Fenced,
            Self::Store(error) => error.kind(),
        }
    }
}

/// The newest manifest of a volume; `None` if it has none, so there is no such volume.
///
/// # Errors
/// If the store fails or holds something that cannot be a manifest. A newest manifest that cannot
/// be read is an error, never an older manifest or an empty volume.
pub async fn latest<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
) -> Result<Option<(ManifestSeq, Vec<u8>)>, ManifestLogError> {
    for _ in 0..LATEST_TRIES {
        let Some((seq, object, bytes)) = listed(store, volume).await?.pop() else {
            return Ok(None);
        };
        if bytes > MAX_MANIFEST_BYTES as u64 {
            return Err(ManifestLogError::TooLong { object, bytes });
        }
        match store.get_range(&object, 0..bytes).await {
            Ok(body) => return Ok(Some((seq, body))),
            // A newer one was published and this one pruned since: look again.
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ManifestLogError::Unsettled { volume })
}

/// All manifests of a volume in order, with their lengths.
async fn listed<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
) -> Result<Vec<(ManifestSeq, ObjectName, u64)>, ManifestLogError> {
    let prefix = manifest_prefix(volume);
    let mut manifests = Vec::new();
    for (object, bytes) in store.list(&prefix).await? {
        match ManifestSeq::parse(&object.as_str()[prefix.len()..]) {
            Some(seq) => manifests.push((seq, object, bytes)),
            None => return Err(ManifestLogError::Stranger { object }),
        }
    }
    manifests.sort_by_key(|(seq, ..)| *seq);
    Ok(manifests)
}

/// Publishes manifest `seq`, the one after the newest that the caller has seen.
///
/// 1. Put the object if its name is free. A power cut before leaves nothing; after it, the
///    manifest is the newest, unless step 2 would find it lost: then it is older than the newest
///    one and nobody reads it.
/// 2. Look for the predecessor (see the head of this file).
///
/// # Errors
/// [`PublishError::Lost`] if another writer was first. After any other error it is not known
/// whether step 1 happened; call again with the very same bytes, which must differ from those of
/// any other opening.
pub async fn publish<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    seq: ManifestSeq,
    body: impl Into<Bytes>,
) -> Result<(), PublishError> {
    let body = body.into();
    assert!(body.len() <= MAX_MANIFEST_BYTES, "manifests are bounded");
    let name = seq.object_name(volume);
    let lost = || PublishError::Lost { volume, seq };
    match store.put_if_absent(&name, body.clone()).await {
        Ok(()) => {}
        // Perhaps by us, in a try whose answer was lost.
        Err(StoreError::Exists { .. }) => {
            if planted::is(Bug::AmbiguousPutLost) || !holds(store, &name, &body).await? {
                return Err(lost());
            }
        }
        Err(error) => return Err(error.into()),
    }
    if seq == ManifestSeq::FIRST {
        return Ok(());
    }
    match store.head(&ManifestSeq(seq.0 - 1).object_name(volume)).await {
        Ok(_) => Ok(()),
        Err(StoreError::NotFound { .. }) => Err(lost()),
        Err(error) => Err(error.into()),
    }
}

/// Whether an object is exactly these bytes.
pub(crate) async fn holds<S: ObjectStore>(
    store: &S,
    name: &ObjectName,
    body: &[u8],
) -> Result<bool, StoreError> {
    match store.head(name).await {
        Ok(len) if len == body.len() as u64 => {}
        Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    match store.get_range(name, 0..body.len() as u64).await {
        Ok(found) => Ok(found == body),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes all but the newest `keep` manifests, from old to new. Returns how many went.
///
/// # Panics
/// If fewer than [`MIN_KEPT_MANIFESTS`] would be kept.
///
/// # Errors
/// If the store fails; what is gone is gone, and the rest goes next time.
pub async fn prune<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    keep: usize,
) -> Result<usize, ManifestLogError> {
    assert!(keep >= MIN_KEPT_MANIFESTS, "the predecessor of the newest manifest is needed");
    let manifests = listed(store, volume).await?;
    let old = manifests.len().saturating_sub(keep);
    for (_, object, _) in &manifests[..old] {
        store.delete(object).await?;
    }
    Ok(old)
}

#[cfg(test)]
mod tests;
