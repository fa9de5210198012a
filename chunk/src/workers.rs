//! Threads for work that blocks: file calls and long computing, away from the cores that serve.

use std::panic::{AssertUnwindSafe, catch_unwind};

use async_channel::{Receiver, Sender, bounded};

use crate::limits::MAX_QUEUED_JOBS;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to a few threads; they end when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Workers {
    jobs: Sender<Job>,
}

/// Why a job gave no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WorkersError {
    /// The job panicked: a bug of the job's.
    #[error("a job on a worker thread panicked")]
    Panicked,
    /// No thread is left to run it.
    #[error("the worker threads are gone")]
    Gone,
}

impl Workers {
    /// Starts threads. Call it from `main`, before any thread is bound to a core.
    ///
    /// # Errors
    /// If the system gives no thread.
    ///
    /// # Panics
    /// If no thread is asked for.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        Self::start_as("worker", threads, 0)
    }

    /// As [`Self::start`], with another name, and that much nicer than who starts them.
    ///
    /// # Errors
    /// As [`Self::start`].
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_as(name: &str, threads: usize, more_nice: i32) -> std::io::Result<Self> {
        assert!(threads > 0, "work needs a thread");
        let (jobs, queue) = bounded(MAX_QUEUED_JOBS);
        for n in 0..threads {
            let queue = queue.clone();
            let builder = std::thread::Builder::new().name(format!("{name}-{n}"));
            builder.spawn(move || {
                // Of this thread alone, in Linux. Where it is refused, all share alike.
                let _ = rustix::process::nice(more_nice);
                serve(&queue);
            })?;
        }
        Ok(Self { jobs })
    }

    /// Runs a job on a worker thread and waits for its result. Dropping the future does not stop
    /// the job once it is queued.
    ///
    /// # Errors
    /// If the job panicked or no thread is left.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkersError> {
        let (reply, result) = bounded(1);
        let job = move || {
            // A panic tells nothing of the job's state, and nothing of it is used again.
            let outcome = catch_unwind(AssertUnwindSafe(job));
            // Nobody may be waiting any more.
            drop(reply.try_send(outcome.map_err(|_| WorkersError::Panicked)));
        };
        self.jobs.send(Box::new(job)).await.map_err(|_| WorkersError::Gone)?;
        result.recv().await.map_err(|_| WorkersError::Gone)?
    }
}

fn serve(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv_blocking() {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, zip};

    #[test]
    fn jobs_run_on_named_threads() {
        let workers = Workers::start(1).unwrap();
        let name = workers.run(|| std::thread::current().name().map(str::to_owned));
        assert_eq!(block_on(name), Ok(Some("worker-0".to_owned())));
    }

    #[test]
    fn a_panic_is_an_error_and_the_thread_goes_on() {
        let workers = Workers::start(1).unwrap();
        assert_eq!(block_on(workers.run(|| panic!("meant"))), Err::<(), _>(WorkersError::Panicked));
        assert_eq!(block_on(workers.run(|| 5)), Ok(5));
    }

    #[test]
    fn jobs_of_two_threads_run_at_once() {
        let workers = Workers::start(2).unwrap();
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
        let other = barrier.clone();
        let both = zip(
            workers.run(move || barrier.wait().is_leader()),
            workers.run(move || other.wait().is_leader()),
        );
        let (one, two) = block_on(both);
        assert_ne!(one.unwrap(), two.unwrap());
    }
}
