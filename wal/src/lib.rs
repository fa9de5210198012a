//! The lowest layer of Krait: the units that every other crate counts in, the seams to disk and
//! runtime, and the write-ahead log of one shard.
//!
//! Direction of dependency: `wal` knows nothing of chunks, object stores or NBD. The format of
//! the log, and what a power cut leaves after each step, stand in `wal/FORMAT.md`.

pub mod batch;
pub mod disk;
pub mod layout;
pub mod limits;
pub mod memory;
pub mod planted;
pub mod pool;
pub mod record;
pub mod runtime;
pub mod scan;
pub mod units;

pub use batch::{Batch, Finished, payload_range};
pub use layout::{Layout, ShardRun};
pub use memory::MemoryDisk;
pub use pool::{PoolConfig, PoolError, PoolUsage, SegmentFile, SegmentPool};
pub use record::payload_crc;
pub use record::{Body, DataPlace, Entry, HoleKind, LogIdentity, RawRecord, Record, Reject};
pub use scan::{Floor, Found, NamedCut, Scan, ScanError, TornTail, scan};
pub use units::{BLOCK_BYTES, Epoch, Extent, Incarnation, Lba, Lsn, SECTOR_BYTES, SegmentId};
pub use units::{ShardBlock, ShardId, VolumeId};
