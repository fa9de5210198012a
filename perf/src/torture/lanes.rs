//! Runs all parts: those that share the machine side by side, then the others one by one.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use super::TortureError;
use super::build::Programs;
use super::job::{Done, Job, split};
use super::profile::Profile;
use crate::sys;

/// Takes from a list of parts, and puts what came of them to the others.
struct Shared {
    waiting: Vec<Job>,
    done: Vec<(&'static str, Result<Done, TortureError>)>,
}

/// Runs a profile on so many processors; `say` gets a line at the start and end of each part.
/// What came of each part, by the name of its step.
///
/// # Errors
/// If a part cannot be started at all.
pub fn run(
    profile: &Profile,
    programs: &Programs,
    lanes: u64,
    logs: &Path,
    say: impl Fn(&str) + Sync,
) -> Result<Vec<(&'static str, Done)>, TortureError> {
    let all = profile.steps().flat_map(|(step, count)| split(step, count, lanes));
    let (alone, mut together): (Vec<_>, Vec<_>) = all.partition(|job| job.step.alone);
    // The last one is taken first.
    together.reverse();
    let total = alone.len() + together.len();
    let shared = Mutex::new(Shared { waiting: together, done: Vec::new() });
    let lock = || shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // A guard in the head of a loop would be held for all of its body.
    let next = || lock().waiting.pop().filter(|_| !sys::interrupted());
    let work = || {
        while let Some(job) = next() {
            say(&format!("{} {} (from {})", job.step.name, job.count, job.first));
            let done = job.run(programs, logs);
            let mut shared = lock();
            let number = shared.done.len() + 1;
            if let Ok(done) = &done {
                let end = done.wrong.map_or("ok".to_owned(), |wrong| format!("{wrong:?}"));
                let span = done.span.as_secs();
                say(&format!("[{number}/{total}] {}: {end}, {span} s", job.step.name));
            }
            shared.done.push((job.step.name, done));
        }
    };
    thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(work))));
    lock().waiting = alone.into_iter().rev().collect();
    work();
    let done = std::mem::take(&mut lock().done);
    done.into_iter().map(|(name, done)| done.map(|done| (name, done))).collect()
}
