//! The seam to time, randomness and scheduling of one core.

use std::future::Future;
use std::time::Duration;

/// What engine code may ask of the core that it runs on. A handle is cheap to clone. Futures and
/// tasks stay on their core and need not be `Send`.
pub trait Runtime: Clone + 'static {
    /// Monotonic time since some fixed instant of this process.
    fn now(&self) -> Duration;

    /// Waits at least `span`.
    async fn sleep(&self, span: Duration);

    /// Starts a task that runs on this core until it ends; nothing cancels it.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// 64 random bits, good enough for unique names.
    fn random(&self) -> u64;

    /// Computes something that takes longer than a core may be kept from its other tasks, such as
    /// unpacking what a client reads, and waits for the result.
    async fn compute<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T;

    /// As [`Self::compute`], with what no client waits for, such as compressing a chunk: where
    /// processors are short, serving comes first.
    async fn compute_behind<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.compute(job).await
    }

    /// Lets other tasks of this core run; called between slices of at most 50 µs of computing.
    async fn pause(&self);
}
