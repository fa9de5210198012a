//! Walks everything that a manifest refers to.

use std::collections::HashSet;

use wal::{Layout, Lba, ShardBlock, ShardId, ShardRun, VolumeId};

use super::blocks::{BlockRef, Verified, verify};
use super::{CheckReport, Counts, Problem};
use crate::chunk::{Content, read_index};
use crate::directory::{DirectorySegment, SegmentIdentity};
use crate::extent_map::{ExtentMap, Piece};
use crate::ids::{ChunkId, ManifestSeq, PayloadBlock, manifest_prefix, volume_prefix};
use crate::lineage::Lineage;
use crate::manifest::Manifest;
use crate::map_object::{read_page, read_segment};
use crate::page::{MapPage, PageIdentity, PageIndex, PageValue};
use crate::store::ObjectStore;

/// What an unfolded chunk says about some blocks.
#[derive(Clone, Copy)]
struct Unfolded {
    chunk: ChunkId,
    content: Content,
}

impl Piece for Unfolded {
    fn skip(&self, blocks: u64) -> Self {
        Self { content: self.content.skip(blocks), ..*self }
    }

    fn joins(&self, blocks: u64, next: &Self) -> bool {
        self.chunk == next.chunk && self.content.joins(blocks, &next.content)
    }
}

/// What walks of several manifests of a volume have in common.
#[derive(Default)]
pub(super) struct Seen {
    pub verified: Verified,
    /// Objects that something refers to, ancestors' included.
    chunks: HashSet<ChunkId>,
    maps: HashSet<ChunkId>,
    /// Whether some references are not known.
    pub incomplete: bool,
}

struct Walk<'a, S, P> {
    store: &'a S,
    manifest: &'a Manifest,
    lineage: Lineage,
    report: CheckReport,
    seen: &'a mut Seen,
    progress: &'a mut P,
    /// What hides the pages. Keys are blocks of the volume: one shard owns them all.
    overlay: ExtentMap<Unfolded>,
    refs: Vec<BlockRef>,
    batch: usize,
}

/// Checks `manifest` into `report`, `batch` references at a time.
pub(super) async fn run<S: ObjectStore, P: FnMut(&Counts)>(
    store: &S,
    manifest: &Manifest,
    report: CheckReport,
    seen: &mut Seen,
    batch: usize,
    progress: &mut P,
) -> CheckReport {
    let mut walk = Walk {
        store,
        manifest,
        lineage: manifest.lineage(),
        report,
        seen,
        progress,
        overlay: ExtentMap::new(),
        refs: Vec::new(),
        batch,
    };
    walk.unfolded().await;
    walk.directory().await;
    walk.verify().await;
    walk.report
}

impl<S: ObjectStore, P: FnMut(&Counts)> Walk<'_, S, P> {
    /// Reads the indexes of the unfolded chunks, oldest first, so that later ones win.
    async fn unfolded(&mut self) {
        let layout = Layout::new(self.manifest.stripe_shift, 1).expect("manifests are checked");
        for &chunk in &self.manifest.unfolded {
            self.seen.chunks.insert(chunk);
            match read_index(self.store, self.lineage.writer(chunk), chunk).await {
                Err(source) => self.report.problem(Problem::Chunk { chunk, source }),
                Ok(index) => {
                    if let Some((first, second)) = index.overlap() {
                        let (first, second) = (Box::new(first), Box::new(second));
                        self.report.problem(Problem::Overlap { chunk, first, second });
                    }
                    for (run, content) in index.pieces(layout, ShardId(0)) {
                        self.inside(run);
                        self.overlay.insert(run, Unfolded { chunk, content });
                    }
                }
            }
            self.report.counts.unfolded += 1;
            (self.progress)(&self.report.counts);
        }
        let overlay = self.overlay.take();
        for (run, &Unfolded { chunk, content }) in overlay.iter() {
            if let Content::Data(first) = content {
                for n in 0..run.count {
                    let block = PayloadBlock(first.0 + n as u32);
                    let lba = Lba(run.start.0 + n);
                    self.refer(BlockRef { chunk, block, lba, crc: None }).await;
                }
            }
        }
        self.overlay = overlay;
    }

    async fn directory(&mut self) {
        for &(index, place) in &self.manifest.directory {
            self.seen.maps.insert(place.object);
            let volume = self.lineage.writer(place.object);
            let identity = SegmentIdentity { volume, index };
            match read_segment(self.store, identity, place).await {
                Ok(segment) => self.segment(&segment).await,
                Err(source) => {
                    self.seen.incomplete = true;
                    self.report.problem(Problem::Segment { index, source });
                }
            }
            self.report.counts.segments += 1;
            (self.progress)(&self.report.counts);
        }
    }

    async fn segment(&mut self, segment: &DirectorySegment) {
        for (index, place) in segment.iter() {
            self.seen.maps.insert(place.object);
            let volume = self.lineage.writer(place.object);
            match read_page(self.store, PageIdentity { volume, index }, place).await {
                Ok(page) => self.page(index, &page).await,
                Err(source) => {
                    self.seen.incomplete = true;
                    self.report.problem(Problem::Page { index, source });
                }
            }
            self.report.counts.pages += 1;
            (self.progress)(&self.report.counts);
        }
    }

    /// Follows those references of a page that no unfolded chunk hides.
    async fn page(&mut self, index: PageIndex, page: &MapPage) {
        for (at, value, crcs) in page.iter() {
            let start = index.first_block().0 + u64::from(at.first());
            let run = ShardRun { start: ShardBlock(start), count: at.count().into() };
            self.inside(run);
            let PageValue::Data { chunk, block } = value else { continue };
            self.seen.chunks.insert(chunk);
            let seen: Vec<_> = self
                .overlay
                .iter_range(run)
                .filter_map(|(part, hidden)| hidden.is_none().then_some(part))
                .collect();
            for lba in seen.iter().flat_map(|part| part.start.0..part.end().0) {
                let n = (lba - start) as usize;
                let block = PayloadBlock(block.0 + n as u32);
                self.refer(BlockRef { chunk, block, lba: Lba(lba), crc: Some(crcs[n]) }).await;
            }
        }
    }

    fn inside(&mut self, run: ShardRun) {
        if run.end().0 > self.manifest.blocks() {
            let lba = Lba(run.start.0.max(self.manifest.blocks()));
            self.report.problem(Problem::Outside { lba });
        }
    }

    async fn refer(&mut self, block: BlockRef) {
        self.refs.push(block);
        if self.refs.len() == self.batch {
            self.verify().await;
        }
    }

    async fn verify(&mut self) {
        let Self { store, lineage, refs, seen, report, .. } = self;
        verify(*store, lineage, refs, &mut seen.verified, report).await;
        (self.progress)(&self.report.counts);
    }
}

/// Finds objects of a volume that nothing refers to: what clones of it need, their snapshots need.
pub(super) async fn objects<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    seen: &Seen,
    report: &mut CheckReport,
) {
    let listed = match store.list(&volume_prefix(volume)).await {
        Ok(listed) => listed,
        Err(error) => return report.problem(Problem::List(error)),
    };
    let chunk = |part: &str| ChunkId::parse(part.strip_prefix("chunks/")?);
    let map = |part: &str| ChunkId::parse(part.strip_prefix("maps/")?);
    let mut orphans = Vec::new();
    for (object, bytes) in listed {
        let seq = object.as_str().strip_prefix(&manifest_prefix(volume));
        if let Some(seq) = seq.and_then(ManifestSeq::parse) {
            report.older_manifests += u64::from(Some(seq) < report.manifest);
            continue;
        }
        let part = &object.as_str()[volume_prefix(volume).len()..];
        let referred = chunk(part).is_some_and(|id| seen.chunks.contains(&id))
            || map(part).is_some_and(|id| seen.maps.contains(&id))
            || ["snapshots/", "clones/", "deleting/"].iter().any(|kind| part.starts_with(kind));
        if !referred {
            orphans.push((object, bytes));
        }
    }
    if !seen.incomplete {
        report.orphans = Some(orphans);
    }
}
