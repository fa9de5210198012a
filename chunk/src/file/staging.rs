//! Where objects are written before they get their names: a directory of this opening's own,
//! `~tmp/<number>/`, on the same file system.
//!
//! Its file `lock` is locked as long as the opening lives, so that the next one to open the store
//! can tell what a dead process left behind. `~tmp/lock` serializes openings.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

use super::direct;

const DIRECTORY: &str = "~tmp";
const LOCK: &str = "lock";

#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    next: AtomicU64,
    /// Held, never read.
    lock: File,
}

impl Staging {
    /// Removes what dead openings left, then makes a directory of its own. Nothing here needs to
    /// survive a power cut.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let all = root.join(DIRECTORY);
        fs::create_dir_all(&all)?;
        let opening = File::create(all.join(LOCK))?;
        opening.lock()?;
        sweep(&all)?;
        let directory = (0u64..)
            .map(|n| all.join(format!("{}-{n}", std::process::id())))
            .find_map(|path| match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                outcome => Some(outcome.map(|()| path)),
            })
            .expect("some number is free")?;
        let lock = File::create(directory.join(LOCK))?;
        lock.lock()?;
        Ok(Self { directory, next: AtomicU64::new(0), lock })
    }

    /// A durable file with these bytes and no name that counts.
    pub(super) fn write(&self, body: &[u8]) -> io::Result<Staged> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let staged = Staged { path: self.directory.join(number.to_string()) };
        direct::write_new(&staged.path, body)?;
        Ok(staged)
    }

    /// Makes a change that alters nothing, and fails if the file system can make none: ext4 stops its
    /// journal at an error, and some milliseconds later refuses syncs. One that comes between finds
    /// that what it is asked for is not in the journal any more, and says that all is well (seen with
    /// Linux 6.18: in 1,300 such errors under load a name and a block were lost so).
    pub(super) fn prove(&self) -> io::Result<()> {
        match retry_on_intr(|| fallocate(&self.lock, FallocateFlags::KEEP_SIZE, 0, 1)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOSPC | Errno::DQUOT) => Ok(()),
            taken => Ok(taken?),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left is swept by the next opening.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// A file that waits for its name; whatever still has its first name at the end is removed.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already if it was renamed; else the next opening sweeps it.
        drop(fs::remove_file(&self.path));
    }
}

/// Removes the directories of openings whose lock nobody holds.
fn sweep(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let alive = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        };
        if !alive {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
