//! A volume gets another name.

use super::{decode_name, encode_name, find};
use crate::error::{ErrorKind, ReadError};
use crate::ids::VolumeName;
use crate::manifest_log::holds;
use crate::store::{ObjectStore, StoreError};
use wal::VolumeId;

/// Why a volume has its name still.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// There is no such volume.
    #[error("no volume is named {name}")]
    NotFound {
        /// The name.
        name: VolumeName,
    },
    /// The new name is another volume's.
    #[error("volume {name} exists already")]
    Exists {
        /// The name.
        name: VolumeName,
    },
    /// A name cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed. Calling again finishes the work.
    #[error("rename volume: {0}")]
    Store(#[from] StoreError),
}

impl RenameError {
    /// What to do about it; `None` if the request itself is the fault.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::NotFound { .. } | Self::Exists { .. } => None,
            Self::Read(error) => Some(error.kind()),
            Self::Store(error) => Some(error.kind()),
        }
    }
}

/// Gives a volume another name, which must be free.
///
/// 1. Put the new name, if it is free. A power cut after this leaves a volume with two names; the
///    same call again goes on.
/// 2. Delete the old one.
///
/// # Errors
/// If the new name is taken, the old one is nobody's, or the store fails.
pub async fn rename<S: ObjectStore>(
    store: &S,
    from: &VolumeName,
    to: &VolumeName,
) -> Result<VolumeId, RenameError> {
    let id = find(store, from).await?;
    let id = id.ok_or_else(|| RenameError::NotFound { name: from.clone() })?;
    let (object, body) = (to.object_name(), encode_name(to, id));
    let is_anothers = |found: &[u8]| decode_name(found, to).is_ok_and(|found| found != id);
    match store.put_if_absent(&object, body.clone()).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) if holds(store, &object, &body, is_anothers).await? => {}
        Err(StoreError::Exists { .. }) => return Err(RenameError::Exists { name: to.clone() }),
        Err(error) => return Err(error.into()),
    }
    match store.delete(&from.object_name()).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(id),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{NewVolume, create, create_as};
    use crate::memory::MemoryStore;
    use crate::promises::Promises;
    use futures_lite::future::block_on;

    fn name(text: &str) -> VolumeName {
        VolumeName::new(text).unwrap()
    }

    fn new(text: &str, id: u8) -> NewVolume {
        NewVolume {
            name: name(text),
            id: VolumeId([id; 16]),
            size_bytes: 1 << 20,
            stripe_shift: 10,
            promises: Promises::default(),
            created_unix_ms: 0,
        }
    }

    #[test]
    fn a_volume_gets_a_name_that_is_free_and_loses_the_old_one() {
        block_on(async {
            let store = MemoryStore::new();
            let made = create_as(&store, new("vm", 1), &name("vm.importing")).await.unwrap();
            assert_eq!(made.name, name("vm"), "what it is to be");
            assert_eq!(find(&store, &name("vm")).await.unwrap(), None);
            let taken = create_as(&store, new("vm", 2), &name("vm.importing")).await;
            assert!(taken.unwrap_err().to_string().contains("vm.importing exists"));
            let id = rename(&store, &name("vm.importing"), &name("vm")).await.unwrap();
            assert_eq!(find(&store, &name("vm")).await.unwrap(), Some(id));
            let gone = rename(&store, &name("vm.importing"), &name("vm")).await;
            assert!(matches!(gone, Err(RenameError::NotFound { .. })));
            create(&store, new("other", 3)).await.unwrap();
            let taken = rename(&store, &name("other"), &name("vm")).await;
            assert!(matches!(taken, Err(RenameError::Exists { .. })));
            assert!(find(&store, &name("other")).await.unwrap().is_some(), "it has its name still");
        });
    }

    #[test]
    fn a_renaming_that_was_cut_off_goes_on() {
        block_on(async {
            let store = MemoryStore::new();
            create(&store, new("a", 1)).await.unwrap();
            let both = encode_name(&name("b"), VolumeId([1; 16]));
            store.put(&name("b").object_name(), both).await.unwrap();
            rename(&store, &name("a"), &name("b")).await.unwrap();
            assert_eq!(find(&store, &name("a")).await.unwrap(), None);
            assert_eq!(find(&store, &name("b")).await.unwrap(), Some(VolumeId([1; 16])));
        });
    }
}
