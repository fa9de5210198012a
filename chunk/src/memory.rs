//! The store that is gone when the process ends.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::store::{ObjectName, ObjectStore, StoreError, StoreKind};

type Objects = BTreeMap<String, Bytes>;

/// Objects in memory, shared by all clones of the handle, on any thread.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().expect("no holder of this lock panics")
    }

    fn object(&self, action: &'static str, name: &ObjectName) -> Result<Bytes, StoreError> {
        let object = self.objects().get(name.as_str()).cloned();
        object.ok_or_else(|| StoreError::NotFound { action, object: name.to_string() })
    }
}

impl ObjectStore for MemoryStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        self.objects().insert(name.to_string(), body.into());
        Ok(())
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        let body = body.into();
        let mut objects = self.objects();
        if objects.contains_key(name.as_str()) {
            return Err(StoreError::Exists { object: name.to_string() });
        }
        objects.insert(name.to_string(), body);
        Ok(())
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let object = self.object("read", name)?;
        let slice = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match slice.and_then(|(start, end)| object.get(start..end)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => {
                let len = object.len() as u64;
                Err(StoreError::Range { object: name.to_string(), range, len })
            }
        }
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        Ok(self.object("head", name)?.len() as u64)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.objects().remove(name.as_str());
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        let objects = self.objects();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let listed = objects.range::<str, _>(from).take_while(|(name, _)| name.starts_with(prefix));
        let named = |(name, body): (&String, &Bytes)| {
            let name = ObjectName::new(name.as_str()).expect("was an object's name before");
            (name, body.len() as u64)
        };
        Ok(listed.map(named).collect())
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn conforms() {
        futures_lite::future::block_on(conformance::suite(&MemoryStore::new(), 10_000));
    }

    #[test]
    fn exactly_one_of_many_threads_makes_an_object() {
        conformance::race(&MemoryStore::new(), 16, 200);
    }
}
