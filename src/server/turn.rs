//! Fairness on one core.
//!
//! Completions of the disk and wakes of other cores are harvested only when the run queue is
//! empty. A connection whose client always has the next request ready would keep it full for ever,
//! so connections that worked for a slice without waiting for anything sleep for a moment.

use std::cell::Cell;
use std::time::Duration;

use wal::runtime::Runtime;

use super::limits::BUSY_SLICE;
use super::spin::Spin;

/// How long the core has been at work since it last looked for news.
#[derive(Default)]
pub(super) struct BusySlice {
    since: Cell<Duration>,
    /// Whether to look again before waiting.
    pub(super) spin: Spin,
}

impl BusySlice {
    /// A task just ran because of news: the slice starts anew.
    pub(super) fn restart(&self, runtime: &impl Runtime) {
        self.since.set(runtime.now());
    }

    /// Whether the core should look for news now.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now - self.since.get() > BUSY_SLICE
    }

    /// Called by a task that could go on at once: lets the core look for news if the slice is over.
    pub(super) async fn yield_if_over(&self, runtime: &impl Runtime) {
        if self.is_over(runtime.now()) {
            runtime.pause().await;
            self.restart(runtime);
        }
    }
}
