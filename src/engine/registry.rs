//! Which volumes are open: kept by core 0, so that each is opened once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ahash::AHashMap;
use chunk::Snapshot;
use wal::VolumeId;
use wal::planted::{self, Bug};
use wal::runtime::Runtime as _;

use super::Env;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::mesh::CoreId;
use super::message::{Answer, Ask, Counts, Reason};
use super::peers::Outcome;
use super::shared::Shared;
use super::signal::Signal;
use super::turn::Turn;
use super::volume::Volume;

/// The core that knows which volumes are open.
pub(super) const KEEPER: CoreId = CoreId(0);

enum Entry {
    Opening,
    Open(VolumeNo, Arc<Shared>),
}

/// Open volumes of the server.
#[derive(Default)]
pub struct Registry {
    volumes: RefCell<AHashMap<VolumeId, Entry>>,
    numbers: Cell<u32>,
    changed: Signal,
    /// Snapshots of several volumes are made one after the other.
    pub(super) grouping: Turn,
}

/// An opening under way, for the one who waits for it.
#[derive(Default)]
struct Opening {
    outcome: RefCell<Option<Outcome>>,
    ended: Signal,
}

/// Whether an open volume serves this purpose. One that was taken over never does, one that a disk
/// failed under is opened anew only for who asks for that by name.
fn is_of_use(shared: &Shared, reason: Reason) -> bool {
    match shared.alive() {
        Ok(()) => true,
        Err(VolumeError::Fenced { .. }) => false,
        Err(_) => reason != Reason::TakeOver,
    }
}

impl<E: Env> Core<E> {
    /// This core's handle of a volume; opens the volume if it is not open.
    ///
    /// # Errors
    /// See [`super::open::open`].
    pub async fn attach(self: &Rc<Self>, volume: VolumeId) -> Result<Volume<E>, VolumeError> {
        self.attach_for(volume, Reason::Use).await
    }

    /// As [`Self::attach`], but takes the volume from the host that has it. What that host has not
    /// published is lost; it finds out at its next publication.
    ///
    /// # Errors
    /// See [`super::open::open`].
    pub async fn take_over(self: &Rc<Self>, volume: VolumeId) -> Result<Volume<E>, VolumeError> {
        self.attach_for(volume, Reason::TakeOver).await
    }

    /// As [`Self::attach`], but if another host has the volume, waits until its lease has run out
    /// and takes the volume from it.
    ///
    /// # Errors
    /// See [`super::open::open`]; also if that host renews its lease, or needs none.
    pub async fn outlast(self: &Rc<Self>, volume: VolumeId) -> Result<Volume<E>, VolumeError> {
        self.attach_for(volume, Reason::LeaseEnd).await
    }

    async fn attach_for(
        self: &Rc<Self>,
        volume: VolumeId,
        reason: Reason,
    ) -> Result<Volume<E>, VolumeError> {
        match self.ask(KEEPER, Ask::Open(volume, reason)).await? {
            Answer::Opened(number, shared) => Volume::attach(self.clone(), number, shared),
            _ => unreachable!("opening is answered by the open volume"),
        }
    }

    /// Opens a volume if its log holds what the store lacks, and gives its number; `None` if it
    /// was left alone. Only core 0 may.
    ///
    /// # Errors
    /// See [`super::open::open`].
    pub async fn recover(
        self: &Rc<Self>,
        volume: VolumeId,
    ) -> Result<Option<VolumeNo>, VolumeError> {
        assert_eq!(self.id(), KEEPER, "core 0 keeps the registry");
        match Box::pin(self.open_registered(volume, Reason::Recovery)).await? {
            Answer::Opened(number, _) => Ok(Some(number)),
            _ => Ok(None),
        }
    }

    /// Publishes everything that a volume acknowledged before the call.
    ///
    /// # Errors
    /// The volume is stopped or not open.
    pub async fn drain(self: &Rc<Self>, volume: VolumeNo) -> Result<(), VolumeError> {
        self.ask(self.home(volume), Ask::Drain(volume)).await.map(drop)
    }

    /// Publishes that this host still has a volume, which renews its lease.
    ///
    /// # Errors
    /// Another host has it, or the volume is stopped or not open.
    pub async fn renew(self: &Rc<Self>, volume: VolumeNo) -> Result<(), VolumeError> {
        self.ask(self.home(volume), Ask::Renew(volume)).await.map(drop)
    }

    /// Returns when this host has the lease that a volume's fencing asks for: nobody took the
    /// volume over before now.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub(super) async fn hold_lease(
        self: &Rc<Self>,
        shared: &Shared,
        volume: VolumeNo,
    ) -> Result<(), VolumeError> {
        let lease = &shared.lease;
        while !lease.holds(self.runtime.now()) && !planted::is(Bug::LeaseIgnored) {
            self.renew(volume).await?;
        }
        if lease.must_renew(self.runtime.now()) {
            let core = self.clone();
            // If that fails, whoever finds that the lease has run out is told.
            self.runtime.spawn(async move { drop(core.renew(volume).await) });
        }
        Ok(())
    }

    /// Counts what a volume holds.
    ///
    /// # Errors
    /// The volume is not open.
    pub async fn count(self: &Rc<Self>, volume: VolumeNo) -> Result<Counts, VolumeError> {
        match self.ask(self.home(volume), Ask::Count(volume)).await? {
            Answer::Counts(counts) => Ok(counts),
            _ => unreachable!("counting is answered by counts"),
        }
    }

    /// Open volumes. Only core 0 knows.
    pub fn open_volumes(&self) -> Vec<(VolumeId, VolumeNo)> {
        assert_eq!(self.id(), KEEPER, "core 0 keeps the registry");
        let volumes = self.registry.volumes.borrow();
        let mut open: Vec<_> = volumes
            .iter()
            .filter_map(|(volume, entry)| match entry {
                Entry::Open(number, _) => Some((*volume, *number)),
                Entry::Opening => None,
            })
            .collect();
        open.sort();
        open
    }

    /// Publishes everything of a volume and closes it on all cores; waits for one that is being
    /// opened. Only core 0 may.
    ///
    /// # Errors
    /// The volume was stopped: what was not durable is lost. It is closed all the same.
    pub async fn shut(self: &Rc<Self>, volume: VolumeId) -> Result<(), VolumeError> {
        let opened = || match self.registry.volumes.borrow().get(&volume) {
            Some(Entry::Open(number, _)) => Some(Some(*number)),
            Some(Entry::Opening) => None,
            None => Some(None),
        };
        let Some(number) = self.registry.changed.until(opened).await else { return Ok(()) };
        let closed = self.ask(self.home(number), Ask::Close(number)).await;
        let mut volumes = self.registry.volumes.borrow_mut();
        // Somebody else may have closed it at the same time, and opened it again.
        if matches!(volumes.get(&volume), Some(Entry::Open(now, _)) if *now == number) {
            volumes.remove(&volume);
        }
        drop(volumes);
        self.registry.changed.notify();
        closed.map(drop)
    }

    pub(super) async fn ask(self: &Rc<Self>, to: CoreId, ask: Ask) -> Outcome {
        if to == self.id() {
            return Box::pin(self.clone().answer(ask)).await;
        }
        self.peers.start(to, ask).await.await
    }

    /// The handle of core 0 for a volume, if it is open, whether it is stopped or not.
    pub fn opened(self: &Rc<Self>, volume: VolumeId) -> Option<Volume<E>> {
        assert_eq!(self.id(), KEEPER, "core 0 keeps the registry");
        let volumes = self.registry.volumes.borrow();
        let Some(Entry::Open(number, shared)) = volumes.get(&volume) else { return None };
        Volume::attach(self.clone(), *number, shared.clone()).ok()
    }

    /// Opens a volume unless it is open or being opened. One that another host has taken over is
    /// closed first: it may have been given back since, or is to be taken back now.
    pub(super) async fn open_registered(
        self: &Rc<Self>,
        volume: VolumeId,
        reason: Reason,
    ) -> Outcome {
        self.open_once(volume, reason, move |number| Ask::OpenAs(number, volume, reason)).await
    }

    /// Opens a snapshot unless it is open or being opened.
    pub(super) async fn view_registered(self: &Rc<Self>, snapshot: Arc<Snapshot>) -> Outcome {
        let id = snapshot.id.as_volume();
        self.open_once(id, Reason::Use, move |number| Ask::ViewAs(number, snapshot)).await
    }

    async fn open_once(
        self: &Rc<Self>,
        volume: VolumeId,
        reason: Reason,
        how: impl FnOnce(VolumeNo) -> Ask + 'static,
    ) -> Outcome {
        let registry = &self.registry;
        let mut open = || {
            let mut volumes = registry.volumes.borrow_mut();
            let found = match volumes.get(&volume) {
                Some(Entry::Opening) => return None,
                Some(Entry::Open(number, shared)) if is_of_use(shared, reason) => {
                    return Some(Ok((*number, shared.clone())));
                }
                Some(Entry::Open(number, _)) => Some(*number),
                None => None,
            };
            volumes.insert(volume, Entry::Opening);
            Some(Err(found))
        };
        let stopped = loop {
            match registry.changed.until(&mut open).await {
                Ok((number, shared)) if self.has_still(number, &shared, reason).await => {
                    return Ok(Answer::Opened(number, shared));
                }
                // It is stopped now, which the next look finds.
                Ok(_) => {}
                Err(stopped) => break stopped,
            }
        };
        // A task of its own: who asked may give up, and what was begun must still come to an end.
        let opening = Rc::<Opening>::default();
        let (core, opened) = (self.clone(), opening.clone());
        self.runtime.spawn(async move {
            let outcome = core.open_anew(volume, how, stopped).await;
            opened.outcome.replace(Some(outcome));
            opened.ended.notify();
        });
        opening.ended.until(|| opening.outcome.take()).await
    }

    /// Whether this host still has a volume that is open, as far as the store tells. Another one may have
    /// taken it over since, and even given it back: who publishes nothing does not notice by itself.
    /// If not, it is stopped.
    async fn has_still(self: &Rc<Self>, number: VolumeNo, shared: &Shared, reason: Reason) -> bool {
        let is_sure = shared.is_view || reason == Reason::Recovery || shared.alive().is_err();
        if is_sure || planted::is(Bug::StaleOpening) {
            return true;
        }
        let confirmed = self.ask(self.home(number), Ask::Confirm(number)).await;
        !matches!(confirmed, Err(VolumeError::Fenced { .. }))
    }

    /// Opens a volume that is registered as being opened; `stopped` is what it was open as before.
    async fn open_anew(
        self: &Rc<Self>,
        volume: VolumeId,
        how: impl FnOnce(VolumeNo) -> Ask,
        stopped: Option<VolumeNo>,
    ) -> Outcome {
        if let Some(number) = stopped {
            // It says once more why it is stopped.
            let _ = self.ask(self.home(number), Ask::Close(number)).await;
        }
        let registry = &self.registry;
        let number = VolumeNo(registry.numbers.get());
        registry.numbers.set(number.0 + 1);
        let outcome = self.ask(self.home(number), how(number)).await;
        let mut volumes = registry.volumes.borrow_mut();
        match &outcome {
            Ok(Answer::Opened(number, shared)) => {
                volumes.insert(volume, Entry::Open(*number, shared.clone()));
            }
            Ok(_) | Err(_) => drop(volumes.remove(&volume)),
        }
        drop(volumes);
        registry.changed.notify();
        outcome
    }

    pub(super) fn home_of(&self, volume: VolumeNo) -> Result<Rc<Coordinator<E>>, VolumeError> {
        self.coordinator(volume).ok_or(VolumeError::Closed)
    }

    /// For the home of a volume: a last cut, then the end on all cores. If everything is published
    /// the volume is given back: any host may open it from then on.
    pub(super) async fn close(self: &Rc<Self>, volume: VolumeNo) -> Result<(), VolumeError> {
        let Some(coordinator) = self.coordinator(volume) else {
            return self.close_view(volume).await;
        };
        coordinator.end().await;
        let stopped = coordinator.shared.alive();
        let outcomes = coordinator.ask_all(|_| super::message::ShardAsk::Close).await;
        self.remove_coordinator(volume);
        let mut is_covered = stopped.is_ok();
        let mut closed = stopped;
        for (_, outcome) in outcomes {
            match outcome {
                Ok(answer) => is_covered &= matches!(answer, Answer::Closed { is_covered: true }),
                Err(error) => closed = closed.and(Err(error)),
            }
        }
        if is_covered && closed.is_ok() {
            coordinator.give_back().await;
        }
        closed
    }
}
