//! Reading: memory cache, then the log, then chunks; zeros only where the map proves a hole.

use std::time::Duration;

use chunk::chunk::payload_range;
use chunk::{ErrorKind, ObjectStore, PayloadBlock, ReadError, block_crc};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Extent, Lba, ShardBlock, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::limits::{COPY_QUANTUM_BYTES, FETCH_BLOCKS, READ_TIMEOUT, RETRY_FIRST, RETRY_LONGEST};
use super::message::ShardBytes;
use super::place::{LogPlace, Place};
use super::sealed::{NeedPage, PAGE_BLOCKS, PageNo, SealedPlace};
use super::shard::{Maps, Shard};

/// Where the newest version of a run is, over the whole map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In the log.
    Log(LogPlace),
    /// As manifests tell.
    Sealed(SealedPlace),
}

impl Home {
    fn is_zeros(self) -> bool {
        matches!(self, Self::Sealed(SealedPlace::Zero | SealedPlace::Hole))
    }
}

impl From<Place> for Home {
    fn from(place: Place) -> Self {
        match place {
            Place::Log(place) => Self::Log(place),
            Place::Zero => Self::Sealed(SealedPlace::Zero),
            Place::Hole => Self::Sealed(SealedPlace::Hole),
        }
    }
}

/// A run whose blocks have one home.
pub type Homed = (ShardRun, Home);

impl Maps {
    /// Homes of a run within one map page, in order and without gaps.
    pub(super) fn resolve(&self, run: ShardRun) -> Result<Vec<Homed>, NeedPage> {
        let mut found = Vec::with_capacity(1);
        for (part, place) in self.dirty.iter_range(run) {
            match (place, &self.frozen) {
                (Some(place), _) => found.push((part, place.into())),
                (None, None) => self.resolve_sealed(part, &mut found)?,
                (None, Some(frozen)) => {
                    for (part, place) in frozen.map.iter_range(part) {
                        match place {
                            Some(place) => found.push((part, place.into())),
                            None => self.resolve_sealed(part, &mut found)?,
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    fn resolve_sealed(&self, run: ShardRun, found: &mut Vec<Homed>) -> Result<(), NeedPage> {
        let mut sealed = Vec::with_capacity(1);
        self.sealed.resolve(run, &mut sealed)?;
        found.extend(sealed.into_iter().map(|(run, place)| (run, Home::Sealed(place))));
        Ok(())
    }
}

impl<E: Env> Shard<E> {
    /// Reads bytes of any alignment, within one stripe.
    ///
    /// # Errors
    /// The disk or the store failed, or what they hold is damaged. Wrong bytes are never
    /// returned.
    pub async fn read(&self, bytes: ShardBytes) -> Result<Vec<u8>, VolumeError> {
        let first = bytes.at / BLOCK_BYTES as u64;
        let count = bytes.end().div_ceil(BLOCK_BYTES as u64) - first;
        let mut out = vec![0; count as usize * BLOCK_BYTES];
        self.read_blocks(ShardBlock(first), &mut out).await?;
        let skip = (bytes.at % BLOCK_BYTES as u64) as usize;
        if skip == 0 {
            out.truncate(bytes.len);
            return Ok(out);
        }
        Ok(out[skip..skip + bytes.len].to_vec())
    }

    /// Reads whole blocks from `start` on into `out`, which need not be zeroed.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_blocks(&self, start: ShardBlock, out: &mut [u8]) -> Result<(), VolumeError> {
        let mut at = start.0;
        for slice in out.chunks_mut(COPY_QUANTUM_BYTES) {
            if at > start.0 {
                self.core.runtime.pause().await;
            }
            let missing = self.read_cached(ShardBlock(at), slice)?;
            for run in missing {
                let from = (run.start.0 - at) as usize * BLOCK_BYTES;
                let to = from + run.count as usize * BLOCK_BYTES;
                self.read_missing(run, &mut slice[from..to]).await?;
            }
            at += (slice.len() / BLOCK_BYTES) as u64;
        }
        Ok(())
    }

    /// Reads whole blocks if that needs neither disk nor store.
    ///
    /// # Errors
    /// The volume is stopped.
    pub fn try_read(&self, start: ShardBlock, out: &mut [u8]) -> Result<bool, VolumeError> {
        for run in self.read_cached(start, out)? {
            // Holes are known at once where their page is in memory, or there is none.
            let page_end = (PageNo::of(run.start).0 + 1) * PAGE_BLOCKS;
            if run.end().0 > page_end {
                return Ok(false);
            }
            let homes = self.maps.borrow().resolve(run);
            if !homes.is_ok_and(|homes| homes.iter().all(|(_, home)| home.is_zeros())) {
                return Ok(false);
            }
            let from = (run.start.0 - start.0) as usize * BLOCK_BYTES;
            out[from..from + run.count as usize * BLOCK_BYTES].fill(0);
        }
        Ok(true)
    }

    /// Copies what the memory cache has; returns the runs that it has not, none of them longer
    /// than to the end of its map page.
    fn read_cached(&self, start: ShardBlock, out: &mut [u8]) -> Result<Vec<ShardRun>, VolumeError> {
        self.shared.alive()?;
        let mut cache = self.core.cache.borrow_mut();
        let mut missing: Vec<ShardRun> = Vec::new();
        for (block, to) in (start.0..).zip(out.chunks_exact_mut(BLOCK_BYTES)) {
            if let Some(content) = cache.get(self.volume, ShardBlock(block)) {
                to.copy_from_slice(content);
                continue;
            }
            match missing.last_mut() {
                Some(run) if run.end().0 == block && block % PAGE_BLOCKS != 0 => {
                    run.count += 1;
                }
                _ => missing.push(ShardRun { start: ShardBlock(block), count: 1 }),
            }
        }
        Ok(missing)
    }

    async fn read_missing(&self, run: ShardRun, out: &mut [u8]) -> Result<(), VolumeError> {
        let mut done = 0;
        while done < run.count {
            let rest = ShardRun { start: ShardBlock(run.start.0 + done), count: run.count - done };
            let homes = self.resolve(rest).await?;
            // What was found may have moved by the time that its turn comes: one at a time.
            for (part, home) in homes {
                let from = (part.start.0 - run.start.0) as usize * BLOCK_BYTES;
                let to = from + part.count as usize * BLOCK_BYTES;
                if !self.fetch(part, home, &mut out[from..to]).await? {
                    break;
                }
                done += part.count;
            }
        }
        Ok(())
    }

    /// Homes of a run within one map page; loads the page if need be.
    pub(super) async fn resolve(&self, run: ShardRun) -> Result<Vec<Homed>, VolumeError> {
        loop {
            let found = self.maps.borrow().resolve(run);
            match found {
                Ok(found) => return Ok(found),
                Err(NeedPage(page)) => self.load_page(page).await?,
            }
        }
    }

    /// Reads a block for the one who is going to replace part of it, and tells which version.
    pub(super) async fn read_version(
        &self,
        block: ShardBlock,
        out: &mut [u8],
    ) -> Result<Home, VolumeError> {
        let run = ShardRun { start: block, count: 1 };
        loop {
            let homes = self.resolve(run).await?;
            let home = homes[0].1;
            if self.read_cached(block, out)?.is_empty() || self.fetch(run, home, out).await? {
                return Ok(home);
            }
        }
    }

    /// The version of a block, or `None` if its map page is not in memory.
    pub(super) fn version(&self, block: ShardBlock) -> Option<Home> {
        let run = ShardRun { start: block, count: 1 };
        self.maps.borrow().resolve(run).ok().map(|homes| homes[0].1)
    }

    /// Reads a run from its home. False if it is no longer there: then the map knows better.
    async fn fetch(&self, run: ShardRun, home: Home, out: &mut [u8]) -> Result<bool, VolumeError> {
        let found = match home {
            Home::Log(place) => self.fetch_logged(run, place, out).await?,
            Home::Sealed(SealedPlace::Data { chunk, block }) => {
                self.fetch_chunk(run, (chunk, block), out).await?
            }
            Home::Sealed(SealedPlace::Zero | SealedPlace::Hole) => {
                out.fill(0);
                return Ok(true);
            }
        };
        if found {
            self.keep_read(run, home, out);
        } else {
            assert_ne!(self.version(run.start), Some(home), "the map names a home that is gone");
        }
        Ok(found)
    }

    /// Reads part of a log entry, which is verified as a whole.
    pub(super) async fn fetch_logged(
        &self,
        run: ShardRun,
        place: LogPlace,
        out: &mut [u8],
    ) -> Result<bool, VolumeError> {
        let lba = self.shared.layout.to_volume(self.id, run.start);
        let first = Lba(lba.0 - u64::from(place.skipped()));
        let entry = Extent::new(first, u64::from(place.blocks())).expect("entries are not empty");
        let Some(content) = self.log.read_entry(place, entry).await? else { return Ok(false) };
        let from = usize::from(place.skipped()) * BLOCK_BYTES;
        out.copy_from_slice(&content[from..from + out.len()]);
        Ok(true)
    }

    async fn fetch_chunk(
        &self,
        run: ShardRun,
        (chunk, first): (chunk::ChunkId, PayloadBlock),
        out: &mut [u8],
    ) -> Result<bool, VolumeError> {
        let Some(sums) = self.maps.borrow().sealed.sums(run, chunk, first) else {
            return Ok(false);
        };
        let name = chunk.chunk_name(self.shared.volume);
        let lba = self.shared.layout.to_volume(self.id, run.start);
        for (part, to) in out.chunks_mut(FETCH_BLOCKS as usize * BLOCK_BYTES).enumerate() {
            let skip = part * FETCH_BLOCKS as usize;
            let block = PayloadBlock(first.0 + skip as u32);
            let range = payload_range(block, (to.len() / BLOCK_BYTES) as u32);
            let store = &self.core.store;
            let get = async || Ok(store.get_range(&name, range.clone()).await?);
            if planted::is(Bug::ZerosOnStoreError) && get().await.is_err() {
                to.fill(0);
                continue;
            }
            let bytes = self.patiently(get).await?;
            to.copy_from_slice(&bytes);
            let blocks = to.chunks_exact(BLOCK_BYTES).zip(&sums[skip..]).zip(lba.0 + skip as u64..);
            for ((content, sum), lba) in blocks {
                if block_crc(Lba(lba), content) != *sum && !planted::is(Bug::NoChunkChecksum) {
                    let found = format!("{name} holds other bytes than were sealed");
                    return Err(self.corrupt(Lba(lba), found));
                }
            }
        }
        Ok(true)
    }

    /// Puts what was read in the memory cache, if it is still the newest version.
    fn keep_read(&self, run: ShardRun, home: Home, content: &[u8]) {
        let still = self.maps.borrow().resolve(run);
        if still != Ok(vec![(run, home)]) && !planted::is(Bug::StaleCacheFill) {
            return;
        }
        let mut cache = self.core.cache.borrow_mut();
        for (block, content) in (run.start.0..).zip(content.chunks_exact(BLOCK_BYTES)) {
            cache.put(self.volume, ShardBlock(block), content);
        }
    }

    /// Asks the store again while it may help, in all no longer than a read may take.
    pub(super) async fn patiently<T, F>(&self, ask: F) -> Result<T, VolumeError>
    where
        F: AsyncFn() -> Result<T, ReadError>,
    {
        let start = self.core.runtime.now();
        let mut pause = RETRY_FIRST;
        loop {
            let error = match ask().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let spent = self.core.runtime.now().saturating_sub(start);
            match error.kind() {
                ErrorKind::Retry | ErrorKind::NoSpace if spent < READ_TIMEOUT => {}
                ErrorKind::Retry | ErrorKind::NoSpace => return Err(error.into()),
                ErrorKind::Corrupt | ErrorKind::Fenced => {
                    return Err(self.corrupt(Lba(0), error.to_string()));
                }
            }
            self.core.runtime.sleep(pause).await;
            pause = longer(pause);
        }
    }

    pub(super) fn corrupt(&self, lba: Lba, found: String) -> VolumeError {
        VolumeError::Corrupt { volume: self.shared.volume.to_string(), lba: lba.0, found }
    }
}

/// The pause after one of `pause`.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(RETRY_LONGEST)
}
