//! Reading: memory cache, then the log, then chunks; zeros only where the map proves a hole.

use std::time::Duration;

use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Extent, Lba, ShardBlock, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::fetch::Fetch;
use super::fetch_plan::Wanted;
use super::limits::{COPY_QUANTUM_BYTES, READ_TIMEOUT, RETRY_LONGEST};
use super::message::ShardBytes;
use super::place::{LogPlace, Place};
use super::sealed::{NeedPage, PAGE_BLOCKS, PageNo, SealedPlace};
use super::shard::{Maps, Shard};

/// Where the newest version of a run is, over the whole map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In the log.
    Log(LogPlace),
    /// In the memory cache, and nowhere else.
    Memory,
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
            Place::Memory => Self::Memory,
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
        let mut needs = Ok(());
        self.each_layer(run, |part, newest| match newest {
            Some((_, place)) => found.push((part, place.into())),
            None if needs.is_ok() => needs = self.resolve_sealed(part, &mut found),
            None => {}
        });
        needs.map(|()| found)
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
        self.note_read(ShardRun { start, count: (out.len() / BLOCK_BYTES) as u64 });
        let mut at = start.0;
        let mut missing = Vec::new();
        for slice in out.chunks_mut(COPY_QUANTUM_BYTES) {
            if at > start.0 {
                self.core.runtime.pause().await;
            }
            missing.append(&mut self.read_cached(ShardBlock(at), slice)?);
            at += (slice.len() / BLOCK_BYTES) as u64;
        }
        match missing.is_empty() {
            true => Ok(()),
            false => self.read_missing(start, missing, out).await,
        }
    }

    /// As [`Self::read_blocks`], but nobody takes it for the start of a stream.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn read_quietly(
        &self,
        start: ShardBlock,
        out: &mut [u8],
    ) -> Result<(), VolumeError> {
        let missing = self.read_cached(start, out)?;
        match missing.is_empty() {
            true => Ok(()),
            false => self.read_missing(start, missing, out).await,
        }
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
        self.note_read(ShardRun { start, count: (out.len() / BLOCK_BYTES) as u64 });
        Ok(true)
    }

    /// Hands `take` the content of whole blocks where it lies in the memory cache, in parts, if all
    /// of it is there.
    ///
    /// # Errors
    /// The volume is stopped.
    pub fn with_cached<T>(
        &self,
        run: ShardRun,
        take: impl FnOnce(&[&[u8]]) -> T,
    ) -> Result<Option<T>, VolumeError> {
        self.shared.alive()?;
        let mut cache = self.core.cache.borrow_mut();
        let Some(parts) = cache.get_run(self.volume, run) else { return Ok(None) };
        let taken = take(&parts);
        drop(cache);
        self.note_read(run);
        Ok(Some(taken))
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

    /// Reads runs that the memory cache has not, of a read that starts at `start`.
    async fn read_missing(
        &self,
        start: ShardBlock,
        mut missing: Vec<ShardRun>,
        out: &mut [u8],
    ) -> Result<(), VolumeError> {
        let deadline = self.deadline();
        let place = |run: ShardRun| {
            let from = (run.start.0 - start.0) as usize * BLOCK_BYTES;
            from..from + run.count as usize * BLOCK_BYTES
        };
        // What moved while it was being fetched is looked for again.
        while !missing.is_empty() {
            self.shared.alive()?;
            let mut fetch = Fetch::default();
            for run in missing {
                for hole in self.look_up(run, deadline, &mut fetch).await? {
                    out[place(hole)].fill(0);
                }
            }
            let copy = |run, content: &[u8]| out[place(run)].copy_from_slice(content);
            missing = self.fetch(fetch, deadline, copy).await?;
        }
        Ok(())
    }

    /// When a read that begins now fails at the latest.
    pub(super) fn deadline(&self) -> Duration {
        self.core.runtime.now() + READ_TIMEOUT
    }

    /// Finds the homes of a run within one map page, and notes them for a fetch; returns the parts
    /// that read as zeros.
    pub(super) async fn look_up(
        &self,
        run: ShardRun,
        deadline: Duration,
        fetch: &mut Fetch,
    ) -> Result<Vec<ShardRun>, VolumeError> {
        let homes = self.resolve_until(run, deadline).await?;
        // Nothing awaits from here on: the map still says the same.
        let maps = self.maps.borrow();
        let mut zeros = Vec::new();
        for (run, home) in homes {
            match home {
                Home::Log(place) => fetch.logged.push((run, place)),
                Home::Memory => fetch.in_memory.push(run),
                Home::Sealed(SealedPlace::Zero | SealedPlace::Hole) => zeros.push(run),
                Home::Sealed(SealedPlace::Data { chunk, block: first }) => {
                    let sums = maps.sealed.sums(run, chunk, first);
                    let sums = sums.expect("the map was just asked");
                    fetch.chunks.push(Wanted { run, chunk, first, sums });
                }
            }
        }
        Ok(zeros)
    }

    /// Homes of a run within one map page; loads the page if need be.
    pub(super) async fn resolve(&self, run: ShardRun) -> Result<Vec<Homed>, VolumeError> {
        self.resolve_until(run, self.deadline()).await
    }

    async fn resolve_until(
        &self,
        run: ShardRun,
        deadline: Duration,
    ) -> Result<Vec<Homed>, VolumeError> {
        loop {
            let found = self.maps.borrow().resolve(run);
            match found {
                Ok(found) => return Ok(found),
                Err(NeedPage(page)) => self.load_page(page, deadline).await?,
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
        let deadline = self.deadline();
        loop {
            let mut fetch = Fetch::default();
            let is_zeros = !self.look_up(run, deadline, &mut fetch).await?.is_empty();
            let home = self.version(block).expect("the map was just asked");
            if self.read_cached(block, out)?.is_empty() {
                return Ok(home);
            }
            if is_zeros {
                out.fill(0);
                return Ok(home);
            }
            let copy = |_, content: &[u8]| out.copy_from_slice(content);
            if self.fetch(fetch, deadline, copy).await?.is_empty() {
                return Ok(home);
            }
        }
    }

    /// The version of a block, or `None` if its map page is not in memory.
    pub(super) fn version(&self, block: ShardBlock) -> Option<Home> {
        let run = ShardRun { start: block, count: 1 };
        self.maps.borrow().resolve(run).ok().map(|homes| homes[0].1)
    }

    /// Reads part of a log entry, which is verified as a whole.
    pub(super) async fn fetch_logged(
        &self,
        run: ShardRun,
        place: LogPlace,
        out: &mut [u8],
    ) -> Result<bool, VolumeError> {
        let entry = self.entry_extent(run, place);
        let Some(content) = self.log.read_entry(place, entry).await? else { return Ok(false) };
        let from = usize::from(place.skipped()) * BLOCK_BYTES;
        out.copy_from_slice(&content[from..from + out.len()]);
        Ok(true)
    }

    /// The blocks of the whole log entry that a run is part of.
    pub(super) fn entry_extent(&self, run: ShardRun, place: LogPlace) -> Extent {
        let lba = self.shared.layout.to_volume(self.id, run.start);
        let first = Lba(lba.0 - u64::from(place.skipped()));
        Extent::new(first, u64::from(place.blocks())).expect("entries are not empty")
    }

    pub(super) fn corrupt(&self, lba: Lba, found: String) -> VolumeError {
        VolumeError::Corrupt { volume: self.shared.volume.to_string(), lba: lba.0, found }
    }
}

/// The pause after one of `pause`.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(RETRY_LONGEST)
}
