//! Snapshots of several volumes of a server at one instant.
//!
//! Each volume has an epoch of its own, read by each write before it is acknowledged, and a cut is
//! what was stamped with its epochs up to one. For several volumes to be cut as one, no write may be
//! acknowledged between the end of the first one's epoch and that of the last one's: first all epochs
//! are marked as ending, which makes whoever reads one wait, and then all are ended. A write that is
//! in no cut read its epoch after the last mark was set; one that is in some cut read its own before.
//! So what was acknowledged before another write was sent is never missing where that one is there.
//! Nothing waits in between, and the marks stand for as long as a few stores take.
//!
//! What a power cut leaves after each step:
//! 1. each coordinator holds: no cut is half made, none begins. Clients write on. Nothing changed.
//! 2. the epochs have ended: as in the midst of cuts.
//! 3. each coordinator has published the cut of the epoch that ended, and keeps that manifest: cuts as
//!    any others.
//! 4. a snapshot is put: it exists, and those of the other volumes may be missing. Whoever asked was
//!    told nothing; each one that is there is what it says. If one cannot be put the others go.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use chunk::snapshot::{self, SnapshotError};
use chunk::{Manifest, ManifestSeq, SnapshotHeader, SnapshotId};
use futures_lite::future;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{GROUP_PAUSE, RETRY_FIRST};
use super::message::{Answer, Ask};
use super::read::longer;
use super::registry::KEEPER;
use super::shared::Shared;
use super::signal::Signal;
use super::snapshot::NewSnapshot;
use super::turn::Turn;
use super::volume::Volume;

/// How far a volume is with a snapshot of several.
#[derive(Clone, Default)]
enum Stage {
    /// There is none under way, or it was let go.
    #[default]
    Idle,
    /// It waits for its turn.
    Coming,
    /// No cut is half made, and none begins.
    Held,
    /// The cut is published, by this manifest.
    Cut(Box<(ManifestSeq, Manifest)>),
    /// It cannot take part.
    Failed(VolumeError),
}

/// What a coordinator knows of the snapshot of several volumes that it takes part in.
#[derive(Default)]
pub(super) struct Grouping {
    turn: Turn,
    /// The newest one; whoever is at an older one has been let go.
    number: Cell<u64>,
    stage: RefCell<Stage>,
    changed: Signal,
}

impl Grouping {
    fn begin(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.is(self.number.get(), Stage::Coming);
        self.number.get()
    }

    fn is(&self, number: u64, stage: Stage) {
        if number == self.number.get() {
            self.stage.replace(stage);
            self.changed.notify();
        }
    }

    fn is_over(&self, number: u64) -> bool {
        number != self.number.get() || matches!(*self.stage.borrow(), Stage::Idle)
    }

    /// Waits until it is past what `goes_on` says.
    async fn past(&self, goes_on: impl Fn(&Stage) -> bool) -> Result<Stage, VolumeError> {
        let ended = || {
            let stage = self.stage.borrow();
            (!goes_on(&stage)).then(|| stage.clone())
        };
        match self.changed.until(ended).await {
            Stage::Failed(error) => Err(error),
            Stage::Idle => Err(VolumeError::Closed),
            stage => Ok(stage),
        }
    }
}

impl<E: Env> Core<E> {
    /// Makes snapshots of several open volumes at one instant: if a write is in one of them, every
    /// write that was acknowledged before that one was sent is in its own. All of them, or none. Only
    /// core 0 may, and whoever asks must wait for the end. No volume may be named twice.
    ///
    /// # Errors
    /// As [`Self::snapshot`], for any of them.
    pub async fn snapshot_group(
        self: &Rc<Self>,
        members: Vec<(Volume<E>, NewSnapshot)>,
    ) -> Result<Vec<SnapshotHeader>, VolumeError> {
        assert_eq!(self.id(), KEEPER, "core 0 makes them one after the other");
        let _one = self.registry.grouping.take().await;
        let made = self.make_group(&members).await;
        for (volume, _) in &members {
            // One that is closed by now holds nothing.
            let _ = self.ask_about(volume.number(), Ask::LetGo).await;
        }
        made
    }

    async fn make_group(
        self: &Rc<Self>,
        members: &[(Volume<E>, NewSnapshot)],
    ) -> Result<Vec<SnapshotHeader>, VolumeError> {
        let began = self.runtime.now();
        for (volume, new) in members {
            let patience = new.patience.saturating_sub(self.runtime.now() - began);
            self.ask_about(volume.number(), |number| Ask::Hold(number, patience)).await?;
        }
        if !planted::is(Bug::GroupCutApart) {
            let shared: Vec<_> = members.iter().map(|(volume, _)| &**volume.shared()).collect();
            Shared::end_epochs(&shared);
        }
        for (volume, _) in members {
            self.ask_about(volume.number(), Ask::AwaitCut).await?;
        }
        let mut made: Vec<SnapshotHeader> = Vec::new();
        for (volume, new) in members {
            let put = |number| Ask::PutCut(number, Box::new(new.clone()));
            match self.ask_about(volume.number(), put).await {
                Ok(Answer::Snapshot(header)) => made.push(*header),
                Ok(_) => unreachable!("a snapshot is answered by what it is"),
                Err(error) => {
                    self.take_back(&made).await;
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Deletes snapshots that were made of the first volumes; what is left of them is as any other.
    async fn take_back(&self, made: &[SnapshotHeader]) {
        for SnapshotHeader { volume, id, name, .. } in made {
            let found = super::open::newest_manifest(self, *volume).await;
            let Ok((_, manifest)) = found else { continue };
            let named = (*volume, &manifest.name);
            let deleted = snapshot::delete(&self.store, named, name, SnapshotId(id.0)).await;
            if let Err(error) = deleted {
                log::warn!("snapshot {}@{name} of a group is left: {error}", manifest.name);
            }
        }
    }

    async fn ask_about(
        self: &Rc<Self>,
        volume: VolumeNo,
        ask: impl FnOnce(VolumeNo) -> Ask,
    ) -> super::peers::Outcome {
        self.ask(self.home(volume), ask(volume)).await
    }
}

impl<E: Env> Coordinator<E> {
    /// Lets no cut begin from now on, until the epoch ends or this is let go, which must follow. A
    /// task of its own does that: it comes to an end whatever becomes of who asks.
    pub(super) async fn hold(self: &Rc<Self>, patience: Duration) -> Result<(), VolumeError> {
        let number = self.grouping.begin();
        let coordinator = self.clone();
        self.core.runtime.spawn(async move {
            let _one = coordinator.grouping.turn.take().await;
            if let Err(error) = coordinator.take_part(number, patience).await {
                coordinator.grouping.is(number, Stage::Failed(error));
            }
        });
        let held = self.grouping.past(|stage| matches!(stage, Stage::Coming));
        let late = async {
            self.core.runtime.sleep(patience).await;
            Err(self.late())
        };
        future::or(held, late).await.map(drop)
    }

    async fn take_part(&self, number: u64, patience: Duration) -> Result<(), VolumeError> {
        let (runtime, grouping) = (&self.core.runtime, &self.grouping);
        // Nothing is removed that the snapshot will need.
        let _rooting = self.rooting.take().await;
        let turn = self.turn_between_cuts().await?;
        let epoch = self.shared.epoch();
        if grouping.is_over(number) {
            return Ok(());
        }
        grouping.is(number, Stage::Held);
        if !planted::is(Bug::GroupCutApart) {
            // Not for a time of its own: the epoch may be about to end.
            while self.shared.epoch() == epoch {
                if grouping.is_over(number) {
                    return Ok(());
                }
                runtime.sleep(GROUP_PAUSE).await;
            }
            // It has ended, so this very cut comes next, whoever makes it.
            self.unfinished.set(Some(epoch));
        }
        let deadline = runtime.now() + patience;
        let mut pause = RETRY_FIRST;
        // If nothing but the folding behind it fails, the cut is there.
        while let Err(error) = self.cut().await
            && self.is_unfinished()
        {
            self.shared.alive()?;
            if runtime.now() > deadline {
                // The coordinator goes on with it.
                self.note_unfinished();
                return Err(error);
            }
            runtime.sleep(pause).await;
            pause = longer(pause);
        }
        let newest = self.newest.borrow().clone();
        grouping.is(number, Stage::Cut(Box::new(newest)));
        drop(turn);
        while !grouping.is_over(number) {
            runtime.sleep(GROUP_PAUSE).await;
        }
        Ok(())
    }

    fn late(&self) -> VolumeError {
        VolumeError::Late { volume: self.shared.volume.to_string() }
    }

    /// Waits until the cut is published.
    pub(super) async fn await_cut(&self) -> Result<(), VolumeError> {
        let goes_on = |stage: &Stage| matches!(stage, Stage::Coming | Stage::Held);
        self.grouping.past(goes_on).await.map(drop)
    }

    /// Puts a snapshot of the cut.
    pub(super) async fn put_cut(&self, new: NewSnapshot) -> Result<SnapshotHeader, VolumeError> {
        let cut = match &*self.grouping.stage.borrow() {
            Stage::Cut(cut) => cut.clone(),
            Stage::Idle | Stage::Coming | Stage::Held | Stage::Failed(_) => return Err(self.late()),
        };
        let (volume, name) = (self.shared.volume, &new.name);
        if snapshot::read_header(&self.core.store, volume, name).await?.is_some() {
            let (volume, name) = (cut.1.name.clone(), name.clone());
            return Err(SnapshotError::Exists { volume, name }.into());
        }
        self.put_snapshot(new, *cut).await
    }

    /// Cuts begin again as they fall due.
    pub(super) fn let_group_go(&self) {
        self.grouping.is(self.grouping.number.get(), Stage::Idle);
    }
}
