//! A disk in memory, without faults: for tests, and for tools that have the bytes of a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::disk::{DirEntry, Disk, DiskBuf, DiskError, DiskFile};

type Bytes = Rc<RefCell<Vec<u8>>>;

/// Files in memory; all clones see the same ones.
#[derive(Clone, Default, Debug)]
pub struct MemoryDisk {
    files: Rc<RefCell<BTreeMap<String, Bytes>>>,
}

/// An open file of a [`MemoryDisk`]. It outlives its removal, as on a real disk.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    path: Rc<str>,
    bytes: Bytes,
}

impl DiskBuf for Vec<u8> {
    fn truncate(&mut self, bytes: usize) {
        Vec::truncate(self, bytes);
    }
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file in place, whatever was there.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files.borrow_mut().insert(path.into(), Rc::new(RefCell::new(bytes)));
    }

    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.files.borrow().get(path).map(|file| file.borrow().clone())
    }
}

fn error(action: &'static str, path: &str, kind: io::ErrorKind) -> DiskError {
    DiskError { action, path: path.into(), source: kind.into() }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    async fn create(&self, path: &str, bytes: u64) -> Result<MemoryFile, DiskError> {
        if self.files.borrow().contains_key(path) {
            return Err(error("create", path, io::ErrorKind::AlreadyExists));
        }
        let bytes = usize::try_from(bytes)
            .map_err(|_| error("create", path, io::ErrorKind::FileTooLarge))?;
        self.put(path, vec![0; bytes]);
        self.open(path).await
    }

    async fn open(&self, path: &str) -> Result<MemoryFile, DiskError> {
        match self.files.borrow().get(path) {
            None => Err(error("open", path, io::ErrorKind::NotFound)),
            Some(bytes) => Ok(MemoryFile { path: path.into(), bytes: bytes.clone() }),
        }
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.files.borrow_mut().remove(path);
        Ok(())
    }

    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError> {
        let prefix = format!("{dir}/");
        let files = self.files.borrow();
        let below = files.iter().filter_map(|(path, bytes)| {
            let name = path.strip_prefix(&prefix).filter(|name| !name.contains('/'))?;
            Some(DirEntry { name: name.into(), bytes: bytes.borrow().len() as u64 })
        });
        Ok(below.collect())
    }
}

impl MemoryFile {
    /// The range of `bytes` at `at`, if the file has it.
    fn range(&self, at: u64, bytes: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(at).ok()?;
        let end = start.checked_add(bytes)?;
        (end <= self.bytes.borrow().len()).then_some(start..end)
    }
}

impl DiskFile for MemoryFile {
    type Buf = Vec<u8>;
    type Read = Vec<u8>;

    /// Filled with a pattern: whoever counts on zeros shows in the first test.
    fn alloc(&self, bytes: usize) -> Vec<u8> {
        vec![0xa5; bytes]
    }

    async fn write_at(&self, at: u64, buf: Rc<Vec<u8>>) -> Result<(), DiskError> {
        let range = self
            .range(at, buf.len())
            .ok_or_else(|| error("write", &self.path, io::ErrorKind::FileTooLarge))?;
        self.bytes.borrow_mut()[range].copy_from_slice(&buf);
        Ok(())
    }

    async fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, DiskError> {
        let range = self
            .range(at, bytes)
            .ok_or_else(|| error("read", &self.path, io::ErrorKind::UnexpectedEof))?;
        Ok(self.bytes.borrow()[range].to_vec())
    }

    async fn sync(&self) -> Result<(), DiskError> {
        Ok(())
    }
}
