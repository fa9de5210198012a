//! An open file of the simulated disk.

use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use wal::disk::{DiskBuf, DiskError, DiskFile};
use wal::{BLOCK_BYTES, SECTOR_BYTES};

use super::platter::Change;
use super::{Call, Drive, SimDisk, failed, is_log};
use crate::sim::executor::ProcessId;

/// What a fresh write buffer holds: nothing that a reader may rely on.
const UNWRITTEN: u8 = 0xDB;

/// A buffer for the simulated disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimBuf(Vec<u8>);

impl Deref for SimBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for SimBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl DiskBuf for SimBuf {
    fn truncate(&mut self, bytes: usize) {
        self.0.truncate(bytes);
    }
}

/// An open file, as one process sees it.
#[derive(Clone)]
pub struct SimFile {
    drive: Drive,
    process: ProcessId,
    path: Rc<str>,
    inode: u64,
    _open: Rc<()>,
}

impl SimFile {
    pub(super) fn new(disk: &SimDisk, path: &str, (inode, open): (u64, Rc<()>)) -> Self {
        let drive = disk.drive.clone();
        Self { drive, process: disk.process, path: path.into(), inode, _open: open }
    }
}

fn assert_whole_blocks(at: u64, bytes: usize) {
    assert!(at.is_multiple_of(BLOCK_BYTES as u64), "offset {at} is not a block's");
    assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are not whole blocks");
}

impl DiskFile for SimFile {
    type Buf = SimBuf;
    type Read = SimBuf;

    fn alloc(&self, bytes: usize) -> SimBuf {
        SimBuf(vec![UNWRITTEN; bytes])
    }

    async fn write_at(&self, at: u64, buf: Rc<SimBuf>) -> Result<(), DiskError> {
        assert_whole_blocks(at, buf.len());
        let len = buf.len() as u64;
        let has = self.drive.hardware.platter.borrow().file_bytes(self.inode);
        assert!(at + len <= has, "write to {} ends at {}, the file at {has}", self.path, at + len);
        let no_space = (!self.drive.take_allowance(len)).then_some(ErrorKind::StorageFull);
        let sum = u64::from(crc32c::crc32c(&buf));
        let change = Change::Write { inode: self.inode, at, data: Rc::from(&buf[..]) };
        let op = self.drive.hardware.platter.borrow_mut().begin(self.process, change);
        let words = [at, len, sum];
        let reply =
            self.drive.start(self.process, Call::Write, words, &self.path, move |p, r, error| {
                match error.or(no_space) {
                    None => {
                        p.finish(op);
                        Ok(())
                    }
                    Some(error) => {
                        p.finish_in_part(op, r);
                        Err(error)
                    }
                }
            });
        let done = reply.await;
        // The disk lets go of the caller's buffer when it answers, not before.
        drop(buf);
        done.map_err(|kind| failed("write to", &self.path, kind))
    }

    async fn read_at(&self, at: u64, bytes: usize) -> Result<SimBuf, DiskError> {
        assert_whole_blocks(at, bytes);
        let (inode, words) = (self.inode, [at, bytes as u64, 0]);
        let reply =
            self.drive.start(self.process, Call::Read, words, &self.path, move |p, r, error| {
                if let Some(error) = error {
                    return Err(error);
                }
                p.read(inode, at, bytes, r).map(SimBuf).ok_or(ErrorKind::UnexpectedEof)
            });
        reply.await.map_err(|kind| failed("read", &self.path, kind))
    }

    async fn sync(&self) -> Result<(), DiskError> {
        let inode = self.inode;
        // Only what has completed by now is promised.
        let upto = self.drive.hardware.platter.borrow().applied();
        let words = [inode, upto, 0];
        let hardware = Rc::clone(&self.drive.hardware);
        let reply =
            self.drive.start(self.process, Call::Sync, words, &self.path, move |p, r, error| {
                match error {
                    None if hardware.told_error.get() => Ok(()),
                    None => {
                        p.sync(inode, upto);
                        Ok(())
                    }
                    Some(error) => {
                        p.fail_sync(inode, upto, r);
                        Err(error)
                    }
                }
            });
        let synced = reply.await;
        if synced.is_err() && is_log(&self.path) {
            self.drive.hardware.told_error.set(true);
        }
        synced.map_err(|kind| failed("sync", &self.path, kind))
    }
}

const _: () = assert!(BLOCK_BYTES.is_multiple_of(SECTOR_BYTES));
