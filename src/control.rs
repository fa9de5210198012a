//! How other commands talk to the process that serves a data directory: requests and answers as
//! lines of JSON on a unix socket in that directory, which only its owner can open.
//!
//! The socket has its own threads, started before the executors and never pinned with them. They
//! check requests and hand them to core 0 as [`ControlRequest`]s through a bounded channel.

pub mod client;
pub mod limits;
pub mod lock;
pub mod server;
mod socket;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::limits::MAX_WAIT;
use crate::engine::fetch_health::StoreState;
use crate::error::ErrorKind;

pub use client::ControlClient;
pub use lock::{DataDirLock, LockError};
pub use server::ControlServer;

/// What can be asked of the serving process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// Who is there? Answered with [`Answer::Server`].
    Ping,
    /// How is this volume? Answered with [`Answer::Status`].
    Status {
        /// Name of the volume.
        volume: String,
    },
    /// Which volumes are open? Answered with [`Answer::Volumes`].
    Volumes,
    /// Upload everything that was acknowledged of this volume, then say [`Answer::Drained`];
    /// refused as [`ErrorKind::Retry`] when the time is over.
    Drain {
        /// Name of the volume.
        volume: String,
        /// How long to try.
        seconds: u64,
    },
    /// Open this volume for this host. Answered with [`Answer::Attached`]; refused as
    /// [`ErrorKind::Fenced`] if another host has it and `force` is not set.
    Attach {
        /// Name of the volume.
        volume: String,
        /// Whether to take it from the host that has it.
        force: bool,
    },
    /// Upload all of this volume, close it and let any host open it; refused as
    /// [`ErrorKind::Busy`] while clients are connected to it. Answered with [`Answer::Detached`].
    Detach {
        /// Name of the volume.
        volume: String,
        /// How long to try.
        seconds: u64,
    },
    /// Remove what is kept aside of this volume's log. Answered with [`Answer::Dropped`].
    DropLog {
        /// Name of the volume.
        volume: String,
    },
    /// Delete this volume; refused as [`ErrorKind::Busy`] while clients are connected to it.
    /// Answered with [`Answer::Deleted`].
    Delete {
        /// Name of the volume.
        volume: String,
    },
}

impl Op {
    /// How long the outcome is waited for.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Ping | Self::Status { .. } | Self::Volumes | Self::DropLog { .. } => {
                limits::SHORT_OP_TIMEOUT
            }
            Self::Attach { .. } => limits::ATTACH_TIMEOUT,
            Self::Delete { .. } => limits::LONG_OP_TIMEOUT,
            Self::Drain { seconds, .. } | Self::Detach { seconds, .. } => {
                Duration::from_secs(*seconds).min(MAX_WAIT) + limits::SHORT_OP_TIMEOUT
            }
        }
    }
}

/// What the serving process says when it did what was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Op::Ping`].
    Server(ServerInfo),
    /// To [`Op::Status`].
    Status(Box<VolumeStatus>),
    /// To [`Op::Volumes`].
    Volumes {
        /// The open ones, sorted by name.
        volumes: Vec<VolumeStatus>,
    },
    /// To [`Op::Drain`].
    Drained,
    /// To [`Op::Attach`].
    Attached {
        /// Number of the opening that serves it.
        incarnation: u64,
    },
    /// To [`Op::Detach`].
    Detached,
    /// To [`Op::DropLog`].
    Dropped {
        /// Files that were removed.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// To [`Op::Delete`].
    Deleted,
}

/// What the serving process says when it did not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What the asker does about it.
    pub kind: ErrorKind,
    /// One line for a person: what is wrong, and what to do.
    pub message: String,
}

/// A line from the serving process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Response {
    Ok(Answer),
    Error(Refusal),
}

/// The serving process itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Version of the program.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// URL of its object store.
    pub store: String,
    /// Number of its cores.
    pub cores: u16,
    /// Where NBD clients connect.
    pub listen: Vec<String>,
}

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

/// A request on its way to core 0.
#[derive(Debug)]
pub struct ControlRequest {
    /// What is asked; volume names in it are not checked yet.
    pub op: Op,
    /// Takes the outcome. Dropped without one, the asker hears that the server is stopping.
    pub reply: Reply,
}

/// Takes the one outcome of a request. Never blocks.
#[derive(Debug)]
pub struct Reply(SyncSender<Response>);

impl Reply {
    /// Sends the outcome to the asker, who may have given up meanwhile.
    pub fn send(self, outcome: Result<Answer, Refusal>) {
        let response = match outcome {
            Ok(answer) => Response::Ok(answer),
            Err(refusal) => Response::Error(refusal),
        };
        // The channel has room for one response and this is the only one.
        drop(self.0.try_send(response));
    }
}

/// The channel from the control socket to core 0.
#[must_use]
pub fn channel() -> (async_channel::Sender<ControlRequest>, async_channel::Receiver<ControlRequest>)
{
    async_channel::bounded(limits::MAX_CONNECTIONS)
}

/// Why the serving process could not be asked, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No process serves the data directory.
    #[error("no server runs on {}: start one with `krait serve`", data_dir.display())]
    NotRunning {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The socket failed.
    #[error("{action} {}: {source}", path.display())]
    Socket {
        /// What was tried, as a verb.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The other side ended the connection without an answer.
    #[error("the server at {} stopped before it answered: try again", path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// The other side sent something else than an answer.
    #[error("the server at {} gave an answer of another version ({source}): restart it", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A sound answer to another question.
    #[error("the server at {} answered another question: restart it", path.display())]
    Unexpected {
        /// The socket.
        path: PathBuf,
    },
    /// The server did not do it.
    #[error(transparent)]
    Refused(Refusal),
}

impl ControlError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotRunning { .. } => ErrorKind::NotFound,
            Self::Socket { source, .. } => ErrorKind::of_io(source),
            Self::Closed { .. } => ErrorKind::Retry,
            Self::Answer { .. } | Self::Unexpected { .. } => ErrorKind::Invalid,
            Self::Refused(refusal) => refusal.kind,
        }
    }
}

#[cfg(test)]
mod tests;
