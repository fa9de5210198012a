//! How a volume is, as the serving process tells it.

use chunk::{SnapshotHeader, VolumeName};
use serde::{Deserialize, Serialize};

use crate::engine::fetch_health::StoreState;

/// What a volume is doing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Open for reading and writing.
    Serving,
    /// Open; everything is answered with an error, as another host has taken it over.
    Fenced,
    /// Open; everything is answered with an error, as a disk failed under it.
    Failed,
    /// Not open in any process that was asked.
    #[default]
    NotServed,
    /// Another host has it.
    Elsewhere,
}

/// How a volume is, in bytes of each state that data goes through. `None` is unknown.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its name.
    pub volume: String,
    /// Its identity, 32 hexadecimal digits.
    pub id: String,
    /// What it is doing.
    pub state: VolumeState,
    /// Its size.
    pub size_bytes: u64,
    /// Whether no client may write to it.
    #[serde(default)]
    pub read_only: bool,
    /// Clients that have it open.
    pub connections: u32,
    /// Number of its last opening for writing.
    pub incarnation: u64,
    /// Acknowledged, and so far only in memory.
    pub dirty_bytes: u64,
    /// In the write-ahead log, and not yet being uploaded.
    pub logged_bytes: Option<u64>,
    /// Sealed and being uploaded.
    pub syncing_bytes: u64,
    /// In the object store.
    pub remote_bytes: Option<u64>,
    /// Copies in the memory cache, of all volumes.
    pub cached_bytes: u64,
    /// Copies in the cache on the local disk, of all volumes.
    #[serde(default)]
    pub disk_cached_bytes: u64,
    /// Reads that it answered since the server started.
    #[serde(default)]
    pub disk_cache_hits: u64,
    /// Reads that it could not answer rightly: what they wanted was fetched from the store.
    #[serde(default)]
    pub disk_cache_rotten: u64,
    /// Segment files of its write-ahead log on the local disk.
    pub wal_bytes: u64,
    /// Why it is fenced or failed.
    pub failure: Option<String>,
    /// The host that has it, as hexadecimal digits; `None` if no host has it.
    #[serde(default)]
    pub host: Option<String>,
    /// First opening of that host without another one's in between.
    #[serde(default)]
    pub host_since_incarnation: u64,
    /// Whether that is the host that was asked.
    #[serde(default)]
    pub is_own: bool,
    /// Bytes that this host had logged when another one took the volume over: never replayed.
    #[serde(default)]
    pub kept_aside_bytes: u64,
    /// Where they are.
    #[serde(default)]
    pub kept_aside_in: Option<String>,
    /// Age of the oldest write that the store lacks, in milliseconds; `None` if it lacks none.
    #[serde(default)]
    pub unpublished_age_ms: Option<u64>,
    /// Time since all was in the store that had been written by then, in milliseconds; `None` if
    /// it never was since the volume was opened.
    #[serde(default)]
    pub published_age_ms: Option<u64>,
    /// Written by clients since the volume was opened, in whole blocks.
    #[serde(default)]
    pub written_bytes: u64,
    /// Blocks that were sealed since then, in bytes; compactions count again.
    #[serde(default)]
    pub sealed_bytes: u64,
    /// What these take in the store, as they may be compressed.
    #[serde(default)]
    pub stored_bytes: u64,
    /// What the server has asked of the store for this volume since it started.
    #[serde(default)]
    pub traffic: Option<TrafficStatus>,
    /// How the store did lately, as seen by the cores that serve the volume; `None` if none does.
    #[serde(default)]
    pub store_state: Option<StoreState>,
    /// What was asked of the store for all volumes, if it is a bucket.
    #[serde(default)]
    pub store: Option<StoreStatus>,
}

impl VolumeStatus {
    /// Acknowledged, and not in the object store; `None` if that is unknown.
    #[must_use]
    pub fn unpublished_bytes(&self) -> Option<u64> {
        self.logged_bytes.map(|logged| self.dirty_bytes + logged)
    }
}

/// What was asked of a store for one volume, repeated requests counted once.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// All requests.
    pub requests: u64,
    /// Those that write objects.
    pub puts: u64,
    /// Bytes of the objects.
    pub put_bytes: u64,
    /// Puts for each MiB that clients wrote, once they wrote one.
    pub puts_per_mib: Option<f64>,
    /// All requests for each MiB that clients wrote, once they wrote one.
    #[serde(default)]
    pub requests_per_mib: Option<f64>,
}

/// How a bucket is, for all volumes together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreStatus {
    /// How long it has not answered, in milliseconds; `None` while it does.
    pub failing_ms: Option<u64>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// How long ago that was, in milliseconds.
    pub last_error_age_ms: Option<u64>,
    /// Requests that were sent, repeated ones included.
    pub requests: u64,
    /// Those that were repeated.
    pub retries: u64,
    /// Requests that were given up.
    pub errors: u64,
    /// Answers that asked for fewer requests.
    pub slowdowns: u64,
    /// Requests that may be under way at a time now.
    pub concurrency: u64,
}

/// What a snapshot is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its volume.
    pub volume: String,
    /// Its name.
    pub name: String,
    /// Its identity, 32 hexadecimal digits.
    pub id: String,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Number of the manifest that it holds; `None` while it is on its way to the store.
    pub manifest: Option<u64>,
    /// Size of the volume in it.
    pub size_bytes: u64,
}

impl SnapshotInfo {
    /// What the store says of a snapshot of the volume of this name.
    #[must_use]
    pub fn new(volume: &VolumeName, header: &SnapshotHeader) -> Self {
        Self {
            volume: volume.to_string(),
            name: header.name.to_string(),
            id: header.id.to_string(),
            created_unix_ms: header.created_unix_ms,
            manifest: (header.seq.0 > 0).then_some(header.seq.0),
            size_bytes: header.size_bytes,
        }
    }
}
