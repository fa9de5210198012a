//! What changed between two states of a volume, as their maps tell: no data is read.
//!
//! Two states hold the same in a block if both have it in the same place, as objects never change,
//! or if both have none. Where the places differ the block counts as changed, though its bytes may be
//! equal: they were written again, or moved by compaction. Written zeros and holes are the same.
//!
//! Parts of the map that both states have in common are not read either: what it costs is in
//! proportion to what was folded or cut between them.

use std::collections::{BTreeMap, BTreeSet};

use wal::planted::{self, Bug};
use wal::{Layout, Lba, ShardBlock, ShardId, ShardRun};

use crate::chunk::{Content, read_index};
use crate::directory::{DirectorySegment, PageRef, SegmentIdentity, SegmentIndex};
use crate::error::ReadError;
use crate::extent_map::{ExtentMap, Piece};
use crate::ids::{ChunkId, PayloadBlock};
use crate::limits::{DIFF_READS, PAGE_BLOCKS};
use crate::lineage::Lineage;
use crate::manifest::Manifest;
use crate::map_object::{read_page, read_segment};
use crate::page::{PageIdentity, PageIndex, PageValue};
use crate::store::ObjectStore;
use crate::together::together;

/// A run of blocks that may hold other bytes in the newer state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its first block.
    pub first: Lba,
    /// Number of blocks.
    pub blocks: u64,
    /// Whether all of it reads as zeros now.
    pub is_zeros: bool,
}

/// Where a state has a run of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Data { chunk: ChunkId, block: PayloadBlock },
    Zeros,
}

impl Piece for Place {
    fn skip(&self, blocks: u64) -> Self {
        match *self {
            Self::Data { chunk, block } => {
                Self::Data { chunk, block: PayloadBlock(block.0 + blocks as u32) }
            }
            Self::Zeros => Self::Zeros,
        }
    }

    fn joins(&self, blocks: u64, next: &Self) -> bool {
        self.skip(blocks) == *next
    }
}

/// Tells the runs in which `newer` may read otherwise than `older`, in order and as long as they can
/// be. Both are manifests of one volume. Blocks behind the end of `newer` are not told of.
///
/// # Errors
/// If part of a map cannot be read.
pub async fn diff<S: ObjectStore>(
    store: &S,
    older: &Manifest,
    newer: &Manifest,
    tell: impl FnMut(Change),
) -> Result<(), ReadError> {
    assert_eq!(older.volume, newer.volume, "states of one volume");
    let sides = [Side::open(store, older).await?, Side::open(store, newer).await?];
    let mut told = Told { pending: None, end: newer.blocks(), tell };
    let mut touched: BTreeMap<SegmentIndex, BTreeSet<PageIndex>> = BTreeMap::new();
    for side in &sides {
        for (segment, _) in &side.manifest.directory {
            touched.entry(*segment).or_default();
        }
        for page in side.pages_with_data() {
            touched.entry(SegmentIndex::of(page)).or_default().insert(page);
        }
    }
    for (index, pages) in touched {
        let [old, new] = &sides;
        let is_shared = old.segment_ref(index) == new.segment_ref(index);
        if is_shared && sides.iter().all(|side| side.says_nothing_of_segment(index)) {
            continue;
        }
        let refs = [old.segment(index).await?, new.segment(index).await?];
        compare_pages(&sides, &refs, pages, &mut told).await?;
    }
    told.finish();
    Ok(())
}

/// Compares the pages of one segment: those that are stored, and `pages`.
async fn compare_pages<S: ObjectStore, F: FnMut(Change)>(
    [old, new]: &[Side<'_, S>; 2],
    [old_refs, new_refs]: &[DirectorySegment; 2],
    mut pages: BTreeSet<PageIndex>,
    told: &mut Told<F>,
) -> Result<(), ReadError> {
    pages.extend(old_refs.iter().chain(new_refs.iter()).map(|(page, _)| page));
    let differ = |page: &PageIndex| {
        old_refs.get(*page) != new_refs.get(*page)
            || !old.says_nothing_of(span_of(*page))
            || !new.says_nothing_of(span_of(*page))
    };
    let all: Vec<_> = pages.into_iter().filter(differ).collect();
    for some in all.chunks(DIFF_READS) {
        let read = async |page: &PageIndex| {
            let old = old.page(*page, old_refs.get(*page)).await?;
            Ok::<_, ReadError>((old, new.page(*page, new_refs.get(*page)).await?))
        };
        for (page, read) in some.iter().zip(together(DIFF_READS, some.iter().map(read)).await) {
            let (old, new) = read?;
            compare(span_of(*page), &old, &new, told);
        }
    }
    Ok(())
}

fn span_of(page: PageIndex) -> ShardRun {
    ShardRun { start: ShardBlock(page.first_block().0), count: PAGE_BLOCKS.into() }
}

/// Compares two maps of a run.
fn compare<F: FnMut(Change)>(
    span: ShardRun,
    old: &ExtentMap<Place>,
    new: &ExtentMap<Place>,
    told: &mut Told<F>,
) {
    // Both in parts of the same blocks: as short as those of either.
    for (run, now) in new.iter_range(span) {
        for (part, before) in old.iter_range(run) {
            let data = |place: Option<Place>| place.filter(|place| *place != Place::Zeros);
            let now = data(now.map(|place| place.skip(part.start.0 - run.start.0)));
            if now != data(before) {
                told.add(part, now.is_none());
            }
        }
    }
}

/// One of the two states.
struct Side<'a, S> {
    store: &'a S,
    manifest: &'a Manifest,
    lineage: Lineage,
    /// What unfolded chunks say. Keys are blocks of the volume: one shard owns them all.
    unfolded: ExtentMap<Place>,
}

impl<'a, S: ObjectStore> Side<'a, S> {
    async fn open(store: &'a S, manifest: &'a Manifest) -> Result<Self, ReadError> {
        let lineage = manifest.lineage();
        let layout = Layout::new(manifest.stripe_shift, 1).expect("manifests are checked");
        let mut unfolded = ExtentMap::new();
        for some in manifest.unfolded.chunks(DIFF_READS) {
            let read = |id: &ChunkId| read_index(store, lineage.writer(*id), *id);
            for index in together(DIFF_READS, some.iter().map(read)).await {
                let index = index?;
                if planted::is(Bug::DiffOfPagesOnly) {
                    continue;
                }
                for (run, content) in index.pieces(layout, ShardId(0)) {
                    let place = match content {
                        Content::Data(block) => Place::Data { chunk: index.info().id, block },
                        Content::Zero | Content::Discard => Place::Zeros,
                    };
                    unfolded.insert(run, place);
                }
            }
        }
        Ok(Self { store, manifest, lineage, unfolded })
    }

    /// Pages of which unfolded chunks have data.
    fn pages_with_data(&self) -> impl Iterator<Item = PageIndex> + '_ {
        let data = self.unfolded.iter().filter(|(_, place)| **place != Place::Zeros);
        data.flat_map(|(run, _)| {
            let page = |block: u64| PageIndex::of(Lba(block)).0;
            (page(run.start.0).0..=page(run.end().0 - 1).0).map(PageIndex)
        })
    }

    fn says_nothing_of(&self, span: ShardRun) -> bool {
        self.unfolded.next_from(span.start).is_none_or(|(run, _)| run.start >= span.end())
    }

    fn says_nothing_of_segment(&self, index: SegmentIndex) -> bool {
        let [first, end] = [index.first_block(), SegmentIndex(index.0 + 1).first_block()];
        self.says_nothing_of(ShardRun { start: ShardBlock(first.0), count: end.0 - first.0 })
    }

    fn segment_ref(&self, index: SegmentIndex) -> Option<PageRef> {
        let directory = &self.manifest.directory;
        let found = directory.binary_search_by_key(&index, |(segment, _)| *segment).ok()?;
        Some(directory[found].1)
    }

    async fn segment(&self, index: SegmentIndex) -> Result<DirectorySegment, ReadError> {
        let Some(at) = self.segment_ref(index) else { return Ok(DirectorySegment::new(index)) };
        let volume = self.lineage.writer(at.object);
        read_segment(self.store, SegmentIdentity { volume, index }, at).await
    }

    /// What a page says with the unfolded chunks over it; blocks that nothing is said of are holes.
    async fn page(
        &self,
        index: PageIndex,
        at: Option<PageRef>,
    ) -> Result<ExtentMap<Place>, ReadError> {
        let mut map = ExtentMap::new();
        let span = span_of(index);
        if let Some(at) = at {
            let volume = self.lineage.writer(at.object);
            let page = read_page(self.store, PageIdentity { volume, index }, at).await?;
            for (at, value, _) in page.iter() {
                let start = ShardBlock(span.start.0 + u64::from(at.first()));
                let run = ShardRun { start, count: at.count().into() };
                if let PageValue::Data { chunk, block } = value {
                    map.insert(run, Place::Data { chunk, block });
                }
            }
        }
        for (run, place) in self.unfolded.iter_range(span) {
            if let Some(place) = place {
                map.insert(run, place);
            }
        }
        Ok(map)
    }
}

/// Joins what is told.
struct Told<F> {
    pending: Option<Change>,
    /// The block behind the last one.
    end: u64,
    tell: F,
}

impl<F: FnMut(Change)> Told<F> {
    fn add(&mut self, run: ShardRun, is_zeros: bool) {
        let blocks = run.end().0.min(self.end).saturating_sub(run.start.0);
        if blocks == 0 {
            return;
        }
        match &mut self.pending {
            Some(change)
                if change.first.0 + change.blocks == run.start.0 && change.is_zeros == is_zeros =>
            {
                change.blocks += blocks;
            }
            _ => {
                let next = Change { first: Lba(run.start.0), blocks, is_zeros };
                self.pending.replace(next).into_iter().for_each(&mut self.tell);
            }
        }
    }

    fn finish(mut self) {
        self.pending.take().into_iter().for_each(&mut self.tell);
    }
}

#[cfg(test)]
mod tests;
