//! The object store that the configuration names.

use std::ops::Range;

use bytes::Bytes;
use chunk::{FileStore, MemoryStore, ObjectName, ObjectStore, StoreError, StoreKind, Workers};
use futures_lite::future::block_on;
use s3::{ProofError, S3ConfigError, S3Store, S3Threads};

use super::limits::S3_THREADS;
use crate::config::{Settings, StoreUrl};
use crate::error::ErrorKind;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings of an S3 store cannot be used.
    #[error(transparent)]
    S3(#[from] S3ConfigError),
    /// The store did not prove that it honours conditions.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Threads cannot be started.
    #[error("start the threads of the S3 store: {0}")]
    Threads(#[source] std::io::Error),
}

impl OpenError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) | Self::Proof(ProofError::Store(error)) => error.kind().into(),
            Self::S3(_) | Self::Proof(_) => ErrorKind::Invalid,
            Self::Threads(error) => ErrorKind::of_io(error),
        }
    }
}

/// Whether volumes of the store will be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// An S3 store must prove first that it honours conditions.
    Write,
    /// It is looked at only.
    Read,
}

/// One of the stores. A handle may move between threads.
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// A directory of files.
    File(FileStore),
    /// Memory of this process.
    Memory(MemoryStore),
    /// A bucket.
    S3(S3Store),
}

impl AnyStore {
    /// Opens the store of the settings; a directory is made if it is missing. Blocks, and starts
    /// threads: call it before any thread is bound to a core.
    ///
    /// # Errors
    /// If the directory cannot be made or written, the bucket cannot be listed, or its store does
    /// not honour conditions and that was not accepted.
    pub fn open(settings: &Settings, access: Access, workers: Workers) -> Result<Self, OpenError> {
        match &settings.store {
            StoreUrl::File(root) => Ok(Self::File(FileStore::open(root, workers)?)),
            StoreUrl::Memory => Ok(Self::Memory(MemoryStore::new())),
            StoreUrl::S3 { bucket, prefix } => {
                let threads = S3Threads::start(S3_THREADS).map_err(OpenError::Threads)?;
                let config = settings.s3.config(bucket, prefix.as_ref());
                let store = S3Store::new(&config, &threads)?;
                block_on(store.check())?;
                if access == Access::Write {
                    prove(&store, settings.s3.accept_unconditional_put)?;
                }
                Ok(Self::S3(store))
            }
        }
    }
}

/// Fencing stands on the conditional put: without it nothing is written, unless that was asked for.
fn prove(store: &S3Store, accepted: bool) -> Result<(), OpenError> {
    match block_on(store.prove_conditional_put()) {
        Err(error @ ProofError::Ignored { .. }) if accepted => {
            log::warn!("danger.accept_unconditional_put is set: {error}");
            store.accept_unconditional_put();
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

impl ObjectStore for AnyStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.put(name, body).await,
            Self::Memory(store) => store.put(name, body).await,
            Self::S3(store) => store.put(name, body).await,
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
            Self::S3(store) => store.put_if_absent(name, body).await,
        }
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::File(store) => store.get_range(name, range).await,
            Self::Memory(store) => store.get_range(name, range).await,
            Self::S3(store) => store.get_range(name, range).await,
        }
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        match self {
            Self::File(store) => store.head(name).await,
            Self::Memory(store) => store.head(name).await,
            Self::S3(store) => store.head(name).await,
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.delete(name).await,
            Self::Memory(store) => store.delete(name).await,
            Self::S3(store) => store.delete(name).await,
        }
    }

    async fn delete_many(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.delete_many(names).await,
            Self::Memory(store) => store.delete_many(names).await,
            Self::S3(store) => store.delete_many(names).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        match self {
            Self::File(store) => store.list(prefix).await,
            Self::Memory(store) => store.list(prefix).await,
            Self::S3(store) => store.list(prefix).await,
        }
    }

    fn kind(&self) -> StoreKind {
        match self {
            Self::File(store) => store.kind(),
            Self::Memory(store) => store.kind(),
            Self::S3(store) => store.kind(),
        }
    }
}
