//! What manifests need: the objects of a volume that must stay, and how much of each chunk the
//! newest manifest still refers to.

use std::cell::RefCell;

use ahash::{AHashMap, AHashSet};
use chunk::chunk::{read_frames, read_index};
use chunk::limits::MAX_PAYLOAD_BLOCKS;
use chunk::map_object::{read_page, read_segment};
use chunk::{
    ChunkId, Content, DirectorySegment, ExtentMap, Lineage, Manifest, MapPage, PageIdentity,
    PageIndex, PageRef, PageValue, Piece, SegmentIdentity, SegmentIndex,
};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Layout, ShardBlock, ShardId, ShardRun, VolumeId};

use super::Env;
use super::abreast::abreast;
use super::core::Core;
use super::error::VolumeError;
use super::limits::OPENING_READS;

/// Objects of one volume that manifests refer to. Whatever cannot be read is an error: nothing is
/// taken for unneeded because of it.
pub(super) struct Reach {
    own: VolumeId,
    /// Blocks of each chunk that the newest manifest refers to, as if it had no unfolded chunks but
    /// all in pages.
    live: AHashMap<ChunkId, u32>,
    /// Chunks that snapshots refer to: they stay whole.
    pinned: AHashSet<ChunkId>,
    /// Blocks that those of the first have altogether which may be compressed.
    packed: AHashMap<ChunkId, u32>,
    maps: AHashSet<ChunkId>,
    /// Segments and pages that some snapshot has in common with one that was looked at.
    seen: AHashSet<PageRef>,
}

/// What an unfolded chunk says of some blocks: data in itself, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hides(Option<ChunkId>);

impl Piece for Hides {
    fn skip(&self, _blocks: u64) -> Self {
        *self
    }

    fn joins(&self, _blocks: u64, next: &Self) -> bool {
        self == next
    }
}

/// Whose manifest is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Newest,
    Snapshot,
}

impl Reach {
    pub(super) fn new(own: VolumeId) -> Self {
        Self {
            own,
            live: AHashMap::new(),
            pinned: AHashSet::new(),
            packed: AHashMap::new(),
            maps: AHashSet::new(),
            seen: AHashSet::new(),
        }
    }

    /// Whether some manifest refers to a chunk.
    pub(super) fn has_chunk(&self, id: ChunkId) -> bool {
        self.live.contains_key(&id) || self.pinned.contains(&id)
    }

    /// Whether some manifest refers to a map object.
    pub(super) fn has_map(&self, id: ChunkId) -> bool {
        self.maps.contains(&id)
    }

    /// Blocks of a chunk that the newest manifest refers to, unless a snapshot keeps all of it.
    fn live_blocks(&self, id: ChunkId) -> Option<u32> {
        self.live.get(&id).copied().filter(|_| !self.pinned.contains(&id))
    }

    /// Bytes of a chunk's object that the newest manifest needs; `None` if a snapshot keeps all of it,
    /// or nobody needs it. What is compressed is needed in the proportion of its blocks.
    pub(super) fn needed_bytes(&self, id: ChunkId, object: u64) -> Option<u64> {
        let live = u64::from(self.live_blocks(id)?);
        let needed = match self.packed.get(&id) {
            Some(blocks) => object * live / u64::from(*blocks).max(1),
            None => live * BLOCK_BYTES as u64,
        };
        Some(needed.min(object))
    }

    /// Learns how many blocks the chunks have that may be compressed, from their headers where
    /// `known` has not kept it: it never changes.
    ///
    /// # Errors
    /// If a header cannot be read.
    pub(super) async fn learn_blocks<E: Env>(
        &mut self,
        core: &Core<E>,
        manifest: &Manifest,
        known: &RefCell<AHashMap<ChunkId, u32>>,
    ) -> Result<(), VolumeError> {
        // Of a chunk whose blocks are all needed, all of the object is.
        let in_part = |id: &ChunkId| self.live_blocks(*id).is_some_and(|n| n < MAX_PAYLOAD_BLOCKS);
        let in_question = |id: &ChunkId| manifest.may_be_compressed(*id) && in_part(id);
        let mut ids: Vec<_> = self.live.keys().copied().filter(in_question).collect();
        ids.sort_unstable();
        // What is gone by now will not be asked for again.
        known.borrow_mut().retain(|id, _| self.live.contains_key(id));
        for some in ids.chunks(OPENING_READS) {
            let read = async |id: &ChunkId| {
                let kept = known.borrow().get(id).copied();
                match kept {
                    Some(blocks) => Ok(blocks),
                    None => read_frames(&core.store, self.own, *id)
                        .await
                        .map(|frames| frames.payload_blocks()),
                }
            };
            let blocks = abreast(OPENING_READS, some.iter().map(read)).await?;
            self.packed.extend(some.iter().copied().zip(blocks));
            core.runtime.pause().await;
        }
        known.borrow_mut().extend(&self.packed);
        Ok(())
    }

    /// Adds all that a manifest refers to.
    ///
    /// # Errors
    /// If some of it cannot be read.
    pub(super) async fn add<E: Env>(
        &mut self,
        core: &Core<E>,
        manifest: &Manifest,
        root: Root,
    ) -> Result<(), VolumeError> {
        let lineage = manifest.lineage();
        let overlay = self.unfolded(core, manifest, &lineage, root).await?;
        let fresh: Vec<_> =
            manifest.directory.iter().filter(|(_, at)| self.is_news(root, *at)).copied().collect();
        for some in fresh.chunks(OPENING_READS) {
            let read = |(index, at): &(SegmentIndex, PageRef)| {
                let volume = lineage.writer(at.object);
                read_segment(&core.store, SegmentIdentity { volume, index: *index }, *at)
            };
            let segments = abreast(OPENING_READS, some.iter().map(read)).await?;
            for ((_, at), segment) in some.iter().zip(segments) {
                self.map(&lineage, at.object);
                self.segment(core, &lineage, &segment, &overlay, root).await?;
            }
        }
        Ok(())
    }

    /// Whether a part of a map is to be read: once for the newest manifest, once for snapshots.
    fn is_news(&mut self, root: Root, at: PageRef) -> bool {
        root == Root::Newest || self.seen.insert(at)
    }

    fn map(&mut self, lineage: &Lineage, id: ChunkId) {
        if lineage.writer(id) == self.own {
            self.maps.insert(id);
        }
    }

    fn chunk(&mut self, lineage: &Lineage, id: ChunkId, blocks: u32, root: Root) {
        if lineage.writer(id) != self.own {
            return;
        }
        match root {
            Root::Newest => *self.live.entry(id).or_default() += blocks,
            Root::Snapshot => drop(self.pinned.insert(id)),
        }
    }

    /// What the unfolded chunks hide of the pages; counts what of them is not hidden by later ones.
    async fn unfolded<E: Env>(
        &mut self,
        core: &Core<E>,
        manifest: &Manifest,
        lineage: &Lineage,
        root: Root,
    ) -> Result<ExtentMap<Hides>, VolumeError> {
        let mut overlay = ExtentMap::new();
        if root == Root::Snapshot {
            manifest.unfolded.iter().for_each(|id| self.chunk(lineage, *id, 0, root));
            return Ok(overlay);
        }
        let layout = Layout::new(manifest.stripe_shift, 1).expect("manifests are checked");
        for some in manifest.unfolded.chunks(OPENING_READS) {
            let read = |id: &ChunkId| read_index(&core.store, lineage.writer(*id), *id);
            for index in abreast(OPENING_READS, some.iter().map(read)).await? {
                for (run, content) in index.pieces(layout, ShardId(0)) {
                    let is_data = matches!(content, Content::Data(_));
                    overlay.insert(run, Hides(is_data.then_some(index.info().id)));
                }
            }
        }
        for (run, Hides(chunk)) in overlay.iter() {
            if let Some(chunk) = chunk {
                self.chunk(lineage, *chunk, run.count as u32, root);
            }
        }
        Ok(overlay)
    }

    async fn segment<E: Env>(
        &mut self,
        core: &Core<E>,
        lineage: &Lineage,
        segment: &DirectorySegment,
        overlay: &ExtentMap<Hides>,
        root: Root,
    ) -> Result<(), VolumeError> {
        let fresh: Vec<_> = segment.iter().filter(|(_, at)| self.is_news(root, *at)).collect();
        for some in fresh.chunks(OPENING_READS) {
            let read = |(index, at): &(PageIndex, PageRef)| {
                let volume = lineage.writer(at.object);
                read_page(&core.store, PageIdentity { volume, index: *index }, *at)
            };
            let pages = abreast(OPENING_READS, some.iter().map(read)).await?;
            for ((index, at), page) in some.iter().zip(pages) {
                self.map(lineage, at.object);
                self.page(lineage, (*index, &page), overlay, root);
            }
            core.runtime.pause().await;
        }
        Ok(())
    }

    fn page(
        &mut self,
        lineage: &Lineage,
        (index, page): (PageIndex, &MapPage),
        overlay: &ExtentMap<Hides>,
        root: Root,
    ) {
        for (at, value, _) in page.iter() {
            let PageValue::Data { chunk, .. } = value else { continue };
            let start = ShardBlock(index.first_block().0 + u64::from(at.first()));
            let run = ShardRun { start, count: at.count().into() };
            let seen = overlay.iter_range(run).filter(|(_, hidden)| hidden.is_none());
            let blocks: u64 = seen.map(|(part, _)| part.count).sum();
            if blocks > 0 {
                self.chunk(lineage, chunk, blocks as u32, root);
            }
        }
    }
}
