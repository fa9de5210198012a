//! The one protocol on the store: numbered manifests, each published by a conditional put. It
//! knows nothing of blocks; of a manifest it only looks at which opening wrote it.
//!
//! Whoever publishes number `n + 1` has read number `n` and owns the step. A writer that sleeps
//! long enough could find its number free *again*, because others went past it and pruned. So
//! pruning goes from old to new and always keeps the newest two, and a publisher whose put
//! succeeded looks at its predecessor: if that is gone, the number was free only because of
//! pruning, and the publisher has lost. The same if it is there, but by another opening than the
//! one that was read: then that one slept as well, and left it. This costs one GET of a few bytes
//! instead of a listing.

use std::io;

use bytes::Bytes;
use wal::VolumeId;
use wal::planted::{self, Bug};

use crate::error::ErrorKind;
use crate::ids::{ManifestSeq, manifest_prefix};
use crate::limits::{LATEST_TRIES, MANIFEST_PROOF_BYTES, MAX_MANIFEST_BYTES, MIN_KEPT_MANIFESTS};
use crate::manifest::Manifest;
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

/// Publishes manifest `seq`, the one after the newest that the caller has seen, whose bytes are
/// `before`; none before the first one.
///
/// 1. Put the object if its name is free. A power cut before leaves nothing; after it, the
///    manifest is the newest, unless step 2 would find it lost: then it is older than the newest
///    one and nobody reads it.
/// 2. Look at the predecessor (see the head of this file).
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
    before: &[u8],
) -> Result<(), PublishError> {
    let body = body.into();
    assert_eq!(before.is_empty(), seq == ManifestSeq::FIRST, "all but the first have one before");
    assert!(body.len() <= MAX_MANIFEST_BYTES, "manifests are bounded");
    let name = seq.object_name(volume);
    let lost = || PublishError::Lost { volume, seq };
    match store.put_if_absent(&name, body.clone()).await {
        Ok(()) => {}
        // Perhaps by us, in a try whose answer was lost.
        Err(StoreError::Exists { .. }) => {
            let is_rival = |found: &[u8]| is_rival(found, &body, volume, seq);
            if planted::is(Bug::AmbiguousPutLost) || !holds(store, &name, &body, is_rival).await? {
                return Err(lost());
            }
        }
        Err(error) => return Err(error.into()),
    }
    if seq == ManifestSeq::FIRST {
        return Ok(());
    }
    match follows(store, volume, ManifestSeq(seq.0 - 1), before).await? {
        true => Ok(()),
        false => Err(lost()),
    }
}

/// Whether the manifest of a number is there and has these bytes.
async fn follows<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    seq: ManifestSeq,
    bytes: &[u8],
) -> Result<bool, StoreError> {
    let name = seq.object_name(volume);
    // The checksum of all of it is at its start.
    let start = &bytes[..bytes.len().min(MANIFEST_PROOF_BYTES)];
    let is_rival = |found: &[u8]| is_rival(found, bytes, volume, seq);
    match store.get_range(&name, 0..start.len() as u64).await {
        Ok(found) if found == start => Ok(true),
        Ok(_) | Err(StoreError::Range { .. }) if planted::is(Bug::AnyPredecessor) => Ok(true),
        Ok(_) | Err(StoreError::Range { .. }) => holds(store, &name, bytes, is_rival).await,
        // A lost place is final, and some stores say so of what is there: asked in another way.
        Err(StoreError::NotFound { .. }) if is_listed(store, volume, seq).await? => {
            let source = io::Error::new(io::ErrorKind::NotFound, "listed, and not to be had");
            Err(StoreError::Io { action: "read back", object: name.to_string(), source })
        }
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn is_listed<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    seq: ManifestSeq,
) -> Result<bool, StoreError> {
    let name = seq.object_name(volume);
    let manifests = store.list(&manifest_prefix(volume)).await?;
    Ok(manifests.iter().any(|(object, _)| *object == name))
}

/// Whether a manifest was written by another opening than `ours`. What cannot be read proves
/// nothing, and one opening has one manifest of each number.
fn is_rival(found: &[u8], ours: &[u8], volume: VolumeId, seq: ManifestSeq) -> bool {
    let writer = |body: &[u8]| {
        let manifest = Manifest::decode_as(body, volume, seq);
        manifest.map(|manifest| (manifest.incarnation, manifest.salt))
    };
    writer(found).is_ok_and(|found| Ok(found) != writer(ours))
}

/// Whether an object whose name is taken has our bytes, or those of somebody else, as
/// `is_anothers` tells.
///
/// # Errors
/// If the store fails, or returns what is neither: a damaged or short answer must not be taken for
/// the loss of a race, so asking again is all that can be done.
pub(crate) async fn holds<S: ObjectStore>(
    store: &S,
    name: &ObjectName,
    ours: &[u8],
    is_anothers: impl Fn(&[u8]) -> bool,
) -> Result<bool, StoreError> {
    let read = async {
        let bytes = store.head(name).await?.min(MAX_MANIFEST_BYTES as u64);
        store.get_range(name, 0..bytes).await
    };
    match read.await {
        Ok(found) if found == ours => Ok(true),
        Ok(found) if is_anothers(&found) || planted::is(Bug::DamageTakenForRival) => Ok(false),
        // Gone again: the next try finds its name free, and finds out why.
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Range { .. }) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, "nobody's bytes");
            Err(StoreError::Io { action: "read back", object: name.to_string(), source })
        }
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
