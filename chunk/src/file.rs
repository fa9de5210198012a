//! The store that is a directory of files: the object `a/b` is the file `a/b` below the root.
//!
//! Several handles, also of several processes, may use one directory. Directories are never
//! removed. `~tmp` below the root, which no object can be called, holds what is being written.

mod direct;
mod directory;
mod open_files;
mod staging;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use self::directory::Directory;
use crate::store::{ObjectName, ObjectStore, StoreError, StoreKind};
use crate::workers::Workers;

/// A directory of files. A handle may move between threads; the blocking calls run on the
/// workers.
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: Arc<Directory>,
    workers: Workers,
}

impl FileStore {
    /// Opens the store in `root`, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// If the directory cannot be made or written.
    pub fn open(root: impl Into<PathBuf>, workers: Workers) -> Result<Self, StoreError> {
        let root = root.into();
        Self::of(&root, Directory::open(root.clone()), workers)
    }

    /// Opens the store in `root` to look at it: it must be there, and may be on a file system that takes no
    /// writes. Blocks.
    ///
    /// # Errors
    /// If it is no directory, or may not be read.
    pub fn open_to_read(root: &Path, workers: Workers) -> Result<Self, StoreError> {
        Self::of(root, Directory::open_to_read(root), workers)
    }

    fn of(
        root: &Path,
        opened: io::Result<Directory>,
        workers: Workers,
    ) -> Result<Self, StoreError> {
        let (action, object) = ("open store", root.display().to_string());
        let directory = opened.map_err(|source| StoreError::Io { action, object, source })?;
        Ok(Self { directory: Arc::new(directory), workers })
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        object: &str,
        job: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let directory = Arc::clone(&self.directory);
        let outcome = self.workers.run(move || job(&directory)).await;
        outcome.unwrap_or_else(|failure| {
            let source = io::Error::other(failure);
            Err(StoreError::Io { action, object: object.to_owned(), source })
        })
    }
}

impl ObjectStore for FileStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        let (own, body) = (name.clone(), body.into());
        self.run("put", name.as_str(), move |directory| directory.put(&own, &body)).await
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        let (own, body) = (name.clone(), body.into());
        self.run("put", name.as_str(), move |directory| directory.put_if_absent(&own, &body)).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let own = name.clone();
        self.run("read", name.as_str(), move |directory| directory.get_range(&own, range)).await
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        let own = name.clone();
        self.run("head", name.as_str(), move |directory| directory.head(&own)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let own = name.clone();
        self.run("delete", name.as_str(), move |directory| directory.delete(&own)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        let own = prefix.to_owned();
        self.run("list", prefix, move |directory| directory.list(&own)).await
    }

    fn kind(&self) -> StoreKind {
        StoreKind::File
    }
}

#[cfg(test)]
mod tests;
