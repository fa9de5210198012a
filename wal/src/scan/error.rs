//! Why a volume's log cannot be recovered as it is.

use std::fmt;

use crate::disk::DiskError;
use crate::record::Reject;
use crate::units::{Epoch, Incarnation, Lsn, ShardId};

/// Recovery stopped; nothing on disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A file cannot be listed, opened, synced or read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Longer than any segment.
    #[error("{file}: {bytes} bytes are more than a segment can have")]
    TooLong {
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
    },
    /// A sealed record of this volume that this version does not understand.
    #[error("{file}, block {at_block}: {source}")]
    Refused {
        /// The file.
        file: String,
        /// Where in it.
        at_block: u32,
        /// Why.
        source: Reject,
    },
    /// The name of a cut that was whole a moment ago.
    #[error("{file}, block {at_block}: the name of a cut changed between two reads")]
    Unsteady {
        /// The file.
        file: String,
        /// Where in it.
        at_block: u32,
    },
    /// Written by an opening of the volume that its manifest does not know: the manifest is old.
    #[error(
        "{file}, block {at_block}: a record of incarnation {found}, but the newest manifest is of \
         incarnation {newest}"
    )]
    NewerIncarnation {
        /// The file.
        file: String,
        /// Where in it.
        at_block: u32,
        /// The record's incarnation.
        found: Incarnation,
        /// The manifest's.
        newest: Incarnation,
    },
    /// A record that was synced is damaged or missing: the disk lost it.
    #[error(
        "record {lsn} of shard {shard}, incarnation {incarnation}, {loss} (records up to \
         {durable} were synced)"
    )]
    LostRecord {
        /// The opening that wrote it.
        incarnation: Incarnation,
        /// The shard that wrote it.
        shard: ShardId,
        /// The record.
        lsn: Lsn,
        /// Up to which record the log says it was synced.
        durable: Lsn,
        /// What became of it.
        loss: Loss,
    },
    /// Two records claim the same place in the log.
    #[error(
        "record {lsn} of shard {shard}, incarnation {incarnation}, is there twice: in {first} and \
         in {second}"
    )]
    DuplicateRecord {
        /// The opening.
        incarnation: Incarnation,
        /// The shard.
        shard: ShardId,
        /// The record.
        lsn: Lsn,
        /// One place.
        first: Place,
        /// Another.
        second: Place,
    },
    /// Two logs of different writers under one incarnation: fencing was broken, or files of two
    /// machines were mixed.
    #[error(
        "shard {shard}, incarnation {incarnation}: {first} and {second} were written by two \
         different openings"
    )]
    IdentityClash {
        /// The opening.
        incarnation: Incarnation,
        /// The shard.
        shard: ShardId,
        /// One place.
        first: Place,
        /// Another, with other salt or layout.
        second: Place,
    },
    /// Epochs never fall along a log.
    #[error(
        "record {lsn} of shard {shard}, incarnation {incarnation}, in {place}: epoch {found} after \
         {before}"
    )]
    EpochFell {
        /// The opening.
        incarnation: Incarnation,
        /// The shard.
        shard: ShardId,
        /// The record.
        lsn: Lsn,
        /// Where it stands.
        place: Place,
        /// Its epoch.
        found: Epoch,
        /// The epoch of the record before it.
        before: Epoch,
    },
}

/// A position in a file of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub file: String,
    /// Where in it.
    pub at_block: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, block {}", self.file, self.at_block)
    }
}

/// What became of a record that was synced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loss {
    /// Its header is there, its payload is not what was written.
    Damaged(Place),
    /// It is nowhere; a later record vouches for it.
    Missing {
        /// The record that says it was synced.
        witness: Place,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Damaged(place) => write!(f, "is damaged in {place}"),
            Loss::Missing { witness } => {
                write!(f, "is missing or its header is damaged; {witness} follows it")
            }
        }
    }
}
