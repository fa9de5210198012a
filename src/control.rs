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
            Self::Ping | Self::Status { .. } | Self::Volumes => limits::SHORT_OP_TIMEOUT,
            Self::Delete { .. } => limits::LONG_OP_TIMEOUT,
            Self::Drain { seconds, .. } => {
                Duration::from_secs(*seconds).min(MAX_WAIT) + limits::SHORT_OP_TIMEOUT
            }
        }
    }
}

/// What the serving process says when it did what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Op::Ping`].
    Server(ServerInfo),
    /// To [`Op::Status`].
    Status(VolumeStatus),
    /// To [`Op::Volumes`].
    Volumes {
        /// The open ones, sorted by name.
        volumes: Vec<VolumeStatus>,
    },
    /// To [`Op::Drain`].
    Drained,
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Open for reading and writing.
    Serving,
    /// Open; everything is answered with an error, as another host has taken it over.
    Fenced,
    /// Open; everything is answered with an error, as a disk failed under it.
    Failed,
    /// Not open in any process that was asked.
    NotServed,
}

/// How a volume is, in bytes of each state that data goes through. `None` is unknown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// Copies in the memory cache.
    pub cached_bytes: u64,
    /// Segment files of its write-ahead log on the local disk.
    pub wal_bytes: u64,
    /// Why it is fenced or failed.
    pub failure: Option<String>,
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
