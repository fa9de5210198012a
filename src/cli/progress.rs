//! Progress of long work, for people only: shown if standard error is a terminal.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Pause between two pictures of the line.
const TICK: Duration = Duration::from_millis(200);

/// A line that shows that some work goes on. It vanishes when dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Starts a line for work of unknown length.
    pub(super) fn start(what: impl Into<Cow<'static, str>>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
        bar.set_style(style.expect("a constant template"));
        bar.enable_steady_tick(TICK);
        bar.set_message(what);
        Self(bar)
    }

    /// Whether anybody can see it.
    pub(super) fn is_seen(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Says how far it is.
    pub(super) fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }
}

/// A line that shows how much of something is done. It vanishes when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Starts a line for so many bytes, of which some are done.
    pub(super) fn start(what: impl Into<Cow<'static, str>>, bytes: u64, done: u64) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let shape = "{msg} [{bar:30}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(shape).expect("a constant template"));
        bar.set_position(done);
        bar.reset_eta();
        bar.set_message(what);
        Self(bar)
    }

    /// Says how much is done.
    pub(super) fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
