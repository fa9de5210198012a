//! Making a clone.

use wal::VolumeId;
use wal::planted::{self, Bug};

use super::Pin;
use crate::catalog::{self, decode_name, encode_name};
use crate::error::{ErrorKind, ReadError};
use crate::ids::{ManifestSeq, VolumeName};
use crate::limits::MAX_ANCESTORS;
use crate::lineage::Parent;
use crate::manifest::{Cut, Manifest};
use crate::manifest_log::{PublishError, holds, publish};
use crate::snapshot::{self, Snapshot, SnapshotError, SnapshotName};
use crate::store::{ObjectStore, StoreError};

/// What a new clone is.
#[derive(Clone, Debug)]
pub struct NewClone {
    /// Its name.
    pub name: VolumeName,
    /// Its identity: random bits that nobody else uses.
    pub id: VolumeId,
    /// The volume that has the snapshot, and its name.
    pub source: (VolumeId, VolumeName),
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The present, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// Why a clone was not made.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The name is taken.
    #[error("volume {name} exists already")]
    Exists {
        /// The name.
        name: VolumeName,
    },
    /// There is no such snapshot, it is being deleted, or it cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There are as many clones of clones as there may be.
    #[error(
        "snapshot {volume}@{snapshot} has objects of {MAX_ANCESTORS} other volumes, which is as deep as clones of clones go"
    )]
    TooDeep {
        /// The volume.
        volume: VolumeName,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Its first manifest could not be published.
    #[error("clone: {0}")]
    Publish(#[from] PublishError),
}

impl From<StoreError> for CloneError {
    fn from(error: StoreError) -> Self {
        Self::Snapshot(error.into())
    }
}

impl From<ReadError> for CloneError {
    fn from(error: ReadError) -> Self {
        Self::Snapshot(error.into())
    }
}

impl CloneError {
    /// What to do about it; `None` if the request itself is the fault.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Exists { .. } | Self::TooDeep { .. } => None,
            Self::Publish(PublishError::Lost { .. }) => None,
            Self::Snapshot(error) => error.kind(),
            Self::Publish(PublishError::Store(error)) => Some(error.kind()),
        }
    }
}

/// The first manifest of a clone; `None` if it is too deep. All that the source's manifest says of
/// how the volume is used holds for the clone as well, but it belongs to no host.
fn first_manifest(new: &NewClone, snapshot: &Snapshot) -> Option<Manifest> {
    let from = &snapshot.manifest;
    let ancestors = from.ancestors.descend(from.volume, from.incarnation)?;
    let (volume, snapshot, name) = (from.volume, snapshot.id, snapshot.name.clone());
    Some(Manifest {
        volume: new.id,
        name: new.name.clone(),
        created_unix_ms: new.created_unix_ms,
        owner: [0; 16],
        tenure: from.incarnation,
        salt: 0,
        // Its logs will be of later incarnations.
        cut: Cut { positions: Vec::new(), ..from.cut.clone() },
        parent: Some(Parent { volume, snapshot, name }),
        ancestors,
        ..from.clone()
    })
}

/// Makes a clone of a snapshot.
///
/// 1. Put a pin below the source. *After a power cut*: a pin of a clone that is not there, which
///    keeps nothing from being deleted, and goes when its snapshot does.
/// 2. Look whether the snapshot is there and nobody deletes it. If not, take the pin away.
///    *After*: as 1.
/// 3. Publish the first manifest. *After*: as 1, and a volume without a name, as when a volume is
///    made.
/// 4. Put the name, if it is free; else take back 3 and 1. *After*: the clone exists.
/// 5. Look again as in 2. If the snapshot has gone, or somebody deletes it, take back 4, 3 and 1:
///    who deletes may have looked before 4. *After a power cut before that*: the clone exists, and
///    its manifest is what keeps the objects that it needs.
///
/// # Errors
/// If the name is taken, the snapshot is not there, or the store fails: the same call, with the
/// same identity, goes on.
pub async fn create<S: ObjectStore>(store: &S, new: NewClone) -> Result<Manifest, CloneError> {
    let object = new.name.object_name();
    let body = encode_name(&new.name, new.id);
    let is_anothers =
        |found: &[u8]| decode_name(found, &new.name).is_ok_and(|found| found != new.id);
    if let Some(found) = catalog::find(store, &new.name).await?
        && found != new.id
    {
        return Err(CloneError::Exists { name: new.name.clone() });
    }
    let pin = Pin {
        volume: new.source.0,
        snapshot: new.snapshot.clone(),
        clone: new.id,
        name: new.name.clone(),
        created_unix_ms: new.created_unix_ms,
    };
    if !planted::is(Bug::CloneWithoutPin) {
        store.put(&pin.object_name(), pin.encode()).await?;
    }
    let snapshot = match usable(store, &new, None).await {
        Ok(snapshot) => snapshot,
        Err(refused) => {
            store.delete(&pin.object_name()).await?;
            return Err(refused.into());
        }
    };
    let Some(manifest) = first_manifest(&new, &snapshot) else {
        store.delete(&pin.object_name()).await?;
        let (_, volume) = new.source;
        return Err(CloneError::TooDeep { volume, snapshot: new.snapshot });
    };
    let first = ManifestSeq::FIRST;
    publish(store, new.id, first, manifest.encode(first), &[]).await?;
    let taken = match store.put_if_absent(&object, body.clone()).await {
        Ok(()) => false,
        Err(StoreError::Exists { .. }) => !holds(store, &object, &body, is_anothers).await?,
        Err(error) => return Err(error.into()),
    };
    if taken {
        take_back(store, &pin).await?;
        return Err(CloneError::Exists { name: new.name });
    }
    if let Err(refused) = usable(store, &new, Some(&snapshot)).await {
        if refused.kind().is_none() {
            store.delete(&object).await?;
            take_back(store, &pin).await?;
        }
        return Err(refused.into());
    }
    Ok(manifest)
}

async fn take_back<S: ObjectStore>(store: &S, pin: &Pin) -> Result<(), StoreError> {
    store.delete(&ManifestSeq::FIRST.object_name(pin.clone)).await?;
    store.delete(&pin.object_name()).await
}

/// The snapshot, if it may be cloned and is `expected`, if that is known.
async fn usable<S: ObjectStore>(
    store: &S,
    new: &NewClone,
    expected: Option<&Snapshot>,
) -> Result<Snapshot, SnapshotError> {
    let (volume, name) = (new.source.1.clone(), new.snapshot.clone());
    if snapshot::is_being_deleted(store, new.source.0, &name).await? {
        return Err(SnapshotError::Deleting { volume, name });
    }
    match snapshot::read(store, new.source.0, &name).await? {
        Some(found) if expected.is_none_or(|expected| expected.id == found.id) => Ok(found),
        Some(_) | None => Err(SnapshotError::NotFound { volume, name }),
    }
}
