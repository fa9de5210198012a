//! The thread that runs loads: pinned to one core, while servers may run anywhere.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use crate::sys;

/// Runs `job` on a thread pinned to `core` and returns its outcome. The calling thread stays where
/// it is, so that servers it starts do not inherit the pin.
pub fn pinned<T: Send, E: Send + From<io::Error>>(
    core: usize,
    job: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    thread::scope(|scope| {
        let body = move || {
            sys::pin_thread(core)?;
            job()
        };
        let builder = thread::Builder::new().name("client".to_owned());
        match builder.spawn_scoped(scope, body)?.join() {
            Ok(outcome) => outcome,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// The last core: the first ones take interrupts and what else runs.
#[must_use]
pub fn default_core() -> usize {
    thread::available_parallelism().map_or(0, |count| count.get() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_pinned_and_the_caller_is_not() {
        let count = || thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let before = count();
        let inside = pinned(default_core(), || Ok::<_, io::Error>(count())).expect("pinned");
        assert_eq!((inside, count()), (1, before));
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(pinned(1023, || Ok::<_, io::Error>(())).is_err());
        assert!(pinned(usize::MAX, || Ok::<_, io::Error>(())).is_err());
    }
}
