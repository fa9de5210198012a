//! Separating a clone from what it was made of: what it has inherited is copied, then the link goes.
//!
//! A pass looks at all pages of the map, a few at a time between two cuts, and packs again what
//! is in chunks of other volumes, as compaction does with chunks of its own. Between the passes what
//! was acknowledged is published and folded into pages. Nobody writes new references to others, so a
//! pass that finds none proves that there are none.
//!
//! What a power cut leaves after each step:
//! 1. some chunks are copied: a clone as before, that inherits less. The next run goes on.
//! 2. a pass has found nothing: as 1, all the map is in objects of the clone.
//! 3. the manifest without ancestors is published, while no snapshot of the clone has any, and none
//!    is being made: what the clone was made of is not read any more. The manifest still names it.
//! 4. the pin is gone, and the snapshot if it was made for this clone alone: as 3. What the clone was
//!    made of may go.
//! 5. the manifest without a parent is published: done. Before that, the next run begins at 3.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use chunk::clones;
use chunk::{Ancestors, ChunkId, MapPage, PageRef, PageValue, SnapshotId, snapshot};
use serde::{Deserialize, Serialize};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Epoch, HoleKind, Lsn, ShardBlock, ShardRun};

use super::Env;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::FLATTEN_CHUNKS;
use super::message::{Answer, Ask, Inherited, Sealed, ShardAsk};
use super::packer::Packer;
use super::read::Home;
use super::sealed::{PageNo, SealedPlace};
use super::shard::Shard;
use super::turn::Turn;

/// How far a separation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Flattening {
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Pages of the map that this pass has looked at.
    pub pages: u64,
    /// Pages that there are.
    pub of_pages: u64,
}

/// What a separation did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Flattened {
    /// Whether the volume was a clone.
    pub was_clone: bool,
    /// Bytes that were copied.
    pub copied_bytes: u64,
}

/// The coordinator's memory of a separation.
#[derive(Default)]
pub(super) struct Flattener {
    turn: Turn,
    seen: Cell<Flattening>,
}

/// The page behind the last one of any shard.
const END: PageNo = PageNo(u64::MAX);

impl<E: Env> Core<E> {
    /// Separates an open volume from what it was cloned from.
    ///
    /// # Errors
    /// [`VolumeError::Inherited`] if snapshots of it share with what it was cloned from; it is
    /// stopped or being closed, or something of it cannot be read: then the next run goes on.
    pub async fn flatten(self: &Rc<Self>, volume: VolumeNo) -> Result<Flattened, VolumeError> {
        match self.ask(self.home(volume), Ask::Flatten(volume)).await? {
            Answer::Flattened(flattened) => Ok(flattened),
            _ => unreachable!("a separation is answered by what it did"),
        }
    }

    /// How far the separation of an open volume is that is under way, or was the last.
    ///
    /// # Errors
    /// The volume is not open.
    pub async fn flattening(self: &Rc<Self>, volume: VolumeNo) -> Result<Flattening, VolumeError> {
        match self.ask(self.home(volume), Ask::Flattening(volume)).await? {
            Answer::Flattening(seen) => Ok(seen),
            _ => unreachable!("the question how far it is is answered by that"),
        }
    }
}

impl<E: Env> Shard<E> {
    /// Packs again what pages from `from` on have of other volumes, until that is enough for once.
    ///
    /// # Errors
    /// Some of it cannot be read.
    pub(super) async fn inherited(
        &self,
        from: PageNo,
        cut: Epoch,
    ) -> Result<Inherited, VolumeError> {
        let mut packer = Packer::new(&self.core, &self.shared, &self.ids, cut);
        let enough = FLATTEN_CHUNKS * u64::from(self.core.tuning.chunk_blocks);
        let (mut looked_at, mut found, mut blocks) = (0, 0, 0);
        let mut next = self.page_from(from);
        while let Some((page_no, at)) = next.filter(|_| blocks < enough) {
            let page = self.page(page_no, self.deadline()).await?;
            looked_at += 1;
            if self.inherits(at, &page) {
                found += 1;
                blocks += self.take_page(&mut packer, page_no, &page).await?;
            }
            self.core.runtime.pause().await;
            next = self.page_from(PageNo(page_no.0 + 1));
        }
        let (chunks, rest) = packer.finish().await?;
        let sealed = Sealed { chunks, rest, position: Lsn(0) };
        let pages = self.maps.borrow().sealed.stored_pages();
        Ok(Inherited { sealed, next: next.map(|(page, _)| page), looked_at, found, pages })
    }

    fn page_from(&self, from: PageNo) -> Option<(PageNo, PageRef)> {
        let maps = self.maps.borrow();
        let page = maps.sealed.next_page(from, END)?;
        Some((page, maps.sealed.page_ref(page).expect("it is stored")))
    }

    /// Whether a page, or some of what it speaks of, is in an object of another volume.
    fn inherits(&self, at: PageRef, page: &MapPage) -> bool {
        let speaks_of =
            |value| matches!(value, PageValue::Data { chunk, .. } if self.is_foreign(chunk));
        self.is_foreign(at.object) || page.iter().any(|(_, value, _)| speaks_of(value))
    }

    fn is_foreign(&self, id: ChunkId) -> bool {
        let lineage = &self.shared.lineage;
        lineage.writer(id) != lineage.own()
    }

    /// Packs what is seen of a page. Written zeros are said once more: so the page is folded anew.
    async fn take_page(
        &self,
        packer: &mut Packer<'_, E>,
        page_no: PageNo,
        page: &MapPage,
    ) -> Result<u64, VolumeError> {
        let mut blocks = 0;
        for (at, value, _) in page.iter() {
            let start = ShardBlock(page_no.start().0 + u64::from(at.first()));
            let run = ShardRun { start, count: at.count().into() };
            match value {
                // Its own already: another part of the page is to be folded anew.
                PageValue::Data { chunk, .. } if !self.is_foreign(chunk) => {}
                PageValue::Data { chunk, block } => {
                    blocks += run.count;
                    self.compact_run(packer, run, SealedPlace::Data { chunk, block }).await?;
                }
                PageValue::Zero => {
                    for (part, home) in self.resolve(run).await? {
                        if home == Home::Sealed(SealedPlace::Zero) {
                            self.pack_hole(packer, HoleKind::Zero, part).await?;
                        }
                    }
                }
            }
        }
        Ok(blocks)
    }
}

impl<E: Env> Coordinator<E> {
    /// How far it is.
    pub(super) fn flattening(&self) -> Flattening {
        self.flattener.seen.get()
    }

    /// Separates the volume from what it was cloned from.
    pub(super) async fn flatten(&self) -> Result<Flattened, VolumeError> {
        let _turn = self.flattener.turn.take().await;
        self.flattener.seen.set(Flattening::default());
        let (parent, inherits) = {
            let newest = &self.newest.borrow().1;
            (newest.parent.clone(), !newest.ancestors.is_empty())
        };
        let Some(parent) = parent else { return Ok(Flattened::default()) };
        if inherits {
            self.settle().await?;
            self.no_snapshot_inherits().await?;
            while !planted::is(Bug::FlattenCopiesNothing) && self.pass().await? > 0 {}
        }
        if planted::is(Bug::FlattenUnpinsFirst) {
            self.let_go(parent.clone()).await?;
        }
        if inherits {
            let _roots = self.rooting.take().await;
            self.no_snapshot_inherits().await?;
            self.publish_while_ours(|manifest| {
                let lineage = manifest.lineage();
                let is_own = |id| lineage.writer(id) == lineage.own();
                let all_own = manifest.directory.iter().all(|(_, at)| is_own(at.object))
                    && manifest.unfolded.iter().all(|id| is_own(*id));
                assert!(all_own || planted::is(Bug::FlattenCopiesNothing), "it was all copied");
                manifest.ancestors = Ancestors::default();
            })
            .await?;
        }
        self.let_go(parent).await?;
        self.publish_while_ours(|manifest| manifest.parent = None).await?;
        let copied_bytes = self.flattener.seen.get().copied_bytes;
        Ok(Flattened { was_clone: true, copied_bytes })
    }

    /// Removes what keeps the snapshot that the volume was made from.
    async fn let_go(&self, parent: chunk::Parent) -> Result<(), VolumeError> {
        let runtime = &self.core.runtime;
        let mut turn = [0; 16];
        turn[..8].copy_from_slice(&runtime.random().to_le_bytes());
        turn[8..].copy_from_slice(&runtime.random().to_le_bytes());
        let name = self.newest.borrow().1.name.clone();
        let clone = (self.shared.volume, &name);
        Ok(clones::unpin(&self.core.store, clone, parent, SnapshotId(turn)).await?)
    }

    /// Snapshots that were made while the volume shared with others still do.
    async fn no_snapshot_inherits(&self) -> Result<(), VolumeError> {
        let (store, volume) = (&self.core.store, self.shared.volume);
        let corrupt =
            |found: String| VolumeError::Corrupt { volume: volume.to_string(), lba: 0, found };
        let mut inherit = Vec::new();
        for name in snapshot::names(store, volume).await? {
            let name = name.map_err(|error| corrupt(error.to_string()))?;
            if let Some(found) = snapshot::read(store, volume, &name).await?
                && !found.manifest.ancestors.is_empty()
            {
                inherit.push(name);
            }
        }
        match inherit.is_empty() {
            true => Ok(()),
            false => {
                let volume = self.newest.borrow().1.name.clone();
                Err(VolumeError::Inherited { volume, snapshots: inherit })
            }
        }
    }

    /// One look at all pages; returns how many of them had something of others.
    async fn pass(&self) -> Result<u64, VolumeError> {
        {
            let _turn = self.after_a_cut().await?;
            self.fold_now().await?;
        }
        let before = Flattening { pages: 0, ..self.flattener.seen.get() };
        self.flattener.seen.set(before);
        let shards = usize::from(self.shared.layout.shards());
        let mut next = vec![PageNo(0); shards];
        let mut found = 0;
        while next.iter().any(|page| *page != END) {
            found += self.round(&mut next).await?;
            self.core.runtime.pause().await;
        }
        Ok(found)
    }

    /// A few pages of each shard from `next` on.
    async fn round(&self, next: &mut [PageNo]) -> Result<u64, VolumeError> {
        let _turn = self.turn_between_cuts().await?;
        let cut = self.newest.borrow().1.cut.epoch;
        let mut seen = Flattening { of_pages: 0, ..self.flattener.seen.get() };
        let (mut found, mut chunks, mut rests) = (0, Vec::new(), Vec::new());
        let ask = |shard: wal::ShardId| ShardAsk::Inherited(next[usize::from(shard.0)], cut);
        for (shard, outcome) in self.ask_all(ask).await {
            let Answer::Inherited(inherited) = outcome? else {
                unreachable!("this question is answered by what was inherited")
            };
            let Inherited { sealed, next: after, looked_at, found: some, pages } = inherited;
            next[usize::from(shard.0)] = after.unwrap_or(END);
            seen.pages += looked_at;
            seen.of_pages += pages;
            found += some;
            chunks.extend(sealed.chunks);
            rests.extend(sealed.rest);
        }
        chunks.extend(self.pack(cut, rests).await?);
        if !chunks.is_empty() {
            self.make_room_for(chunks.len()).await?;
            self.publish(|manifest| {
                manifest.unfolded.extend(chunks.iter().map(|index| index.info().id));
            })
            .await?;
            let blocks: u64 = chunks.iter().map(|index| index.crcs().len() as u64).sum();
            seen.copied_bytes += blocks * BLOCK_BYTES as u64;
            let chunks = Arc::new(chunks);
            for (_, outcome) in self.ask_all(|_| ShardAsk::Published(chunks.clone(), None)).await {
                outcome?;
            }
            self.fold_if_due().await?;
        }
        self.flattener.seen.set(seen);
        Ok(found)
    }
}
