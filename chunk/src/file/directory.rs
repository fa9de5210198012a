//! The blocking half of the file store.
//!
//! Writing an object:
//! 1. Make its directories, each synced into its parent. A power cut leaves empty directories.
//! 2. Write the bytes to a staged file and sync them. A power cut leaves a file in `~tmp`, which
//!    the next opening sweeps.
//! 3. Rename it over the object's name, or, if the name must be free, link it there, which fails
//!    if it is not. A power cut leaves the object whole or, as the directory was not synced, what
//!    was there before; its bytes are durable in either case.
//! 4. Sync the directory. From here on the object survives a power cut.
//! 5. After a link: remove the staged name. A power cut leaves it in `~tmp`, see step 2.
//!
//! A sync is believed when a change to the file system succeeds after it, see [`Staging::prove`].
//!
//! If step 4 fails it is not known what a power cut would leave, and another sync that succeeds
//! would prove nothing, whoever of several threads asked for it. So no sync counts from then on,
//! and the store takes no more writes until it is opened again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::open_files::{OpenFile, OpenFiles};
use super::staging::Staging;
use crate::limits::SMALL_OBJECT_BYTES;
use crate::store::{ObjectName, StoreError};

#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    /// Made when something is put for the first time.
    staging: Mutex<Option<Arc<Staging>>>,
    files: Mutex<OpenFiles>,
    /// Directories that are known to survive a power cut, relative to the root.
    durable: Mutex<HashSet<PathBuf>>,
    /// A directory could not be synced.
    failed: AtomicBool,
}

impl Directory {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        let missing = root.ancestors().take_while(|path| !path.exists()).count();
        fs::create_dir_all(&root)?;
        let root = root.canonicalize()?;
        // One more than were made just now: an earlier opening may have died before its sync.
        for parent in root.ancestors().skip(1).take(missing.max(1)) {
            match sync_directory(parent) {
                // Not ours to read, so not made by us.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => break,
                outcome => outcome?,
            }
        }
        let directory = Self::of(root);
        directory.staging()?;
        Ok(directory)
    }

    /// One that is there, in which nothing is made before something is put.
    pub(super) fn open_to_read(root: &Path) -> io::Result<Self> {
        root.read_dir()?;
        Ok(Self::of(root.canonicalize()?))
    }

    fn of(root: PathBuf) -> Self {
        Self {
            root,
            staging: Mutex::default(),
            files: Mutex::default(),
            durable: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    fn staging(&self) -> io::Result<Arc<Staging>> {
        let mut staging = self.staging.lock().expect("no holder of this lock panics");
        if let Some(staging) = &*staging {
            return Ok(staging.clone());
        }
        let opened = Arc::new(Staging::open(&self.root)?);
        *staging = Some(opened.clone());
        Ok(opened)
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn files(&self) -> MutexGuard<'_, OpenFiles> {
        self.files.lock().expect("no holder of this lock panics")
    }

    pub(super) fn put(&self, name: &ObjectName, body: &[u8]) -> Result<(), StoreError> {
        let write = || {
            self.make_directories(name)?;
            let staging = self.staging()?;
            let staged = staging.write(body)?;
            fs::rename(staged.path(), self.path(name))?;
            self.files().forget(name.as_str());
            self.sync_parent(name)
        };
        write().map_err(|source| failure("put", name.as_str(), source))
    }

    pub(super) fn put_if_absent(&self, name: &ObjectName, body: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        let write = || {
            self.make_directories(name)?;
            let outcome = match path.symlink_metadata() {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(_) => {
                    let staging = self.staging()?;
                    let staged = staging.write(body)?;
                    fs::hard_link(staged.path(), &path)
                }
            };
            match outcome {
                // Whoever made it may have died before step 4; who asks again must not take an
                // object for durable that is not.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    self.sync_parent(name).map(|()| false)
                }
                outcome => outcome.and_then(|()| self.sync_parent(name)).map(|()| true),
            }
        };
        match write() {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Exists { object: name.to_string() }),
            Err(source) => Err(failure("put", name.as_str(), source)),
        }
    }

    pub(super) fn get_range(
        &self,
        name: &ObjectName,
        range: Range<u64>,
    ) -> Result<Vec<u8>, StoreError> {
        let fail = |source| failure("read", name.as_str(), source);
        let OpenFile { file, len } = self.open_file(name).map_err(fail)?;
        let short = |len| StoreError::Range { object: name.to_string(), range: range.clone(), len };
        if range.start > range.end || range.end > len {
            return Err(short(len));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        match file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(bytes),
            // Somebody cut the file since it was opened.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(short(file.metadata().map_err(fail)?.len()))
            }
            Err(error) => Err(fail(error)),
        }
    }

    fn open_file(&self, name: &ObjectName) -> io::Result<OpenFile> {
        let mark = {
            let mut files = self.files();
            if let Some(file) = files.get(name.as_str()) {
                return Ok(file);
            }
            files.mark()
        };
        let file = File::open(self.path(name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let file = OpenFile { file: Arc::new(file), len: metadata.len() };
        // Small objects are those that another process may delete and make anew: names.
        if file.len > SMALL_OBJECT_BYTES {
            self.files().keep(name.as_str(), file.clone(), mark);
        }
        Ok(file)
    }

    pub(super) fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        let metadata = fs::metadata(self.path(name));
        let length = metadata.and_then(|metadata| match metadata.is_file() {
            true => Ok(metadata.len()),
            false => Err(ErrorKind::NotFound.into()),
        });
        length.map_err(|source| failure("head", name.as_str(), source))
    }

    /// The directory is synced also if the object was missing: an earlier call may have died
    /// before that.
    pub(super) fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let removed = fs::remove_file(self.path(name));
        self.files().forget(name.as_str());
        let synced = match removed {
            Err(error) if !is_missing(&error) => Err(error),
            Ok(()) | Err(_) => self.sync_parent(name),
        };
        match synced {
            Err(error) if !is_missing(&error) => Err(failure("delete", name.as_str(), error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        // What stands before the last slash is a directory that all such objects are in.
        let base = match prefix.rsplit_once('/') {
            None => Some(""),
            Some((base, _)) => ObjectName::new(base).map(|_| base),
        };
        let mut found = Vec::new();
        if let Some(base) = base {
            self.walk(base, prefix, &mut found)
                .map_err(|source| failure("list", prefix, source))?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn walk(&self, base: &str, prefix: &str, found: &mut Vec<(ObjectName, u64)>) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(base)) {
            Err(error) if is_missing(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(part) = entry.file_name().into_string() else { continue };
            let path = if base.is_empty() { part } else { format!("{base}/{part}") };
            // What cannot be an object's name is none: `~tmp` above all.
            let Some(name) = ObjectName::new(path) else { continue };
            let path = name.as_str();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                // All directories but the first few lie behind the whole prefix.
                if path.starts_with(prefix) || prefix.starts_with(&format!("{path}/")) {
                    self.walk(path, prefix, found)?;
                }
            } else if kind.is_file() && path.starts_with(prefix) {
                match entry.metadata() {
                    Ok(metadata) => found.push((name, metadata.len())),
                    Err(error) if is_missing(&error) => {} // Deleted just now.
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Makes the directories of an object and syncs each into its parent, whoever made it.
    fn make_directories(&self, name: &ObjectName) -> io::Result<()> {
        self.check()?;
        let durable = || self.durable.lock().expect("no holder of this lock panics");
        let mut at = PathBuf::new();
        let parent = Path::new(name.as_str()).parent().unwrap_or(Path::new(""));
        if durable().contains(parent) {
            return Ok(());
        }
        for part in parent {
            let above = self.root.join(&at);
            at.push(part);
            if durable().contains(&at) {
                continue;
            }
            match fs::create_dir(self.root.join(&at)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                outcome => outcome?,
            }
            self.sync(&above)?;
            durable().insert(at.clone());
        }
        Ok(())
    }

    fn sync_parent(&self, name: &ObjectName) -> io::Result<()> {
        let path = self.path(name);
        self.sync(path.parent().expect("objects are below the root"))
    }

    fn sync(&self, directory: &Path) -> io::Result<()> {
        let outcome = sync_directory(directory).and_then(|()| self.staging()?.prove());
        if let Err(error) = &outcome
            && !is_missing(error)
        {
            self.failed.store(true, Ordering::Release);
        }
        outcome.and_then(|()| self.check())
    }

    /// Fails after a sync that failed.
    fn check(&self) -> io::Result<()> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(io::Error::other(DirectoryFailed)),
            false => Ok(()),
        }
    }

    #[cfg(test)]
    pub(super) fn open_files(&self) -> usize {
        self.files().len()
    }

    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }
}

/// An earlier sync of a directory failed.
#[derive(Debug, thiserror::Error)]
#[error("an earlier sync of a directory failed; the store must be opened again")]
struct DirectoryFailed;

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether an error says that there is no such file.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn failure(action: &'static str, object: &str, source: io::Error) -> StoreError {
    let object = object.to_owned();
    if is_missing(&source) && matches!(action, "read" | "head") {
        StoreError::NotFound { action, object }
    } else {
        StoreError::Io { action, object, source }
    }
}
