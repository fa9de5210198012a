//! Opening a volume for this host because somebody says so, and letting go of it.

use std::rc::Rc;

use chunk::{Manifest, VolumeName};
use wal::VolumeId;

use super::error::ServeError;
use super::host_id;
use super::local::Local;
use super::volumes::{self, ManifestError};
use crate::engine::error::VolumeError;
use crate::engine::open::NO_HOST;
use crate::error::ErrorKind;

/// Why a volume is not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Another host has it.
    #[error("{}", elsewhere(name, owner, *tenure))]
    Elsewhere {
        /// The volume.
        name: VolumeName,
        /// The host.
        owner: [u8; 16],
        /// Its first opening.
        tenure: u64,
    },
    /// Its manifest cannot be had.
    #[error("volume {name}: {text}")]
    Manifest {
        /// The volume.
        name: VolumeName,
        /// What the caller does about it.
        kind: ErrorKind,
        /// What is wrong.
        text: String,
    },
    /// It cannot be opened.
    #[error("volume {name} cannot be opened: {source}")]
    Volume {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
}

/// Who has a volume, and what to do about it, in one line.
pub(super) fn elsewhere(name: &VolumeName, owner: &[u8; 16], tenure: u64) -> String {
    let host = host_id::text(owner);
    format!(
        "host {host} has volume {name} since incarnation {tenure}: end its server or detach the \
         volume there; if that host is dead, `krait volume attach {name} --force` takes the volume \
         over without what it had not uploaded"
    )
}

/// The same for who wants to delete it.
pub(crate) fn not_deleted(name: &VolumeName, owner: &[u8; 16], tenure: u64) -> String {
    let host = host_id::text(owner);
    format!(
        "host {host} has volume {name} since incarnation {tenure}: delete or detach it there; if that \
         host is dead, take the volume over with `krait volume attach {name} --force`, then delete it"
    )
}

impl AttachError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Elsewhere { .. } => ErrorKind::Fenced,
            Self::Manifest { kind, .. } => *kind,
            Self::Volume { source, .. } => source.into(),
        }
    }

    fn manifest(name: &VolumeName, error: &ManifestError) -> Self {
        Self::Manifest { name: name.clone(), kind: error.kind(), text: error.to_string() }
    }
}

/// Whether another host than this one has a volume.
pub(crate) fn is_elsewhere(manifest: &Manifest, host: [u8; 16]) -> bool {
    manifest.owner != NO_HOST && manifest.owner != host
}

/// Opens a volume unless another host has it, whose lease, if it needs one, is waited out first;
/// with `force` even then, and at once. Returns its incarnation.
pub(super) async fn attach(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    force: bool,
) -> Result<u64, AttachError> {
    let core = &local.core;
    let manifest = volumes::manifest(&core.store, id).await;
    let manifest = manifest.map_err(|error| AttachError::manifest(name, &error))?;
    let failed = |source| AttachError::Volume { name: name.clone(), source };
    let needs_force = manifest.promises.fencing.lease().is_none();
    if is_elsewhere(&manifest, core.host) && needs_force && !force {
        let (name, owner) = (name.clone(), manifest.owner);
        return Err(AttachError::Elsewhere { name, owner, tenure: manifest.tenure.0 });
    }
    let opened = match force {
        true => core.take_over(id).await,
        false => core.outlast(id).await,
    };
    let volume = opened.map_err(failed)?;
    Ok(volume.shared().incarnation.0)
}

/// Attaching where no server runs: opens the volume for the next one.
pub(super) struct Attach {
    pub(super) name: VolumeName,
    pub(super) id: VolumeId,
    pub(super) force: bool,
}

impl Attach {
    /// Runs on core 0. The volume is not closed, as that would give it back: it stays with this
    /// host, as after a crash.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let attached = attach(&local, &self.name, self.id, self.force).await;
        attached?;
        Ok(())
    }
}
