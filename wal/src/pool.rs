//! Segment files: made once, and used again when what they held is reclaimed.
//!
//! The first few are pre-written with zeros, and so are more if the log is mostly flushed: that is
//! what flushes want, whose sync is then one device flush. A stream of writes that outruns the
//! uploads needs more as well; those only get their space reserved, as writing all of it twice would
//! halve the stream.
//!
//! The life of a file, and what a power cut right after each step leaves:
//! 1. `create`: zeros are written, or promised by the file system, and synced, then the directory.
//!    Before: no file, or one with no record in it, which recovery passes over. After: the same.
//! 2. Appends and syncs, by the shard. Unsynced blocks are old or new each; recovery drops them
//!    from the first record that is not whole.
//! 3. A manifest that covers every record in the file is published. Its records are covered from
//!    then on, and recovery skips them.
//! 4. `retire`: nothing on disk changes. The file gets another use only when nobody reads it.
//! 5. Its next use overwrites it from the start, under another segment number. What is left of
//!    its old records further back is still covered (step 3), so it does not come back to life.
//! 6. `trim` removes files that are not needed. After: gone, or still there and covered.

use std::cell::RefCell;
use std::rc::Rc;

use crate::disk::{Disk, DiskError};
use crate::limits::SEGMENT_MAX_BLOCKS;
use crate::scan::FILE_SUFFIX;
use crate::units::{BLOCK_BYTES, ShardId};

/// Why there is no segment file.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// As many files as allowed, all in use: reclaim first.
    #[error("all {max} segments of the log are in use")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The local disk has no room for another file: as [`Self::Full`], but not by our own limit.
    #[error("no room for another segment of the log")]
    NoSpace(#[source] DiskError),
    /// The local disk failed.
    #[error(transparent)]
    Disk(DiskError),
}

impl From<DiskError> for PoolError {
    fn from(error: DiskError) -> Self {
        if error.is_no_space() { Self::NoSpace(error) } else { Self::Disk(error) }
    }
}

/// One file of the log. Whoever reads or writes it holds it in an `Rc`, which keeps it from being
/// used again.
#[derive(Debug)]
pub struct SegmentFile<F> {
    /// The open file.
    pub file: F,
    /// Its name within the log's directory.
    pub name: String,
}

/// What a pool may do. All shards of an opening can share one directory, as each makes file
/// names of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// The directory.
    pub dir: String,
    /// How the names of its files start; others in the directory are none of its business.
    pub prefix: String,
    /// Length of every file that it makes, in `2..=SEGMENT_MAX_BLOCKS`.
    pub segment_blocks: u32,
    /// Most files that it may have.
    pub max_segments: usize,
    /// So many files are pre-written; those that are made while it has as many are reserved, unless
    /// they are for what is mostly flushed.
    pub written_segments: usize,
    /// The shard that writes to its files...
    pub shard: ShardId,
    /// ...out of so many that share the directory: shard `s` takes the numbers that leave `s` when
    /// divided by this.
    pub shards: u16,
}

/// What a pool has on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolUsage {
    /// The files that it made.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that wait for their next use.
    pub free: usize,
}

struct State<F> {
    next_number: u64,
    usage: PoolUsage,
    /// Retired files. An old reader may still hold one.
    free: Vec<Rc<SegmentFile<F>>>,
}

/// The segment files of one shard.
pub struct SegmentPool<D: Disk> {
    disk: D,
    config: PoolConfig,
    state: RefCell<State<D::File>>,
}

impl<D: Disk> SegmentPool<D> {
    /// Starts without files, numbering above those that are in the directory. Those belong to
    /// recovery.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    ///
    /// # Panics
    /// If the configuration makes no sense.
    pub async fn open(disk: D, config: PoolConfig) -> Result<Self, PoolError> {
        let fits = (2..=SEGMENT_MAX_BLOCKS).contains(&config.segment_blocks);
        assert!(fits && config.shard.0 < config.shards, "{config:?}");
        let listed = disk.list(&config.dir).await?;
        let own = listed.iter().filter_map(|entry| entry.name.strip_prefix(&config.prefix));
        let stems = own.filter_map(|name| name.strip_suffix(FILE_SUFFIX));
        let numbers = stems.filter_map(|stem| stem.parse::<u64>().ok());
        // A name beyond 48 bits is not one of ours, and would leave no room above it.
        let highest = numbers.filter(|number| number >> 48 == 0).max().unwrap_or(0);
        let shards = u64::from(config.shards);
        // The first number of this shard's in the round after the highest one's.
        let next_number = (highest / shards + 1) * shards + u64::from(config.shard.0);
        let state = State { next_number, usage: PoolUsage::default(), free: Vec::new() };
        Ok(Self { disk, config, state: RefCell::new(state) })
    }

    /// A file to be written from its start: one that was used before and is held by nobody any
    /// more, or a new one, pre-written if `is_flushed`: if what goes to it is mostly flushed.
    ///
    /// # Errors
    /// [`PoolError::Full`] at `max_segments`; otherwise what the disk says.
    pub async fn acquire(&self, is_flushed: bool) -> Result<Rc<SegmentFile<D::File>>, PoolError> {
        if let Some(segment) = self.take_free() {
            return Ok(segment);
        }
        self.create(is_flushed).await
    }

    /// Gives a file back. Every record in it must be covered by a published manifest (or there is
    /// none). It is used again once no other `Rc` holds it.
    pub fn retire(&self, segment: Rc<SegmentFile<D::File>>) {
        let mut state = self.state.borrow_mut();
        state.free.push(segment);
        state.usage.free += 1;
    }

    /// Removes free files that nobody holds, until `keep` are left.
    ///
    /// # Errors
    /// What the disk says; files that were not removed stay free.
    pub async fn trim(&self, keep: usize) -> Result<(), PoolError> {
        while let Some(segment) = self.take_surplus(keep) {
            if let Err(error) = self.disk.remove(&self.path(&segment.name)).await {
                self.retire(segment);
                return Err(error.into());
            }
            let mut state = self.state.borrow_mut();
            state.usage.files -= 1;
            state.usage.bytes -= self.segment_bytes();
        }
        Ok(())
    }

    /// What is on disk.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        self.state.borrow().usage
    }

    /// Blocks of every file that the pool makes.
    #[must_use]
    pub fn segment_blocks(&self) -> u32 {
        self.config.segment_blocks
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.config.dir)
    }

    fn segment_bytes(&self) -> u64 {
        u64::from(self.config.segment_blocks) * BLOCK_BYTES as u64
    }

    fn take_free(&self) -> Option<Rc<SegmentFile<D::File>>> {
        let mut state = self.state.borrow_mut();
        let at = state.free.iter().position(|segment| Rc::strong_count(segment) == 1)?;
        state.usage.free -= 1;
        Some(state.free.remove(at))
    }

    fn take_surplus(&self, keep: usize) -> Option<Rc<SegmentFile<D::File>>> {
        let mut state = self.state.borrow_mut();
        if state.free.len() <= keep {
            return None;
        }
        let at = state.free.iter().rposition(|segment| Rc::strong_count(segment) == 1)?;
        state.usage.free -= 1;
        Some(state.free.remove(at))
    }

    /// Makes a new file; it counts from before it exists, so that two callers at once stay below
    /// the limit.
    async fn create(&self, is_flushed: bool) -> Result<Rc<SegmentFile<D::File>>, PoolError> {
        let bytes = self.segment_bytes();
        let (path, name, written) = {
            let mut state = self.state.borrow_mut();
            if state.usage.files >= self.config.max_segments {
                return Err(PoolError::Full { max: self.config.max_segments });
            }
            let written = is_flushed || state.usage.files < self.config.written_segments;
            let number = state.next_number;
            state.next_number += u64::from(self.config.shards);
            state.usage.files += 1;
            state.usage.bytes += bytes;
            let name = format!("{}{number:08}{FILE_SUFFIX}", self.config.prefix);
            (self.path(&name), name, written)
        };
        let made = match written {
            true => self.disk.create(&path, bytes).await,
            false => self.disk.reserve(&path, bytes).await,
        };
        match made {
            Ok(file) => Ok(Rc::new(SegmentFile { file, name })),
            Err(error) => {
                let mut state = self.state.borrow_mut();
                state.usage.files -= 1;
                state.usage.bytes -= bytes;
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
