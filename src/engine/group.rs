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
//! 1. each coordinator holds: no cut begins. Clients write on. Nothing changed.
//! 2. the epochs have ended: as in the midst of cuts.
//! 3. the cut of one volume is named: its snapshot exists, and those of others may be missing.
//!    Whoever asked was told nothing; each one that is there is what it says. If one cannot be named
//!    the others go.

use std::convert::Infallible;
use std::rc::Rc;

use chunk::SnapshotHeader;
use wal::Epoch;
use wal::planted::{self, Bug};

use super::Env;
use super::abreast::abreast;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::message::{Answer, Ask};
use super::registry::KEEPER;
use super::shared::Shared;
use super::snapshot::NewSnapshot;
use super::volume::Volume;

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
        let mut held = 0;
        let mut ready = Ok(());
        for (volume, new) in &members {
            let new = Box::new(new.clone());
            ready =
                self.ask_about(volume.number(), |number| Ask::Hold(number, new)).await.map(drop);
            if ready.is_err() {
                break;
            }
            held += 1;
        }
        if let Err(error) = ready {
            for (volume, _) in &members[..held] {
                // One that is closed by now holds nothing.
                let _ = self.ask_about(volume.number(), Ask::LetGo).await;
            }
            return Err(error);
        }
        self.make_group(&members).await
    }

    async fn make_group(
        self: &Rc<Self>,
        members: &[(Volume<E>, NewSnapshot)],
    ) -> Result<Vec<SnapshotHeader>, VolumeError> {
        let shared: Vec<_> = members.iter().map(|(volume, _)| &**volume.shared()).collect();
        let epochs = Shared::end_epochs(&shared);
        let name = |((volume, new), epoch): (&(Volume<E>, NewSnapshot), Epoch)| {
            let (number, new) = (volume.number(), Box::new(new.clone()));
            async move {
                let ask = |number| Ask::NameCut(number, epoch, new);
                Ok::<_, Infallible>((number, self.ask_about(number, ask).await))
            }
        };
        let calls = members.iter().zip(epochs).map(name);
        let Ok(outcomes) = abreast(members.len(), calls).await;
        let (mut made, mut failed) = (Vec::new(), None);
        for (number, outcome) in outcomes {
            match outcome {
                Ok(Answer::Snapshot(header)) => made.push((number, *header)),
                Ok(_) => unreachable!("a snapshot is answered by what it is"),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let Some(error) = failed else {
            return Ok(made.into_iter().map(|(_, header)| header).collect());
        };
        for (number, header) in made {
            if let Err(error) = self.take_back(number, &header).await {
                log::warn!("snapshot {} of a group is left: {error}", header.name);
            }
        }
        Err(error)
    }

    /// Deletes a snapshot that was just made, wherever it is on its way to the store.
    ///
    /// # Errors
    /// The volume is stopped or not open, or the store failed: the snapshot may be left.
    pub async fn take_back(
        self: &Rc<Self>,
        volume: VolumeNo,
        made: &SnapshotHeader,
    ) -> Result<(), VolumeError> {
        let made = Box::new(made.clone());
        self.ask_about(volume, |number| Ask::TakeBack(number, made)).await.map(drop)
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
    /// Lets no cut begin from now on, until its epoch is named or this is let go.
    pub(super) async fn hold(&self, new: &NewSnapshot) -> Result<(), VolumeError> {
        self.see_that_it_may_be(new).await?;
        self.holds.set(self.holds.get() + 1);
        self.held.replace(Some(new.name.clone()));
        Ok(())
    }

    /// Names the epoch that was ended while cuts were held, which they are no longer.
    pub(super) async fn name_held(
        self: &Rc<Self>,
        epoch: Epoch,
        new: NewSnapshot,
    ) -> Result<SnapshotHeader, VolumeError> {
        if self.holds.get() == 0 {
            // The volume was closed and opened again: that epoch is not of this opening.
            return Err(VolumeError::Closed);
        }
        let epoch = match planted::is(Bug::GroupCutApart) {
            true => self.shared.end_epoch(),
            false => epoch,
        };
        let header = self.begin_naming(epoch, &new);
        self.let_go_of_cuts();
        self.finish_naming(epoch, new, header).await
    }

    /// Cuts begin again as they fall due.
    pub(super) fn let_go_of_cuts(&self) {
        self.holds.set(self.holds.get().saturating_sub(1));
        self.held.take();
        self.changed.notify();
    }

    /// Deletes a snapshot that was made of this volume, and could not be of another one.
    pub(super) async fn take_back(&self, made: &SnapshotHeader) -> Result<(), VolumeError> {
        if self.unname(made.id) {
            return Ok(());
        }
        self.settle().await?;
        self.delete_own(made.id, &made.name).await
    }
}
