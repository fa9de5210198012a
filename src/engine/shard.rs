//! One shard of an open volume: it owns its blocks, their log and their map.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Epoch, LogIdentity, PoolConfig, SegmentPool, ShardBlock, ShardId};

use super::Env;
use super::block_set::BlockSet;
use super::cache::VolumeNo;
use super::core::Core;
use super::error::VolumeError;
use super::frozen::Frozen;
use super::limits::COPY_QUANTUM_BYTES;
use super::log::Log;
use super::message::{Answer, ObjectIds, OpenShard, ShardAsk};
use super::pace::Pace;
use super::peers::Outcome;
use super::places::Places;
use super::read_ahead::Streams;
use super::sealed::SealedMap;
use super::shared::{Shared, Unsynced};

/// Where the blocks of a shard are, newest first: `dirty`, then `frozen`, then `sealed`.
pub(super) struct Maps {
    /// Epoch of what is in `dirty`.
    pub(super) epoch: Epoch,
    /// Written since the newest cut.
    pub(super) dirty: Places,
    /// Cuts that no manifest has yet, oldest first: that one is being sealed.
    pub(super) frozen: VecDeque<Frozen>,
    /// What manifests cover.
    pub(super) sealed: SealedMap,
    /// Blocks of `dirty` and `frozen` that only memory has.
    pub(super) unlogged: BlockSet,
    /// Those of `dirty` alone: what is written again and again is found here, and not in a map of
    /// every block.
    pub(super) absorbed: BlockSet,
}

/// One shard of an open volume. Lives on the core of the same number.
pub struct Shard<E: Env> {
    pub(super) core: Rc<Core<E>>,
    pub(super) volume: VolumeNo,
    pub(super) id: ShardId,
    pub(super) shared: Arc<Shared>,
    pub(super) log: Rc<Log<E>>,
    pub(super) maps: RefCell<Maps>,
    pub(super) ids: RefCell<ObjectIds>,
    /// Pages folded and uploaded, for when their manifest is published.
    pub(super) folding: RefCell<Vec<(super::sealed::PageNo, Option<chunk::PageRef>)>>,
    pub(super) syncing_bytes: Cell<u64>,
    pub(super) streams: RefCell<Streams>,
    /// Somebody sees to it that nothing is in memory only for long.
    pub(super) watching: Cell<bool>,
    pub(super) pace: Pace,
}

impl<E: Env> Shard<E> {
    /// Opens the shard on this core and starts its tasks.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn open(core: Rc<Core<E>>, open: OpenShard) -> Result<(), VolumeError> {
        let OpenShard { volume, shared, tenure, unfolded, pages, recovered } = open;
        let id = ShardId(core.id().0);
        let identity = LogIdentity {
            volume: shared.volume,
            incarnation: shared.incarnation,
            salt: shared.salt,
            shard: id,
            layout: shared.layout,
        };
        let pool = PoolConfig {
            dir: super::recovered::log_directory(shared.volume),
            prefix: super::recovered::log_prefix(tenure),
            segment_blocks: core.tuning.segment_blocks,
            max_segments: core.tuning.segments as usize,
            written_segments: core.tuning.written_segments(),
            shard: id,
            shards: shared.layout.shards(),
        };
        let pool = SegmentPool::open(core.disk.clone(), pool).await?;
        let files = recovered.open_files(&core.disk).await?;
        let log = Log::new(identity, shared.clone(), core.tuning, pool, files);
        let mut sealed = SealedMap::new(shared.layout, id, pages, core.tuning.map_pages);
        let oldest_first = !planted::is(Bug::UnfoldedReversed);
        for n in 0..unfolded.len() {
            let index = &unfolded[if oldest_first { n } else { unfolded.len() - 1 - n }];
            sealed.note_chunk(index);
            core.note_frames(&shared, index);
            for (run, content) in index.pieces(shared.layout, id) {
                sealed.apply(run, index.info().id, content);
            }
        }
        // No log of this opening has any of it.
        let frozen = |(epoch, places)| Frozen::new(epoch, places, None);
        let maps = Maps {
            epoch: shared.epoch(),
            frozen: recovered.cuts.into_iter().map(frozen).collect(),
            dirty: recovered.places,
            sealed,
            unlogged: BlockSet::default(),
            absorbed: BlockSet::default(),
        };
        let turns = u64::from(shared.layout.shards()) + 1;
        let shard = Rc::new(Self {
            ids: RefCell::new(ObjectIds::new(shared.incarnation, u64::from(id.0), turns)),
            core: core.clone(),
            volume,
            id,
            shared,
            log: Rc::new(log),
            maps: RefCell::new(maps),
            folding: RefCell::default(),
            syncing_bytes: Cell::new(0),
            streams: RefCell::default(),
            watching: Cell::new(false),
            pace: Pace::new(&core.tuning),
        });
        if !shard.shared.is_view {
            shard.start_tasks();
        }
        core.add_shard(volume, shard);
        Ok(())
    }

    fn start_tasks(self: &Rc<Self>) {
        let runtime = &self.core.runtime;
        runtime.spawn(self.log.clone().run_appender(runtime.clone()));
        runtime.spawn(self.log.clone().run_refill(runtime.clone()));
        let shard = self.clone();
        runtime.spawn(async move {
            let mut seen = None;
            while let Some(pressed) = shard.log.pressed(seen).await {
                seen = Some(pressed);
                shard.core.note_dirty(shard.volume, true);
            }
            if shard.shared.alive().is_err() {
                // The coordinator ends, and tells those who wait on other cores.
                shard.core.note_dirty(shard.volume, true);
            }
        });
    }

    /// Does what another core asks, if that takes no waiting. Nothing but a part of a write may
    /// have been done otherwise, which is then done again.
    pub fn answer_now(&self, ask: &ShardAsk) -> Option<Outcome> {
        match ask {
            ShardAsk::Write { at, data } => {
                let start = whole_blocks(*at, data.len()).filter(|_| !self.is_tight())?;
                match self.try_write(start, data) {
                    Ok(done) => (done == data.len()).then_some(Ok(Answer::Done)),
                    Err(stopped) => Some(Err(stopped)),
                }
            }
            ShardAsk::Read(bytes) => {
                let start = whole_blocks(bytes.at, bytes.len)?;
                let mut out = vec![0; bytes.len];
                match self.try_read(start, &mut out) {
                    Ok(found) => found.then_some(Ok(Answer::Data(out))),
                    Err(stopped) => Some(Err(stopped)),
                }
            }
            _ => None,
        }
    }

    /// Does what another core, or this one, asks.
    ///
    /// # Errors
    /// See each operation.
    pub async fn answer(self: &Rc<Self>, ask: ShardAsk) -> Outcome {
        match ask {
            ShardAsk::Write { at, data } => self.write(at, &data).await.map(|()| Answer::Done),
            ShardAsk::Read(bytes) => self.read(bytes).await.map(Answer::Data),
            ShardAsk::Punch { run, kind } => self.punch(run, kind).await.map(|()| Answer::Done),
            ShardAsk::Sync(unsynced) => self.sync(unsynced).await.map(|()| Answer::Done),
            ShardAsk::Status(run) => self.status(run).await.map(Answer::Status),
            ShardAsk::Seal(cut) => self.seal(cut).await.map(Answer::Sealed),
            ShardAsk::LogCut(cut) => self.log_cut(cut).await.map(|()| Answer::Done),
            ShardAsk::Published(chunks, cut) => {
                self.published(&chunks, cut).await;
                Ok(Answer::Done)
            }
            ShardAsk::Compact(victims, cut) => {
                self.compact(&victims, cut).await.map(Answer::Sealed)
            }
            ShardAsk::Inherited(from, cut) => {
                self.inherited(from, cut).await.map(Answer::Inherited)
            }
            ShardAsk::Fold => self.fold().await.map(Answer::Folded),
            ShardAsk::Folded => {
                self.folded();
                Ok(Answer::Done)
            }
            ShardAsk::Count => Ok(Answer::Counts(self.counts().await)),
            ShardAsk::Stopped => {
                self.log.wake_all();
                self.pace.moved.notify();
                Ok(Answer::Done)
            }
            ShardAsk::Close if self.shared.is_view => {
                self.core.remove_shard(self.volume);
                Ok(Answer::Closed { is_covered: true })
            }
            ShardAsk::Close => {
                self.log.clone().trim().await;
                let poured = self.pour().await.map(drop);
                let closed = poured.and(self.log.close().await);
                let is_covered = self.is_covered();
                if closed.is_ok() && is_covered {
                    self.log.remove_files().await;
                }
                let maps = &mut *self.maps.borrow_mut();
                (maps.unlogged, maps.absorbed) = Default::default();
                self.core.remove_shard(self.volume);
                closed.map(|()| Answer::Closed { is_covered })
            }
        }
    }

    /// Whether manifests cover all that the shard holds.
    fn is_covered(&self) -> bool {
        let maps = self.maps.borrow();
        maps.dirty.is_empty() && maps.frozen.is_empty()
    }

    /// Makes a part of what the shard holds durable, or all of it.
    ///
    /// # Errors
    /// The log cannot grow, or the volume is stopped: then what was asked for may be lost.
    pub async fn sync(&self, unsynced: Unsynced) -> Result<(), VolumeError> {
        let position = match unsynced {
            Unsynced::UpTo(position) => position,
            Unsynced::All if planted::is(Bug::FlushLeavesMemory) => self.log.last_lsn(),
            Unsynced::All => self.pour().await?,
        };
        self.log.sync(position).await
    }

    pub(super) fn note_dirty(&self, bytes: usize) {
        if bytes > 0 && self.shared.add_dirty(bytes as u64, self.core.tuning.cut_bytes()) {
            self.core.note_dirty(self.volume, false);
        }
    }
}

/// First block of a range that is whole blocks, and not too many to be copied at once.
fn whole_blocks(at: u64, len: usize) -> Option<ShardBlock> {
    let block = BLOCK_BYTES as u64;
    let whole = at.is_multiple_of(block) && len.is_multiple_of(BLOCK_BYTES);
    (whole && len <= COPY_QUANTUM_BYTES).then_some(ShardBlock(at / block))
}
