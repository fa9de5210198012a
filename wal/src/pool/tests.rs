//! What the pool promises.

use std::io::ErrorKind;

use futures_lite::future::block_on;

use super::*;
use crate::disk::DirEntry;
use crate::memory::{MemoryDisk, MemoryFile};

fn pool(disk: &MemoryDisk, max: usize) -> SegmentPool<MemoryDisk> {
    block_on(SegmentPool::open(disk.clone(), config(max))).unwrap()
}

fn config(max_segments: usize) -> PoolConfig {
    PoolConfig {
        dir: "wal/0".into(),
        segment_blocks: 4,
        prefix: String::new(),
        max_segments,
        written_segments: max_segments,
        shard: ShardId(0),
        shards: 1,
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let disk = MemoryDisk::new();
    disk.put("wal/0/3-00000041.wal", vec![0; 8192]);
    disk.put("wal/0/00000050.wal", vec![0; 8192]);
    let config = PoolConfig { prefix: "3-".into(), ..config(4) };
    let pool = block_on(SegmentPool::open(disk, config)).unwrap();
    assert_eq!(block_on(pool.acquire(false)).unwrap().name, "3-00000042.wal");
}

#[test]
fn files_are_numbered_above_those_that_are_there() {
    let disk = MemoryDisk::new();
    disk.put("wal/0/00000041.wal", vec![0; 8192]);
    disk.put("wal/0/notes.txt", vec![0; 8192]);
    disk.put("wal/0/18446744073709551615.wal", vec![0; 8192]);
    let pool = pool(&disk, 9);
    let segment = block_on(pool.acquire(false)).unwrap();
    assert_eq!(segment.name, "00000042.wal");
    assert_eq!(pool.usage(), PoolUsage { files: 1, bytes: 16384, free: 0 });
    assert_eq!(disk.bytes("wal/0/00000042.wal").unwrap(), vec![0; 16384]);
}

#[test]
fn shards_share_a_directory_without_meeting() {
    let disk = MemoryDisk::new();
    disk.put("wal/0/00000007.wal", vec![0; 8192]);
    let mut names = Vec::new();
    for shard in (0..3).map(ShardId) {
        let config = PoolConfig { shard, shards: 3, ..config(9) };
        let pool = block_on(SegmentPool::open(disk.clone(), config)).unwrap();
        names.extend((0..2).map(|_| block_on(pool.acquire(false)).unwrap().name.clone()));
    }
    let numbers: Vec<_> = names.iter().map(|name| &name[6..8]).collect();
    assert_eq!(numbers, ["09", "12", "16", "19", "23", "26"]);
}

#[test]
fn a_retired_file_is_used_again_once_nobody_holds_it() {
    let pool = pool(&MemoryDisk::new(), 9);
    let segment = block_on(pool.acquire(false)).unwrap();
    let reader = segment.clone();
    pool.retire(segment);
    assert_eq!(block_on(pool.acquire(false)).unwrap().name, "00000002.wal");
    drop(reader);
    assert_eq!(block_on(pool.acquire(false)).unwrap().name, "00000001.wal");
    assert_eq!(pool.usage(), PoolUsage { files: 2, bytes: 32768, free: 0 });
}

#[test]
fn the_limit_is_not_an_error_of_the_disk() {
    let pool = pool(&MemoryDisk::new(), 1);
    let segment = block_on(pool.acquire(false)).unwrap();
    assert!(matches!(block_on(pool.acquire(false)), Err(PoolError::Full { max: 1 })));
    pool.retire(segment);
    assert!(block_on(pool.acquire(false)).is_ok());
}

#[test]
fn trim_removes_what_is_free_and_unread() {
    let disk = MemoryDisk::new();
    let pool = pool(&disk, 9);
    let segments: Vec<_> = (0..4).map(|_| block_on(pool.acquire(false)).unwrap()).collect();
    let reader = segments[3].clone();
    segments.into_iter().for_each(|segment| pool.retire(segment));
    block_on(pool.trim(2)).unwrap();
    assert_eq!(pool.usage(), PoolUsage { files: 2, bytes: 32768, free: 2 });
    assert!(disk.bytes("wal/0/00000004.wal").is_some(), "it is being read");
    drop(reader);
    block_on(pool.trim(0)).unwrap();
    assert_eq!(pool.usage(), PoolUsage::default());
    assert!(block_on(disk.list("wal/0")).unwrap().is_empty());
}

/// A disk that notes which files are pre-written and which only reserved.
#[derive(Clone)]
struct Noting(MemoryDisk, Rc<RefCell<String>>);

impl Disk for Noting {
    type File = MemoryFile;

    async fn create(&self, path: &str, bytes: u64) -> Result<MemoryFile, DiskError> {
        self.1.borrow_mut().push('w');
        self.0.create(path, bytes).await
    }

    async fn reserve(&self, path: &str, bytes: u64) -> Result<MemoryFile, DiskError> {
        self.1.borrow_mut().push('r');
        self.0.create(path, bytes).await
    }

    async fn open(&self, path: &str) -> Result<MemoryFile, DiskError> {
        self.0.open(path).await
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.0.remove(path).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError> {
        self.0.list(dir).await
    }
}

#[test]
fn the_first_files_and_those_for_what_is_flushed_are_pre_written() {
    let noted = Rc::new(RefCell::new(String::new()));
    let disk = Noting(MemoryDisk::new(), noted.clone());
    let config = PoolConfig { written_segments: 2, ..config(9) };
    let pool = block_on(SegmentPool::open(disk, config)).unwrap();
    let mut held = Vec::new();
    for is_flushed in [false, false, false, true, false] {
        held.push(block_on(pool.acquire(is_flushed)).unwrap());
    }
    assert_eq!(*noted.borrow(), "wwrwr");
}

/// A disk that lets nobody create a file.
#[derive(Clone)]
struct Refusing(ErrorKind);

impl Refusing {
    fn error(&self) -> DiskError {
        DiskError { action: "create", path: "x".into(), source: self.0.into() }
    }
}

impl Disk for Refusing {
    type File = MemoryFile;

    async fn create(&self, _: &str, _: u64) -> Result<MemoryFile, DiskError> {
        Err(self.error())
    }

    async fn open(&self, _: &str) -> Result<MemoryFile, DiskError> {
        Err(self.error())
    }

    async fn remove(&self, _: &str) -> Result<(), DiskError> {
        Err(self.error())
    }

    async fn list(&self, _: &str) -> Result<Vec<DirEntry>, DiskError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_full_disk_is_told_from_a_failing_one_and_costs_no_place() {
    for (kind, is_no_space) in [(ErrorKind::StorageFull, true), (ErrorKind::Other, false)] {
        let pool = block_on(SegmentPool::open(Refusing(kind), config(1))).unwrap();
        for _ in 0..2 {
            match block_on(pool.acquire(false)).unwrap_err() {
                PoolError::NoSpace(_) => assert!(is_no_space),
                PoolError::Disk(_) => assert!(!is_no_space),
                PoolError::Full { .. } => panic!("a failed create holds no place"),
            }
        }
        assert_eq!(pool.usage(), PoolUsage::default());
    }
}
