//! Local files for reading only, as a [`Disk`] without an executor: the commands look at logs with
//! the code that the server recovers them with.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use wal::disk::{DirEntry, Disk, DiskError, DiskFile};

/// Files below a directory. Every operation blocks; those that change something fail.
#[derive(Clone, Debug)]
pub(super) struct PlainDisk {
    root: Rc<Path>,
}

impl PlainDisk {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }
}

fn failed(action: &'static str, path: &str, source: io::Error) -> DiskError {
    DiskError { action, path: path.to_owned(), source }
}

fn read_only(action: &'static str, path: &str) -> DiskError {
    failed(action, path, io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for PlainDisk {
    type File = PlainFile;

    async fn create(&self, path: &str, _bytes: u64) -> Result<PlainFile, DiskError> {
        Err(read_only("create", path))
    }

    async fn open(&self, path: &str) -> Result<PlainFile, DiskError> {
        let file = File::open(self.root.join(path)).map_err(|error| failed("open", path, error))?;
        Ok(PlainFile { name: path.into(), file: Rc::new(file) })
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        Err(read_only("remove", path))
    }

    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError> {
        let listed = || {
            let mut files = Vec::new();
            for entry in fs::read_dir(self.root.join(dir))? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    files.push(DirEntry { name, bytes: entry.metadata()?.len() });
                }
            }
            files.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(files)
        };
        match listed() {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| failed("list", dir, error)),
        }
    }
}

/// An open file.
#[derive(Clone, Debug)]
pub(super) struct PlainFile {
    name: Rc<str>,
    file: Rc<File>,
}

impl PlainFile {
    pub(super) fn new(path: &Path, file: File) -> Self {
        Self { name: path.to_string_lossy().into(), file: Rc::new(file) }
    }
}

impl DiskFile for PlainFile {
    type Buf = Vec<u8>;
    type Read = Vec<u8>;

    fn alloc(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }

    async fn write_at(&self, _at: u64, _buf: Rc<Vec<u8>>) -> Result<(), DiskError> {
        Err(read_only("write to", &self.name))
    }

    async fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, DiskError> {
        let mut read = vec![0; bytes];
        let result = self.file.read_exact_at(&mut read, at);
        result.map(|()| read).map_err(|error| failed("read", &self.name, error))
    }

    /// Syncs what other processes wrote before.
    async fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|error| failed("sync", &self.name, error))
    }
}
