//! Deleting a volume that may have snapshots and clones, or be one.

use wal::VolumeId;

use super::{Pin, Pins, pins};
use crate::catalog::{self, NameError};
use crate::error::{ErrorKind, ReadError};
use crate::ids::VolumeName;
use crate::lineage::Parent;
use crate::manifest;
use crate::snapshot::{self, SnapshotError, SnapshotId, SnapshotName};
use crate::store::{ObjectStore, StoreError};

/// Why a volume was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// It has snapshots, and they were not to go.
    #[error("volume {volume} has {count} snapshots: add --snapshots to delete them as well")]
    Snapshots {
        /// The volume.
        volume: VolumeName,
        /// How many.
        count: usize,
    },
    /// Snapshots came while it was being deleted.
    #[error("a snapshot of volume {volume} was made meanwhile, so it is not deleted")]
    Raced {
        /// The volume.
        volume: VolumeName,
    },
    /// Clones need it, or a snapshot could not be deleted.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Something among its snapshots is none.
    #[error(transparent)]
    Listed(#[from] NameError),
}

impl DeleteError {
    /// What to do about it; `None` if the request itself is the fault.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Snapshots { .. } | Self::Raced { .. } => None,
            Self::Snapshot(error) => error.kind(),
            Self::Listed(error) => Some(error.kind()),
        }
    }
}

impl From<StoreError> for DeleteError {
    fn from(error: StoreError) -> Self {
        Self::Snapshot(error.into())
    }
}

impl From<ReadError> for DeleteError {
    fn from(error: ReadError) -> Self {
        Self::Snapshot(error.into())
    }
}

/// Deletes a volume by name, its snapshots with it if `snapshots` is set; a missing one is fine.
/// Returns which volume it was. Nobody may have it open. `turn` is random bits of this call.
///
/// 1. Delete its snapshots, one after the other (see [`snapshot::delete`]); those that were made
///    for clones that are gone are nobody's. *A power cut leaves* the volume with fewer snapshots.
/// 2. Delete its name. *After*: the volume is gone for everybody.
/// 3. Look for snapshots and clones again. Whoever makes a snapshot looks for the name after that,
///    so one of the two sees the other. If there are any, put the name back. *After a power cut
///    before that*: as when a volume was deleted in part, but what they need is there.
/// 4. Delete its objects. *After*: objects that no name leads to.
/// 5. If it was a clone, delete its pin, and the snapshot that was made for it alone. *After*: a
///    pin that keeps nothing from being deleted.
///
/// # Errors
/// If clones need the volume, it has snapshots and `snapshots` is not set, or the store fails.
pub async fn delete_volume<S: ObjectStore>(
    store: &S,
    name: &VolumeName,
    snapshots: bool,
    turn: SnapshotId,
) -> Result<Option<VolumeId>, DeleteError> {
    let Some(volume) = catalog::find(store, name).await? else { return Ok(None) };
    // What cannot be read any more can still be deleted; its pin then goes with what it pins.
    let newest = manifest::load(store, volume).await.ok().flatten();
    let parent = newest.and_then(|(_, manifest)| manifest.parent);
    unneeded(store, volume, name).await?;
    let all = names(store, volume).await?;
    let count = all.iter().filter(|name| name.clone_id().is_none()).count();
    if count > 0 && !snapshots {
        return Err(DeleteError::Snapshots { volume: name.clone(), count });
    }
    for snapshot in &all {
        snapshot::delete(store, (volume, name), snapshot, turn).await?;
    }
    store.delete(&name.object_name()).await?;
    let late = match unneeded(store, volume, name).await {
        Ok(()) if names(store, volume).await?.is_empty() => None,
        Ok(()) => Some(DeleteError::Raced { volume: name.clone() }),
        Err(needed) => Some(needed),
    };
    if let Some(late) = late {
        store.put_if_absent(&name.object_name(), catalog::encode_name(name, volume)).await?;
        return Err(late);
    }
    catalog::delete_objects(store, volume).await?;
    if let Some(parent) = parent {
        unpin(store, (volume, name), parent, turn).await?;
    }
    Ok(Some(volume))
}

async fn names<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
) -> Result<Vec<SnapshotName>, DeleteError> {
    Ok(snapshot::names(store, volume).await?.into_iter().collect::<Result<_, _>>()?)
}

async fn unneeded<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    name: &VolumeName,
) -> Result<(), DeleteError> {
    let Pins { live, .. } = pins(store, volume).await?;
    if live.is_empty() {
        return Ok(());
    }
    let clones = live.into_iter().map(|pin| pin.name).collect();
    Err(SnapshotError::Needed { what: format!("volume {name}"), clones }.into())
}

/// Lets go of the snapshot that a clone was made from: deletes the pin, and the snapshot if it was made
/// for this clone alone. Done already is fine. `turn` is random bits of this call.
///
/// # Errors
/// If the store fails.
pub async fn unpin<S: ObjectStore>(
    store: &S,
    (clone, name): (VolumeId, &VolumeName),
    parent: Parent,
    turn: SnapshotId,
) -> Result<(), DeleteError> {
    let Parent { volume, name: snapshot, .. } = parent;
    let (name, created_unix_ms) = (name.clone(), 0);
    let pin = Pin { volume, snapshot, clone, name, created_unix_ms };
    store.delete(&pin.object_name()).await?;
    if pin.snapshot.clone_id() != Some(clone) {
        return Ok(());
    }
    match snapshot::delete(store, (volume, &pin.name), &pin.snapshot, turn).await {
        Ok(()) | Err(SnapshotError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
