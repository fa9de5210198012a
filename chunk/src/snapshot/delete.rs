//! Deleting a snapshot that nothing was cloned from, against clones that are being made.
//!
//! Whoever deletes puts a marker and then looks for clones; whoever clones puts a pin, and a name
//! at the end, and after each looks for markers (see [`crate::clones`]). Each object is put before
//! the other side's are looked for, and the store is consistent, so of two that meet at least one
//! sees the other, and backs off. A name that is not there when it is looked for is put later than
//! the marker, so its maker sees the marker, or that the snapshot is gone.

use wal::VolumeId;
use wal::planted::{self, Bug};

use super::{SnapshotError, SnapshotId, SnapshotName, object, read_header};
use crate::clones::{self, Pins};
use crate::ids::{VolumeName, volume_prefix};
use crate::store::{ObjectStore, StoreError};

fn marker_prefix(volume: VolumeId, name: &SnapshotName) -> String {
    format!("{}deleting/{name}/", volume_prefix(volume))
}

/// Whether somebody deletes the snapshot of this name, or began to: then the name is not free.
///
/// # Errors
/// If the store fails.
pub async fn is_being_deleted<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    name: &SnapshotName,
) -> Result<bool, StoreError> {
    Ok(!store.list(&marker_prefix(volume, name)).await?.is_empty())
}

/// Deletes a snapshot of a volume, or finishes a deletion that was cut off. `turn` is random bits
/// of this call.
///
/// 1. Put a marker of this call. *After a power cut*: the snapshot is there, and cannot be cloned
///    until it is deleted, which deleting it again does.
/// 2. Look for clones. If there are any, take the marker away and refuse. *After*: as 1.
/// 3. Delete the snapshot. *After*: it is gone, and its name is not free until the next call.
/// 4. Delete pins of clones that never came to be. *After*: as 3.
/// 5. Delete this marker and those that were there before. *After*: as 3, or all is done.
///
/// # Errors
/// If there is no such snapshot, clones need it, something about them cannot be read, or the store
/// fails: calling again goes on.
pub async fn delete<S: ObjectStore>(
    store: &S,
    (volume, volume_name): (VolumeId, &VolumeName),
    name: &SnapshotName,
    turn: SnapshotId,
) -> Result<(), SnapshotError> {
    let before = store.list(&marker_prefix(volume, name)).await?;
    // One that is damaged can be deleted as well.
    let found = read_header(store, volume, name).await.map(|header| header.map(|it| it.id));
    if matches!(found, Ok(None)) && before.is_empty() {
        let (volume, name) = (volume_name.clone(), name.clone());
        return Err(SnapshotError::NotFound { volume, name });
    }
    let marker = object(format!("{}{turn}", marker_prefix(volume, name)));
    store.put(&marker, turn.to_string()).await?;
    let dead = match unneeded(store, volume, name).await {
        Ok(Pins { dead, live }) if live.is_empty() => dead,
        refused => {
            store.delete(&marker).await?;
            let clones = refused?.live.into_iter().map(|pin| pin.name).collect();
            return Err(SnapshotError::Needed {
                what: format!("snapshot {volume_name}@{name}"),
                clones,
            });
        }
    };
    // Somebody else may have deleted it, and a new one may have its name by now.
    let now = read_header(store, volume, name).await.map(|header| header.map(|it| it.id));
    if now.is_err() || matches!((&found, &now), (Ok(found), Ok(now)) if found == now) {
        store.delete(&name.object_name(volume)).await?;
    }
    for pin in dead {
        store.delete(&pin).await?;
    }
    for (left, _) in before {
        store.delete(&left).await?;
    }
    Ok(store.delete(&marker).await?)
}

async fn unneeded<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    name: &SnapshotName,
) -> Result<Pins, SnapshotError> {
    let mut pins = clones::pins_of(store, volume, name).await?;
    if planted::is(Bug::PinIgnored) {
        pins.live.clear();
    }
    Ok(pins)
}
