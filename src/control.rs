//! How other commands talk to the process that serves a data directory: requests and answers as
//! lines of JSON on a unix socket in that directory, which only its owner can open.
//!
//! The socket has its own threads, started before the executors and never pinned with them. They
//! check requests and hand them to core 0 as [`ControlRequest`]s through a bounded channel.

pub mod client;
pub mod limits;
pub mod lock;
mod pass;
mod replace;
mod reply;
pub mod server;
mod socket;
mod status;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::limits::MAX_WAIT;
use crate::engine::collect::Collected;
use crate::engine::flatten::{Flattened, Flattening};
use crate::error::ErrorKind;
use crate::server::resize::Resized;

pub use client::ControlClient;
pub use lock::{DataDirLock, LockError};
pub use replace::{LeaveError, Predecessor, Sockets};
pub use reply::{ControlRequest, Reply, Undelivered, channel};
pub use server::ControlServer;
pub use status::{SnapshotInfo, StoreStatus, TrafficStatus, VolumeState, VolumeStatus};

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
        /// Whether its snapshots go with it.
        #[serde(default)]
        snapshots: bool,
    },
    /// Remove what nothing needs of this volume. Answered with [`Answer::Collected`]; refused as
    /// [`ErrorKind::Fenced`] if another host has it.
    Collect {
        /// Name of the volume.
        volume: String,
        /// Only look.
        dry_run: bool,
    },
    /// Give this volume another size. Answered with [`Answer::Resized`]; refused as
    /// [`ErrorKind::Invalid`] if it would shrink and may not, as [`ErrorKind::Busy`] if it would
    /// while clients are connected to it, as [`ErrorKind::Retry`] when the time is over.
    Resize {
        /// Name of the volume.
        volume: String,
        /// Its new size.
        size_bytes: u64,
        /// Whether it may shrink, which destroys what is behind the new end.
        danger_discard_tail: bool,
        /// How long to try.
        seconds: u64,
    },
    /// Make a snapshot of this volume. Answered with [`Answer::Snapshot`]; refused as
    /// [`ErrorKind::Retry`] when the time is over.
    CreateSnapshot {
        /// Name of the volume.
        volume: String,
        /// Name of the snapshot.
        name: String,
        /// How long to try.
        seconds: u64,
    },
    /// Make snapshots of one name of these volumes at one instant: all or none. Answered with
    /// [`Answer::Snapshots`]; refused as [`ErrorKind::Retry`] when the time is over.
    CreateSnapshots {
        /// Names of the volumes, each once.
        volumes: Vec<String>,
        /// Name of the snapshots.
        name: String,
        /// How long to try.
        seconds: u64,
    },
    /// Which snapshots of this volume are made, and on their way to the store? Answered with
    /// [`Answer::Snapshots`].
    ComingSnapshots {
        /// Name of the volume.
        volume: String,
    },
    /// Wait until those are in the store. Answered with [`Answer::Settled`]; refused as
    /// [`ErrorKind::Retry`] when the time is over.
    SettleSnapshots {
        /// Name of the volume.
        volume: String,
        /// How long to wait.
        seconds: u64,
    },
    /// Delete this snapshot; refused as [`ErrorKind::Busy`] while clients read it or clones need
    /// it. Answered with [`Answer::Deleted`].
    DeleteSnapshot {
        /// Name of the volume.
        volume: String,
        /// Name of the snapshot.
        name: String,
    },
    /// Make a clone. Answered with [`Answer::Cloned`]; refused as [`ErrorKind::Retry`] when the
    /// time is over.
    Clone {
        /// Name of the clone.
        name: String,
        /// Name of the volume to clone.
        from: String,
        /// Name of its snapshot; `None` for the volume as it is now.
        snapshot: Option<String>,
        /// How long to try.
        seconds: u64,
    },
    /// Separate this clone from what it was made of. Answered with [`Answer::Flattened`]; refused as
    /// [`ErrorKind::Busy`] while snapshots of it share with that.
    Flatten {
        /// Name of the clone.
        volume: String,
    },
    /// How far is that? Answered with [`Answer::Flattening`].
    Flattening {
        /// Name of the clone.
        volume: String,
    },
    /// Share the listening sockets with a process that is to serve in the place of this one.
    /// Answered with [`Answer::Sockets`] and them; refused if it would serve something else.
    ShareSockets {
        /// URL of its store.
        store: String,
        /// Where it would listen, in order.
        listen: Vec<String>,
    },
    /// End without closing the volumes, and leave data directory and sockets to the asker.
    /// Answered with [`Answer::Left`] and the locked file, when all that was acknowledged is
    /// durable.
    Leave {
        /// The process that is meant.
        pid: u32,
    },
}

impl Op {
    /// How long the outcome is waited for.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Ping
            | Self::Status { .. }
            | Self::Volumes
            | Self::DropLog { .. }
            | Self::ComingSnapshots { .. }
            | Self::Flattening { .. } => limits::SHORT_OP_TIMEOUT,
            Self::Attach { .. } => limits::ATTACH_TIMEOUT,
            Self::ShareSockets { .. } | Self::Leave { .. } => limits::HAND_OVER_TIMEOUT,
            Self::Collect { .. } => limits::COLLECT_TIMEOUT,
            Self::Flatten { .. } => limits::FLATTEN_TIMEOUT,
            Self::Delete { .. } | Self::DeleteSnapshot { .. } => limits::LONG_OP_TIMEOUT,
            Self::Drain { seconds, .. }
            | Self::Detach { seconds, .. }
            | Self::Resize { seconds, .. }
            | Self::CreateSnapshot { seconds, .. }
            | Self::CreateSnapshots { seconds, .. }
            | Self::SettleSnapshots { seconds, .. }
            | Self::Clone { seconds, .. } => {
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
    /// To [`Op::Delete`] and [`Op::DeleteSnapshot`].
    Deleted,
    /// To [`Op::Collect`].
    Collected(Collected),
    /// To [`Op::Resize`].
    Resized(Resized),
    /// To [`Op::CreateSnapshot`].
    Snapshot(SnapshotInfo),
    /// To [`Op::SettleSnapshots`].
    Settled,
    /// To [`Op::CreateSnapshots`] and [`Op::ComingSnapshots`].
    Snapshots {
        /// In the order of the volumes, or of their making.
        snapshots: Vec<SnapshotInfo>,
    },
    /// To [`Op::Clone`].
    Cloned {
        /// Identity of the clone, 32 hexadecimal digits.
        id: String,
    },
    /// To [`Op::Flatten`].
    Flattened(Flattened),
    /// To [`Op::Flattening`].
    Flattening(Flattening),
    /// To [`Op::ShareSockets`].
    Sockets {
        /// The process that listens on them.
        pid: u32,
        /// The path of each of them, in the order in which they come; `None` for TCP.
        paths: Vec<Option<String>>,
    },
    /// To [`Op::Leave`].
    Left,
}

/// What it says when it did not.
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
    /// The process that was to take the place of this one is gone.
    #[error("the process that was to replace this server is gone: start one; all is durable")]
    Orphaned,
    /// What should have come with an answer did not.
    #[error("the server at {} did not pass what it said it would: stop it, then start this one", path.display())]
    NotPassed {
        /// The socket.
        path: PathBuf,
    },
}

impl ControlError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotRunning { .. } => ErrorKind::NotFound,
            Self::Socket { source, .. } => ErrorKind::of_io(source),
            Self::Closed { .. } | Self::Orphaned => ErrorKind::Retry,
            Self::Answer { .. } | Self::Unexpected { .. } | Self::NotPassed { .. } => {
                ErrorKind::Invalid
            }
            Self::Refused(refusal) => refusal.kind,
        }
    }
}

#[cfg(test)]
mod tests;
