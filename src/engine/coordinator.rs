//! The coordinator of an open volume: makes cuts and publishes manifests.
//!
//! What a power cut leaves after each step of a cut:
//! 1. the epoch ended, shards froze: nothing on disk changed.
//! 2. all chunks of the cut are durable: garbage that no manifest names; the log has everything.
//! 3. the manifest is durable: the cut is what a host without this log recovers. This one skips
//!    what the cut covers in its log.
//! 4. shards applied it and gave segments back; old manifests are gone: as step 3.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chunk::{ChunkBuilder, ChunkIndex, Content, Cut, Manifest, ManifestSeq};
use wal::disk::Disk;
use wal::runtime::Runtime;
use wal::{Epoch, HoleKind, Lsn, ShardId};

use super::Env;
use super::cache::VolumeNo;
use super::collect::Collector;
use super::core::Core;
use super::error::VolumeError;
use super::flatten::Flattener;
use super::group::Grouping;
use super::limits::{RETRY_FIRST, RETRY_LONGEST};
use super::mesh::CoreId;
use super::message::{Answer, Ask, Counts, ObjectIds, Sealed, ShardAsk};
use super::packer::Packer;
use super::peers::Outcome;
use super::shared::Shared;
use super::signal::Signal;
use super::turn::Turn;
use super::uploads::Uploads;

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
    pub(super) grouping: Grouping,
    pub(super) collector: Collector,
    /// Log files of earlier openings, until the first cut covers them.
    leftovers: RefCell<Vec<String>>,
    /// When the oldest write since the last cut was noted.
    dirty_since: Cell<Option<Duration>>,
    /// When the oldest write of the cut that is being made was noted.
    cutting_since: Cell<Option<Duration>>,
    /// When the last cut was published.
    published_at: Cell<Option<Duration>>,
    /// Bytes that earlier cuts counted.
    pub(super) written: Cell<u64>,
    urgent: Cell<bool>,
    /// Drains asked for, and those answered.
    asked: Cell<u64>,
    drained: Cell<u64>,
    ending: Cell<bool>,
    ended: Cell<bool>,
    /// The epoch of a cut that failed half-way, to be tried again.
    pub(super) unfinished: Cell<Option<Epoch>>,
    /// Whether the newest manifest has made one too old that is still there.
    pub(super) prunes: Cell<bool>,
    /// Whether older manifests than the one whose turn it is may still be there.
    pub(super) prunes_all: Cell<bool>,
    changed: Signal,
}

/// Why the coordinator wakes.
enum Wake {
    Cut,
    End,
}

impl<E: Env> Coordinator<E> {
    /// A coordinator for a volume whose shards are open; `leftovers` are paths of log files that
    /// the first cut makes useless.
    pub fn new(
        core: Rc<Core<E>>,
        volume: VolumeNo,
        shared: Arc<Shared>,
        newest: (ManifestSeq, Manifest),
        leftovers: Vec<String>,
    ) -> Rc<Self> {
        let shards = u64::from(shared.layout.shards());
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
            grouping: Grouping::default(),
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

    /// Takes note that a cut is half done that others began.
    pub(super) fn note_unfinished(&self) {
        self.urgent.set(true);
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
            // Looked at now: who had the turn before may have left a cut half done.
            let resumes = self.unfinished.get().is_some();
            let mut cut = self.cut_only().await;
            if cut.is_ok() && !resumes {
                // Who waits for the cut does not wait for the map to be folded.
                self.drained.set(asked);
                self.changed.notify();
            }
            if cut.is_ok() {
                self.tidy().await;
                cut = self.fold_if_due().await;
            }
            drop(turn);
            match cut {
                // It ended where it first began: what was written or asked for since, or is to
                // be the last word, takes another one.
                Ok(()) if resumes => self.urgent.set(true),
                Ok(()) => {
                    pause = RETRY_FIRST;
                    if matches!(wake, Wake::End) {
                        break;
                    }
                }
                // The volume is stopped: who publishes sees to that.
                Err(VolumeError::Fenced { .. }) => {}
                Err(_) => {
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
        let stopped = self.shared.alive().is_err();
        (self.urgent.get() || aged || full || asked || stopped).then_some(Wake::Cut)
    }

    /// Makes one cut, and folds the map if that is due. If it fails it may be tried again: the shards
    /// keep what they froze.
    pub(super) async fn cut(&self) -> Result<(), VolumeError> {
        self.cut_only().await?;
        self.fold_if_due().await
    }

    async fn cut_only(&self) -> Result<(), VolumeError> {
        self.urgent.set(false);
        let since = self.dirty_since.take();
        self.cutting_since.set(self.cutting_since.get().or(since));
        self.written.set(self.written.get() + self.shared.reset_dirty());
        let epoch = self.unfinished.get().unwrap_or_else(|| self.shared.end_epoch());
        self.unfinished.set(Some(epoch));
        let mut positions = Vec::new();
        let (mut chunks, mut rests) = (Vec::new(), Vec::new());
        for (shard, outcome) in self.ask_all(|_| ShardAsk::Seal(epoch)).await {
            let Answer::Sealed(Sealed { chunks: full, rest, position }) = outcome? else {
                unreachable!("sealing is answered by what was sealed")
            };
            positions.push((shard, position));
            chunks.extend(full);
            rests.extend(rest);
        }
        chunks.extend(self.pack(epoch, rests).await?);
        if !chunks.is_empty() {
            self.publish_cut(epoch, positions, &chunks).await?;
        }
        self.unfinished.set(None);
        self.cutting_since.set(None);
        self.published_at.set(Some(self.core.runtime.now()));
        let chunks = Arc::new(chunks);
        for (_, outcome) in self.ask_all(|_| ShardAsk::Published(chunks.clone())).await {
            outcome?;
        }
        self.remove_leftovers().await;
        Ok(())
    }

    /// Names the chunks of a cut in a new manifest.
    async fn publish_cut(
        &self,
        epoch: Epoch,
        positions: Vec<(ShardId, Lsn)>,
        chunks: &[ChunkIndex],
    ) -> Result<(), VolumeError> {
        let cut = Cut { incarnation: self.shared.incarnation, epoch, positions };
        self.publish(|manifest| {
            manifest.cut = cut;
            manifest.unfolded.extend(chunks.iter().map(|index| index.info().id));
        })
        .await
    }

    /// Packs what was too little for chunks of single shards, and uploads it.
    pub(super) async fn pack(
        &self,
        epoch: Epoch,
        mut rests: Vec<ChunkBuilder>,
    ) -> Result<Vec<ChunkIndex>, VolumeError> {
        if rests.len() == 1 {
            let uploads = Uploads::new(self.core.clone(), self.shared.clone());
            let permit = self.core.uploads.take().await;
            uploads.start_chunk(permit, rests.remove(0))?;
            uploads.finish().await?;
            return Ok(uploads.take_chunks());
        }
        let mut packer = Packer::new(&self.core, &self.shared, &self.ids, epoch);
        for rest in &rests {
            for entry in rest.entries() {
                let (extent, filter) = (entry.extent, entry.filter);
                match entry.content {
                    Content::Zero => packer.hole(HoleKind::Zero, extent, filter).await?,
                    Content::Discard => packer.hole(HoleKind::Discard, extent, filter).await?,
                    Content::Data(first) => {
                        let payload = rest.payload(first, extent.count() as u32);
                        packer.data(extent.lba(), payload).await?;
                    }
                }
            }
        }
        packer.finish_all().await
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
