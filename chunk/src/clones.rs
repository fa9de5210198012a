//! Clones: volumes that begin as a snapshot of another one, and what keeps that one from going.
//!
//! A clone adopts the map of its snapshot: page directory and unfolded chunks, which name objects
//! of the volume that was cloned, and whose they are (see [`crate::lineage`]). It is made of a
//! manifest and a name, whatever the size of the volume.
//!
//! `volumes/<volume>/clones/<snapshot>/<clone>` is a *pin*: it says that a clone was begun, and how
//! it is named. The clone is there while that name is the clone's.

mod create;
mod pin;
mod remove;

use wal::VolumeId;

use crate::catalog;
use crate::error::{ReadError, in_object};
use crate::ids::volume_prefix;
use crate::limits::SNAPSHOT_READS;
use crate::snapshot::{SnapshotError, SnapshotName};
use crate::store::{ObjectName, ObjectStore, StoreError};
use crate::together::together;

pub use create::{CloneError, NewClone, create};
pub use pin::Pin;
pub use remove::{DeleteError, delete_volume, unpin};

/// What the names of all pins of a volume start with.
#[must_use]
pub fn pin_prefix(volume: VolumeId) -> String {
    format!("{}clones/", volume_prefix(volume))
}

fn snapshot_pin_prefix(volume: VolumeId, snapshot: &SnapshotName) -> String {
    format!("{}{snapshot}/", pin_prefix(volume))
}

/// Pins that were found.
#[derive(Debug, Default)]
pub struct Pins {
    /// Of clones that are there.
    pub live: Vec<Pin>,
    /// Of clones that never came to be, or are gone, or are being made just now.
    pub dead: Vec<ObjectName>,
}

/// All pins of a snapshot.
///
/// # Errors
/// If the store fails, or a pin or the name of a clone cannot be read: then it is not known whether
/// the snapshot is needed.
pub async fn pins_of<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    snapshot: &SnapshotName,
) -> Result<Pins, SnapshotError> {
    look(store, volume, &snapshot_pin_prefix(volume, snapshot)).await
}

/// All pins of a volume.
///
/// # Errors
/// As [`pins_of`].
pub async fn pins<S: ObjectStore>(store: &S, volume: VolumeId) -> Result<Pins, SnapshotError> {
    look(store, volume, &pin_prefix(volume)).await
}

async fn look<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    prefix: &str,
) -> Result<Pins, SnapshotError> {
    let read = async |(object, bytes): (ObjectName, u64)| {
        let body = match store.get_range(&object, 0..bytes.min(pin::MAX_PIN_BYTES)).await {
            Ok(body) => body,
            // Gone since it was listed.
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(ReadError::from(error)),
        };
        let pin = Pin::decode_as(&body, volume, &object).map_err(in_object(&object))?;
        let is_live = catalog::find_surely(store, &pin.name).await? == Some(pin.clone);
        Ok(Some((object, pin, is_live)))
    };
    let mut pins = Pins::default();
    let listed = store.list(prefix).await?;
    for found in together(SNAPSHOT_READS, listed.into_iter().map(read)).await {
        match found? {
            Some((_, pin, true)) => pins.live.push(pin),
            Some((object, _, false)) => pins.dead.push(object),
            None => {}
        }
    }
    Ok(pins)
}

#[cfg(test)]
mod tests;
