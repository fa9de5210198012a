//! The block engine: volumes cut into shards, one shard per core, generic over the seams to disk,
//! object store, runtime and mesh so that the simulation runs the very code of the product.

mod abreast;
pub mod append;
mod at_once;
mod block_set;
pub mod cache;
pub mod chunk_cache;
pub mod collect;
mod compact;
pub mod coordinator;
pub mod core;
mod cut;
pub mod error;
pub mod fetch;
mod fetch_flight;
pub mod fetch_health;
mod fetch_plan;
pub mod flatten;
pub mod fold;
mod frame_tables;
pub mod frozen;
pub mod group;
pub mod lease;
pub mod limits;
pub mod log;
pub mod log_state;
pub mod mesh;
pub mod message;
pub mod named;
pub mod open;
mod pace;
pub mod packer;
pub mod peers;
pub mod place;
mod places;
pub mod publish;
mod punch;
mod reach;
pub mod read;
pub mod read_ahead;
pub mod recovered;
mod refill;
pub mod registry;
pub mod resize;
pub mod seal;
pub mod sealed;
pub mod shard;
pub mod shared;
pub mod signal;
pub mod snapshot;
pub mod status;
mod turn;
mod unlogged;
mod unlogged_watch;
pub mod uploads;
pub mod view;
pub mod volume;
mod write;

use chunk::ObjectStore;
use wal::disk::Disk;
use wal::runtime::Runtime;

/// The world that an engine runs in: the product's (io_uring, threads, real time) or the
/// simulation's.
pub trait Env: Clone + 'static {
    /// The local disk.
    type Disk: Disk;
    /// The object store.
    type Store: ObjectStore;
    /// Time, randomness and scheduling of one core.
    type Runtime: Runtime;
    /// The way between cores.
    type Mesh: mesh::Mesh<message::Wire>;
}
