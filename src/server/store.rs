//! The object store that the configuration names.

use std::ops::Range;

use bytes::Bytes;
use chunk::{FileStore, MemoryStore, ObjectName, ObjectStore, StoreError, StoreKind, Workers};

use crate::config::StoreUrl;

/// One of the stores. A handle may move between threads.
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// A directory of files.
    File(FileStore),
    /// Memory of this process.
    Memory(MemoryStore),
}

impl AnyStore {
    /// Opens the store of a URL; a directory is made if it is missing. Blocks.
    ///
    /// # Errors
    /// If the directory cannot be made or written.
    pub fn open(url: &StoreUrl, workers: Workers) -> Result<Self, StoreError> {
        match url {
            StoreUrl::File(root) => FileStore::open(root, workers).map(Self::File),
            StoreUrl::Memory => Ok(Self::Memory(MemoryStore::new())),
        }
    }
}

impl ObjectStore for AnyStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.put(name, body).await,
            Self::Memory(store) => store.put(name, body).await,
        }
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.put_if_absent(name, body).await,
            Self::Memory(store) => store.put_if_absent(name, body).await,
        }
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::File(store) => store.get_range(name, range).await,
            Self::Memory(store) => store.get_range(name, range).await,
        }
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        match self {
            Self::File(store) => store.head(name).await,
            Self::Memory(store) => store.head(name).await,
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.delete(name).await,
            Self::Memory(store) => store.delete(name).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        match self {
            Self::File(store) => store.list(prefix).await,
            Self::Memory(store) => store.list(prefix).await,
        }
    }

    fn kind(&self) -> StoreKind {
        match self {
            Self::File(store) => store.kind(),
            Self::Memory(store) => store.kind(),
        }
    }
}
