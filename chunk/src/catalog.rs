//! Which volumes a store has: `names/<name>` says which volume has a name.

mod rename;

use std::io;

use wal::VolumeId;

use crate::directory::SegmentIndex;
use crate::error::{ErrorKind, FormatError, ReadError, in_object};
use crate::ids::{
    ManifestSeq, NAMES_PREFIX, VolumeName, VolumeNameError, manifest_prefix, volume_prefix,
};
use crate::limits::MAX_VOLUME_BYTES;
use crate::lineage::Ancestors;
use crate::manifest::{Cut, Manifest, valid_size, valid_stripe};
use crate::manifest_log::{PublishError, holds, publish};
use crate::promises::Promises;
use crate::sealed::Sealed;
use crate::store::{ObjectName, ObjectStore, StoreError};

pub use rename::{RenameError, rename};

const NAME: Sealed = Sealed { what: "volume name", magic: *b"KRTVNAME", version: 1, features: 0 };

/// Why a volume was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is taken.
    #[error("volume {name} exists already")]
    Exists {
        /// The name.
        name: VolumeName,
    },
    /// No volume has such a size.
    #[error("a volume is a multiple of 512 bytes, at least 512 and at most {} TiB; {bytes} bytes is not", MAX_VOLUME_BYTES >> 40)]
    Size {
        /// The size that was asked for.
        bytes: u64,
    },
    /// No volume has such stripes.
    #[error("stripes have 2^10 to 2^20 blocks, not 2^{shift}")]
    Stripe {
        /// What was asked for.
        shift: u8,
    },
    /// Its first manifest could not be published.
    #[error("create volume: {0}")]
    Publish(#[from] PublishError),
    /// The store failed. Calling again with the same identity finishes the work.
    #[error("create volume: {0}")]
    Store(#[from] StoreError),
}

/// What a new volume is.
#[derive(Clone, Debug)]
pub struct NewVolume {
    /// Its name.
    pub name: VolumeName,
    /// Its identity: random bits that nobody else uses.
    pub id: VolumeId,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Blocks of one stripe as a power of two.
    pub stripe_shift: u8,
    /// What it promises.
    pub promises: Promises,
    /// The present, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// Creates a volume of holes.
///
/// 1. Publish its first manifest. A power cut after this leaves a volume without a name, which
///    nothing lists but [`unnamed`].
/// 2. Put its name, if the name is free. From here on the volume exists.
/// 3. If the name was taken, delete the manifest again. A power cut before leaves the same as in
///    step 1.
///
/// # Errors
/// If the name is taken, the geometry is impossible, or the store fails.
pub async fn create<S: ObjectStore>(store: &S, new: NewVolume) -> Result<Manifest, CreateError> {
    let name = new.name.clone();
    create_as(store, new, &name).await
}

/// As [`create`], but the volume is found under another name: it is not yet what its own one says,
/// and gets that by [`rename`].
///
/// # Errors
/// As [`create`].
pub async fn create_as<S: ObjectStore>(
    store: &S,
    new: NewVolume,
    name: &VolumeName,
) -> Result<Manifest, CreateError> {
    if !valid_size(new.size_bytes) {
        return Err(CreateError::Size { bytes: new.size_bytes });
    }
    if !valid_stripe(new.stripe_shift) {
        return Err(CreateError::Stripe { shift: new.stripe_shift });
    }
    let object = name.object_name();
    let body = encode_name(name, new.id);
    let id = new.id;
    let is_anothers = |found: &[u8]| decode_name(found, name).is_ok_and(|found| found != id);
    let manifest = first_manifest(new);
    match store.head(&object).await {
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) if holds(store, &object, &body, is_anothers).await? => return Ok(manifest),
        Ok(_) => return Err(CreateError::Exists { name: name.clone() }),
    }
    let first = ManifestSeq::FIRST;
    publish(store, manifest.volume, first, manifest.encode(first), &[]).await?;
    match store.put_if_absent(&object, body.clone()).await {
        Ok(()) => Ok(manifest),
        Err(StoreError::Exists { .. }) if holds(store, &object, &body, is_anothers).await? => {
            Ok(manifest)
        }
        Err(StoreError::Exists { .. }) => {
            store.delete(&first.object_name(manifest.volume)).await?;
            Err(CreateError::Exists { name: name.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

fn first_manifest(new: NewVolume) -> Manifest {
    Manifest {
        volume: new.id,
        name: new.name,
        size_bytes: new.size_bytes,
        stripe_shift: new.stripe_shift,
        promises: new.promises,
        created_unix_ms: new.created_unix_ms,
        incarnation: wal::Incarnation(0),
        owner: [0; 16],
        tenure: wal::Incarnation(0),
        salt: 0,
        cut: Cut::default(),
        directory: Vec::<(SegmentIndex, _)>::new(),
        unfolded: Vec::new(),
        parent: None,
        ancestors: Ancestors::default(),
        compressed_since: None,
    }
}

/// The volume of a name; `None` if there is none.
///
/// # Errors
/// If the store fails or the name's object is damaged.
pub async fn find<S: ObjectStore>(
    store: &S,
    name: &VolumeName,
) -> Result<Option<VolumeId>, ReadError> {
    let object = name.object_name();
    let read = async {
        let len = store.head(&object).await?.min(MAX_NAME_BYTES);
        store.get_range(&object, 0..len).await
    };
    match read.await {
        Ok(bytes) => decode_name(&bytes, name).map(Some).map_err(in_object(&object)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`find`], where it matters that there is no such volume: a store that says so is asked in
/// another way.
///
/// # Errors
/// As [`find`], and if the store contradicts itself.
pub async fn find_surely<S: ObjectStore>(
    store: &S,
    name: &VolumeName,
) -> Result<Option<VolumeId>, ReadError> {
    let found = find(store, name).await?;
    let object = name.object_name();
    if found.is_none() && store.list(object.as_str()).await?.iter().any(|(at, _)| *at == object) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "listed, and then not there");
        let object = object.to_string();
        return Err(StoreError::Io { action: "read", object, source }.into());
    }
    Ok(found)
}

/// Why something that is stored among names, of volumes or of snapshots, is none.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Nothing can have such a name.
    #[error("{object}: {source}")]
    Grammar {
        /// The object.
        object: ObjectName,
        /// What is wrong with the name.
        #[source]
        source: VolumeNameError,
    },
    /// The object could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl NameError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Grammar { .. } => ErrorKind::Corrupt,
            Self::Read(error) => error.kind(),
        }
    }
}

/// All volumes that have a name, in order of names. A damaged name does not hide the others.
///
/// # Errors
/// If the store fails to list.
pub async fn list<S: ObjectStore>(
    store: &S,
) -> Result<Vec<Result<(VolumeName, VolumeId), NameError>>, StoreError> {
    let mut volumes = Vec::new();
    for (object, _) in store.list(NAMES_PREFIX).await? {
        match VolumeName::new(&object.as_str()[NAMES_PREFIX.len()..]) {
            Err(source) => volumes.push(Err(NameError::Grammar { object, source })),
            Ok(name) => match find(store, &name).await {
                Ok(Some(volume)) => volumes.push(Ok((name, volume))),
                Ok(None) => {} // Deleted since it was listed.
                Err(error) => volumes.push(Err(error.into())),
            },
        }
    }
    Ok(volumes)
}

/// Deletes all objects of a volume: the manifests first, from old to new, so that a late reader
/// finds either a whole volume or none and a late writer learns that it has lost; then all else.
///
/// # Errors
/// If the store fails; calling again goes on.
pub async fn delete_objects<S: ObjectStore>(store: &S, volume: VolumeId) -> Result<(), StoreError> {
    for prefix in [manifest_prefix(volume), volume_prefix(volume)] {
        for (object, _) in store.list(&prefix).await? {
            store.delete(&object).await?;
        }
    }
    Ok(())
}

/// Volumes that have objects but no name: left by a power cut in [`create`],
/// [`crate::clones::create`] or [`crate::clones::delete_volume`], or being created just now. Lists
/// the whole store.
///
/// # Errors
/// If the store fails, or a name cannot be read: then its volume is not known.
pub async fn unnamed<S: ObjectStore>(store: &S) -> Result<Vec<VolumeId>, NameError> {
    const PREFIX: &str = "volumes/";
    let objects = store.list(PREFIX).await.map_err(ReadError::from)?;
    let mut named = Vec::new();
    for entry in list(store).await.map_err(ReadError::from)? {
        named.push(entry?.1);
    }
    let id = |name: &ObjectName| VolumeId::parse(name.as_str()[PREFIX.len()..].split('/').next()?);
    let mut volumes: Vec<_> = objects.iter().filter_map(|(name, _)| id(name)).collect();
    volumes.dedup();
    volumes.retain(|volume| !named.contains(volume));
    Ok(volumes)
}

/// A name's object is never longer.
const MAX_NAME_BYTES: u64 = 32 + 16 + 2 + VolumeName::MAX_BYTES as u64;

/// The bytes of the object that gives a volume its name.
#[must_use]
pub fn encode_name(name: &VolumeName, volume: VolumeId) -> Vec<u8> {
    let mut out = NAME.begin(MAX_NAME_BYTES as usize);
    out.bytes(&volume.0);
    out.u16(name.as_str().len() as u16);
    out.bytes(name.as_str().as_bytes());
    out.seal().0
}

/// Reads the object that gives a volume the name `name`.
///
/// # Errors
/// If the bytes are not such an object, or one of another name.
pub fn decode_name(bytes: &[u8], name: &VolumeName) -> Result<VolumeId, FormatError> {
    match decode_any_name(bytes)? {
        (found, volume) if found == name.as_str() => Ok(volume),
        _ => Err(FormatError::Identity { what: NAME.what, field: "name" }),
    }
}

/// Reads an object that gives some volume some name.
///
/// # Errors
/// If the bytes are not such an object.
pub fn decode_any_name(bytes: &[u8]) -> Result<(String, VolumeId), FormatError> {
    let (mut fields, _) = NAME.open(bytes)?;
    let volume = VolumeId(fields.array()?);
    let length = fields.u16()?;
    let found = fields.take(length.into())?;
    let name = std::str::from_utf8(found).map_err(|_| fields.field("name", length.into()))?;
    let name = name.to_owned();
    fields.finish()?;
    Ok((name, volume))
}

impl CreateError {
    /// What to do about it; `None` if the request itself is the fault.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Exists { .. } | Self::Size { .. } | Self::Stripe { .. } => None,
            Self::Publish(PublishError::Lost { .. }) => None,
            Self::Publish(PublishError::Store(error)) | Self::Store(error) => Some(error.kind()),
        }
    }
}

#[cfg(test)]
mod tests;
