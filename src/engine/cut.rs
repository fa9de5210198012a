//! Making a cut: what was written up to the end of an epoch goes to the store, as one.
//!
//! Cuts are made one by one in the order of the epochs that they end. What a power cut leaves after
//! each step of one:
//! 1. the epoch ended, shards froze: nothing on disk changed.
//! 2. all chunks of the cut are durable: garbage that no manifest names; the log has everything.
//! 3. if the cut is named, its snapshot is put: it exists, and the log names it still.
//! 4. the manifest is durable: the cut is what a host without this log recovers. This one skips
//!    what the cut covers in its log.
//! 5. shards applied it and gave segments back; old manifests are gone: as step 4.

use std::sync::Arc;

use chunk::{ChunkBuilder, ChunkIndex, Content, Cut, Manifest};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{Epoch, HoleKind, Lsn, ShardId};

use super::Env;
use super::coordinator::Coordinator;
use super::error::VolumeError;
use super::message::{Answer, EndedCut, Sealed, ShardAsk};
use super::named::Named;
use super::packer::Packer;
use super::uploads::Uploads;

impl<E: Env> Coordinator<E> {
    /// Makes one cut. If it fails it may be tried again: the shards keep what they froze.
    /// Tells whether the cut was named, so that what was written since is not in it.
    pub(super) async fn cut(&self) -> Result<bool, VolumeError> {
        let epoch = self.next_cut();
        let named = self.named.borrow().front().filter(|named| named.epoch == epoch).cloned();
        if named.is_none() {
            // What was written since a cut was named is not in it.
            self.urgent.set(false);
            let since = self.dirty_since.take();
            self.cutting_since.set(self.cutting_since.get().or(since));
            self.written.set(self.written.get() + self.shared.reset_dirty());
            // Only now: what is written from here on is noted as new, whether it is in the cut or not.
            if self.shared.epoch() == epoch {
                self.shared.end_epoch();
            }
        }
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
        self.make_room_for(chunks.len()).await?;
        let is_published =
            named.is_some() || !chunks.is_empty() || self.lags.get() || self.is_behind(&positions);
        if let Some(named) = &named {
            self.publish_named(named, positions, &chunks).await?;
        } else if is_published {
            let cut = Cut { incarnation: self.shared.incarnation, epoch, positions };
            self.publish(in_cut(&cut, &chunks)).await?;
        }
        self.lags.set(named.is_some());
        self.unfinished.set(None);
        let is_own = epoch >= self.next_epoch.get();
        if is_own {
            self.next_epoch.set(epoch.next());
        }
        if named.is_none() {
            self.cutting_since.set(None);
        }
        self.published_at.set(Some(self.core.runtime.now()));
        let chunks = Arc::new(chunks);
        let is_published = is_published || planted::is(Bug::EmptyCutUnpublished);
        let ended = Some(EndedCut { epoch, is_published });
        for (_, outcome) in self.ask_all(|_| ShardAsk::Published(chunks.clone(), ended)).await {
            outcome?;
        }
        if named.is_some() {
            self.named.borrow_mut().pop_front();
            self.landed.set(self.landed.get() + 1);
            self.changed.notify();
        }
        if is_own {
            self.remove_leftovers().await;
        }
        Ok(named.is_some())
    }

    /// Whether the log has records up to these positions that the newest manifest does not cover. Also a
    /// cut of nothing may: while the one before was sealed from memory, a flush logged what it is of. The
    /// shards give that back, so a manifest must say that it is not missed.
    fn is_behind(&self, positions: &[(ShardId, Lsn)]) -> bool {
        let newest = self.newest.borrow();
        let covered = &newest.1.cut;
        let is_own = covered.incarnation == self.shared.incarnation;
        let of = |shard| covered.positions.iter().find(|(at, _)| is_own && *at == shard);
        // Marks hold nothing, and are given back with what comes behind them.
        let held = |shard, lsn: Lsn| lsn.min(self.shared.newest_entry(shard));
        let is_above = |(shard, lsn): &(ShardId, Lsn)| {
            held(*shard, *lsn) > of(*shard).map_or(Lsn(0), |(_, below)| *below)
        };
        !planted::is(Bug::EmptyCutUnpublished) && positions.iter().any(is_above)
    }

    /// The epoch whose cut comes next. If it is named, it has ended.
    fn next_cut(&self) -> Epoch {
        let next = self.unfinished.get().unwrap_or(self.next_epoch.get());
        // An earlier opening may have named some.
        self.named.borrow().front().map_or(next, |named| named.epoch.min(next))
    }

    /// Puts the snapshot that a cut was named, and publishes its manifest. Also if nothing was written:
    /// as long as the manifest has an older cut the log names this one.
    async fn publish_named(
        &self,
        named: &Named,
        positions: Vec<(ShardId, Lsn)>,
        chunks: &[ChunkIndex],
    ) -> Result<(), VolumeError> {
        let own = (self.shared.incarnation, positions);
        let (incarnation, positions) = match &named.recovered {
            Some(recovered) if !planted::is(Bug::NamedCutCoversAll) => recovered.clone(),
            _ => own,
        };
        let cut = Cut { incarnation, epoch: named.epoch, positions };
        // From here on nothing is removed that the snapshot will need.
        let _rooting = self.rooting.take().await;
        let is_first = !planted::is(Bug::NamedAfterManifest);
        // Asked for now: it may have been given up meanwhile.
        let new = self.named.borrow().front().and_then(|named| named.new.clone());
        let of_cut = self.manifest_of_cut(named.size_bytes, in_cut(&cut, chunks));
        // From here on it can only be deleted.
        self.putting.set(new.as_ref().map(|new| new.id));
        if let Some(new) = new.as_ref().filter(|_| is_first) {
            self.put_snapshot(new, of_cut.clone()).await?;
        }
        self.publish(in_cut(&cut, chunks)).await?;
        match new.filter(|_| !is_first) {
            Some(new) => self.put_snapshot(&new, of_cut).await,
            None => Ok(()),
        }
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
}

/// Names the chunks of a cut in a manifest.
fn in_cut<'c>(cut: &'c Cut, chunks: &'c [ChunkIndex]) -> impl FnOnce(&mut Manifest) + 'c {
    |manifest| {
        manifest.cut = cut.clone();
        manifest.unfolded.extend(chunks.iter().map(|index| index.info().id));
    }
}
