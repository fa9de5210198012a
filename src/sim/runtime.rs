//! The simulation's side of the runtime seam.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use wal::runtime::Runtime;

use super::executor::{EventKey, Executor, ProcessId};
use crate::engine::mesh::CoreId;

/// What computing away from the core takes.
const COMPUTING: Duration = Duration::from_micros(200);

/// Time, randomness and scheduling of one core of a simulated process.
#[derive(Clone)]
pub struct SimRuntime {
    executor: Executor,
    process: ProcessId,
    core: CoreId,
}

impl SimRuntime {
    pub(super) fn new(executor: Executor, process: ProcessId, core: CoreId) -> Self {
        Self { executor, process, core }
    }

    /// The core.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }
}

impl Runtime for SimRuntime {
    fn now(&self) -> Duration {
        self.executor.age(self.process)
    }

    async fn sleep(&self, span: Duration) {
        let (executor, process) = (self.executor.clone(), self.process);
        let until = executor.now() + span;
        Sleep { executor, process, until, event: None }.await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(self.process, self.core, task);
    }

    fn random(&self) -> u64 {
        self.executor.random_name()
    }

    /// Here, after some time in which others had their turns.
    async fn compute<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.sleep(COMPUTING).await;
        job()
    }

    async fn pause(&self) {
        Pause { done: false }.await;
    }
}

/// Ends at a virtual time.
struct Sleep {
    executor: Executor,
    process: ProcessId,
    until: Duration,
    event: Option<EventKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(event) = self.event.take() {
            self.executor.cancel(event);
        }
        let now = self.executor.now();
        if now >= self.until {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        self.event = Some(self.executor.wake_after(self.process, self.until - now, waker));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.executor.cancel(event);
        }
    }
}

/// Pending once.
struct Pause {
    done: bool,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        self.done = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
