//! What kinds of failure there are, and what each of them means to a client and to a shell.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::inspect::InspectError;
use chunk::clones::{CloneError, DeleteError};
use chunk::snapshot::SnapshotError;

use crate::cli::transfer::error::TransferError;
use crate::cli::volume::error::VolumeError;
use crate::config::ConfigError;
use crate::control::{ControlError, LockError};
use crate::engine::error::VolumeError as EngineError;
use crate::server::ServeError;

/// What the caller does about a failure. Each value has one NBD error and one exit code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The same call may succeed later: a store or a server that is slow, down or not reachable.
    Retry,
    /// Another host has taken the volume over.
    Fenced,
    /// Bytes that were read are not the bytes that were written, or something referenced is gone.
    Corrupt,
    /// The local disk, a quota or the volume's log is full.
    NoSpace,
    /// The request or the configuration makes no sense as given.
    Invalid,
    /// Nothing has this name.
    NotFound,
    /// Something has this name already.
    Exists,
    /// In use by someone else; it works once they have finished.
    Busy,
    /// Not permitted: file permissions, or a write to what is read-only.
    Denied,
    /// The operating system or the local disk failed.
    Io,
    /// Our mistake.
    Bug,
}

/// What each kind becomes outside of this process.
struct Outcome {
    /// Exit code of the command.
    exit: u8,
    /// Error number of an NBD reply (NBD protocol, "Error values").
    nbd: u32,
    /// One line for the help text.
    about: &'static str,
}

impl ErrorKind {
    /// All kinds, in the order of their exit codes.
    pub const ALL: [Self; 11] = [
        Self::Io,
        Self::Invalid,
        Self::NotFound,
        Self::Exists,
        Self::Busy,
        Self::Corrupt,
        Self::NoSpace,
        Self::Denied,
        Self::Retry,
        Self::Fenced,
        Self::Bug,
    ];

    /// The one place where kinds get their numbers.
    fn outcome(self) -> Outcome {
        let (exit, nbd, about) = match self {
            Self::Io => (1, 5, "the operating system or the local disk failed"),
            Self::Invalid => (2, 22, "bad usage, configuration, name or size"),
            Self::NotFound => (3, 22, "no such volume, file or server"),
            Self::Exists => (4, 22, "the name is taken"),
            Self::Busy => (5, 5, "in use; try again when it is free"),
            Self::Corrupt => (6, 5, "damaged data was found"),
            Self::NoSpace => (7, 28, "the disk or a quota is full"),
            Self::Denied => (8, 1, "not permitted"),
            Self::Retry => (9, 5, "a store or server did not answer; trying again may help"),
            Self::Fenced => (10, 108, "another host took the volume over"),
            Self::Bug => (70, 5, "a mistake in krait itself"),
        };
        Outcome { exit, nbd, about }
    }

    /// Exit code of a command that fails with this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self.outcome().exit
    }

    /// Error number of an NBD reply that fails with this kind.
    #[must_use]
    pub fn nbd_errno(self) -> u32 {
        self.outcome().nbd
    }

    /// What the kind means, in a few words.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.outcome().about
    }

    /// The kind of a failure that the operating system reported.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            io::ErrorKind::AddrInUse | io::ErrorKind::ResourceBusy => Self::Busy,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Retry,
            _ => Self::Io,
        }
    }
}

/// Why a command or the server ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration does not hold together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server of this data directory could not be asked, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The data directory is not ours.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A volume command failed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// An open volume failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server did not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A disk was not moved in or out.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A file could not be shown.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// No command has this name.
    #[error("there is no command `krait {words}`: `krait --help` lists those there are")]
    NoCommand {
        /// Its words.
        words: String,
    },
    /// A call to the operating system failed.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Wraps a failure of the operating system with what was tried on which file.
    #[must_use]
    pub fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }

    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Control(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Engine(error) => error.into(),
            Self::Serve(error) => error.kind(),
            Self::Transfer(error) => error.kind(),
            Self::Inspect(error) => error.kind(),
            Self::NoCommand { .. } => ErrorKind::Invalid,
            Self::File { source, .. } => ErrorKind::of_io(source),
        }
    }
}

impl From<&EngineError> for ErrorKind {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Poisoned { .. } => Self::Io,
            EngineError::Fenced { .. } => Self::Fenced,
            EngineError::NoSpace(_) => Self::NoSpace,
            EngineError::Disk(error) => Self::of_io(&error.source),
            EngineError::Store(error) => error.kind().into(),
            EngineError::Corrupt { .. } => Self::Corrupt,
            EngineError::Closed | EngineError::Late { .. } => Self::Retry,
            EngineError::Snapshot(error) => (&**error).into(),
        }
    }
}

impl From<&SnapshotError> for ErrorKind {
    fn from(error: &SnapshotError) -> Self {
        match error {
            SnapshotError::Exists { .. } => Self::Exists,
            SnapshotError::NotFound { .. } | SnapshotError::NoVolume { .. } => Self::NotFound,
            SnapshotError::Deleting { .. } | SnapshotError::Needed { .. } => Self::Busy,
            SnapshotError::Read(error) => error.kind().into(),
            SnapshotError::Store(error) => error.kind().into(),
        }
    }
}

impl From<&CloneError> for ErrorKind {
    fn from(error: &CloneError) -> Self {
        match error {
            CloneError::Exists { .. } => Self::Exists,
            CloneError::TooDeep { .. } => Self::Invalid,
            CloneError::Snapshot(error) => error.into(),
            CloneError::Publish(error) => error.kind().into(),
        }
    }
}

impl From<&DeleteError> for ErrorKind {
    fn from(error: &DeleteError) -> Self {
        match error {
            DeleteError::Snapshots { .. } | DeleteError::Raced { .. } => Self::Busy,
            DeleteError::Snapshot(error) => error.into(),
            DeleteError::Listed(error) => error.kind().into(),
        }
    }
}

impl From<chunk::ErrorKind> for ErrorKind {
    fn from(kind: chunk::ErrorKind) -> Self {
        match kind {
            chunk::ErrorKind::Retry => Self::Retry,
            chunk::ErrorKind::NoSpace => Self::NoSpace,
            chunk::ErrorKind::Corrupt => Self::Corrupt,
            chunk::ErrorKind::Fenced => Self::Fenced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_exit_code_and_none_is_success() {
        let mut codes: Vec<u8> = ErrorKind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert!(codes.is_sorted() && !codes.contains(&0));
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn nbd_errors_are_ones_that_the_protocol_defines() {
        const DEFINED: [u32; 8] = [1, 5, 12, 22, 28, 75, 95, 108];
        assert!(ErrorKind::ALL.iter().all(|kind| DEFINED.contains(&kind.nbd_errno())));
    }
}
