//! Performance harness: an NBD client that is faster than the servers it measures, workloads as
//! TOML files, and a comparison of servers in one run. See `README.md` beside this crate.
#![expect(
    clippy::cast_possible_truncation,
    reason = "counts and sizes are bounded by `limits`; this harness runs on 64-bit machines"
)]

pub mod bare;
pub mod bars;
pub mod bucket;
pub mod built;
pub mod clock;
pub mod codec;
pub mod command;
pub mod compare;
pub mod compression;
pub mod connection;
pub mod fill;
pub mod handshake;
pub mod limits;
pub mod load;
pub mod markdown;
pub mod null_server;
pub mod operations;
pub mod page;
pub mod page_cache;
pub mod payload;
pub mod pinned;
pub mod plan;
pub mod plot;
pub mod process;
pub mod recipe;
pub mod recorder;
pub mod recovery;
pub mod report;
pub mod rng;
pub mod rows;
pub mod scenario;
pub mod server;
pub mod size;
pub mod snapshots;
pub mod space;
pub mod sys;
pub mod table;
pub mod torture;
pub mod uncached;
pub mod uri;
