//! What can be wrong with a disk.

use std::time::Duration;

/// A kind of call on the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// [`wal::disk::Disk::create`].
    Create,
    /// [`wal::disk::Disk::open`].
    Open,
    /// [`wal::disk::Disk::remove`].
    Remove,
    /// Reading a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
}

/// What a disk does besides its fault model's timing.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults {
    /// Bytes that all files together may have; no limit if `None`.
    pub capacity: Option<u64>,
    /// Bytes that may still be written before writes fail for lack of space.
    pub writes_left: Option<u64>,
    /// When these two end, in the world's time; never if `None`.
    pub full_until: Option<Duration>,
    /// One in this many calls takes seconds instead of microseconds; none if 0.
    pub stall_one_in: u64,
    /// Calls that fail with an I/O error: the n-th from now of its kind, counted from 0.
    pub failing: Vec<(Call, u64)>,
}

/// Damage to what is stored, at one byte of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rot {
    /// One bit flips.
    Bit,
    /// One byte changes.
    Byte,
    /// The whole sector turns to noise.
    Sector,
    /// The sector holds what it held before its last sync.
    StaleSector,
    /// The block holds what it held before the last sync of each of its sectors.
    StaleBlock,
    /// The block holds what some other block of the disk holds.
    Misdirected,
}

impl Rot {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Bit,
        Self::Byte,
        Self::Sector,
        Self::StaleSector,
        Self::StaleBlock,
        Self::Misdirected,
    ];
}
