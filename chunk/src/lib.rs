//! Object stores and what Krait keeps in them: chunks, map pages, manifests.

pub mod catalog;
pub mod check;
pub mod chunk;
pub mod clones;
pub mod conformance;
pub mod directory;
pub mod error;
pub mod extent_map;
pub mod file;
#[cfg(test)]
mod hooked;
pub mod ids;
pub mod limits;
pub mod lineage;
pub mod manifest;
pub mod manifest_log;
pub mod map_object;
pub mod memory;
pub mod page;
pub mod promises;
pub mod remote;
mod sealed;
pub mod snapshot;
#[cfg(test)]
mod stepped;
pub mod store;
mod together;
pub mod workers;

pub use chunk::{
    ChunkBuilder, ChunkIndex, ChunkInfo, Compression, Content, Entry, Frames, block_crc,
};
pub use directory::{DirectorySegment, PageRef, SegmentIdentity, SegmentIndex};
pub use error::{ErrorKind, FormatError, ReadError};
pub use extent_map::{ExtentMap, Piece};
pub use file::FileStore;
pub use ids::{ChunkId, ManifestSeq, PayloadBlock, VolumeName, VolumeNameError};
pub use lineage::{Ancestor, Ancestors, Lineage, Parent};
pub use manifest::{Cut, Manifest};
pub use map_object::MapObjectBuilder;
pub use memory::MemoryStore;
pub use page::{MapPage, PageIdentity, PageIndex, PageRun, PageValue};
pub use promises::{Durability, Fencing, LeaseTerm, PromiseError, Promises};
pub use remote::{RemoteCause, RemoteFailure, ServerAnswer};
pub use snapshot::{Snapshot, SnapshotHeader, SnapshotId, SnapshotName};
pub use store::{ObjectName, ObjectStore, StoreError, StoreKind};
pub use workers::{Workers, WorkersError};
