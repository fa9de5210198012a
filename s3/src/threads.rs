//! The threads that talk to the network, away from the cores that serve.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_channel::{Receiver, Sender, bounded};
use tokio::sync::Semaphore;

use crate::limits::{MAX_JOBS_PER_THREAD, MAX_QUEUED_JOBS, MAX_THREADS};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Job = Box<dyn FnOnce(usize) -> Work + Send>;

/// A handle to a few threads, each with a runtime of its own; they end when the last handle is
/// gone, and drop what they still work at.
#[derive(Clone, Debug)]
pub struct S3Threads {
    jobs: Sender<Job>,
    count: usize,
}

/// The job gave no result: its thread has ended, or it panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stopped;

impl S3Threads {
    /// Starts threads. Call it from `main`, before any thread is bound to a core: threads
    /// inherit that binding.
    ///
    /// # Errors
    /// If the system gives no thread or no event queue.
    ///
    /// # Panics
    /// If none, or more than [`MAX_THREADS`], are asked for.
    pub fn start(count: usize) -> io::Result<Self> {
        assert!((1..=MAX_THREADS).contains(&count), "{count} threads");
        let (jobs, queue) = bounded(MAX_QUEUED_JOBS);
        for index in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let queue = queue.clone();
            let builder = std::thread::Builder::new().name(format!("s3-{index}"));
            builder.spawn(move || runtime.block_on(serve(index, queue)))?;
        }
        Ok(Self { jobs, count })
    }

    /// Number of threads.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs a job on one of the threads, whose index it gets, and waits for its result. Dropping
    /// the future does not stop a job that has been queued.
    pub(crate) async fn run<T, F>(
        &self,
        job: impl FnOnce(usize) -> F + Send + 'static,
    ) -> Result<T, Stopped>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (reply, result) = bounded(1);
        let job = move |index| -> Work {
            let work = job(index);
            Box::pin(async move {
                // Nobody may be waiting any more.
                drop(reply.try_send(work.await));
            })
        };
        self.jobs.send(Box::new(job)).await.map_err(|_| Stopped)?;
        result.recv().await.map_err(|_| Stopped)
    }
}

async fn serve(index: usize, queue: Receiver<Job>) {
    let slots = Arc::new(Semaphore::new(MAX_JOBS_PER_THREAD));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes it");
        let Ok(job) = queue.recv().await else { break };
        tokio::spawn(async move {
            job(index).await;
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn jobs_run_on_named_threads_with_a_clock_of_their_own() {
        let threads = S3Threads::start(1).unwrap();
        let name = threads.run(|index| async move {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            (index, std::thread::current().name().map(str::to_owned))
        });
        assert_eq!(block_on(name), Ok((0, Some("s3-0".to_owned()))));
    }

    #[test]
    fn a_panic_is_an_error_and_the_thread_goes_on() {
        let threads = S3Threads::start(1).unwrap();
        assert_eq!(block_on(threads.run(|_| async { panic!("meant") })), Err::<(), _>(Stopped));
        assert_eq!(block_on(threads.run(|_| async { 5 })), Ok(5));
    }
}
