//! In which order recovery touches the disk: nothing is believed before it is durable.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use futures_lite::future::block_on;

use super::log::{Log, VOLUME, floor};
use crate::disk::{DirEntry, Disk, DiskError, DiskFile};
use crate::memory::{MemoryDisk, MemoryFile};
use crate::scan::{ScanError, scan};

/// Notes what is done to its files; may refuse to sync.
#[derive(Clone)]
struct Noting {
    disk: MemoryDisk,
    notes: Rc<RefCell<Vec<String>>>,
    sync_fails: bool,
}

#[derive(Clone)]
struct NotingFile {
    file: MemoryFile,
    path: String,
    notes: Rc<RefCell<Vec<String>>>,
    sync_fails: bool,
}

impl Disk for Noting {
    type File = NotingFile;

    async fn create(&self, path: &str, _: u64) -> Result<NotingFile, DiskError> {
        panic!("recovery creates {path}");
    }

    async fn open(&self, path: &str) -> Result<NotingFile, DiskError> {
        let (file, path) = (self.disk.open(path).await?, path.into());
        Ok(NotingFile { file, path, notes: self.notes.clone(), sync_fails: self.sync_fails })
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        panic!("recovery removes {path}");
    }

    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError> {
        self.disk.list(dir).await
    }
}

impl DiskFile for NotingFile {
    type Buf = Vec<u8>;
    type Read = Vec<u8>;

    fn alloc(&self, bytes: usize) -> Vec<u8> {
        self.file.alloc(bytes)
    }

    async fn write_at(&self, _: u64, _: Rc<Vec<u8>>) -> Result<(), DiskError> {
        panic!("recovery writes {}", self.path);
    }

    async fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, DiskError> {
        self.notes.borrow_mut().push(format!("read {} {}", self.path, bytes >> 10));
        self.file.read_at(at, bytes).await
    }

    async fn sync(&self) -> Result<(), DiskError> {
        self.notes.borrow_mut().push(format!("sync {}", self.path));
        if self.sync_fails {
            let source = ErrorKind::Other.into();
            return Err(DiskError { action: "sync", path: self.path.clone(), source });
        }
        Ok(())
    }
}

fn noting(sync_fails: bool) -> Noting {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 300);
    log.write(1, &[(0, 1)]);
    log.segment("2.wal", 8);
    log.write(1, &[(0, 1)]);
    Noting { disk: log.disk, notes: Rc::default(), sync_fails }
}

#[test]
fn each_file_is_synced_before_it_is_read_and_then_read_in_pieces_once() {
    let disk = noting(false);
    block_on(scan(&disk, "wal", "", VOLUME, &floor(1))).unwrap();
    let expected = [
        "sync wal/1.wal",
        "read wal/1.wal 1024",
        "read wal/1.wal 176",
        "sync wal/2.wal",
        "read wal/2.wal 32",
    ];
    assert_eq!(*disk.notes.borrow(), expected);
}

#[test]
fn a_file_that_cannot_be_synced_is_not_believed() {
    let disk = noting(true);
    let error = block_on(scan(&disk, "wal", "", VOLUME, &floor(1))).unwrap_err();
    assert!(matches!(error, ScanError::Disk(_)), "{error}");
    assert_eq!(*disk.notes.borrow(), ["sync wal/1.wal"]);
}
