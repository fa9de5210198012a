//! One serving process for one data directory.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::error::ErrorKind;

/// The lock on a data directory. The kernel releases it when the process ends, however it ends;
/// the file stays.
#[derive(Debug)]
pub struct DataDirLock {
    data_dir: PathBuf,
    file: File,
    is_exclusive: bool,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("data directory {} is in use{}: stop that process or choose another --data-dir", data_dir.display(), by(*holder))]
    Held {
        /// The directory.
        data_dir: PathBuf,
        /// The process, if it wrote its number down.
        holder: Option<u32>,
    },
    /// The directory does not exist.
    #[error("no data directory at {}: choose it with --data-dir, or make it with `krait volume create`", data_dir.display())]
    Missing {
        /// The directory.
        data_dir: PathBuf,
    },
    /// What another process passed is not the lock of this directory.
    #[error("what the other process passed is not the lock on {}: stop it, then start this one", data_dir.display())]
    NotPassed {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The directory or the lock file failed.
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

impl LockError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Held { .. } => ErrorKind::Busy,
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::NotPassed { .. } => ErrorKind::Invalid,
            Self::File { source, .. } => ErrorKind::of_io(source),
        }
    }
}

fn by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// Makes a data directory, for its owner only; one that exists stays as it is.
///
/// # Errors
/// If it cannot be made.
pub fn make_data_dir(data_dir: &Path) -> Result<(), LockError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|source| failed("make data directory", data_dir, source))
}

impl DataDirLock {
    /// Takes the lock for this process alone, to change what is in the directory. Does not wait.
    ///
    /// # Errors
    /// If another process has it, or the directory does not exist.
    pub fn acquire(settings: &Settings) -> Result<Self, LockError> {
        let mut lock = Self::open(settings, true, File::try_lock)?;
        let noted = note_holder(&mut lock.file);
        noted.map_err(|source| failed("write", &settings.lock_path(), source))?;
        Ok(lock)
    }

    /// Takes the lock together with others that only look at what is in the directory. Does not
    /// wait.
    ///
    /// # Errors
    /// If another process has it to change something, or the directory does not exist.
    pub fn acquire_shared(settings: &Settings) -> Result<Self, LockError> {
        Self::open(settings, false, File::try_lock_shared)
    }

    /// Whether a process has the directory for itself: a server, or a command that changes
    /// something.
    #[must_use]
    pub fn is_held(settings: &Settings) -> bool {
        matches!(Self::acquire_shared(settings), Err(LockError::Held { .. }))
    }

    fn open(
        settings: &Settings,
        is_exclusive: bool,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, LockError> {
        let (data_dir, path) = (settings.data_dir.clone(), settings.lock_path());
        if !data_dir.exists() {
            return Err(LockError::Missing { data_dir });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|source| failed("open", &path, source))?;
        match lock(&file) {
            Ok(()) => Ok(Self { data_dir, file, is_exclusive }),
            Err(TryLockError::WouldBlock) => {
                Err(LockError::Held { data_dir, holder: holder(&mut file) })
            }
            Err(TryLockError::Error(source)) => Err(failed("lock", &path, source)),
        }
    }

    /// Takes over the lock of another process, which passed its open file: the lock belongs to the
    /// open file, and lasts as long as any process has a copy of it.
    ///
    /// # Errors
    /// If it is not the lock of this directory.
    pub fn adopt(settings: &Settings, passed: OwnedFd) -> Result<Self, LockError> {
        let (data_dir, path) = (settings.data_dir.clone(), settings.lock_path());
        let mut file = File::from(passed);
        let looked = fs::metadata(&path).and_then(|named| Ok((named, file.metadata()?)));
        let (named, given) = looked.map_err(|source| failed("look at", &path, source))?;
        let is_it = (named.dev(), named.ino()) == (given.dev(), given.ino());
        // Takes what the file has, and fails if it has nothing and another one does.
        if !is_it || file.try_lock().is_err() {
            return Err(LockError::NotPassed { data_dir });
        }
        note_holder(&mut file).map_err(|source| failed("write", &path, source))?;
        Ok(Self { data_dir, file, is_exclusive: true })
    }

    /// A copy of the open file, for a process that takes the lock over. This process goes on
    /// without: what it drops unlocks nothing as long as there is the copy.
    ///
    /// # Errors
    /// Out of descriptors: the lock is gone then.
    pub fn pass(self) -> Result<OwnedFd, LockError> {
        let copy = self.file.try_clone();
        let path = self.data_dir.join("lock");
        copy.map(OwnedFd::from).map_err(|source| failed("pass", &path, source))
    }

    /// The directory that is locked.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        if self.is_exclusive {
            // A number that stays behind only makes a later message less exact.
            drop(self.file.set_len(0));
        }
    }
}

/// The process number in the file, if that process lives. For messages only: the lock is what
/// counts.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> LockError {
    LockError::File { action, path: path.to_owned(), source }
}
