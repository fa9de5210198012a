//! A memory store whose calls wait for their turn, and every order of turns of a few tasks.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_lite::future::yield_now;

use crate::memory::MemoryStore;
use crate::store::{ObjectName, ObjectStore, StoreError, StoreKind};

/// Each call takes effect when its task is polled for the next time.
#[derive(Clone)]
pub(crate) struct SteppedStore(pub(crate) MemoryStore);

impl ObjectStore for SteppedStore {
    async fn put(&self, name: &ObjectName, body: impl Into<Bytes>) -> Result<(), StoreError> {
        yield_now().await;
        self.0.put(name, body).await
    }

    async fn put_if_absent(
        &self,
        name: &ObjectName,
        body: impl Into<Bytes>,
    ) -> Result<(), StoreError> {
        yield_now().await;
        self.0.put_if_absent(name, body).await
    }

    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        yield_now().await;
        self.0.get_range(name, range).await
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, StoreError> {
        yield_now().await;
        self.0.head(name).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        yield_now().await;
        self.0.delete(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        yield_now().await;
        self.0.list(prefix).await
    }

    fn kind(&self) -> StoreKind {
        self.0.kind()
    }
}

/// A task that takes one step at a time.
pub(crate) struct Stepped<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    pub(crate) outcome: Option<T>,
}

impl<T> Stepped<T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'static) -> Self {
        let mut task = Self { future: Box::pin(future), outcome: None };
        task.step();
        task
    }

    /// One call of the store; returns whether the task has ended.
    pub(crate) fn step(&mut self) -> bool {
        if self.outcome.is_none() {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(outcome) = self.future.as_mut().poll(&mut context) {
                self.outcome = Some(outcome);
            }
        }
        self.outcome.is_some()
    }

    /// All steps that are left.
    pub(crate) fn finish(mut self) -> T {
        while !self.step() {}
        self.outcome.expect("it has ended")
    }
}

/// Runs two tasks in every order in which their steps can follow each other; `make` starts them
/// afresh, `judge` looks at what they leave.
pub(crate) fn every_order<A, B, W>(
    make: impl Fn() -> (W, Stepped<A>, Stepped<B>),
    judge: impl Fn(&W, A, B),
) -> u64 {
    // The turns so far, true for the first task: the next order to try.
    let mut prefix: Vec<bool> = Vec::new();
    let mut orders = 0;
    loop {
        let (world, mut first, mut second) = make();
        let mut turns = Vec::new();
        loop {
            let may = (first.outcome.is_none(), second.outcome.is_none());
            let turn = match may {
                (false, false) => break,
                (true, false) => true,
                (false, true) => false,
                (true, true) => prefix.get(turns.len()).copied().unwrap_or(true),
            };
            if turn {
                first.step()
            } else {
                second.step()
            };
            turns.push((turn, may == (true, true)));
        }
        orders += 1;
        let outcomes = (first.outcome.take(), second.outcome.take());
        judge(&world, outcomes.0.expect("it has ended"), outcomes.1.expect("it has ended"));
        // The last free turn of the first task becomes one of the second.
        let Some(at) = turns.iter().rposition(|&(turn, free)| turn && free) else { return orders };
        prefix = turns[..at].iter().map(|(turn, _)| *turn).collect();
        prefix.push(false);
    }
}
