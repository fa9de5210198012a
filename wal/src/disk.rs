//! The seam to the local disk: a directory tree of files that are read and written in whole
//! blocks. The product runs it on io_uring with O_DIRECT, the simulation on a disk that tears,
//! drops and reorders what was not synced.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// What went wrong with a file of the local disk.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {source}")]
pub struct DiskError {
    /// What was tried, as a verb: "append to", "sync", "read", ...
    pub action: &'static str,
    /// The file, relative to the data directory.
    pub path: String,
    /// What the operating system said.
    #[source]
    pub source: std::io::Error,
}

impl DiskError {
    /// Whether the disk or a quota is full: the one error that goes away by itself.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }

    /// The same, of something that must not be tried again, also if the disk was full.
    #[must_use]
    pub fn into_final(self) -> Self {
        Self { source: std::io::Error::other(self.source), ..self }
    }
}

/// A file in a directory listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Name within the directory.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A buffer that the disk can transfer without a copy (aligned, possibly registered).
pub trait DiskBuf: Deref<Target = [u8]> + DerefMut {
    /// Shortens the buffer to its first `bytes`.
    fn truncate(&mut self, bytes: usize);
}

/// Local files below one data directory, as one core sees them. Paths are relative to it, with
/// `/` between parts. A handle is cheap to clone.
pub trait Disk: Clone + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a file of `bytes` zero bytes, really written: later writes and their syncs change no
    /// metadata of the file system. Missing directories are made; the file and its directory are
    /// synced when this returns.
    ///
    /// # Errors
    /// If it exists, or the disk is full: then no file is left behind.
    async fn create(&self, path: &str, bytes: u64) -> Result<Self::File, DiskError>;

    /// As [`Self::create`], but the space is only reserved where that is another thing: made at
    /// once, but the first sync after a write to a block has metadata to write as well.
    ///
    /// # Errors
    /// As [`Self::create`].
    async fn reserve(&self, path: &str, bytes: u64) -> Result<Self::File, DiskError> {
        self.create(path, bytes).await
    }

    /// Opens an existing file for reading and writing.
    async fn open(&self, path: &str) -> Result<Self::File, DiskError>;

    /// Removes a file; missing is fine. The directory is synced when this returns.
    async fn remove(&self, path: &str) -> Result<(), DiskError>;

    /// Lists the files of a directory, sorted by name; a missing directory is empty.
    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError>;
}

/// One open file. A handle is cheap to clone; all offsets and lengths are whole blocks.
pub trait DiskFile: Clone + 'static {
    /// Buffer for writes.
    type Buf: DiskBuf + 'static;
    /// Buffer that a read returns.
    type Read: Deref<Target = [u8]> + 'static;

    /// A buffer for writing, of `bytes`, with unspecified content.
    fn alloc(&self, bytes: usize) -> Self::Buf;

    /// Writes the whole buffer at byte `at`. Not durable until [`Self::sync`]. The buffer is
    /// shared so that it can still be read while it is under way.
    async fn write_at(&self, at: u64, buf: Rc<Self::Buf>) -> Result<(), DiskError>;

    /// [`Self::write_at`] and then [`Self::sync`], where that can be one request as one. Durable is
    /// this write only, and nothing that was written before.
    ///
    /// # Errors
    /// Final, as of a sync; only for lack of space it may be tried again.
    async fn write_durably(&self, at: u64, buf: Rc<Self::Buf>) -> Result<(), DiskError> {
        self.write_at(at, buf).await?;
        self.sync().await.map_err(DiskError::into_final)
    }

    /// Reads exactly `bytes` at byte `at`; the end of the file before that is an error.
    async fn read_at(&self, at: u64, bytes: usize) -> Result<Self::Read, DiskError>;

    /// Makes durable every write to this file (through any handle) that completed before the
    /// call (fdatasync).
    ///
    /// # Errors
    /// Final: what was not durable may be gone, and a later sync that succeeds proves nothing.
    async fn sync(&self) -> Result<(), DiskError>;
}
