//! The simulated object store. Its fault model:
//!
//! * A put applies whole or not at all, at a random virtual time before it answers; calls overtake
//!   each other. What a completed put made is durable and visible to every later call; lists and
//!   reads are consistent.
//! * A put or delete under way when its process is killed may have been applied, or not; with
//!   `late_puts` it may also be applied after the next process has started.
//! * A call may fail before it was applied, after it (then it *was* applied), or while it is still
//!   on its way (then it is applied later, whatever the caller does meanwhile), one in
//!   `error_one_in` times; in an outage every call fails before it is applied.
//! * A call may hang for a minute or so before it fails in one of these ways.
//! * A read may be answered by other bytes of the right length, by fewer, or by "no such object",
//!   while the object is there and whole.
//!
//! * Stored objects can be damaged on demand: rot, a short object, another object's bytes.
//!
//! The store survives every fault of the local machine.

mod lies;
mod rot;
mod watch;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use chunk::{ObjectName, ObjectStore, StoreError, StoreKind};

use super::executor::{Executor, ProcessId};
use super::random::Random;
pub use rot::{BucketImage, ObjectRot};
use watch::Watch;

/// What goes wrong in a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFaults {
    /// One in this many calls fails; none if 0.
    pub error_one_in: u64,
    /// One in this many calls hangs before it fails; none if 0.
    pub hang_one_in: u64,
    /// One in this many reads is answered wrongly; none if 0.
    pub lie_one_in: u64,
    /// From the first to the second moment of the world's time, every call fails.
    pub outage: Option<(Duration, Duration)>,
    /// Changes of a killed process may be applied while the next one runs.
    pub late_puts: bool,
    /// Calls take a hundred times longer.
    pub slow: bool,
    /// Calls take a fiftieth of the time, so that many cuts fit into a short life.
    pub fast: bool,
}

/// A change under way.
enum Change {
    Put { name: String, body: Bytes, if_absent: bool },
    Delete { name: String },
}

/// How a call ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    FailsBefore,
    FailsAfter,
    FailsEarly,
}

/// What a call that fails is said to have failed of.
const CAUSES: [ErrorKind; 3] = [ErrorKind::ConnectionReset, ErrorKind::TimedOut, ErrorKind::Other];

struct Shelf {
    executor: Executor,
    random: RefCell<Random>,
    objects: RefCell<BTreeMap<String, Bytes>>,
    under_way: RefCell<BTreeMap<u64, (ProcessId, Change)>>,
    faults: RefCell<StoreFaults>,
    calls: RefCell<u64>,
    watch: RefCell<Option<Watch>>,
}

/// The store itself: it outlives processes. A handle is cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    shelf: Rc<Shelf>,
}

impl Bucket {
    /// An empty store.
    #[must_use]
    pub fn new(executor: &Executor, seed: u64) -> Self {
        let shelf = Shelf {
            executor: executor.clone(),
            random: RefCell::new(Random::stream(seed, "store")),
            objects: RefCell::default(),
            under_way: RefCell::default(),
            faults: RefCell::default(),
            calls: RefCell::default(),
            watch: RefCell::default(),
        };
        Self { shelf: Rc::new(shelf) }
    }

    /// The store as one process sees it.
    #[must_use]
    pub fn attach(&self, process: ProcessId) -> SimStore {
        SimStore { bucket: self.clone(), process }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: StoreFaults) {
        *self.shelf.faults.borrow_mut() = faults;
    }

    /// Settles what a process had under way when it was killed.
    pub fn settle_kill(&self, process: ProcessId) {
        let owned: Vec<_> = {
            let mut under_way = self.shelf.under_way.borrow_mut();
            under_way.extract_if(.., |_, change| change.0 == process).collect()
        };
        for (_, (_, change)) in owned {
            let late_puts = self.shelf.faults.borrow().late_puts;
            match self.draw(3) {
                0 => {}
                1 if late_puts => {
                    let delay = Duration::from_micros(self.draw(2_000_000));
                    let bucket = self.clone();
                    self.shelf.executor.after(None, delay, move || {
                        let _ = bucket.apply(process, change);
                    });
                }
                _ => {
                    let _ = self.apply(process, change);
                }
            }
        }
    }

    /// Watches a process that is about to lose its volume: once another one has published a
    /// manifest, it may change nothing any more.
    pub fn watch(&self, loser: ProcessId) {
        *self.shelf.watch.borrow_mut() = Some(Watch::new(loser));
    }

    /// What the watched process did that it must not.
    #[must_use]
    pub fn trespass(&self) -> Option<String> {
        self.shelf.watch.borrow().as_ref().and_then(|watch| watch.trespass.clone())
    }

    /// Names and lengths of all objects, sorted.
    #[must_use]
    pub fn objects(&self) -> Vec<(String, u64)> {
        let objects = self.shelf.objects.borrow();
        objects.iter().map(|(name, body)| (name.clone(), body.len() as u64)).collect()
    }

    /// Changes an object behind everybody's back; `None` removes it.
    pub fn tamper(&self, name: &str, body: Option<Vec<u8>>) {
        let mut objects = self.shelf.objects.borrow_mut();
        match body {
            Some(body) => objects.insert(name.to_owned(), body.into()),
            None => objects.remove(name),
        };
    }

    fn draw(&self, count: u64) -> u64 {
        self.shelf.random.borrow_mut().below(count)
    }

    fn delay(&self) -> Duration {
        let random = &mut *self.shelf.random.borrow_mut();
        let nanos = random.scaled(20_000..4_000_000);
        let faults = self.shelf.faults.borrow();
        Duration::from_nanos(match (faults.slow, faults.fast) {
            (true, _) => nanos * 100,
            (false, true) => nanos / 50,
            (false, false) => nanos,
        })
    }

    /// Applies a change; false if a conditional put lost.
    fn apply(&self, process: ProcessId, change: Change) -> bool {
        let mut objects = self.shelf.objects.borrow_mut();
        if let Some(watch) = &mut *self.shelf.watch.borrow_mut() {
            watch.look(process, &change, &objects);
        }
        match change {
            Change::Put { name, if_absent: true, .. } if objects.contains_key(&name) => false,
            Change::Put { name, body, .. } => {
                objects.insert(name, body);
                true
            }
            Change::Delete { name } => {
                objects.remove(&name);
                true
            }
        }
    }
}

/// The store as one process sees it.
#[derive(Clone)]
pub struct SimStore {
    bucket: Bucket,
    process: ProcessId,
}

impl SimStore {
    fn failed(&self, action: &'static str, object: &str) -> StoreError {
        let source = CAUSES[self.bucket.draw(CAUSES.len() as u64) as usize].into();
        StoreError::Io { action, object: object.to_owned(), source }
    }

    /// Notes a call and chooses how it ends.
    fn begin(&self, action: &'static str, name: &str, body: &[u8]) -> Fate {
        let shelf = &self.bucket.shelf;
        *shelf.calls.borrow_mut() += 1;
        let faults = *shelf.faults.borrow();
        let now = shelf.executor.now();
        let fate = if faults.outage.is_some_and(|(from, to)| from <= now && now < to) {
            Fate::FailsBefore
        } else if shelf.random.borrow_mut().chance(faults.error_one_in) {
            let fates = [Fate::FailsBefore, Fate::FailsAfter, Fate::FailsEarly];
            *shelf.random.borrow_mut().pick(&fates)
        } else {
            Fate::Succeeds
        };
        let sums = [name.as_bytes(), body].map(|bytes| u64::from(crc32c::crc32c(bytes)));
        shelf.executor.note(&[0x570, fate as u64, sums[0], sums[1]], || {
            let ends = ["", " (fails)", " (fails after it was done)", " (fails before it is done)"];
            let ends = ends[fate as usize];
            format!("store {action} {name}, {} bytes{ends}", body.len())
        });
        fate
    }

    async fn wait(&self) {
        let bucket = &self.bucket;
        bucket.shelf.executor.device(self.process, bucket.delay(), || ()).await;
    }

    /// What a call waits for that fails: as any other, or much longer.
    async fn wait_in_vain(&self) {
        let hang_one_in = self.bucket.shelf.faults.borrow().hang_one_in;
        if self.bucket.shelf.random.borrow_mut().chance(hang_one_in) {
            let span = Duration::from_millis(20_000 + self.bucket.draw(70_000));
            self.bucket.shelf.executor.device(self.process, span, || ()).await;
        }
        self.wait().await;
    }

    async fn change(
        &self,
        action: &'static str,
        object: &str,
        fate: Fate,
        change: Change,
    ) -> Result<bool, StoreError> {
        if fate == Fate::FailsBefore {
            self.wait_in_vain().await;
            return Err(self.failed(action, object));
        }
        if fate == Fate::FailsEarly {
            let (bucket, delay) = (self.bucket.clone(), self.bucket.draw(5_000_000));
            let process = self.process;
            let late = move || {
                let _ = bucket.apply(process, change);
            };
            self.bucket.shelf.executor.after(None, Duration::from_micros(delay), late);
            self.wait_in_vain().await;
            return Err(self.failed(action, object));
        }
        let (bucket, op) = (self.bucket.clone(), *self.bucket.shelf.calls.borrow());
        bucket.shelf.under_way.borrow_mut().insert(op, (self.process, change));
        let delay = bucket.delay();
        let done = self.bucket.shelf.executor.device(self.process, delay, move || {
            let change = bucket.shelf.under_way.borrow_mut().remove(&op);
            let (process, change) = change.expect("it is under way");
            bucket.apply(process, change)
        });
        let applied = done.await;
        if fate == Fate::FailsAfter {
            self.wait_in_vain().await;
            return Err(self.failed(action, object));
        }
        self.wait().await;
        Ok(applied)
    }

    async fn put_object(
        &self,
        name: &ObjectName,
        body: Bytes,
        if_absent: bool,
    ) -> Result<(), StoreError> {
        let fate = self.begin("put", name.as_str(), &body);
        let name = name.as_str().to_owned();
        let object = name.clone();
        let change = Change::Put { name, body, if_absent };
        match self.change("put", &object, fate, change).await? {
            true => Ok(()),
            false => Err(StoreError::Exists { object }),
        }
    }

    /// The object as it is at some moment of the call.
    /// Wrong bytes are among those that are `wanted`.
    async fn look(
        &self,
        action: &'static str,
        name: &ObjectName,
        wanted: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let fate = self.begin(action, name.as_str(), &[]);
        self.wait().await;
        let found = self.bucket.shelf.objects.borrow().get(name.as_str()).cloned();
        if fate != Fate::Succeeds {
            self.wait_in_vain().await;
            return Err(self.failed(action, name.as_str()));
        }
        self.wait().await;
        found
            .and_then(|body| self.distort(body, wanted))
            .ok_or_else(|| StoreError::NotFound { action, object: name.to_string() })
    }
}

impl ObjectStore for SimStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        self.put_object(name, body.into(), false).await
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        self.put_object(name, body.into(), true).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let body = self.look("read", name, range.clone()).await?;
        let wanted = body.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec);
        let len = body.len() as u64;
        wanted.ok_or_else(|| StoreError::Range { object: name.to_string(), range, len })
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.look("look up", name, 0..u64::MAX).await.map(|body| body.len() as u64)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let fate = self.begin("delete", name.as_str(), &[]);
        let change = Change::Delete { name: name.as_str().to_owned() };
        self.change("delete", name.as_str(), fate, change).await.map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        let fate = self.begin("list", prefix, &[]);
        self.wait().await;
        if fate != Fate::Succeeds {
            self.wait_in_vain().await;
            return Err(self.failed("list", prefix));
        }
        let objects = self.bucket.shelf.objects.borrow();
        let named = objects.range(prefix.to_owned()..);
        let listed = named.take_while(|(name, _)| name.starts_with(prefix)).map(|(name, body)| {
            let name = ObjectName::new(name.clone()).expect("only such names are put");
            (name, body.len() as u64)
        });
        Ok(listed.collect())
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }
}

#[cfg(test)]
mod tests;
