//! Folding: the delta of the map, which chunk indexes hold, is written into map pages.
//!
//! What a power cut leaves after each step:
//! 1. pages and directory segments are uploaded: garbage that no manifest names.
//! 2. the manifest is durable: opening reads the new pages and no chunk index.
//! 3. shards dropped their delta: as step 2.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chunk::map_object::read_segment;
use chunk::{
    DirectorySegment, MapObjectBuilder, MapPage, PageIdentity, PageIndex, PageRef, PageRun,
};
use chunk::{SegmentIdentity, SegmentIndex};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::abreast::abreast;
use super::coordinator::Coordinator;
use super::error::VolumeError;
use super::limits::{FOLD_READS, FOLD_SLICE_PAGES};
use super::message::{Answer, FoldedPages, ShardAsk};
use super::sealed::{PageNo, SealedPlace};
use super::shard::Shard;
use super::uploads::Uploads;

impl<E: Env> Shard<E> {
    /// Writes every page that the delta changes. The map stays as it is until [`Self::folded`].
    pub(super) async fn fold(&self) -> Result<FoldedPages, VolumeError> {
        let uploads = Uploads::new(self.core.clone(), self.shared.clone());
        let draw = || {
            let id = self.ids.borrow_mut().draw();
            MapObjectBuilder::new(self.shared.volume, id)
        };
        let mut builder = draw();
        let mut pages = Vec::new();
        let mut next = PageNo(0);
        loop {
            let group = self.dirty_pages(next);
            let Some(last) = group.last() else { break };
            next = PageNo(last.0 + 1);
            let before = group.iter().map(|page| self.unfolded_page(*page));
            let before = abreast(FOLD_READS, before).await?;
            for (page_no, before) in group.into_iter().zip(before) {
                let content = self.folded_page(page_no, before);
                let index = self.maps.borrow().sealed.volume_page(page_no);
                let mut at = None;
                while !content.is_empty() && at.is_none() {
                    at = builder.push_page(index, &content);
                    if at.is_none() {
                        uploads.start_map(std::mem::replace(&mut builder, draw())).await?;
                    }
                }
                pages.push((page_no, at));
                if pages.len().is_multiple_of(FOLD_SLICE_PAGES) {
                    self.core.runtime.pause().await;
                }
            }
        }
        uploads.start_map(builder).await?;
        uploads.finish().await?;
        let maps = self.maps.borrow();
        let told = pages.iter().map(|(page, at)| (maps.sealed.volume_page(*page), *at)).collect();
        drop(maps);
        self.folding.replace(pages);
        Ok(FoldedPages { pages: told })
    }

    /// The next few pages that the delta changes.
    fn dirty_pages(&self, from: PageNo) -> Vec<PageNo> {
        let maps = self.maps.borrow();
        let next = |page: &PageNo| maps.sealed.next_dirty_page(PageNo(page.0 + 1));
        std::iter::successors(maps.sealed.next_dirty_page(from), next).take(FOLD_READS).collect()
    }

    /// A page as it is without the delta; an empty one if nothing is left of it.
    async fn unfolded_page(&self, page_no: PageNo) -> Result<Rc<MapPage>, VolumeError> {
        let whole = self.maps.borrow().sealed.covers(page_no.span());
        match whole {
            true => Ok(Rc::default()),
            false => self.page(page_no, self.deadline()).await,
        }
    }

    /// A page with the delta applied.
    fn folded_page(&self, page_no: PageNo, before: Rc<MapPage>) -> MapPage {
        let (base, span) = (page_no.start().0, page_no.span());
        let mut page = Rc::unwrap_or_clone(before);
        let mut delta = self.maps.borrow().sealed.delta_in(span);
        if planted::is(Bug::FoldMissesNewChunks) {
            delta.pop();
        }
        for (run, place) in delta {
            let first = (run.start.0 - base) as u16;
            let at = PageRun::new(first, run.count as u16).expect("a part of the page");
            match place {
                // A page of nothing but written zeros is told as a hole: it reads the same.
                SealedPlace::Zero if run == span => {}
                SealedPlace::Zero => page.put_zero(at),
                SealedPlace::Hole => page.discard(at),
                SealedPlace::Data { chunk, block } => {
                    let sums = self.maps.borrow().sealed.sums(run, chunk, block);
                    let sums = sums.expect("the delta's chunks have their checksums in memory");
                    page.put_data(first, chunk, block, &sums);
                }
            }
        }
        page
    }

    /// The manifest that names the folded pages is durable.
    pub(super) fn folded(&self) {
        let pages = self.folding.take();
        self.maps.borrow_mut().sealed.folded(&pages);
    }

    /// A stored page, or an empty one; from memory if it is there.
    pub(super) async fn page(
        &self,
        page_no: PageNo,
        deadline: Duration,
    ) -> Result<Rc<MapPage>, VolumeError> {
        let (loaded, at, index) = {
            let maps = self.maps.borrow();
            let sealed = &maps.sealed;
            (sealed.loaded(page_no), sealed.page_ref(page_no), sealed.volume_page(page_no))
        };
        if let Some(page) = loaded {
            return Ok(page);
        }
        let Some(at) = at else { return Ok(Rc::default()) };
        let identity = PageIdentity { volume: self.shared.lineage.writer(at.object), index };
        self.core.fetch_page(identity, at, deadline).await
    }

    /// Loads a page that the map needs.
    pub(super) async fn load_page(
        &self,
        page_no: PageNo,
        deadline: Duration,
    ) -> Result<(), VolumeError> {
        let at = self.maps.borrow().sealed.page_ref(page_no);
        let page = self.page(page_no, deadline).await?;
        let is_loaded = self.maps.borrow().sealed.loaded(page_no).is_some();
        if let Some(at) = at.filter(|_| !is_loaded) {
            self.maps.borrow_mut().sealed.keep(page_no, at, page);
        }
        Ok(())
    }
}

impl<E: Env> Coordinator<E> {
    /// Folds if there are many chunks whose indexes an opening would have to read.
    pub(super) async fn fold_if_due(&self) -> Result<(), VolumeError> {
        let few = self.newest.borrow().1.unfolded.len() < self.core.tuning.fold_chunks;
        match few {
            true => Ok(()),
            false => self.fold_now().await,
        }
    }

    /// Sees to it that a manifest has room for so many chunks that are not folded: where folding failed
    /// for long, it is tried once more before there are too many.
    ///
    /// # Errors
    /// As folding; what would be published waits in the log then, and the manifest stays sound.
    pub(super) async fn make_room_for(&self, chunks: usize) -> Result<(), VolumeError> {
        let most = self.core.tuning.unfolded_chunks;
        if planted::is(Bug::UnfoldedWithoutLimit)
            || self.newest.borrow().1.unfolded.len() + chunks <= most
        {
            return Ok(());
        }
        self.fold_now().await?;
        match chunks <= most {
            true => Ok(()),
            // The cap of the log keeps cuts far smaller.
            false => Err(VolumeError::Corrupt {
                volume: self.shared.volume.to_string(),
                lba: 0,
                found: format!("{chunks} chunks at once are more than a manifest may name, {most}"),
            }),
        }
    }

    /// Folds, so that the map is in pages and nowhere else.
    pub(super) async fn fold_now(&self) -> Result<(), VolumeError> {
        if self.newest.borrow().1.unfolded.is_empty() {
            return Ok(());
        }
        let mut changed: BTreeMap<SegmentIndex, Vec<(PageIndex, Option<PageRef>)>> =
            BTreeMap::new();
        for (_, outcome) in self.ask_all(|_| ShardAsk::Fold).await {
            let Answer::Folded(FoldedPages { pages }) = outcome? else {
                unreachable!("folding is answered by what was folded")
            };
            for (page, at) in pages {
                changed.entry(SegmentIndex::of(page)).or_default().push((page, at));
            }
        }
        // Only cuts and folds change what this starts from, and those come one after the other.
        let before = self.newest.borrow().1.directory.clone();
        let directory = self.write_directory(&before, changed).await?;
        self.publish(|manifest| {
            manifest.directory = directory;
            manifest.unfolded.clear();
        })
        .await?;
        for (_, outcome) in self.ask_all(|_| ShardAsk::Folded).await {
            outcome?;
        }
        Ok(())
    }

    /// Writes the directory segments that changed; returns where all of them are now.
    async fn write_directory(
        &self,
        before: &[(SegmentIndex, PageRef)],
        changed: BTreeMap<SegmentIndex, Vec<(PageIndex, Option<PageRef>)>>,
    ) -> Result<Vec<(SegmentIndex, PageRef)>, VolumeError> {
        let mut places: BTreeMap<_, _> = before.iter().copied().collect();
        let uploads = Uploads::new(self.core.clone(), self.shared.clone());
        let volume = self.shared.volume;
        let draw = || MapObjectBuilder::new(volume, self.ids.borrow_mut().draw());
        let mut builder = draw();
        for (index, pages) in changed {
            let mut segment = match places.get(&index) {
                None => DirectorySegment::new(index),
                Some(at) => {
                    let writer = self.shared.lineage.writer(at.object);
                    let identity = SegmentIdentity { volume: writer, index };
                    read_segment(&self.core.store, identity, *at).await?
                }
            };
            for (page, at) in pages {
                segment.set(page, at);
            }
            places.remove(&index);
            while !segment.is_empty() && !places.contains_key(&index) {
                match builder.push_segment(&segment) {
                    Some(at) => drop(places.insert(index, at)),
                    None => uploads.start_map(std::mem::replace(&mut builder, draw())).await?,
                }
            }
            self.core.runtime.pause().await;
        }
        uploads.start_map(builder).await?;
        uploads.finish().await?;
        Ok(places.into_iter().collect())
    }
}
