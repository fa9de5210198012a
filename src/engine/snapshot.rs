//! Snapshots of an open volume.
//!
//! A snapshot is the manifest of a cut that began after it was asked for. Cuts end an epoch and
//! wait for no writer, and whichever is the newest when the one that was asked for is done began
//! after the call as well: each of them is one instant between call and return.
//!
//! What a power cut leaves after each step:
//! 1. the cut is published: a cut as any other.
//! 2. the newest manifest was taken, and the store's newest one is of this opening: nothing more.
//! 3. the object is put: the snapshot exists.

use std::sync::Arc;
use std::time::Duration;

use chunk::snapshot::{self, SnapshotError};
use chunk::{ErrorKind, Manifest, ManifestSeq, Snapshot, SnapshotHeader, SnapshotId, SnapshotName};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{PUBLISH_TRIES, RETRY_FIRST};
use super::message::{Answer, Ask};
use super::open::newest_manifest;
use super::read::longer;

/// A snapshot to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSnapshot {
    /// Its identity: random bits that no other one has.
    pub id: SnapshotId,
    /// Its name.
    pub name: SnapshotName,
    /// The present, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// How long its cut may take: later it is not made.
    pub patience: Duration,
}

impl<E: Env> Core<E> {
    /// Makes a snapshot of an open volume with everything in it that was acknowledged before the
    /// call.
    ///
    /// # Errors
    /// [`VolumeError::Snapshot`] if it cannot be made, [`VolumeError::Late`] if the cut took too
    /// long; the volume is stopped, not open, or another host's.
    pub async fn snapshot(
        self: &std::rc::Rc<Self>,
        volume: VolumeNo,
        new: NewSnapshot,
    ) -> Result<SnapshotHeader, VolumeError> {
        match self.ask(self.home(volume), Ask::Snapshot(volume, Box::new(new))).await? {
            Answer::Snapshot(header) => Ok(*header),
            _ => unreachable!("a snapshot is answered by what it is"),
        }
    }
}

impl<E: Env> Coordinator<E> {
    pub(super) async fn snapshot(&self, new: NewSnapshot) -> Result<SnapshotHeader, VolumeError> {
        let (core, volume) = (&self.core, self.shared.volume);
        let deadline = core.runtime.now() + new.patience;
        if snapshot::read_header(&core.store, volume, &new.name).await?.is_some() {
            let (volume, name) = (self.newest.borrow().1.name.clone(), new.name);
            return Err(SnapshotError::Exists { volume, name }.into());
        }
        let early = planted::is(Bug::SnapshotBeforeCut).then(|| self.newest.borrow().clone());
        self.drain().await?;
        // From here on nothing is removed that the snapshot will need.
        let _rooting = self.rooting.take().await;
        let newest = early.unwrap_or_else(|| self.newest.borrow().clone());
        if core.runtime.now() > deadline {
            return Err(VolumeError::Late { volume: volume.to_string() });
        }
        self.put_snapshot(new, newest).await
    }

    /// Puts a snapshot of what a published manifest says.
    pub(super) async fn put_snapshot(
        &self,
        new: NewSnapshot,
        (seq, manifest): (ManifestSeq, Manifest),
    ) -> Result<SnapshotHeader, VolumeError> {
        let core = &self.core;
        self.see_that_it_is_ours().await?;
        let NewSnapshot { id, name, created_unix_ms, .. } = new;
        let snapshot = Snapshot { id, name, created_unix_ms, seq, manifest };
        let mut pause = RETRY_FIRST;
        for tries_left in (0..PUBLISH_TRIES).rev() {
            match snapshot::put(&core.store, &snapshot).await {
                Ok(()) => return Ok(snapshot.header()),
                Err(error) if tries_left > 0 && error.kind() == Some(ErrorKind::Retry) => {}
                Err(error) => return Err(error.into()),
            }
            core.runtime.sleep(pause).await;
            pause = longer(pause);
        }
        unreachable!("the last try returns")
    }

    /// If nothing was to be published, the cut did not meet whoever may have taken the volume over:
    /// what was acknowledged there would be missing.
    pub(super) async fn see_that_it_is_ours(&self) -> Result<(), VolumeError> {
        let (_, manifest) = newest_manifest(&self.core, self.shared.volume).await?;
        if manifest.incarnation == self.shared.incarnation {
            return Ok(());
        }
        let detail = format!("incarnation {} has opened it", manifest.incarnation);
        let fenced = VolumeError::Fenced { volume: self.shared.volume.to_string(), detail };
        self.shared.poison(fenced.clone());
        Err(fenced)
    }
}

impl From<SnapshotError> for VolumeError {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(Arc::new(error))
    }
}
