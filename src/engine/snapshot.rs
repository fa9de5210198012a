//! Snapshots of an open volume.
//!
//! A snapshot is a cut with a name. Making one ends an epoch, which waits for no writer, and logs the
//! name behind all that the cut has: see [`super::named`] for the steps. The cut is sealed and published
//! in its turn, as any other, and its snapshot is put just before its manifest.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chunk::snapshot::{self, SnapshotError};
use chunk::{
    Durability, Manifest, ManifestSeq, Snapshot, SnapshotHeader, SnapshotId, SnapshotName,
};
use futures_lite::future;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{Epoch, VolumeId};

use super::Env;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{DELETION_ENDS, NAMED_CUTS, RETRY_FIRST};
use super::message::{Answer, Ask, Reason, ShardAsk};
use super::named::{self, Named};
use super::open::newest_manifest;
use super::peers::Outcome;
use super::read::longer;
use super::registry::KEEPER;

/// A snapshot to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSnapshot {
    /// Its identity: random bits that no other one has.
    pub id: SnapshotId,
    /// Its name.
    pub name: SnapshotName,
    /// The present, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// How long it may take: later it is not made.
    pub patience: Duration,
}

impl<E: Env> Core<E> {
    /// Makes a snapshot of an open volume with everything in it that was acknowledged before the
    /// call. It is durable on the local disk then, and in the store soon after, see
    /// [`Self::settle`].
    ///
    /// # Errors
    /// [`VolumeError::Snapshot`] if it cannot be made, [`VolumeError::Late`] if the log took too
    /// long; the volume is stopped, not open, or another host's.
    pub async fn snapshot(
        self: &Rc<Self>,
        volume: VolumeNo,
        new: NewSnapshot,
    ) -> Result<SnapshotHeader, VolumeError> {
        match self.ask(self.home(volume), Ask::Snapshot(volume, Box::new(new))).await? {
            Answer::Snapshot(header) => Ok(*header),
            _ => unreachable!("a snapshot is answered by what it is"),
        }
    }

    /// The snapshots of an open volume that are made and not in the store yet, oldest first.
    ///
    /// # Errors
    /// The volume is not open.
    pub async fn coming(
        self: &Rc<Self>,
        volume: VolumeNo,
    ) -> Result<Vec<SnapshotHeader>, VolumeError> {
        match self.ask(self.home(volume), Ask::Coming(volume)).await? {
            Answer::Coming(coming) => Ok(coming),
            _ => unreachable!("this is answered by what comes"),
        }
    }

    /// Waits until all snapshots of a volume that were made by now are in the store; those of an earlier
    /// opening that are in the log of this host as well.
    ///
    /// # Errors
    /// The volume is stopped, or has a log and cannot be opened.
    pub async fn settle(self: &Rc<Self>, volume: VolumeId) -> Result<(), VolumeError> {
        self.ask(KEEPER, Ask::SettleVolume(volume)).await.map(drop)
    }

    pub(super) async fn settle_registered(self: &Rc<Self>, volume: VolumeId) -> Outcome {
        let Some(number) = self.recovered(volume).await? else { return Ok(Answer::Done) };
        match self.ask(self.home(number), Ask::Settle(number)).await {
            // Not before all of it was published.
            Err(VolumeError::Closed) => Ok(Answer::Done),
            settled => settled,
        }
    }

    /// The number of a volume that is open, or that has something in its log, which opens it; `None`
    /// if all there is of it is in the store, or another host's. Only core 0 may.
    ///
    /// # Errors
    /// The volume is not open, and cannot be opened.
    pub async fn recovered(
        self: &Rc<Self>,
        volume: VolumeId,
    ) -> Result<Option<VolumeNo>, VolumeError> {
        let open = self.open_volumes();
        if let Some((_, number)) = open.iter().find(|(open, _)| *open == volume) {
            return Ok(Some(*number));
        }
        match self.open_registered(volume, Reason::Recovery).await {
            Ok(Answer::Opened(number, _)) => Ok(Some(number)),
            Ok(_) | Err(VolumeError::Fenced { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whoever wanted a snapshot gave up: it is not made, unless it is being put.
struct Unnamed<'c, E: Env> {
    coordinator: &'c Coordinator<E>,
    id: SnapshotId,
}

impl<E: Env> Drop for Unnamed<'_, E> {
    fn drop(&mut self) {
        self.coordinator.unname(self.id);
    }
}

impl<E: Env> Coordinator<E> {
    pub(super) async fn snapshot(
        self: &Rc<Self>,
        new: NewSnapshot,
    ) -> Result<SnapshotHeader, VolumeError> {
        let begun = self.core.runtime.now();
        self.see_that_it_may_be(&new).await?;
        let patience = new.patience.saturating_sub(self.core.runtime.now() - begun);
        let epoch = self.shared.end_epoch();
        let header = self.begin_naming(epoch, &new);
        self.finish_naming(epoch, NewSnapshot { patience, ..new }, header).await
    }

    /// Looks whether a name is free, and waits until there is room for one more.
    pub(super) async fn see_that_it_may_be(&self, new: &NewSnapshot) -> Result<(), VolumeError> {
        let (core, volume) = (&self.core, self.shared.volume);
        let names = || (self.newest.borrow().1.name.clone(), new.name.clone());
        let exists = || {
            let (volume, name) = names();
            VolumeError::from(SnapshotError::Exists { volume, name })
        };
        let room = async {
            let is_few = || {
                let few = self.named.borrow().len() < NAMED_CUTS;
                (few || self.is_ending()).then_some(Ok(()))
            };
            self.changed.until(is_few).await
        };
        future::or(room, self.late_after(new.patience)).await?;
        loop {
            self.shared.alive()?;
            let landed = self.landed.get();
            if snapshot::read_header(&core.store, volume, &new.name).await?.is_some() {
                return Err(exists());
            }
            let is_free = planted::is(Bug::DeletionForgotten);
            if !is_free && snapshot::is_being_deleted(&core.store, volume, &new.name).await? {
                let (volume, name) = names();
                return Err(SnapshotError::Deleting { volume, name }.into());
            }
            self.see_that_it_is_ours().await?;
            let is_coming = |it: &Named| it.new.as_ref().is_some_and(|it| it.name == new.name);
            let is_held = self.held.borrow().as_ref() == Some(&new.name);
            if is_held || self.named.borrow().iter().any(is_coming) {
                return Err(exists());
            }
            // One that came to the store meanwhile may have been missed in both places.
            if landed == self.landed.get() {
                return Ok(());
            }
        }
    }

    /// The cut of an epoch that has ended is to become a snapshot.
    pub(super) fn begin_naming(&self, epoch: Epoch, new: &NewSnapshot) -> SnapshotHeader {
        let size_bytes = self.newest.borrow().1.size_bytes;
        let named = Named { epoch, new: Some(new.clone()), size_bytes, recovered: None };
        let header = named.header(self.shared.volume).expect("it is wanted");
        self.add_named(named);
        header
    }

    /// Snapshots that are on their way to the store.
    pub(super) fn coming(&self) -> Vec<SnapshotHeader> {
        let header = |named: &Named| named.header(self.shared.volume);
        self.named.borrow().iter().filter_map(header).collect()
    }

    /// Logs the cut and its name.
    pub(super) async fn finish_naming(
        self: &Rc<Self>,
        epoch: Epoch,
        new: NewSnapshot,
        header: SnapshotHeader,
    ) -> Result<SnapshotHeader, VolumeError> {
        let (patience, size_bytes) = (new.patience, header.size_bytes);
        let logged = Rc::new(RefCell::new(None));
        let (coordinator, told) = (self.clone(), logged.clone());
        // A task of its own: a question to another core is not taken back.
        self.core.runtime.spawn(async move {
            let logged = coordinator.log_named(epoch, (&new, size_bytes)).await;
            told.replace(Some(logged));
            coordinator.changed.notify();
        });
        let logged = self.changed.until(|| logged.take());
        let unnamed = Unnamed { coordinator: self, id: header.id };
        let made = future::or(logged, self.late_after(patience)).await;
        if let Err(error) = made {
            if self.unname(header.id) {
                return Err(error);
            }
            // It is made already: the store has it, or soon will.
            self.settle().await?;
        }
        // As a flush.
        if self.shared.durability == Durability::Remote {
            self.settle().await?;
        }
        self.core.hold_lease(&self.shared, self.volume).await?;
        std::mem::forget(unnamed);
        Ok(header)
    }

    async fn log_named(
        &self,
        epoch: Epoch,
        (new, size_bytes): (&NewSnapshot, u64),
    ) -> Result<(), VolumeError> {
        for (_, outcome) in self.ask_all(|_| ShardAsk::LogCut(epoch)).await {
            outcome?;
        }
        let is_wanted = |it: &Named| it.new.as_ref().is_some_and(|it| it.id == new.id);
        if !self.named.borrow().iter().any(is_wanted) {
            // It is in the store, or it is late.
            return Ok(());
        }
        let name = named::encode(new, size_bytes);
        self.core.shard(self.volume)?.log_name(epoch, &name).await
    }

    async fn late_after(&self, patience: Duration) -> Result<(), VolumeError> {
        self.core.runtime.sleep(patience).await;
        Err(VolumeError::Late { volume: self.shared.volume.to_string() })
    }

    /// Nobody wants a snapshot any more; false if it is not on its way, or is being put. Its cut is made
    /// all the same.
    pub(super) fn unname(&self, id: SnapshotId) -> bool {
        let is_put = self.putting.get() == Some(id) && !planted::is(Bug::TakenBackWhilePut);
        let mut named = self.named.borrow_mut();
        let is_it = |it: &&mut Named| it.new.as_ref().is_some_and(|new| new.id == id);
        !is_put && named.iter_mut().find(is_it).and_then(|it| it.new.take()).is_some()
    }

    /// Waits until all named cuts there are by now are published.
    pub(super) async fn settle(&self) -> Result<(), VolumeError> {
        let newest = self.named.borrow().back().map(|named| named.epoch);
        let Some(newest) = newest else { return Ok(()) };
        let settled = || {
            if self.named.borrow().front().is_none_or(|oldest| oldest.epoch > newest) {
                return Some(Ok(()));
            }
            let ended = self.ended.get();
            ended.then(|| Err(self.shared.alive().err().unwrap_or(VolumeError::Closed)))
        };
        self.changed.until(settled).await
    }

    /// Puts the snapshot that a cut was named, of the manifest that is about to be published; as often
    /// as it takes.
    ///
    /// # Errors
    /// The volume is stopped, or another host's.
    pub(super) async fn put_snapshot(
        &self,
        new: &NewSnapshot,
        (seq, manifest): (ManifestSeq, Manifest),
    ) -> Result<(), VolumeError> {
        let NewSnapshot { id, name, created_unix_ms, .. } = new.clone();
        let label = format!("{}@{name}", manifest.name);
        let snapshot = Snapshot { id, name, created_unix_ms, seq, manifest };
        let (mut pause, begun) = (RETRY_FIRST, self.core.runtime.now());
        loop {
            self.shared.alive()?;
            match self.try_put(&snapshot).await {
                Ok(()) => return Ok(()),
                Err(fenced @ VolumeError::Fenced { .. }) => return Err(fenced),
                Err(VolumeError::Snapshot(error))
                    if matches!(*error, SnapshotError::Deleting { .. })
                        && !planted::is(Bug::DeletionForgotten) =>
                {
                    // Begun after its name was found free, of one that had the name before.
                    if self.core.runtime.now() - begun >= DELETION_ENDS {
                        self.finish_deletion(&snapshot).await;
                    }
                }
                Err(VolumeError::Snapshot(error)) if error.kind().is_none() => {
                    log::error!("snapshot {label} is not made: {error}");
                    return Ok(());
                }
                Err(error) => log::debug!("snapshot {label} is put again: {error}"),
            }
            self.core.runtime.sleep(pause).await;
            pause = longer(pause);
        }
    }

    async fn try_put(&self, snapshot: &Snapshot) -> Result<(), VolumeError> {
        let (store, volume) = (&self.core.store, self.shared.volume);
        self.see_that_it_is_ours().await?;
        // An earlier opening may have put it, and not come to its manifest: of the same cut.
        let found = snapshot::read_header(store, volume, &snapshot.name).await?;
        match found.is_some_and(|found| found.id == snapshot.id) {
            true => Ok(()),
            false => Ok(snapshot::put(store, snapshot).await?),
        }
    }

    /// Deletes a snapshot that this opening put.
    pub(super) async fn delete_own(
        &self,
        id: SnapshotId,
        name: &SnapshotName,
    ) -> Result<(), VolumeError> {
        let (volume, of) = (self.shared.volume, self.newest.borrow().1.name.clone());
        Ok(snapshot::delete(&self.core.store, (volume, &of), name, id).await?)
    }

    /// Ends the deletion of a snapshot that is gone, whose deleter died.
    async fn finish_deletion(&self, snapshot: &Snapshot) {
        let (store, volume, name) = (&self.core.store, self.shared.volume, &snapshot.name);
        if let Ok(None) = snapshot::read_header(store, volume, name).await
            && let Err(error) = self.delete_own(snapshot.id, name).await
        {
            log::debug!("the deletion of snapshot {name} is not ended: {error}");
        }
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

    /// The manifest that a snapshot of a cut gets.
    pub(super) fn manifest_of_cut(
        &self,
        size_bytes: u64,
        change: impl FnOnce(&mut Manifest),
    ) -> (ManifestSeq, Manifest) {
        let (seq, mut manifest) = self.newest.borrow().clone();
        if planted::is(Bug::SnapshotBeforeCut) {
            return (seq, manifest);
        }
        change(&mut manifest);
        manifest.compressed_since = self.shared.compressed_since;
        manifest.size_bytes = size_bytes;
        (seq.next(), manifest)
    }
}

impl From<SnapshotError> for VolumeError {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(Arc::new(error))
    }
}
