//! The object store that the configuration names.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use chunk::{
    FileStore, MemoryStore, ObjectName, ObjectStore, RemoteCause, StoreError, StoreKind, Workers,
};
use futures_lite::future::block_on;
use s3::{ProofError, S3Config, S3ConfigError, S3Store, S3Threads, Timeouts};
use wal::VolumeId;

use super::limits::{FIRST_LOOK, S3_THREADS};
use super::traffic::{Traffic, VolumeTraffic};
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
    /// Whether the store may just be down, and be there later with nothing else changed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let (Self::Store(error) | Self::Proof(ProofError::Store(error))) = self else {
            return false;
        };
        let StoreError::Remote { failure, .. } = error else { return false };
        match failure.cause {
            RemoteCause::Overloaded { .. }
            | RemoteCause::Failed { .. }
            | RemoteCause::Timeout { .. }
            | RemoteCause::Connection { .. }
            | RemoteCause::Length { .. } => true,
            RemoteCause::Credentials { .. }
            | RemoteCause::Denied { .. }
            | RemoteCause::ClockSkew { .. }
            | RemoteCause::Refused { .. }
            | RemoteCause::Redirect { .. }
            | RemoteCause::Malformed { .. }
            | RemoteCause::Stopped => false,
        }
    }

    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) | Self::Proof(ProofError::Store(error)) => kind_of(error),
            Self::S3(_) | Self::Proof(_) => ErrorKind::Invalid,
            Self::Threads(error) => ErrorKind::of_io(error),
        }
    }
}

/// What somebody does about a store that cannot be opened. While a server runs that is to try again, as
/// keys and permissions get mended; here it would be in vain.
fn kind_of(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::Remote { failure, .. } => match &failure.cause {
            RemoteCause::Credentials { .. } | RemoteCause::Denied { .. } => ErrorKind::Denied,
            RemoteCause::Refused { answer } if answer.status == 404 => ErrorKind::NotFound,
            RemoteCause::ClockSkew { .. }
            | RemoteCause::Refused { .. }
            | RemoteCause::Redirect { .. }
            | RemoteCause::Malformed { .. } => ErrorKind::Invalid,
            _ => error.kind().into(),
        },
        StoreError::Io { source, .. } => match ErrorKind::of_io(source) {
            ErrorKind::Io => ErrorKind::Invalid,
            kind => kind,
        },
        _ => error.kind().into(),
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

/// One of the stores, with counts of what each volume asks of it. A handle may move between threads.
#[derive(Clone, Debug)]
pub struct AnyStore {
    place: Place,
    traffic: Traffic,
}

#[derive(Clone, Debug)]
enum Place {
    File(FileStore),
    Memory(MemoryStore),
    S3(S3Store),
}

/// Asks the one store that there is.
macro_rules! ask {
    ($store:expr, $name:ident => $ask:expr) => {
        match &$store.place {
            Place::File($name) => $ask,
            Place::Memory($name) => $ask,
            Place::S3($name) => $ask,
        }
    };
}

impl AnyStore {
    /// Opens the store of the settings; to write, a directory is made if it is missing. Blocks, and starts
    /// threads: call it before any thread is bound to a core.
    ///
    /// # Errors
    /// If the directory cannot be made or written, the bucket cannot be listed, or its store does
    /// not honour conditions and that was not accepted.
    pub fn open(settings: &Settings, access: Access, workers: Workers) -> Result<Self, OpenError> {
        let place = match &settings.store {
            StoreUrl::File(root) => Place::File(match access {
                Access::Write => FileStore::open(root, workers)?,
                Access::Read => FileStore::open_to_read(root, workers)?,
            }),
            StoreUrl::Memory => Place::Memory(MemoryStore::new()),
            StoreUrl::S3 { bucket, prefix } => {
                let threads = S3Threads::start(S3_THREADS).map_err(OpenError::Threads)?;
                let config = settings.s3.config(bucket, prefix.as_ref());
                let store = S3Store::new(&config, &threads)?;
                block_on(S3Store::new(&impatient(config), &threads)?.check())?;
                if access == Access::Write {
                    prove(&store, settings.s3.accept_unconditional_put)?;
                }
                Place::S3(store)
            }
        };
        Ok(Self { place, traffic: Traffic::default() })
    }

    /// The bucket, if it is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&S3Store> {
        match &self.place {
            Place::S3(store) => Some(store),
            Place::File(_) | Place::Memory(_) => None,
        }
    }

    /// What a volume has asked of it so far.
    #[must_use]
    pub fn traffic(&self, volume: VolumeId) -> VolumeTraffic {
        self.traffic.of(volume)
    }
}

/// For the first look at a bucket: whoever starts something wants to hear soon that it is down.
fn impatient(config: S3Config) -> S3Config {
    let within = |span: Duration| span.min(FIRST_LOOK);
    let Timeouts { connect, read, attempt, operation } = config.timeouts;
    let timeouts = Timeouts {
        connect: within(connect),
        read: within(read),
        attempt: within(attempt),
        operation: within(operation),
    };
    S3Config { timeouts, ..config }
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
        let body = body.into();
        self.traffic.note_put(name, body.len());
        ask!(self, store => store.put(name, body).await)
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        let body = body.into();
        self.traffic.note_put(name, body.len());
        ask!(self, store => store.put_if_absent(name, body).await)
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.traffic.note(name.as_str());
        ask!(self, store => store.get_range(name, range).await)
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.traffic.note(name.as_str());
        ask!(self, store => store.head(name).await)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.traffic.note(name.as_str());
        ask!(self, store => store.delete(name).await)
    }

    async fn delete_many(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        ask!(self, store => store.delete_many(names).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        self.traffic.note(prefix);
        ask!(self, store => store.list(prefix).await)
    }

    fn kind(&self) -> StoreKind {
        ask!(self, store => store.kind())
    }
}
