//! Volumes that need not be open: making those that `--create` names, and what the store says of
//! others.

use chunk::manifest_log::{self, ManifestLogError};
use chunk::{FormatError, Manifest, Promises, catalog};
use wal::VolumeId;
use wal::layout::MIN_STRIPE_SHIFT;

use super::copies::draw;
use super::error::ServeError;
use super::store::AnyStore;
use crate::config::NewVolume;
use crate::error::ErrorKind;
use crate::runtime::clock::unix_ms;

/// Why the manifest of a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    /// The store failed.
    #[error(transparent)]
    Log(#[from] ManifestLogError),
    /// It is damaged.
    #[error("its manifest is damaged: {0}")]
    Format(#[from] FormatError),
    /// It has none.
    #[error("it has no manifest")]
    None,
}

impl ManifestError {
    /// What the caller does about it.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Log(error) => error.kind().into(),
            Self::Format(_) | Self::None => ErrorKind::Corrupt,
        }
    }
}

/// The newest manifest of a volume.
pub(super) async fn manifest(store: &AnyStore, id: VolumeId) -> Result<Manifest, ManifestError> {
    let latest = manifest_log::latest(store, id).await?;
    let (seq, body) = latest.ok_or(ManifestError::None)?;
    Ok(Manifest::decode_as(&body, id, seq)?)
}

/// Makes a volume unless there is one of its name, whatever its size.
pub(super) async fn make_if_missing(
    store: &AnyStore,
    new: &NewVolume,
    promises: Promises,
) -> Result<(), ServeError> {
    let name = &new.name;
    let found = catalog::find(store, name).await;
    let found = found.map_err(|source| ServeError::Find { name: name.clone(), source })?;
    if found.is_some() {
        return Ok(());
    }
    let volume = catalog::NewVolume {
        name: name.clone(),
        id: draw().as_volume(),
        size_bytes: new.size.bytes().0,
        stripe_shift: MIN_STRIPE_SHIFT,
        promises,
        created_unix_ms: unix_ms(),
    };
    let made = catalog::create(store, volume).await;
    made.map_err(|source| ServeError::Create { name: name.clone(), source })?;
    log::info!("created volume {name} of {}", new.size);
    Ok(())
}
