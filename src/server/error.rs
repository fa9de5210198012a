//! Why the server did not start.

use std::io;
use std::path::PathBuf;

use chunk::catalog::CreateError;
use chunk::{ReadError, VolumeName};

use super::attach::AttachError;
use super::collect::CollectError;
use super::copies::CopyError;
use super::drain::DrainError;
use super::end::NotDurable;
use super::flatten::FlattenError;
use super::hand_over::ReplaceError;
use super::resize::ResizeError;
use super::store::OpenError;
use crate::error::ErrorKind;
use crate::runtime::checks::MachineError;
use crate::runtime::cores::{CorePanicked, StartError};
use crate::runtime::listener::ListenError;

/// Why the server did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The executors did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An executor ended.
    #[error(transparent)]
    Panicked(#[from] CorePanicked),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A host name has no address.
    #[error("listen on tcp:{host}: {source}: choose another --listen")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A volume to be made cannot be looked up.
    #[error("look for volume {name}: {source}")]
    Find {
        /// Its name.
        name: VolumeName,
        /// What the store said.
        source: ReadError,
    },
    /// A volume cannot be made.
    #[error("volume {name}: {source}")]
    Create {
        /// Its name.
        name: VolumeName,
        /// Why.
        source: CreateError,
    },
    /// A file of the data directory.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The identity of the data directory is damaged.
    #[error("{}: {bytes} bytes where 16 belong: restore it, or remove it if all volumes were drained", path.display())]
    HostId {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// A volume could not be drained.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// A volume could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A snapshot was not made.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A volume has no other size.
    #[error(transparent)]
    Resize(#[from] ResizeError),
    /// A clone is not separated from what it was made of.
    #[error(transparent)]
    Flatten(#[from] FlattenError),
    /// Garbage was not collected.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The listening sockets cannot be kept for a process that may take the place of this one.
    #[error("copy the listening sockets: {source}")]
    Sockets {
        /// What the operating system said.
        source: io::Error,
    },
    /// Not all is durable at the end.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// The server that runs was not replaced.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// Signals cannot be caught.
    #[error("catch SIGTERM and SIGINT: {0}")]
    Signals(#[source] io::Error),
    /// Threads cannot be started.
    #[error("start worker threads: {0}")]
    Workers(#[source] io::Error),
}

impl ServeError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Start(error) => start_kind(error),
            Self::Panicked(_) => ErrorKind::Bug,
            Self::Listen(ListenError::InUse { .. }) => ErrorKind::Busy,
            Self::Listen(ListenError::NotASocket { .. }) => ErrorKind::Invalid,
            Self::Listen(ListenError::Io { source, .. }) => ErrorKind::of_io(source),
            Self::Resolve { .. } => ErrorKind::Invalid,
            Self::Store(error) => error.kind(),
            Self::Find { source, .. } => source.kind().into(),
            Self::Create { source, .. } => {
                let exists = matches!(source, CreateError::Exists { .. });
                let own = if exists { ErrorKind::Exists } else { ErrorKind::Invalid };
                source.kind().map_or(own, ErrorKind::from)
            }
            Self::File { source, .. }
            | Self::Sockets { source }
            | Self::Signals(source)
            | Self::Workers(source) => ErrorKind::of_io(source),
            Self::HostId { .. } => ErrorKind::Corrupt,
            Self::NotDurable(_) => ErrorKind::Io,
            Self::Replace(error) => error.kind(),
            Self::Drain(error) => error.kind(),
            Self::Attach(error) => error.kind(),
            Self::Copy(error) => error.kind(),
            Self::Resize(error) => error.kind(),
            Self::Flatten(error) => error.kind(),
            Self::Collect(error) => error.kind(),
        }
    }
}

fn start_kind(error: &StartError) -> ErrorKind {
    match error {
        StartError::Machine(error) => machine_kind(error),
        StartError::CoreCount { .. } => ErrorKind::Invalid,
        StartError::DataDir { source, .. }
        | StartError::DirectIo { source, .. }
        | StartError::Executor { source, .. } => ErrorKind::of_io(source),
        StartError::Panicked(_) => ErrorKind::Bug,
    }
}

fn machine_kind(_: &MachineError) -> ErrorKind {
    ErrorKind::Io
}
