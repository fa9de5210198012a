//! What a log consists of at one moment: the buffer being filled, those on their way to the disk,
//! and the segment files that still hold something no manifest covers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use wal::disk::{Disk, DiskFile};
use wal::{BLOCK_BYTES, Batch, Lsn, SegmentFile, SegmentId};

use super::Env;
use super::error::VolumeError;
use super::limits::{BATCH_MIN_BYTES, FLUSHED_BLOCKS, LONE_BLOCKS};
use super::place::{FileNo, LogPlace};

/// File handle of an environment's disk.
pub type FileOf<E> = <<E as Env>::Disk as Disk>::File;
/// Append buffer of an environment's disk.
pub type BufOf<E> = <FileOf<E> as DiskFile>::Buf;

/// Where a filled append buffer is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Waiting,
    UnderWay,
    /// On the disk, behind buffers that are not.
    Written,
}

/// A filled append buffer. Readable until the log counts as appended up to its end.
pub struct Filled<E: Env> {
    pub(super) stage: Stage,
    pub(super) file: FileNo,
    pub(super) first_block: u32,
    pub(super) blocks: u32,
    pub(super) last_lsn: Lsn,
    pub(super) buf: Rc<BufOf<E>>,
}

/// A segment file that still holds something that no manifest covers.
pub(super) enum LogFile<E: Env> {
    /// Written by this opening.
    Own {
        segment: Rc<SegmentFile<FileOf<E>>>,
        /// Newest record in it.
        last_lsn: Lsn,
    },
    /// Left by an earlier opening.
    Recovered(FileOf<E>),
}

/// A segment file in use: while one of these lives, the segment is not recycled.
pub(super) enum Handle<E: Env> {
    Own(Rc<SegmentFile<FileOf<E>>>),
    Recovered(FileOf<E>),
}

impl<E: Env> Handle<E> {
    pub(super) fn file(&self) -> &FileOf<E> {
        match self {
            Self::Own(segment) => &segment.file,
            Self::Recovered(file) => file,
        }
    }
}

impl<E: Env> LogFile<E> {
    pub(super) fn handle(&self) -> Handle<E> {
        match self {
            Self::Own { segment, .. } => Handle::Own(segment.clone()),
            Self::Recovered(file) => Handle::Recovered(file.clone()),
        }
    }
}

/// The segment that is being filled.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    pub(super) file: FileNo,
    pub(super) segment: SegmentId,
    pub(super) next_block: u32,
}

/// What the log consists of.
pub(super) struct State<E: Env> {
    pub(super) tail: Option<Tail>,
    pub(super) open: Option<Batch<BufOf<E>>>,
    /// Filled, oldest first.
    pub(super) filled: VecDeque<Filled<E>>,
    pub(super) files: BTreeMap<FileNo, LogFile<E>>,
    pub(super) next_file: FileNo,
    pub(super) next_segment: SegmentId,
    pub(super) next_lsn: Lsn,
    /// Size of the next append buffer: follows the load.
    pub(super) batch_bytes: usize,
    /// Segments that are ready for use.
    pub(super) spares: Vec<Rc<SegmentFile<FileOf<E>>>>,
    /// How many of them there should be: more when writers found none.
    pub(super) spares_wanted: usize,
    /// Segments that are being made ready.
    pub(super) preparing: usize,
    /// No more can be made before one of those is ready, or has failed.
    pub(super) crowded: bool,
    pub(super) appended: Lsn,
    pub(super) durable: Lsn,
    /// Records that somebody waits to see durable.
    pub(super) wanted: BTreeSet<Lsn>,
    /// Files written since their last sync, oldest first.
    pub(super) unsynced: Vec<FileNo>,
    pub(super) unsynced_bytes: u64,
    /// Syncs since the segment that is being filled was taken into use, and of the one before.
    pub(super) syncs: u32,
    pub(super) syncs_before: u32,
    /// How often a sync was asked for since the last one began, and before that one.
    pub(super) askers: u32,
    pub(super) askers_before: u32,
    /// A sync is under way. Full buffers are written beside it, for the next one.
    pub(super) syncing: bool,
    /// Somebody looks, at the latest when the oldest of it is as old as it may get.
    pub(super) aging: bool,
    /// The disk is full and nothing will be reclaimed: the next writer is told.
    pub(super) starved: Option<VolumeError>,
    /// No segment can be had before one is given back.
    pub(super) full: bool,
    /// Somebody looks for space after a while.
    pub(super) looking: bool,
    /// When it was said last that the disk is full.
    pub(super) told_full: Option<Duration>,
    /// Somebody looks whether the disk of a full log still lives.
    pub(super) probing: bool,
    /// Newest record that a manifest covers; none before the first cut of this opening.
    pub(super) covered: Option<Lsn>,
    /// How often segments were given back.
    pub(super) returns: u64,
    pub(super) closing: bool,
    /// Removals of free segment files under way.
    pub(super) trims: usize,
}

impl<E: Env> State<E> {
    /// An empty log; `recovered` are files of earlier openings that the map points into.
    pub(super) fn new(recovered: Vec<(FileNo, FileOf<E>)>) -> Self {
        let next_file = recovered.iter().map(|(no, _)| no.next()).max().unwrap_or_default();
        let files = recovered.into_iter().map(|(no, file)| (no, LogFile::Recovered(file)));
        Self {
            tail: None,
            open: None,
            filled: VecDeque::new(),
            files: files.collect(),
            next_file,
            next_segment: SegmentId(1),
            next_lsn: Lsn(1),
            batch_bytes: BATCH_MIN_BYTES,
            spares: Vec::new(),
            spares_wanted: 0,
            preparing: 0,
            crowded: false,
            appended: Lsn(0),
            durable: Lsn(0),
            wanted: BTreeSet::new(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            syncs: 0,
            askers: 0,
            askers_before: 0,
            syncs_before: 0,
            syncing: false,
            aging: false,
            starved: None,
            full: false,
            looking: false,
            told_full: None,
            probing: false,
            covered: None,
            returns: 0,
            closing: false,
            trims: 0,
        }
    }

    /// Removes and returns the segments whose records all end at or before `reached`, but the one
    /// that is being filled. Recovered files go as well: the first cut of an opening covers them.
    pub(super) fn take_covered(&mut self, reached: Lsn) -> Vec<Rc<SegmentFile<FileOf<E>>>> {
        let tail = self.tail_file();
        let covered = |no: &FileNo, file: &LogFile<E>| match file {
            LogFile::Own { last_lsn, .. } => *last_lsn <= reached && Some(*no) != tail,
            LogFile::Recovered(_) => true,
        };
        let gone: Vec<_> =
            self.files.iter().filter(|(no, file)| covered(no, file)).map(|(no, _)| *no).collect();
        gone.iter()
            .filter_map(|no| match self.files.remove(no) {
                Some(LogFile::Own { segment, .. }) => Some(segment),
                Some(LogFile::Recovered(_)) | None => None,
            })
            .collect()
    }

    /// Whether a buffer that goes to the disk now is all that is not durable, is wanted to be, and
    /// is so small that nothing is gained by writing the next one meanwhile.
    pub(super) fn is_alone(&self, batch: &Filled<E>) -> bool {
        self.wanted.last().is_some_and(|newest| *newest <= batch.last_lsn)
            && !self.syncing
            && self.unsynced.is_empty()
            && self.filled.len() == 1
            && batch.blocks <= LONE_BLOCKS
    }

    /// Whether so little is written between two syncs that a segment is better pre-written.
    pub(super) fn is_flushed(&self, segment_blocks: u32) -> bool {
        self.syncs.max(self.syncs_before) >= segment_blocks / FLUSHED_BLOCKS
    }

    /// Begins a sync.
    pub(super) fn begin_sync(&mut self) {
        self.syncing = true;
        self.askers_before = std::mem::take(&mut self.askers);
    }

    /// Whether what is logged waits for a flush: there is one after each write or so, of several
    /// clients, which then share a request.
    pub(super) fn awaits_flush(&self, segment_blocks: u32) -> bool {
        let is_wanted = !self.wanted.is_empty() || self.closing;
        !is_wanted && self.askers_before > 1 && self.is_flushed(segment_blocks)
    }

    pub(super) fn tail_file(&self) -> Option<FileNo> {
        self.tail.map(|tail| tail.file)
    }

    /// Bytes in buffers that the disk does not have yet.
    pub(super) fn buffered_bytes(&self) -> u64 {
        let filled: u64 = self.filled.iter().map(|batch| u64::from(batch.blocks)).sum();
        let open = self.open.as_ref().map_or(0, |batch| u64::from(batch.blocks()));
        (filled + open) * BLOCK_BYTES as u64
    }

    /// Bytes of all append buffers, used or not.
    pub(super) fn buffer_bytes(&self) -> u64 {
        let filled: u64 = self.filled.iter().map(|batch| batch.buf.len() as u64).sum();
        let open = |batch: &Batch<_>| u64::from(batch.blocks() + batch.room_blocks());
        filled + self.open.as_ref().map_or(0, open) * BLOCK_BYTES as u64
    }

    /// An entry that is in a buffer still.
    pub(super) fn in_memory(&self, place: LogPlace) -> Option<Entry<E>> {
        let blocks = u32::from(place.blocks());
        if let (Some(batch), Some(tail)) = (&self.open, self.tail)
            && tail.file == place.file()
            && place.block() >= tail.next_block
        {
            return Some(Entry::Copied(batch.payload(place.block(), blocks).to_vec()));
        }
        let holds = |batch: &&Filled<E>| {
            batch.file == place.file()
                && (batch.first_block..batch.first_block + batch.blocks).contains(&place.block())
        };
        let batch = self.filled.iter().find(holds)?;
        let at = (place.block() - batch.first_block) as usize * BLOCK_BYTES;
        Some(Entry::Copied(batch.buf[at..at + blocks as usize * BLOCK_BYTES].to_vec()))
    }
}

/// Content of a log entry.
pub enum Entry<E: Env> {
    /// From an append buffer.
    Copied(Vec<u8>),
    /// From the disk, checksum verified.
    Read(<FileOf<E> as DiskFile>::Read),
}

impl<E: Env> std::ops::Deref for Entry<E> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}
