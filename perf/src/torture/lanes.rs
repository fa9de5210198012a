//! Runs slices: those that share the machine side by side, then the others one by one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::TortureError;
use super::build::{Programs, root};
use super::job::{Job, Wrong};
use super::record::Record;
use super::version::Version;
use crate::sys;

/// Takes from a list of slices, and records what came of them.
struct Shared<'a> {
    waiting: Vec<Job>,
    record: &'a mut Record,
    ended: usize,
    failure: Option<TortureError>,
}

/// Runs slices on so many processors and records each as it ends, until the user wants an end:
/// what runs then goes on to its own end unless the user asks again. `say` gets a line at the start
/// and end of each.
///
/// # Errors
/// If a slice cannot be started or recorded, or the sources changed meanwhile.
pub fn run(
    jobs: Vec<Job>,
    programs: &Programs,
    version: &Version,
    lanes: u64,
    record: &mut Record,
    say: impl Fn(&str) + Sync,
) -> Result<(), TortureError> {
    let total = jobs.len();
    let logs = record.dir().to_owned();
    let (alone, together): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.step.alone);
    // The last one is taken first.
    let reversed = |jobs: Vec<Job>| jobs.into_iter().rev().collect::<Vec<_>>();
    let shared = Shared { waiting: reversed(together), record, ended: 0, failure: None };
    let shared = Mutex::new(shared);
    let lock = || shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let told = AtomicBool::new(false);
    let asked = || {
        if !told.swap(true, Ordering::Relaxed) {
            say("ends after what runs now; interrupt again to drop that");
        }
    };
    // A guard in the head of a loop would be held for all of its body.
    let next = || lock().waiting.pop().filter(|_| !sys::interrupted());
    let work = || {
        while let Some(job) = next() {
            say(&format!("{} {}", job.name(), job.count));
            let done = job.run(programs, version, &logs, &asked).and_then(|done| {
                // What was built may have been built anew while it ran.
                match Version::of(&root()) {
                    now if now == *version || now.is_same(version) => Ok(done),
                    now => Err(TortureError::Changed { from: version.clone(), to: now }),
                }
            });
            let mut shared = lock();
            let added = done.and_then(|done| {
                let Some(done) = done else { return Ok(()) };
                shared.ended += 1;
                let end = done.wrong.map_or("ok".to_owned(), |wrong| format!("{wrong:?}"));
                let (ended, span) = (shared.ended, done.millis / 1000);
                say(&format!("[{ended}/{total}] {}: {end}, {span} s", job.name()));
                if done.wrong == Some(Wrong::Skipped) {
                    say(&format!("{}: {}", done.step, done.note));
                    // What this machine cannot do once it cannot do again.
                    shared.waiting.retain(|other| other.step.name != job.step.name);
                }
                shared.record.add(done)
            });
            if let Err(error) = added {
                shared.waiting.clear();
                shared.failure.get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(work))));
    {
        let mut shared = lock();
        shared.waiting = if shared.failure.is_some() { Vec::new() } else { reversed(alone) };
    }
    work();
    let failure = lock().failure.take();
    failure.map_or(Ok(()), Err)
}
