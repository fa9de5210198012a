//! A bucket as an object store.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunk::{ObjectName, ObjectStore, RemoteCause, RemoteFailure, StoreError, StoreKind};
use reqwest::Method;

use crate::client::Client;
use crate::config::{S3Config, S3ConfigError};
use crate::health::S3Health;
use crate::metrics::{Op, S3Metrics};
use crate::objects::Read;
use crate::proof::StoreIdentity;
use crate::request::Request;
use crate::threads::S3Threads;

/// A bucket, or all that starts with a prefix in one. A handle is cheap to clone and may move
/// between threads; callers on any executor wait without blocking it.
#[derive(Clone, Debug)]
pub struct S3Store {
    shared: Arc<Shared>,
    threads: S3Threads,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    prefix: Option<ObjectName>,
    /// Whether the store is known to ignore conditions, and that is accepted.
    unconditional: AtomicBool,
}

impl S3Store {
    /// Prepares the client; sends nothing yet.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn new(config: &S3Config, threads: &S3Threads) -> Result<Self, S3ConfigError> {
        let client = Client::new(config, threads.count())?;
        let (prefix, unconditional) = (config.prefix.clone(), AtomicBool::new(false));
        let shared = Arc::new(Shared { client, prefix, unconditional });
        Ok(Self { shared, threads: threads.clone() })
    }

    /// Asks whether the bucket is there and the keys may list it.
    ///
    /// # Errors
    /// If not, or if the store cannot be asked.
    pub async fn check(&self) -> Result<(), StoreError> {
        let job =
            |shared: Arc<Shared>, thread| async move { shared.client.find_bucket(thread).await };
        self.run("list", "the bucket", job).await
    }

    /// Goes on with a store that ignores conditions: a conditional put looks first from now on,
    /// which does not help when two hosts race.
    pub fn accept_unconditional_put(&self) {
        self.shared.unconditional.store(true, Ordering::Relaxed);
    }

    /// What it has done so far.
    #[must_use]
    pub fn metrics(&self) -> S3Metrics {
        self.shared.client.metrics()
    }

    /// Whether the store answers.
    #[must_use]
    pub fn health(&self) -> S3Health {
        self.shared.client.health()
    }

    /// Who the store says it is.
    pub(crate) async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        let job = |shared: Arc<Shared>, thread| async move {
            let request = Request::new(Op::Head, Method::HEAD, None).accept(&[404]);
            let done = shared.client.call(thread, &request).await?;
            let endpoint = shared.client.endpoint().to_string();
            Ok(StoreIdentity { endpoint, server: done.reply.header("server").to_owned() })
        };
        self.run("ask", "the bucket", job).await
    }

    /// Runs a job on one of the threads.
    async fn run<T, F>(
        &self,
        action: &'static str,
        object: &str,
        job: impl FnOnce(Arc<Shared>, usize) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RemoteFailure>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let outcome = self.threads.run(move |thread| job(shared, thread)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let (cause, elapsed) = (RemoteCause::Stopped, Duration::ZERO);
            Err(RemoteFailure { cause, attempts: 0, elapsed })
        });
        outcome.map_err(|failure| {
            let object = object.to_owned();
            StoreError::Remote { action, object, failure: Box::new(failure) }
        })
    }

    /// Where an object is in the bucket.
    fn key(&self, name: &str) -> String {
        match &self.shared.prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        }
    }
}

fn missing(action: &'static str, name: &ObjectName) -> StoreError {
    StoreError::NotFound { action, object: name.to_string() }
}

impl ObjectStore for S3Store {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        let (key, body) = (self.key(name.as_str()), body.into());
        let job = |shared: Arc<Shared>, thread| async move {
            shared.client.put(thread, &key, body).await
        };
        self.run("put", name.as_str(), job).await
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        let (key, body) = (self.key(name.as_str()), body.into());
        let job = |shared: Arc<Shared>, thread| async move {
            match shared.unconditional.load(Ordering::Relaxed) {
                true => shared.client.put_if_unseen(thread, &key, body).await,
                false => shared.client.put_if_absent(thread, &key, body).await,
            }
        };
        match self.run("put", name.as_str(), job).await? {
            true => Ok(()),
            false => Err(StoreError::Exists { object: name.to_string() }),
        }
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let (key, wanted) = (self.key(name.as_str()), range.clone());
        let job = |shared: Arc<Shared>, thread| async move {
            shared.client.get(thread, &key, wanted).await
        };
        match self.run("read", name.as_str(), job).await? {
            Read::Bytes(bytes) => Ok(bytes),
            Read::Missing => Err(missing("read", name)),
            Read::Past { len } => Err(StoreError::Range { object: name.to_string(), range, len }),
        }
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        let key = self.key(name.as_str());
        let job =
            |shared: Arc<Shared>, thread| async move { shared.client.head(thread, &key).await };
        let len = self.run("head", name.as_str(), job).await?;
        len.ok_or_else(|| missing("head", name))
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let key = self.key(name.as_str());
        let job =
            |shared: Arc<Shared>, thread| async move { shared.client.delete(thread, &key).await };
        self.run("delete", name.as_str(), job).await
    }

    async fn delete_many(&self, names: &[ObjectName]) -> Result<(), StoreError> {
        let keys: Vec<_> = names.iter().map(|name| self.key(name.as_str())).collect();
        let Some(first) = names.first() else { return Ok(()) };
        let job = |shared: Arc<Shared>, thread| async move {
            shared.client.delete_many(thread, &keys).await
        };
        self.run("delete", first.as_str(), job).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        let (start, skip) = (self.key(prefix), self.key("").len());
        let job =
            |shared: Arc<Shared>, thread| async move { shared.client.list(thread, &start).await };
        let found = self.run("list", prefix, job).await?;
        // What has a name that no object of ours can have is somebody else's.
        let own = |(key, len): (String, u64)| Some((ObjectName::new(key.get(skip..)?)?, len));
        Ok(found.into_iter().filter_map(own).collect())
    }

    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }
}
