//! How the object store is doing, by what it did lately.

use std::fmt::Display;
use std::time::Duration;

use chunk::ErrorKind;
use serde::{Deserialize, Serialize};

use super::Env;
use super::core::Core;
use super::limits::{DOWN_AFTER, HEALTH_CALLS, SLOW_AMONG, SLOW_CALL};

/// What can be expected of the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// It answers.
    #[default]
    Up,
    /// It answers, but late, or not always.
    Slow,
    /// It does not answer, or is full. What is cached can be read, and writes go on as long as the log has
    /// room.
    Down,
}

impl StoreState {
    /// The state in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Down => "down",
        }
    }
}

/// Outcomes of the newest calls of one core.
#[derive(Default, Debug)]
pub struct StoreHealth {
    /// A bit for each call, the newest is the lowest: it failed, or took long.
    bad: u32,
    failures_in_a_row: u32,
}

impl StoreHealth {
    /// Notes a call that has ended.
    pub fn note(&mut self, answered: bool, span: Duration) {
        let is_bad = !answered || span >= SLOW_CALL;
        self.bad = (self.bad << 1 | u32::from(is_bad)) & ((1 << HEALTH_CALLS) - 1);
        self.failures_in_a_row = if answered { 0 } else { self.failures_in_a_row + 1 };
    }

    /// What the calls say.
    #[must_use]
    pub fn state(&self) -> StoreState {
        if self.failures_in_a_row >= DOWN_AFTER {
            return StoreState::Down;
        }
        match self.bad.count_ones() >= SLOW_AMONG {
            true => StoreState::Slow,
            false => StoreState::Up,
        }
    }
}

impl<E: Env> Core<E> {
    /// Notes how a call of the store ended, and tells the log when the store goes down or comes back.
    /// One that is full takes nothing, whatever it answers.
    pub(super) fn note_call<T, F>(&self, outcome: &Result<T, F>, kind: Kind<F>, span: Duration)
    where
        F: Display,
    {
        let failed = outcome
            .as_ref()
            .err()
            .filter(|error| matches!(kind(error), ErrorKind::Retry | ErrorKind::NoSpace));
        let mut health = self.health.borrow_mut();
        let before = health.state();
        health.note(failed.is_none(), span);
        let (down, after) = (StoreState::Down, health.state());
        if let Some(error) = failed.filter(|_| before != down && after == down) {
            log::warn!("the store fails again and again, and is asked on: {error}");
        } else if before == down && after != down {
            log::info!("the store does what it is asked again");
        }
    }
}

/// Tells what to do about an error.
type Kind<F> = fn(&F) -> ErrorKind;

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(20);

    #[test]
    fn a_store_is_down_after_failures_in_a_row_and_up_again_after_good_calls() {
        let mut health = StoreHealth::default();
        assert_eq!(health.state(), StoreState::Up);
        for _ in 0..DOWN_AFTER {
            assert_ne!(health.state(), StoreState::Down);
            health.note(false, QUICK);
        }
        assert_eq!(health.state(), StoreState::Down);
        health.note(true, QUICK);
        health.note(false, QUICK);
        health.note(true, QUICK);
        assert_eq!(health.state(), StoreState::Slow, "it failed a moment ago");
        for _ in 0..HEALTH_CALLS {
            health.note(true, QUICK);
        }
        assert_eq!(health.state(), StoreState::Up);
    }

    #[test]
    fn calls_that_take_long_make_a_store_slow_though_none_fails() {
        let mut health = StoreHealth::default();
        for _ in 0..SLOW_AMONG {
            assert_eq!(health.state(), StoreState::Up);
            health.note(true, SLOW_CALL);
            health.note(true, QUICK);
        }
        assert_eq!(health.state(), StoreState::Slow);
    }
}
