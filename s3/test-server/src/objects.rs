//! The objects, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

/// An object of a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) body: Bytes,
    pub(crate) etag: String,
}

/// A large upload that goes on.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) parts: BTreeMap<i32, Object>,
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, BTreeMap<String, Object>>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) begun: u64,
}

/// All buckets behind the one lock.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<State>);

impl Objects {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Object {
    pub(crate) fn new(body: Bytes) -> Self {
        let etag = format!("{:08x}-{}", crc32c::crc32c(&body), body.len());
        Self { body, etag }
    }
}
