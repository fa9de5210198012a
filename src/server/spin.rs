//! Looking again for a moment before waiting.
//!
//! A client that sends one request at a time has its next one ready some 10 µs after a reply. To
//! park until then and to be woken costs several system calls and takes five times as long, so a
//! core that has nothing else to do looks at the socket again and again for a moment. Where that
//! was in vain it is left the rarer, until a wait turns out to have been short.

use std::cell::Cell;
use std::time::Duration;

use super::limits::{SPIN_SHORT_WAIT, SPIN_SKIPS_MAX, SPIN_SPAN};

/// What one core knows about looking again.
#[derive(Default)]
pub(super) struct Spin {
    /// Requests that became tasks and have not ended, and replies that are being sent.
    busy: Cell<usize>,
    /// The line that was served last: others have to wait while this one is looked at.
    line: Cell<usize>,
    /// Looks in vain in a row.
    misses: Cell<u32>,
    /// Waits without a look that are still to come.
    skips: Cell<u32>,
}

impl Spin {
    /// Something began that waits for what a spinning core does not see.
    pub(super) fn task_began(&self) {
        self.busy.set(self.busy.get() + 1);
    }

    /// See [`Self::task_began`].
    pub(super) fn task_ended(&self) {
        self.busy.set(self.busy.get() - 1);
    }

    /// How long to look at line number `line` before waiting for it; `midway` in the middle of
    /// what the client is sending.
    pub(super) fn span(&self, line: usize, midway: bool) -> Duration {
        let same = self.line.replace(line) == line;
        if !same || (self.busy.get() > 0 && !midway) {
            return Duration::ZERO;
        }
        match self.skips.get() {
            0 => SPIN_SPAN,
            left => {
                self.skips.set(left - 1);
                Duration::ZERO
            }
        }
    }

    /// A look found something.
    pub(super) fn hit(&self) {
        self.misses.set(0);
    }

    /// A look was in vain.
    pub(super) fn missed(&self) {
        let misses = self.misses.get() + 1;
        self.misses.set(misses);
        self.skips.set(1u32.checked_shl(misses).map_or(SPIN_SKIPS_MAX, |n| n.min(SPIN_SKIPS_MAX)));
    }

    /// A wait without a look took so long.
    pub(super) fn waited(&self, span: Duration) {
        if span < SPIN_SHORT_WAIT {
            self.skips.set(0);
            self.misses.set(self.misses.get().min(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_served_alone_is_looked_at() {
        let spin = Spin::default();
        assert_eq!(spin.span(1, false), Duration::ZERO, "somebody else was served before");
        assert_eq!(spin.span(1, false), SPIN_SPAN);
        assert_eq!(spin.span(2, false), Duration::ZERO);
        assert_eq!(spin.span(1, false), Duration::ZERO, "two take turns");
    }

    #[test]
    fn nobody_is_looked_at_while_requests_wait_but_one_who_is_sending() {
        let spin = Spin::default();
        spin.span(1, false);
        spin.task_began();
        assert_eq!(spin.span(1, false), Duration::ZERO);
        assert_eq!(spin.span(1, true), SPIN_SPAN);
        spin.task_ended();
        assert_eq!(spin.span(1, false), SPIN_SPAN);
    }

    #[test]
    fn looks_in_vain_get_rarer_until_a_wait_is_short() {
        let spin = Spin::default();
        spin.span(1, false);
        let mut looks = 0;
        for _ in 0..1000 {
            if spin.span(1, false) > Duration::ZERO {
                looks += 1;
                spin.missed();
            }
            spin.waited(SPIN_SHORT_WAIT * 10);
        }
        assert!(looks < 20, "{looks} looks in 1000 waits");
        spin.waited(SPIN_SHORT_WAIT / 2);
        assert_eq!(spin.span(1, false), SPIN_SPAN);
    }
}
