//! The coordinator of an open volume: sees to it that cuts are made as they fall due, see [`super::cut`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chunk::{Manifest, ManifestSeq, SnapshotId, SnapshotName};
use wal::disk::Disk;
use wal::runtime::Runtime;
use wal::{Epoch, ShardId};

use super::Env;
use super::cache::VolumeNo;
use super::collect::Collector;
use super::core::Core;
use super::error::VolumeError;
use super::flatten::Flattener;
use super::limits::{RETRY_FIRST, RETRY_LONGEST};
use super::mesh::CoreId;
use super::message::{Answer, Ask, Counts, ObjectIds, ShardAsk};
use super::named::Named;
use super::peers::Outcome;
use super::shared::Shared;
use super::signal::Signal;
use super::turn::Turn;

/// In charge of one open volume; lives on the volume's home core.
pub struct Coordinator<E: Env> {
    pub(super) core: Rc<Core<E>>,
    pub(super) volume: VolumeNo,
    pub(super) shared: Arc<Shared>,
    /// The newest manifest, and its number.
    pub(super) newest: RefCell<(ManifestSeq, Manifest)>,
    pub(super) ids: RefCell<ObjectIds>,
    /// Whose turn it is to publish.
    pub(super) publishing: Turn,
    /// A cut is being made, or something that must not meet one.
    pub(super) cutting: Turn,
    /// A snapshot is being made, or what no snapshot needs is being removed.
    pub(super) rooting: Turn,
    /// The size is being changed.
    pub(super) resizing: Turn,
    pub(super) flattener: Flattener,
    pub(super) collector: Collector,
    /// Log files of earlier openings, until the first cut covers them.
    leftovers: RefCell<Vec<String>>,
    /// When the oldest write since the last cut was noted.
    pub(super) dirty_since: Cell<Option<Duration>>,
    /// When the oldest write of the cut that is being made was noted.
    pub(super) cutting_since: Cell<Option<Duration>>,
    /// When the last cut was published.
    pub(super) published_at: Cell<Option<Duration>>,
    /// Bytes that earlier cuts counted.
    pub(super) written: Cell<u64>,
    pub(super) urgent: Cell<bool>,
    /// Drains asked for, and those answered.
    asked: Cell<u64>,
    drained: Cell<u64>,
    ending: Cell<bool>,
    pub(super) ended: Cell<bool>,
    /// The epoch of a cut that failed half-way, to be tried again.
    pub(super) unfinished: Cell<Option<Epoch>>,
    /// The first epoch that no cut of this opening has.
    pub(super) next_epoch: Cell<Epoch>,
    /// Cuts that become snapshots, oldest first.
    pub(super) named: RefCell<VecDeque<Named>>,
    /// The newest cut was named: the log has more of it than the manifest's positions cover, and its
    /// name. Before any of these files goes, one that covers all must be published.
    pub(super) lags: Cell<bool>,
    /// How many of them were published.
    pub(super) landed: Cell<u64>,
    /// Who keeps cuts from beginning, see [`super::group`].
    pub(super) holds: Cell<u32>,
    /// The name that the snapshot gets for which they wait.
    pub(super) held: RefCell<Option<SnapshotName>>,
    /// The snapshot that is being put, or was last: it can be deleted, and not be taken back.
    pub(super) putting: Cell<Option<SnapshotId>>,
    /// Whether the newest manifest has made one too old that is still there.
    pub(super) prunes: Cell<bool>,
    /// Whether older manifests than the one whose turn it is may still be there.
    pub(super) prunes_all: Cell<bool>,
    pub(super) changed: Signal,
}

/// Why the coordinator wakes.
enum Wake {
    Cut,
    End,
}

impl<E: Env> Coordinator<E> {
    /// A coordinator for a volume whose shards are open; `leftovers` are paths of log files that
    /// the first cut of this opening makes useless, `named` are cuts of earlier ones.
    pub fn new(
        core: Rc<Core<E>>,
        volume: VolumeNo,
        shared: Arc<Shared>,
        newest: (ManifestSeq, Manifest),
        leftovers: Vec<String>,
        named: Vec<Named>,
    ) -> Rc<Self> {
        let shards = u64::from(shared.layout.shards());
        let next_epoch = Cell::new(shared.epoch());
        Rc::new(Self {
            core,
            volume,
            ids: RefCell::new(ObjectIds::new(shared.incarnation, shards, shards + 1)),
            shared,
            newest: RefCell::new(newest),
            publishing: Turn::default(),
            cutting: Turn::default(),
            rooting: Turn::default(),
            resizing: Turn::default(),
            flattener: Flattener::default(),
            collector: Collector::default(),
            leftovers: RefCell::new(leftovers),
            dirty_since: Cell::new(None),
            cutting_since: Cell::new(None),
            published_at: Cell::new(None),
            written: Cell::new(0),
            urgent: Cell::new(false),
            asked: Cell::new(0),
            drained: Cell::new(0),
            ending: Cell::new(false),
            ended: Cell::new(false),
            unfinished: Cell::new(None),
            next_epoch,
            named: RefCell::new(named.into()),
            lags: Cell::new(false),
            landed: Cell::new(0),
            holds: Cell::new(0),
            held: RefCell::default(),
            putting: Cell::default(),
            prunes: Cell::new(false),
            prunes_all: Cell::new(true),
            changed: Signal::default(),
        })
    }

    /// Whether the volume is being closed, or stopped.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get() || self.ended.get() || self.shared.alive().is_err()
    }

    /// Whether a cut is half done.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished.get().is_some()
    }

    /// Takes note of a cut that becomes a snapshot.
    pub(super) fn add_named(&self, new: Named) {
        let mut named = self.named.borrow_mut();
        let at = named.partition_point(|other| other.epoch < new.epoch);
        named.insert(at, new);
        drop(named);
        self.changed.notify();
    }

    /// Takes note that there are writes since the last cut; `urgent`: the log is full.
    pub fn note_dirty(self: &Rc<Self>, urgent: bool) {
        if urgent {
            self.urgent.set(true);
        }
        if self.dirty_since.get().is_none() {
            self.dirty_since.set(Some(self.core.runtime.now()));
            let coordinator = self.clone();
            self.core.runtime.spawn(async move {
                coordinator.core.runtime.sleep(coordinator.core.tuning.rpo_age).await;
                coordinator.changed.notify();
            });
        }
        self.changed.notify();
    }

    /// Makes a cut of everything acknowledged so far; it is published when this returns.
    ///
    /// # Errors
    /// The volume is stopped.
    pub async fn drain(&self) -> Result<(), VolumeError> {
        let ticket = self.asked.get() + 1;
        self.asked.set(ticket);
        self.changed.notify();
        let answered = || {
            if self.drained.get() >= ticket {
                return Some(Ok(()));
            }
            if self.ended.get() {
                return Some(Err(self.shared.alive().err().unwrap_or(VolumeError::Closed)));
            }
            None
        };
        self.changed.until(answered).await
    }

    /// Ends the coordinator after a last cut; a volume that is stopped ends without.
    pub async fn end(&self) {
        self.ending.set(true);
        self.changed.notify();
        self.changed.until(|| self.ended.get().then_some(())).await;
    }

    /// Makes cuts as they fall due, until the end.
    pub async fn run(self: Rc<Self>) {
        let mut pause = RETRY_FIRST;
        loop {
            let wake = self.changed.until(|| self.next_wake()).await;
            if self.shared.alive().is_err() {
                break;
            }
            let asked = self.asked.get();
            let turn = self.cutting.take().await;
            let held = || (self.holds.get() == 0 || self.shared.alive().is_err()).then_some(());
            self.changed.until(held).await;
            // Looked at now: who had the turn before may have left a cut half done, and one that is
            // named ended when that was asked for.
            let is_older = self.unfinished.get().is_some() || !self.named.borrow().is_empty();
            let mut cut = self.cut().await;
            if cut.is_ok() && !is_older {
                // Who waits for the cut does not wait for the map to be folded.
                self.drained.set(asked);
                self.changed.notify();
            }
            if cut.is_ok() {
                self.tidy().await;
                cut = self.fold_if_due().await.and(cut);
            }
            drop(turn);
            match cut {
                // It ended where it first began: what was written or asked for since, or is to
                // be the last word, takes another one.
                Ok(is_named) if is_older => self.urgent.set(self.urgent.get() || !is_named),
                Ok(_) => {
                    pause = RETRY_FIRST;
                    if matches!(wake, Wake::End) {
                        break;
                    }
                }
                // The volume is stopped: who publishes sees to that.
                Err(VolumeError::Fenced { .. }) => {}
                Err(error) => {
                    if pause == RETRY_FIRST {
                        let volume = self.shared.volume;
                        log::warn!(
                            "volume {volume}: uploading failed, and is tried again: {error}"
                        );
                    }
                    self.urgent.set(true);
                    self.core.runtime.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
            }
        }
        if self.shared.alive().is_err() {
            // A writer may wait for a segment that no cut will give back any more.
            drop(self.ask_all(|_| ShardAsk::Stopped).await);
        }
        self.ended.set(true);
        self.changed.notify();
    }

    fn next_wake(&self) -> Option<Wake> {
        if self.ending.get() {
            return Some(Wake::End);
        }
        let aged = self.dirty_since.get().is_some_and(|since| {
            self.core.runtime.now().saturating_sub(since) >= self.core.tuning.rpo_age
        });
        let full = self.shared.dirty_bytes() >= self.core.tuning.cut_bytes();
        let asked = self.asked.get() > self.drained.get();
        let named = !self.named.borrow().is_empty();
        let stopped = self.shared.alive().is_err();
        (self.urgent.get() || aged || full || asked || named || stopped).then_some(Wake::Cut)
    }

    /// Log files of earlier openings hold nothing that the newest manifest lacks.
    pub(super) async fn remove_leftovers(&self) {
        for path in self.leftovers.take() {
            // One that stays is covered, and goes at the next opening.
            let _ = self.core.disk.remove(&path).await;
        }
    }

    /// Byte counts over all shards.
    ///
    /// # Errors
    /// The volume is being closed.
    pub async fn counts(&self) -> Result<Counts, VolumeError> {
        let mut sum = Counts::default();
        for (_, outcome) in self.ask_all(|_| ShardAsk::Count).await {
            if let Answer::Counts(counts) = outcome? {
                sum.add(counts);
            }
        }
        let now = self.core.runtime.now();
        let age = |since: Duration| now.saturating_sub(since);
        sum.written = self.written.get() + self.shared.dirty_bytes() + self.shared.replaced_bytes();
        (sum.sealed, sum.stored) = self.shared.sealed();
        sum.unpublished_age = self.cutting_since.get().or(self.dirty_since.get()).map(age);
        sum.published_age = self.published_at.get().map(age);
        Ok(sum)
    }

    /// Asks every shard; answers in the order of shards.
    pub(super) async fn ask_all(
        &self,
        ask: impl Fn(ShardId) -> ShardAsk,
    ) -> Vec<(ShardId, Outcome)> {
        let me = self.core.id();
        let mut calls = Vec::new();
        for core in (0..self.shared.layout.shards()).map(CoreId).filter(|core| *core != me) {
            let ask = Ask::Shard(self.volume, ask(ShardId(core.0)));
            calls.push((ShardId(core.0), self.core.peers.start(core, ask).await));
        }
        let own = match self.core.shard(self.volume) {
            Ok(shard) => shard.answer(ask(ShardId(me.0))).await,
            Err(closed) => Err(closed),
        };
        let mut outcomes = vec![(ShardId(me.0), own)];
        for (shard, call) in calls {
            outcomes.push((shard, call.await));
        }
        outcomes.sort_by_key(|(shard, _)| *shard);
        outcomes
    }
}
