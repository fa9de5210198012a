//! Snapshots of several volumes at one instant, because somebody says so.

use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chunk::{SnapshotHeader, SnapshotName, VolumeName};
use wal::VolumeId;

use super::attach::attach;
use super::copies::{CopyError, new_snapshot};
use super::error::ServeError;
use super::local::Local;
use super::resize::detached;
use crate::engine::error::VolumeError;

/// A volume by name.
pub(super) type Named = (VolumeName, VolumeId);

/// Makes snapshots of this name of all these volumes: see [`crate::engine::group`]. Goes on to its
/// end when nobody waits for it any more.
pub(super) async fn snapshot_group(
    local: &Rc<Local>,
    volumes: Vec<Named>,
    name: SnapshotName,
    timeout: Duration,
) -> Result<Vec<SnapshotHeader>, CopyError> {
    let task = local.clone();
    let made = detached(async move { make(&task, &volumes, name, timeout).await }).await?;
    log::info!("made snapshot {} of {} volumes at one instant", made[0].name, made.len());
    Ok(made)
}

async fn make(
    local: &Local,
    volumes: &[Named],
    name: SnapshotName,
    timeout: Duration,
) -> Result<Vec<SnapshotHeader>, CopyError> {
    let (mut entered, mut members) = (Vec::new(), Vec::new());
    for (volume, id) in volumes {
        let deleting = || CopyError::Deleting { name: volume.clone() };
        entered.push(local.clients.enter(*id).ok_or_else(deleting)?);
        attach(local, volume, *id, false).await?;
        let opened = local.core.opened(*id).ok_or_else(deleting)?;
        members.push((opened, new_snapshot(name.clone(), timeout)));
    }
    let made = local.core.snapshot_group(members).await;
    made.map_err(|source| match source {
        VolumeError::Late { volume } => {
            let is_late = |(_, id): &&Named| id.to_string() == volume;
            let (name, _) = volumes.iter().find(is_late).unwrap_or(&volumes[0]);
            CopyError::TimedOut { name: name.clone(), timeout }
        }
        source => CopyError::Group { source },
    })
}

/// The same where no server runs: opens the volumes and gives them back.
pub(super) struct TakeGroup {
    pub(super) volumes: Vec<Named>,
    pub(super) name: SnapshotName,
    pub(super) timeout: Duration,
    /// Takes what was made.
    pub(super) made: SyncSender<Vec<SnapshotHeader>>,
}

impl TakeGroup {
    /// Runs on core 0.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let Self { volumes, name, timeout, made } = self;
        let taken = snapshot_group(&local, volumes.clone(), name, timeout).await?;
        let mut closed = Ok(());
        for (name, id) in volumes {
            let shut = local.core.shut(id).await;
            closed = closed.and(shut.map_err(|source| CopyError::Volume { name, source }));
        }
        // Received when the cores have ended; there is room for one.
        let _ = made.try_send(taken);
        Ok(closed?)
    }
}
