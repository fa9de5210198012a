//! How long to wait before trying again.

use std::time::Duration;

use crate::limits::{FIRST_BACKOFF, MAX_BACKOFF};

/// A pause before attempt `next` (from 2): anything from nothing to a bound that doubles each
/// time, so that callers that failed together do not come back together.
pub(crate) fn pause(next: u32, random: u64) -> Duration {
    let doublings = next.saturating_sub(2).min(16);
    let bound = FIRST_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF);
    bound.mul_f64(random as f64 / u64::MAX as f64)
}

/// Random bits; these only spread load.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_may_be_nothing() {
        assert_eq!(pause(2, u64::MAX), FIRST_BACKOFF);
        assert_eq!(pause(4, u64::MAX), FIRST_BACKOFF * 4);
        assert_eq!(pause(u32::MAX, u64::MAX), MAX_BACKOFF);
        assert_eq!(pause(9, 0), Duration::ZERO);
        assert!(pause(5, u64::MAX / 2) < FIRST_BACKOFF * 8);
    }
}
