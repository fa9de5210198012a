//! What can go wrong with a volume command.

use std::io;
use std::path::PathBuf;

use chunk::catalog::{CreateError, NameError, RenameError};
use chunk::clones::{CloneError, DeleteError};
use chunk::manifest_log::ManifestLogError;
use chunk::snapshot::SnapshotError;
use chunk::{FormatError, ObjectName, ReadError, StoreError, VolumeName};
use wal::VolumeId;

use crate::error::ErrorKind;
use crate::server::OpenError;

/// Why a volume command failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// No volume has this name.
    #[error("no volume is named {name}: `krait volume list` shows those that are")]
    NotFound {
        /// The name.
        name: VolumeName,
    },
    /// The store is not there.
    #[error("no store at {}: choose it with --data-dir or --store, or make it with `krait volume create`", path.display())]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// The store lives in another process.
    #[error(
        "a memory: store lives in the serving process only: use `krait serve --create NAME=SIZE`"
    )]
    MemoryStore,
    /// The server of the data directory has another store than the command.
    #[error("the server on {} uses the store {served}, not {asked}: say --store {served}", data_dir.display())]
    OtherStore {
        /// The data directory.
        data_dir: PathBuf,
        /// The server's store.
        served: String,
        /// The command's store.
        asked: String,
    },
    /// Another host has what was to be deleted.
    #[error("{}", crate::server::attach::not_deleted(name, owner, *tenure))]
    Elsewhere {
        /// The volume.
        name: VolumeName,
        /// The host.
        owner: [u8; 16],
        /// Its first opening.
        tenure: u64,
    },
    /// Deleting was not confirmed.
    #[error("volume {name} is not deleted: type its name when asked, or add --yes")]
    Unconfirmed {
        /// The volume.
        name: VolumeName,
    },
    /// Removing a log was not confirmed.
    #[error(
        "nothing is removed: what is kept aside of volume {name} is the only copy of what this host \
         had logged and not uploaded; add --yes if nobody needs it"
    )]
    LogUnconfirmed {
        /// The volume.
        name: VolumeName,
    },
    /// Neither what to collect nor to look was said.
    #[error("`krait gc run` removes garbage, `krait gc --dry-run` tells what there is: choose one")]
    GcUnclear,
    /// Of what to make a snapshot is not clear.
    #[error(
        "say `krait snapshot create VOLUME NAME`, or `krait snapshot create --group VOLUME,VOLUME \
         NAME` for several volumes at one instant"
    )]
    SnapshotOfWhat,
    /// A server that died left snapshots in its log.
    #[error(
        "volume {name} has snapshots that were made and are not in the store yet: start its server, \
         or say `krait volume drain {name}`, and try again"
    )]
    SnapshotsComing {
        /// The volume.
        name: VolumeName,
    },
    /// A volume is named twice.
    #[error("volume {name} is named twice")]
    Twice {
        /// The volume.
        name: VolumeName,
    },
    /// There is no log to remove.
    #[error("{}", crate::server::kept::nothing(name))]
    NothingKept {
        /// The volume.
        name: VolumeName,
    },
    /// A name without anything behind it.
    #[error("volume {id} has a name but no manifest: it is damaged")]
    NoManifest {
        /// The volume.
        id: VolumeId,
    },
    /// The newest manifest is damaged.
    #[error("{object}: {source}")]
    Manifest {
        /// The manifest.
        object: ObjectName,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// Some volumes or parts of one are damaged, as was printed.
    #[error("{count} damaged: see above")]
    Damaged {
        /// How many.
        count: usize,
    },
    /// The store did not answer everything that a check asked it.
    #[error("volume {name} could not be checked, as the store failed: try again")]
    Unchecked {
        /// The volume.
        name: VolumeName,
    },
    /// Creating failed.
    #[error(transparent)]
    Create(CreateError),
    /// What is complete did not get its name.
    #[error(transparent)]
    Rename(RenameError),
    /// A snapshot cannot be deleted, or what was cloned cannot be looked up.
    #[error(transparent)]
    Snapshot(SnapshotError),
    /// A clone cannot be made.
    #[error(transparent)]
    Clone(CloneError),
    /// A volume cannot be deleted.
    #[error(transparent)]
    Delete(DeleteError),
    /// An object among the names is none.
    #[error(transparent)]
    Name(NameError),
    /// An object cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The manifests cannot be read.
    #[error(transparent)]
    Log(#[from] ManifestLogError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(OpenError),
    /// Threads cannot be started.
    #[error("start worker threads: {0}")]
    Workers(#[source] io::Error),
}

impl VolumeError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoStore { .. } | Self::NothingKept { .. } => {
                ErrorKind::NotFound
            }
            Self::MemoryStore
            | Self::OtherStore { .. }
            | Self::Unconfirmed { .. }
            | Self::LogUnconfirmed { .. }
            | Self::SnapshotOfWhat
            | Self::Twice { .. }
            | Self::GcUnclear => ErrorKind::Invalid,
            Self::Elsewhere { .. } => ErrorKind::Fenced,
            Self::Unchecked { .. } | Self::SnapshotsComing { .. } => ErrorKind::Retry,
            Self::NoManifest { .. }
            | Self::Manifest { .. }
            | Self::Damaged { .. }
            | Self::Name(_) => ErrorKind::Corrupt,
            Self::Create(CreateError::Exists { .. }) => ErrorKind::Exists,
            Self::Create(error) => error.kind().map_or(ErrorKind::Invalid, ErrorKind::from),
            Self::Rename(RenameError::Exists { .. }) => ErrorKind::Exists,
            Self::Rename(error) => error.kind().map_or(ErrorKind::NotFound, ErrorKind::from),
            Self::Snapshot(error) => error.into(),
            Self::Clone(error) => error.into(),
            Self::Delete(error) => error.into(),
            Self::Read(error) => error.kind().into(),
            Self::Log(error) => error.kind().into(),
            Self::Store(error) => error.kind().into(),
            Self::Open(error) => error.kind(),
            Self::Workers(error) => ErrorKind::of_io(error),
        }
    }
}
