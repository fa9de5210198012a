//! A snapshot: one cut of a volume under a name.
//!
//! The object holds the whole manifest of the cut, behind a header of its own that alone is read
//! where many are listed. Chunks and map pages are immutable, so nothing else needs to be stored,
//! however large the volume is.

mod codec;
mod delete;

use std::fmt;

use wal::VolumeId;

use crate::catalog::{self, NameError};
use crate::error::{ErrorKind, ReadError, in_object};
use crate::ids::{ManifestSeq, VolumeName, VolumeNameError, volume_prefix};
use crate::limits::{MAX_MANIFEST_BYTES, SNAPSHOT_READS};
use crate::manifest::Manifest;
use crate::manifest_log::holds;
use crate::store::{ObjectName, ObjectStore, StoreError};
use crate::together::together;

pub use codec::HEADER_BYTES;
pub use delete::delete;
pub use delete::is_being_deleted;

/// Identity of a snapshot: random bits that no other one has, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId(pub [u8; 16]);

impl SnapshotId {
    /// As the identity of a volume: a snapshot that is open counts as a volume of its own.
    #[must_use]
    pub fn as_volume(self) -> VolumeId {
        VolumeId(self.0)
    }
}

impl fmt::Display for SnapshotId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_volume().fmt(f)
    }
}

/// Name of a snapshot within its volume: what a volume may be named, or `_` and the identity of
/// the clone that it was made for, which no user can type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotName(String);

impl SnapshotName {
    /// A name that a user gives.
    ///
    /// # Errors
    /// Says what a name may be.
    pub fn new(text: impl Into<String>) -> Result<Self, VolumeNameError> {
        VolumeName::new(text).map(|name| Self(name.as_str().to_owned()))
    }

    /// The snapshot that is made for this clone, and goes with it.
    #[must_use]
    pub fn of_clone(clone: VolumeId) -> Self {
        Self(format!("_{clone}"))
    }

    /// Reads what stands in the store: a name of either kind.
    ///
    /// # Errors
    /// If it is of neither.
    pub fn parse(text: &str) -> Result<Self, VolumeNameError> {
        match text.strip_prefix('_').and_then(VolumeId::parse) {
            Some(clone) => Ok(Self::of_clone(clone)),
            None => Self::new(text),
        }
    }

    /// The clone that it was made for, if it was.
    #[must_use]
    pub fn clone_id(&self) -> Option<VolumeId> {
        self.0.strip_prefix('_').and_then(VolumeId::parse)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where a volume keeps the snapshot of this name.
    #[must_use]
    pub fn object_name(&self, volume: VolumeId) -> ObjectName {
        object(format!("{}{self}", snapshot_prefix(volume)))
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SnapshotName {
    type Err = VolumeNameError;

    fn from_str(text: &str) -> Result<Self, VolumeNameError> {
        Self::new(text)
    }
}

/// What the names of a volume's snapshots start with.
#[must_use]
pub fn snapshot_prefix(volume: VolumeId) -> String {
    format!("{}snapshots/", volume_prefix(volume))
}

pub(crate) fn object(name: String) -> ObjectName {
    ObjectName::new(name).expect("made of digits and checked names")
}

/// What a snapshot says before its manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHeader {
    /// The volume.
    pub volume: VolumeId,
    /// Its identity.
    pub id: SnapshotId,
    /// Its name.
    pub name: SnapshotName,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Number of the manifest.
    pub seq: ManifestSeq,
    /// Size of the volume in it.
    pub size_bytes: u64,
}

/// A snapshot, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its identity.
    pub id: SnapshotId,
    /// Its name.
    pub name: SnapshotName,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Number of the manifest.
    pub seq: ManifestSeq,
    /// The manifest of its cut.
    pub manifest: Manifest,
}

impl Snapshot {
    /// What stands before the manifest.
    #[must_use]
    pub fn header(&self) -> SnapshotHeader {
        SnapshotHeader {
            volume: self.manifest.volume,
            id: self.id,
            name: self.name.clone(),
            created_unix_ms: self.created_unix_ms,
            seq: self.seq,
            size_bytes: self.manifest.size_bytes,
        }
    }
}

/// Why a snapshot was not made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The name is taken.
    #[error("snapshot {volume}@{name} exists already")]
    Exists {
        /// The volume.
        volume: VolumeName,
        /// The snapshot.
        name: SnapshotName,
    },
    /// There is none.
    #[error(
        "volume {volume} has no snapshot {name}: `krait snapshot list {volume}` shows those that it has"
    )]
    NotFound {
        /// The volume.
        volume: VolumeName,
        /// The snapshot.
        name: SnapshotName,
    },
    /// It is being deleted, or its deletion was cut off.
    #[error(
        "snapshot {volume}@{name} is being deleted: if nobody is at it, `krait snapshot delete {volume} {name}` finishes that"
    )]
    Deleting {
        /// The volume.
        volume: VolumeName,
        /// The snapshot.
        name: SnapshotName,
    },
    /// Clones refer to what it holds.
    #[error("{what} is needed by {}: delete what was cloned first", list(clones))]
    Needed {
        /// What was to be deleted.
        what: String,
        /// The clones.
        clones: Vec<VolumeName>,
    },
    /// The volume was deleted meanwhile.
    #[error("volume {volume} was deleted meanwhile")]
    NoVolume {
        /// The volume.
        volume: VolumeName,
    },
    /// An object cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed. Doing it again, with the same identity, goes on.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Names, for a sentence.
fn list(clones: &[VolumeName]) -> String {
    let names: Vec<_> = clones.iter().map(VolumeName::as_str).collect();
    match names.len() {
        1 => format!("the clone {}", names[0]),
        _ => format!("the clones {}", names.join(", ")),
    }
}

impl SnapshotError {
    /// What to do about it; `None` if the request itself is the fault.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Exists { .. }
            | Self::NotFound { .. }
            | Self::Deleting { .. }
            | Self::Needed { .. }
            | Self::NoVolume { .. } => None,
            Self::Read(error) => Some(error.kind()),
            Self::Store(error) => Some(error.kind()),
        }
    }
}

/// Puts a snapshot whose manifest is published, or will be by whoever has the volume: all that it
/// refers to is in the store.
///
/// 1. Look whether a snapshot of this name is being deleted. *A power cut leaves* nothing.
/// 2. Put the object, if its name is free. *After*: the snapshot exists.
/// 3. Look whether the volume has its name still. If it has not, the snapshot goes again: whoever
///    deletes the volume takes its name away and then looks for snapshots, so one of the two sees
///    the other. *After a power cut before that*: a snapshot of a volume that is gone, which goes
///    with its other objects.
///
/// # Errors
/// If the name is taken or being deleted, or the store fails: then it may be there or not, and the
/// same call finds out.
pub async fn put<S: ObjectStore>(store: &S, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let (id, name, volume) = (snapshot.manifest.volume, &snapshot.name, &snapshot.manifest.name);
    let named = || (volume.clone(), name.clone());
    if is_being_deleted(store, id, name).await? {
        let (volume, name) = named();
        return Err(SnapshotError::Deleting { volume, name });
    }
    let (object, body) = (name.object_name(id), snapshot.encode());
    match store.put_if_absent(&object, body.clone()).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => {
            let is_anothers =
                |found: &[u8]| Snapshot::decode(found).is_ok_and(|found| found.id != snapshot.id);
            if !holds(store, &object, &body, is_anothers).await? {
                let (volume, name) = named();
                return Err(SnapshotError::Exists { volume, name });
            }
        }
        Err(error) => return Err(error.into()),
    }
    if catalog::find_surely(store, volume).await? != Some(id) {
        store.delete(&object).await?;
        return Err(SnapshotError::NoVolume { volume: volume.clone() });
    }
    Ok(())
}

/// Most bytes of a snapshot.
pub const MAX_SNAPSHOT_BYTES: u64 = (HEADER_BYTES + MAX_MANIFEST_BYTES) as u64;

/// The snapshot of a name; `None` if there is none.
///
/// # Errors
/// If it cannot be read or is damaged.
pub async fn read<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    name: &SnapshotName,
) -> Result<Option<Snapshot>, ReadError> {
    let object = name.object_name(volume);
    let read = async {
        let len = store.head(&object).await?.min(MAX_SNAPSHOT_BYTES);
        store.get_range(&object, 0..len).await
    };
    match read.await {
        Ok(bytes) => {
            Snapshot::decode_as(&bytes, volume, name).map(Some).map_err(in_object(&object))
        }
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a snapshot of a name says of itself; `None` if there is none.
///
/// # Errors
/// As [`read`].
pub async fn read_header<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    name: &SnapshotName,
) -> Result<Option<SnapshotHeader>, ReadError> {
    let object = name.object_name(volume);
    match store.get_range(&object, 0..HEADER_BYTES as u64).await {
        Ok(bytes) => {
            SnapshotHeader::decode_as(&bytes, volume, name).map(Some).map_err(in_object(&object))
        }
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Names of all snapshots of a volume, those made for clones included, in order: one listing.
///
/// # Errors
/// If the store fails to list.
pub async fn names<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
) -> Result<Vec<Result<SnapshotName, NameError>>, StoreError> {
    let prefix = snapshot_prefix(volume);
    let named = |(object, _): (ObjectName, u64)| {
        let name = SnapshotName::parse(&object.as_str()[prefix.len()..]);
        name.map_err(|source| NameError::Grammar { object, source })
    };
    Ok(store.list(&prefix).await?.into_iter().map(named).collect())
}

/// What all snapshots of a volume say of themselves, in order of names: one listing, and a short
/// read of each, many at a time. A damaged one does not hide the others.
///
/// # Errors
/// If the store fails to list.
pub async fn headers<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
) -> Result<Vec<Result<SnapshotHeader, NameError>>, StoreError> {
    let read = async |name: Result<SnapshotName, NameError>| match name {
        Ok(name) => match read_header(store, volume, &name).await {
            // Deleted since it was listed.
            Ok(header) => header.map(Ok),
            Err(error) => Some(Err(error.into())),
        },
        Err(error) => Some(Err(error)),
    };
    let all = names(store, volume).await?.into_iter().map(read);
    Ok(together(SNAPSHOT_READS, all).await.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
