//! The lowest layer of Krait: the units that every other crate counts in, the seams to disk and
//! runtime, and the write-ahead log of one shard.
//!
//! Direction of dependency: `wal` knows nothing of chunks, object stores or NBD.

pub mod disk;
pub mod layout;
pub mod runtime;
pub mod units;

pub use layout::{Layout, ShardRun};
pub use units::{BLOCK_BYTES, Epoch, Extent, Incarnation, Lba, Lsn, SECTOR_BYTES, SegmentId};
pub use units::{ShardBlock, ShardId, VolumeId};
