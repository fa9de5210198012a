//! The time of day, for signatures and for credentials that end.

use std::time::SystemTime;

/// Now, by this host's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "signatures carry the time of day; no engine code runs on these threads"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Seconds that this host is ahead of a server whose answer has this `Date` header.
pub(crate) fn ahead_of(date: &str, now: SystemTime) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    let ours = jiff::Timestamp::try_from(now).ok()?.as_second();
    Some(ours - theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_date_of_an_answer_tells_how_far_the_clocks_are_apart() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + 60);
        assert_eq!(ahead_of("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(60));
        assert_eq!(ahead_of("Sun, 06 Nov 1994 08:51:37 GMT", now), Some(-60));
        assert_eq!(ahead_of("yesterday", now), None);
    }
}
