//! The configuration: flags above environment above file above what the machine suggests.

pub mod cache;
pub mod error;
pub mod explain;
pub mod file;
pub mod key;
pub mod limits;
pub mod listen;
pub mod machine;
pub mod new_volume;
pub mod s3_store;
pub mod size;
pub mod source;
pub mod span;
pub mod store_url;

mod resolve;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chunk::{Compression, Promises, VolumeName};
use wal::VolumeId;

pub use cache::{CachePolicy, DiskCache};
pub use error::{ConfigError, ValueError};
pub use explain::Explained;
pub use listen::Listen;
pub use new_volume::{NewVolume, VolumeSize};
pub use resolve::resolve;
pub use s3_store::S3Settings;
pub use size::ByteSize;
pub use source::Flags;
pub use span::Wait;
pub use store_url::StoreUrl;

/// Where the file is looked for unless it is named.
pub const FILE_CANDIDATES: [&str; 2] = ["krait.toml", "/etc/krait/krait.toml"];

/// Everything the server and the commands need to know, checked and complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Directory of the write-ahead logs, the cache and, by default, the `file` store. Absolute.
    pub data_dir: PathBuf,
    /// Object store.
    pub store: StoreUrl,
    /// Number of executors, at least 1; may exceed the processors.
    pub cores: u16,
    /// Cap of the process's memory, at least [`limits::MIN_MEMORY`].
    pub memory: ByteSize,
    /// Where NBD clients connect; never empty.
    pub listen: Vec<Listen>,
    /// Volumes that no client may write to.
    pub read_only: Vec<VolumeName>,
    /// Least severe messages that are logged.
    pub log: log::LevelFilter,
    /// Cap of the segment files of one volume, over all shards.
    pub wal_cap: ByteSize,
    /// Bytes of one segment file, a multiple of a block.
    pub wal_segment: ByteSize,
    /// When dirty data is uploaded.
    pub rpo: Rpo,
    /// How long garbage stays in the store before it is removed.
    pub gc_grace: Duration,
    /// Copies of what the store has, on the local disk.
    pub disk_cache: DiskCache,
    /// What volumes promise that are made from now on.
    pub new_volumes: Promises,
    /// How what goes to the store is compressed.
    pub compression: Compression,
    /// How an S3 store is reached.
    pub s3: S3Settings,
}

/// How much may be lost with the local disk: what comes first starts an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rpo {
    /// Age of the oldest dirty data.
    pub age: Duration,
    /// Amount of dirty data.
    pub bytes: ByteSize,
}

/// Settings, and where each of them came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// One line for each of them.
    pub explained: Vec<Explained>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// The lock that the serving process holds.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.data_dir.join("lock")
    }

    /// The directory of the write-ahead logs of all volumes.
    #[must_use]
    pub fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("wal")
    }

    /// The directory of the segment files of a volume's write-ahead log.
    #[must_use]
    pub fn wal_dir(&self, volume: VolumeId) -> PathBuf {
        self.logs_dir().join(volume.to_string())
    }

    /// Where NBD clients connect, as texts that do not depend on the working directory.
    #[must_use]
    pub fn listen_texts(&self) -> Vec<String> {
        let text = |listen: &Listen| match listen {
            Listen::Unix(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                Listen::Unix(path).to_string()
            }
            Listen::Tcp { .. } => listen.to_string(),
        };
        self.listen.iter().map(text).collect()
    }

    /// The socket on which the serving process takes requests of the other commands.
    #[must_use]
    pub fn control_path(&self) -> PathBuf {
        self.data_dir.join("control.sock")
    }
}

/// Resolves the settings for this process: its flags, its environment, its machine.
///
/// # Errors
/// If anything that was written cannot be used.
pub fn load(flags: &Flags) -> Result<Resolved, ConfigError> {
    let environment = |name: &str| match std::env::var(name) {
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(()),
    };
    let candidates = FILE_CANDIDATES.map(|path| Path::new(path).to_owned());
    let sources = source::Sources::gather(flags, &environment, &candidates)?;
    resolve(&sources, &machine::Machine::detect())
}
