//! Time, randomness and scheduling of one core, for real.

use super::limits::{MIN_SLEEP, NICE_BEHIND};
use std::cell::RefCell;
use std::future::Future;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use chunk::Workers;
use rustix::time::{ClockId, clock_gettime};
use wal::runtime::Runtime;

/// [`Runtime`] on the glommio executor of the thread that it is used on.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlommioRuntime;

/// Threads that compute for all cores: with them, and behind them.
static COMPUTERS: OnceLock<[Workers; 2]> = OnceLock::new();

/// Starts threads for [`Runtime::compute`] and as many for [`Runtime::compute_behind`], once for each
/// process. Call it from `main`, before any thread is bound to a core; without them a core does the
/// computing itself.
///
/// # Errors
/// If the system gives no thread.
pub fn start_computers(threads: usize) -> std::io::Result<()> {
    if COMPUTERS.get().is_none() {
        // Another one may have been first: then these end at once.
        let first = Workers::start_as("compute", threads, 0)?;
        let _ = COMPUTERS.set([first, Workers::start_as("pack", threads, NICE_BEHIND)?]);
    }
    Ok(())
}

async fn run<T: Send + 'static>(
    computers: Option<&Workers>,
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    match computers {
        Some(computers) => computers.run(job).await.expect("computing does not panic"),
        None => job(),
    }
}

/// The instant that [`Runtime::now`] counts from: the same on all cores.
static START: LazyLock<Duration> = LazyLock::new(since_boot);

/// Time since the machine started, the time that it was suspended included: what another host may
/// do after so much time does not wait for this one to wake.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    now.try_into().expect("it is not before the start of the machine")
}

/// Random words of the operating system, fetched many at a time: no generator of our own whose
/// state could repeat over processes.
struct Entropy {
    words: [u64; 64],
    left: usize,
}

thread_local! {
    static ENTROPY: RefCell<Entropy> = const { RefCell::new(Entropy { words: [0; 64], left: 0 }) };
}

impl Entropy {
    fn next(&mut self) -> u64 {
        if self.left == 0 {
            for word in &mut self.words {
                *word = getrandom::u64().expect("the kernel gives random bits since Linux 3.17");
            }
            self.left = self.words.len();
        }
        self.left -= 1;
        // Taken, so that no word is given out twice or found in memory later.
        std::mem::take(&mut self.words[self.left])
    }
}

/// The present, in milliseconds since 1970: the time that people see, not one that counts.
#[must_use]
pub fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "nothing waits for it or depends on it")]
    let now = std::time::SystemTime::now();
    let since_1970 = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

impl Runtime for GlommioRuntime {
    fn now(&self) -> Duration {
        let start = *START;
        since_boot() - start
    }

    #[expect(clippy::disallowed_methods, reason = "this is the sleep behind the seam")]
    async fn sleep(&self, span: Duration) {
        glommio::timer::sleep(span.max(MIN_SLEEP)).await;
    }

    #[expect(clippy::disallowed_methods, reason = "this is the spawn behind the seam")]
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(task).detach();
    }

    fn random(&self) -> u64 {
        ENTROPY.with(|entropy| entropy.borrow_mut().next())
    }

    async fn compute<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        run(COMPUTERS.get().map(|[computers, _]| computers), job).await
    }

    async fn compute_behind<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        run(COMPUTERS.get().map(|[_, behind]| behind), job).await
    }

    /// Sleeps for [`MIN_SLEEP`]. A mere yield would not do: an executor harvests completions and
    /// wakes from other threads only when its run queue is empty.
    async fn pause(&self) {
        self.sleep(MIN_SLEEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn random_words_do_not_repeat_over_refills() {
        let words: HashSet<u64> = (0..1000).map(|_| GlommioRuntime.random()).collect();
        assert_eq!(words.len(), 1000);
    }

    #[test]
    fn all_threads_share_one_clock() {
        let here = GlommioRuntime.now();
        let there = std::thread::scope(|scope| {
            scope.spawn(|| GlommioRuntime.now()).join().expect("no panic")
        });
        assert!(there >= here && there - here < Duration::from_secs(60));
    }
}
