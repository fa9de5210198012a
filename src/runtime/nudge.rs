//! Getting an executor out of the kernel from outside.
//!
//! The heartbeat bounds how long an executor sleeps with runnable tasks, but it is a task itself:
//! an executor can park before it ran its very first one. A signal ends its system call, and it
//! looks at its tasks again.

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

/// Harmless by its nature: what nobody asked for is ignored by default.
const SIGNAL: i32 = libc::SIGURG;

/// The permission to nudge threads: the signal has a handler, without which it would end no system
/// call.
#[derive(Debug)]
pub struct Nudge {
    handler: signal_hook::SigId,
}

impl Nudge {
    /// Installs the handler.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn prepare() -> io::Result<Self> {
        let handler = signal_hook::flag::register(SIGNAL, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { handler })
    }

    /// Makes all of these threads return from the system call they are in.
    #[expect(unsafe_code, reason = "the standard library sends no signals")]
    pub fn all<T>(&self, threads: &[JoinHandle<T>]) {
        for thread in threads {
            // SAFETY: a thread that was not joined yet has a valid handle, even when it has ended.
            // The result would only tell that it has.
            let _ = unsafe { libc::pthread_kill(thread.as_pthread_t(), SIGNAL) };
        }
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.handler);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::time::Duration;

    /// With this preemption timer an executor often parks before it ran anything, and would sleep
    /// for ever then.
    #[test]
    fn an_executor_that_parks_before_its_first_task_starts_when_nudged() {
        let nudge = Nudge::prepare().expect("a handler");
        for _ in 0..20 {
            let start = || {
                LocalExecutorBuilder::new(Placement::Unbound)
                    .preempt_timer(Duration::from_micros(10))
                    .make()
                    .expect("an executor")
                    .run(async {});
            };
            let thread = std::thread::Builder::new().spawn(start).expect("a thread");
            let mut threads = vec![thread];
            // A busy machine may let the timer be first many times over.
            for _ in 0..12_000 {
                if threads[0].is_finished() {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(5));
                nudge.all(&threads);
            }
            assert!(threads[0].is_finished(), "it still sleeps");
            threads.remove(0).join().expect("no panic");
        }
    }
}
