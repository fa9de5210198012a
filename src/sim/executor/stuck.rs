//! The report of a world that makes no progress.

use std::fmt;
use std::time::Duration;

use super::ProcessId;
use crate::engine::mesh::CoreId;
use crate::sim::limits::REPORTED_TASKS;

/// Why a run ended before what it waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// Nothing is runnable and no event is to come.
    Idle,
    /// The steps of the budget are used up.
    Steps,
    /// The virtual time of the budget is used up.
    Time,
}

/// One task of a stuck world.
#[derive(Clone, Debug)]
pub struct TaskReport {
    /// The process that it belongs to.
    pub process: ProcessId,
    /// The core that it runs on.
    pub core: CoreId,
    /// The type of its future, which names the function.
    pub what: &'static str,
    /// How often it was polled.
    pub polls: u64,
}

/// A world that makes no progress.
#[derive(Clone, Debug)]
pub struct Stuck {
    pub(super) why: Why,
    /// Steps taken since the world began.
    pub steps: u64,
    /// Virtual time since the world began.
    pub now: Duration,
    /// The tasks that exist, in the order they were started.
    pub tasks: Vec<TaskReport>,
}

impl Stuck {
    /// Whether nothing was left to run, as opposed to running without an end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.why == Why::Idle
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Idle => "nothing can run any more",
            Why::Steps => "it took too many steps",
            Why::Time => "it took too much virtual time",
        };
        write!(f, "stuck at step {}, {:?}: {why}", self.steps, self.now)?;
        for task in self.tasks.iter().take(REPORTED_TASKS) {
            let (process, core) = (task.process.0, task.core.0);
            write!(f, "\n  process {process} core {core}: {} ({} polls)", task.what, task.polls)?;
        }
        if self.tasks.len() > REPORTED_TASKS {
            write!(f, "\n  and {} more tasks", self.tasks.len() - REPORTED_TASKS)?;
        }
        Ok(())
    }
}
