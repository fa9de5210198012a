//! What the object store holds of one shard: the delta since the last fold over the map pages.

use std::collections::BTreeMap;
use std::rc::Rc;

use ahash::AHashMap;
use chunk::{ChunkId, ChunkIndex, Content, ExtentMap, MapPage, PageIndex, PageRef, PageValue};
use chunk::{PayloadBlock, Piece};
use wal::{Layout, ShardBlock, ShardId, ShardRun};

/// Blocks of one map page.
pub const PAGE_BLOCKS: u64 = chunk::limits::PAGE_BLOCKS as u64;

/// Where a run of blocks is, as far as manifests tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealedPlace {
    /// In a chunk, from this payload block on.
    Data {
        /// The chunk.
        chunk: ChunkId,
        /// Payload block of the chunk.
        block: PayloadBlock,
    },
    /// Zeros that were written.
    Zero,
    /// Trimmed.
    Hole,
}

impl Piece for SealedPlace {
    fn skip(&self, blocks: u64) -> Self {
        match *self {
            Self::Data { chunk, block } => {
                Self::Data { chunk, block: PayloadBlock(block.0 + blocks as u32) }
            }
            Self::Zero => Self::Zero,
            Self::Hole => Self::Hole,
        }
    }

    fn joins(&self, blocks: u64, next: &Self) -> bool {
        self.skip(blocks) == *next
    }
}

/// Index of a map page among those of one shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageNo(pub u64);

impl PageNo {
    /// The page that holds a block.
    #[must_use]
    pub fn of(block: ShardBlock) -> Self {
        Self(block.0 / PAGE_BLOCKS)
    }

    /// Its first block.
    #[must_use]
    pub fn start(self) -> ShardBlock {
        ShardBlock(self.0 * PAGE_BLOCKS)
    }

    /// All of its blocks.
    #[must_use]
    pub fn span(self) -> ShardRun {
        ShardRun { start: self.start(), count: PAGE_BLOCKS }
    }
}

/// A page must be loaded before the question can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeedPage(pub PageNo);

/// The sealed part of a shard's map.
pub struct SealedMap {
    layout: Layout,
    shard: ShardId,
    delta: ExtentMap<SealedPlace>,
    /// Checksums of the payload blocks of unfolded chunks.
    sums: AHashMap<ChunkId, Rc<[u32]>>,
    refs: BTreeMap<PageNo, PageRef>,
    pages: BTreeMap<PageNo, Rc<MapPage>>,
    most_pages: usize,
    /// The page that went last; the next one behind it goes next.
    hand: PageNo,
}

impl SealedMap {
    /// The map of a shard with these pages, in terms of the volume, and no delta.
    #[must_use]
    pub fn new(
        layout: Layout,
        shard: ShardId,
        pages: Vec<(PageIndex, PageRef)>,
        most_pages: usize,
    ) -> Self {
        let local = |page: PageIndex| PageNo::of(layout.to_shard(page.first_block()));
        Self {
            layout,
            shard,
            delta: ExtentMap::new(),
            sums: AHashMap::new(),
            refs: pages.into_iter().map(|(page, at)| (local(page), at)).collect(),
            pages: BTreeMap::new(),
            most_pages: most_pages.max(1),
            hand: PageNo(0),
        }
    }

    /// Index of a page within the volume.
    #[must_use]
    pub fn volume_page(&self, page: PageNo) -> PageIndex {
        PageIndex::of(self.layout.to_volume(self.shard, page.start())).0
    }

    /// Notes the checksums of a chunk whose runs are about to be applied.
    pub fn note_chunk(&mut self, index: &ChunkIndex) {
        self.sums.insert(index.info().id, index.crcs().into());
    }

    /// What a chunk says about some run is the newest that manifests know.
    pub fn apply(&mut self, run: ShardRun, chunk: ChunkId, content: Content) {
        let place = match content {
            Content::Data(block) => SealedPlace::Data { chunk, block },
            Content::Zero => SealedPlace::Zero,
            Content::Discard => SealedPlace::Hole,
        };
        self.delta.insert(run, place);
    }

    /// Entries of the delta.
    #[must_use]
    pub fn delta_entries(&self) -> usize {
        self.delta.len()
    }

    /// Places of a run that lies within one page, in order and without gaps.
    ///
    /// # Errors
    /// [`NeedPage`] if part of it is in a page that is not loaded.
    pub fn resolve(
        &self,
        run: ShardRun,
        found: &mut Vec<(ShardRun, SealedPlace)>,
    ) -> Result<(), NeedPage> {
        for (part, place) in self.delta.iter_range(run) {
            match place {
                Some(place) => found.push((part, place)),
                None => self.resolve_page(part, found)?,
            }
        }
        Ok(())
    }

    fn resolve_page(
        &self,
        run: ShardRun,
        found: &mut Vec<(ShardRun, SealedPlace)>,
    ) -> Result<(), NeedPage> {
        let page_no = PageNo::of(run.start);
        debug_assert_eq!(page_no, PageNo::of(ShardBlock(run.end().0 - 1)));
        if !self.refs.contains_key(&page_no) {
            found.push((run, SealedPlace::Hole));
            return Ok(());
        }
        let page = self.pages.get(&page_no).ok_or(NeedPage(page_no))?;
        let base = page_no.start().0;
        let mut at = run.start.0;
        while at < run.end().0 {
            let (left, value, _) = page.get((at - base) as u16);
            let count = u64::from(left).min(run.end().0 - at);
            let place = match value {
                Some(PageValue::Data { chunk, block }) => SealedPlace::Data { chunk, block },
                Some(PageValue::Zero) => SealedPlace::Zero,
                None => SealedPlace::Hole,
            };
            found.push((ShardRun { start: ShardBlock(at), count }, place));
            at += count;
        }
        Ok(())
    }

    /// Checksums of the blocks of a run that [`Self::resolve`] found at `place`; `None` if the
    /// map changed since.
    #[must_use]
    pub fn sums(&self, run: ShardRun, chunk: ChunkId, block: PayloadBlock) -> Option<Vec<u32>> {
        if let Some(sums) = self.sums.get(&chunk) {
            let first = block.0 as usize;
            return sums.get(first..first + run.count as usize).map(<[u32]>::to_vec);
        }
        let page_no = PageNo::of(run.start);
        let page = self.pages.get(&page_no)?;
        let (_, value, sums) = page.get((run.start.0 - page_no.start().0) as u16);
        let same = value == Some(PageValue::Data { chunk, block });
        (same && sums.len() as u64 >= run.count).then(|| sums[..run.count as usize].to_vec())
    }

    /// Where a page is stored, if it is.
    #[must_use]
    pub fn page_ref(&self, page: PageNo) -> Option<PageRef> {
        self.refs.get(&page).copied()
    }

    /// The next stored page in `[from, end)`.
    #[must_use]
    pub fn next_page(&self, from: PageNo, end: PageNo) -> Option<PageNo> {
        self.refs.range(from..end).next().map(|(page, _)| *page)
    }

    /// How many pages are stored.
    #[must_use]
    pub fn stored_pages(&self) -> u64 {
        self.refs.len() as u64
    }

    /// A page in memory.
    #[must_use]
    pub fn loaded(&self, page: PageNo) -> Option<Rc<MapPage>> {
        self.pages.get(&page).cloned()
    }

    /// Keeps a page that was loaded from `at`, unless it was replaced meanwhile; another one goes
    /// if there are too many.
    pub fn keep(&mut self, page: PageNo, at: PageRef, content: Rc<MapPage>) {
        if self.refs.get(&page) != Some(&at) {
            return;
        }
        if self.pages.len() >= self.most_pages {
            let behind = self.pages.range(PageNo(self.hand.0 + 1)..).next();
            let victim = behind.or_else(|| self.pages.iter().next()).map(|(page, _)| *page);
            self.hand = victim.expect("the cache of pages is full, so not empty");
            self.pages.remove(&self.hand);
        }
        self.pages.insert(page, content);
    }

    /// The first block from `from` on that the delta knows of.
    #[must_use]
    pub fn next_delta(&self, from: ShardBlock) -> Option<ShardBlock> {
        self.delta.next_from(from).map(|(run, _)| run.start)
    }

    /// Whether the delta says something of every block of a run.
    #[must_use]
    pub fn covers(&self, run: ShardRun) -> bool {
        self.delta.iter_range(run).all(|(_, place)| place.is_some())
    }

    /// What the delta says of a run.
    #[must_use]
    pub fn delta_in(&self, run: ShardRun) -> Vec<(ShardRun, SealedPlace)> {
        let known = |(run, place): (ShardRun, Option<SealedPlace>)| place.map(|place| (run, place));
        self.delta.iter_range(run).filter_map(known).collect()
    }

    /// The next page from `from` on that the delta changes. Pages that become holes and are not
    /// stored are passed over, however many they are.
    #[must_use]
    pub fn next_dirty_page(&self, from: PageNo) -> Option<PageNo> {
        let mut from = from.start();
        loop {
            let (run, place) = self.delta.next_from(from)?;
            let page = PageNo::of(run.start);
            let whole = run.start == page.start() && run.count >= PAGE_BLOCKS;
            if matches!(place, SealedPlace::Data { .. }) || !whole {
                return Some(page);
            }
            let end = PageNo::of(run.end());
            if let Some(stored) = self.next_page(page, end) {
                return Some(stored);
            }
            from = end.start();
        }
    }

    /// The delta is in these pages now.
    pub fn folded(&mut self, pages: &[(PageNo, Option<PageRef>)]) {
        self.delta = ExtentMap::new();
        self.sums.clear();
        for (page, at) in pages {
            self.pages.remove(page);
            match at {
                Some(at) => self.refs.insert(*page, *at),
                None => self.refs.remove(page),
            };
        }
    }
}
