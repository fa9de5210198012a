//! When a life ends by force.

use crate::sim::disk::{Call, Drive};
use crate::sim::executor::Executor;
use crate::sim::random::Random;

/// The moment of a crash: a step, or before that a call on the disk that was just begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trigger {
    step: u64,
    call: Option<(Call, u64)>,
}

impl Trigger {
    pub(super) const NEVER: Self = Self { step: u64::MAX, call: None };

    /// A crash at the n-th call of a kind from now on, counted from 1.
    pub(super) fn at_call(drive: &Drive, call: Option<(Call, u64)>) -> Self {
        let call = call.map(|(call, nth)| (call, drive.calls(call) + nth));
        Self { step: u64::MAX, call }
    }

    /// A crash in the last three quarters of the next `steps`.
    pub(super) fn draw_late(executor: &Executor, steps: u64, r: &mut Random) -> Self {
        Self { step: executor.steps() + r.within(steps / 4..steps.max(1)), call: None }
    }

    /// A crash within the next `steps`.
    pub(super) fn draw(executor: &Executor, drive: &Drive, steps: u64, r: &mut Random) -> Self {
        let step = executor.steps() + r.scaled(1..steps.max(2));
        let call = *r.pick(&[Call::Write, Call::Sync, Call::Create, Call::Remove]);
        let nth = drive.calls(call) + r.scaled(1..40);
        Self { step, call: r.chance(2).then_some((call, nth)) }
    }

    pub(super) fn is_reached(&self, executor: &Executor, drive: &Drive) -> bool {
        executor.steps() >= self.step || self.call.is_some_and(|(call, n)| drive.calls(call) >= n)
    }
}
