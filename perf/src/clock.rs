//! The harness measures real time, so it is the one place here that reads the clock.

use std::time::{Duration, Instant};

/// Now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a measuring tool runs on the real clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, for people, in UTC.
#[must_use]
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Blocks the calling thread.
#[expect(clippy::disallowed_methods, reason = "plain threads, no executor to stall")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Nanoseconds since `start`, saturating.
#[must_use]
pub fn nanos_since(start: Instant) -> u64 {
    u64::try_from(now().duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}
