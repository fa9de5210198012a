//! A memory store with something else going on between its calls: tests put another writer there.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::memory::MemoryStore;
use crate::store::{ObjectName, ObjectStore, StoreError, StoreKind};

/// A call that the hook runs before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    PutIfAbsent,
    GetRange,
}

type Hook = Rc<dyn Fn(&MemoryStore, Call)>;

#[derive(Clone)]
pub(crate) struct HookedStore {
    pub(crate) inner: MemoryStore,
    hook: Hook,
}

impl HookedStore {
    /// Runs `hook` before each call that [`Call`] names, on the store inside.
    pub(crate) fn new(hook: impl Fn(&MemoryStore, Call) + 'static) -> Self {
        Self { inner: MemoryStore::new(), hook: Rc::new(hook) }
    }
}

impl ObjectStore for HookedStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        self.inner.put(name, body).await
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        (self.hook)(&self.inner, Call::PutIfAbsent);
        self.inner.put_if_absent(name, body).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        (self.hook)(&self.inner, Call::GetRange);
        self.inner.get_range(name, range).await
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.inner.head(name).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        self.inner.list(prefix).await
    }

    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }
}
