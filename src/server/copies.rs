//! Snapshots and clones of the volumes of a server.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chunk::clones::{self, CloneError, DeleteError, NewClone};
use chunk::manifest::LoadError;
use chunk::snapshot::{self, SnapshotError};
use chunk::{
    Manifest, ObjectStore, Snapshot, SnapshotHeader, SnapshotId, SnapshotName, VolumeName, manifest,
};
use std::rc::Rc;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::attach::{AttachError, attach};
use super::error::ServeError;
use super::limits::{PUT_GRACE, SETTLE_TIMEOUT};
use super::local::Local;
use super::patience::in_time;
use crate::engine::error::VolumeError;
use crate::engine::open::NO_HOST;
use crate::engine::snapshot::NewSnapshot;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;
use crate::runtime::clock::unix_ms;

/// Why a snapshot or clone was not made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The volume is being deleted.
    #[error("volume {name} is being deleted")]
    Deleting {
        /// The volume.
        name: VolumeName,
    },
    /// Clients are connected to it.
    #[error("{what} is in use: disconnect its clients first")]
    InUse {
        /// What was to be deleted.
        what: String,
    },
    /// The time is over.
    #[error(
        "no snapshot of volume {name} was made after {timeout:?}, as its log did not take all: \
         ask again or wait longer with --timeout"
    )]
    TimedOut {
        /// The volume.
        name: VolumeName,
        /// How long it was tried.
        timeout: Duration,
    },
    /// The time is over.
    #[error(
        "a snapshot of volume {name} is made, but after {timeout:?} still on its way to the store: \
         ask again later"
    )]
    NotStored {
        /// The volume.
        name: VolumeName,
        /// How long it was tried.
        timeout: Duration,
    },
    /// The volume cannot be opened, as another host has it, or for another reason.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The newest manifest cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The volume is stopped.
    #[error("volume {name}: {source}")]
    Volume {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
    /// One of several volumes is stopped, or its snapshot cannot be put: none is made.
    #[error("no snapshot was made of any of the volumes: {source}")]
    Group {
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
    /// The snapshot cannot be made or deleted.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The clone cannot be made.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// The volume cannot be deleted.
    #[error(transparent)]
    Delete(#[from] DeleteError),
}

impl CopyError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Deleting { .. } => ErrorKind::NotFound,
            Self::InUse { .. } => ErrorKind::Busy,
            Self::TimedOut { .. } | Self::NotStored { .. } => ErrorKind::Retry,
            Self::Attach(error) => error.kind(),
            Self::Load(error) => error.kind().into(),
            Self::Volume { source, .. } | Self::Group { source } => source.into(),
            Self::Snapshot(error) => error.into(),
            Self::Clone(error) => error.into(),
            Self::Delete(error) => error.into(),
        }
    }
}

/// Makes a snapshot of a volume that no host has: its newest manifest has everything that was ever
/// acknowledged. `None` if some host has it by now.
///
/// # Errors
/// If the newest manifest cannot be read, or the snapshot cannot be put.
pub async fn snapshot_at_rest<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    new: &NewSnapshot,
) -> Result<Option<SnapshotHeader>, CopyError> {
    let Some((seq, manifest)) = manifest::load(store, volume).await? else { return Ok(None) };
    if manifest.owner != NO_HOST {
        return Ok(None);
    }
    let NewSnapshot { id, name, created_unix_ms, .. } = new.clone();
    let snapshot = Snapshot { id, name, created_unix_ms, seq, manifest };
    snapshot::put(store, &snapshot).await?;
    Ok(Some(snapshot.header()))
}

/// Random bits of this call.
pub(super) fn draw() -> SnapshotId {
    let [low, high] = [GlommioRuntime.random(), GlommioRuntime.random()];
    SnapshotId((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
}

/// A snapshot of this name, to be made now.
pub(super) fn new_snapshot(name: SnapshotName, patience: Duration) -> NewSnapshot {
    NewSnapshot { id: draw(), name, created_unix_ms: unix_ms(), patience }
}

/// Makes a snapshot with everything in it that was acknowledged before the call: of an open volume,
/// of one that no host has, or of one that is opened for it, whose log may have to be recovered.
pub(super) async fn snapshot(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    new: NewSnapshot,
) -> Result<SnapshotHeader, CopyError> {
    let deleting = || CopyError::Deleting { name: name.clone() };
    let _entered = local.clients.enter(id).ok_or_else(deleting)?;
    let core = &local.core;
    let timeout = new.patience;
    // The log has until the timeout, and is told so.
    let made = in_time(timeout + PUT_GRACE, async {
        if local.number(id).is_none()
            && let Some(made) = snapshot_at_rest(&core.store, id, &new).await?
        {
            return Ok(made);
        }
        attach(local, name, id, false).await?;
        let opened = core.opened(id).ok_or_else(deleting)?;
        let made = core.snapshot(opened.number(), new.clone()).await;
        made.map_err(|source| match source {
            VolumeError::Late { .. } => CopyError::TimedOut { name: name.clone(), timeout },
            source => CopyError::Volume { name: name.clone(), source },
        })
    });
    let made = made.await.ok_or_else(|| CopyError::TimedOut { name: name.clone(), timeout })??;
    if made.name.clone_id().is_none() {
        log::info!("made snapshot {name}@{}", made.name);
    }
    Ok(made)
}

/// The snapshots of a volume that are made and not in the store yet.
pub(super) async fn coming(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
) -> Result<Vec<SnapshotHeader>, CopyError> {
    let failed = |source| CopyError::Volume { name: name.clone(), source };
    match local.core.recovered(id).await.map_err(failed)? {
        Some(number) => local.core.coming(number).await.map_err(failed),
        None => Ok(Vec::new()),
    }
}

/// Waits until those are in the store.
pub(super) async fn settle(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    timeout: Duration,
) -> Result<(), CopyError> {
    let settled = in_time(timeout, local.core.settle(id)).await;
    let late = || CopyError::NotStored { name: name.clone(), timeout };
    let settled = settled.ok_or_else(late)?;
    settled.map_err(|source| CopyError::Volume { name: name.clone(), source })
}

/// Deletes a snapshot that no client has open and no clone needs.
pub(super) async fn delete_snapshot(
    local: &Local,
    (volume, volume_name): (VolumeId, &VolumeName),
    name: &SnapshotName,
) -> Result<(), CopyError> {
    let store = &local.core.store;
    settle(local, volume_name, volume, SETTLE_TIMEOUT).await?;
    // One that is damaged is not open.
    let found = snapshot::read_header(store, volume, name).await.ok().flatten();
    let id = found.map(|header| header.id.as_volume());
    let in_use = || CopyError::InUse { what: format!("snapshot {volume_name}@{name}") };
    let _alone = match id {
        Some(id) => Some(local.clients.begin_deleting(id).ok_or_else(in_use)?),
        None => None,
    };
    if let Some(id) = id
        && let Err(error) = local.core.shut(id).await
    {
        log::warn!("snapshot {volume_name}@{name}: {error}");
    }
    snapshot::delete(store, (volume, volume_name), name, draw()).await?;
    log::info!("deleted snapshot {volume_name}@{name}");
    Ok(())
}

/// Makes a clone of a snapshot, or of a volume as it is now.
pub(super) async fn clone(
    local: &Local,
    (source, source_name): (VolumeId, &VolumeName),
    from: Option<SnapshotName>,
    name: VolumeName,
    timeout: Duration,
) -> Result<Manifest, CopyError> {
    let store = &local.core.store;
    let id = draw().as_volume();
    let is_hidden = from.is_none();
    let wanted = from.unwrap_or_else(|| SnapshotName::of_clone(id));
    let made = new_snapshot(wanted.clone(), timeout);
    let created_unix_ms = made.created_unix_ms;
    let of = (source, source_name.clone());
    let cut = wanted.clone();
    let new = NewClone { name: name.clone(), id, source: of, snapshot: cut, created_unix_ms };
    let cloned = async {
        if is_hidden {
            snapshot(local, source_name, source, made).await?;
        }
        settle(local, source_name, source, timeout).await?;
        Ok::<_, CopyError>(clones::create(store, new).await?)
    };
    let cloned = cloned.await;
    if cloned.is_err() && is_hidden {
        // It may be on its way still, which nobody waits for. What is left of it goes with the volume.
        let (core, source_name) = (local.core.clone(), source_name.clone());
        local.core.runtime.spawn(async move {
            let _ = core.settle(source).await;
            let _ = snapshot::delete(&core.store, (source, &source_name), &wanted, draw()).await;
        });
    }
    let cloned = cloned?;
    log::info!("made volume {name}, a clone of {source_name}");
    Ok(cloned)
}

/// Deletes a volume that is closed and has no clients, its snapshots with it if `snapshots` is set.
pub(super) async fn delete_volume(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    snapshots: bool,
) -> Result<(), CopyError> {
    let store = &local.core.store;
    let mut guards = Vec::new();
    if snapshots {
        for header in
            snapshot::headers(store, id).await.map_err(SnapshotError::from)?.into_iter().flatten()
        {
            let what = || format!("snapshot {name}@{}", header.name);
            let view = header.id.as_volume();
            let guard = local.clients.begin_deleting(view);
            guards.push(guard.ok_or_else(|| CopyError::InUse { what: what() })?);
            if let Err(error) = local.core.shut(view).await {
                log::warn!("{}: {error}", what());
            }
        }
    }
    clones::delete_volume(store, name, snapshots, draw()).await?;
    Ok(())
}

/// Making a snapshot where no server runs, of a volume that this host has: opens the volume, makes
/// it, and closes the volume, which gives it back.
pub(super) struct TakeSnapshot {
    pub(super) name: VolumeName,
    pub(super) id: VolumeId,
    pub(super) new: NewSnapshot,
    /// Takes what was made.
    pub(super) made: SyncSender<SnapshotHeader>,
}

impl TakeSnapshot {
    /// Runs on core 0.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let made = snapshot(&local, &self.name, self.id, self.new).await;
        let closed = match &made {
            // From then on it is in the store.
            Ok(_) => local.core.shut(self.id).await,
            // What is in its log stays there, as after a crash.
            Err(_) => Ok(()),
        };
        let (made, store) = (made?, &local.core.store);
        let stored = snapshot::read_header(store, self.id, &made.name).await.ok().flatten();
        // Received when the cores have ended; there is room for one.
        drop(self.made.try_send(stored.unwrap_or(made)));
        let name = self.name;
        Ok(closed.map_err(|source| CopyError::Volume { name, source })?)
    }
}
