//! Times as people write them: a whole number, and `s`, `m` or `h`; without one it is seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::limits::MAX_WAIT;

/// How long something is waited for: 1 second to [`MAX_WAIT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wait(Duration);

/// Why a text is not such a time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WaitError {
    /// Not a number with a known suffix.
    #[error("write a whole number and s, m or h, such as 60s or 5m")]
    Syntax,
    /// Nothing, or too much.
    #[error("choose from 1s to {most}", most = Wait(MAX_WAIT))]
    Range,
}

impl Wait {
    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Wait {
    type Err = WaitError;

    fn from_str(text: &str) -> Result<Self, WaitError> {
        let span = span(text)?;
        let fits = (1..=MAX_WAIT.as_secs()).contains(&span.as_secs());
        fits.then_some(Self(span)).ok_or(WaitError::Range)
    }
}

/// Any such time.
pub(super) fn span(text: &str) -> Result<Duration, WaitError> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WaitError::Syntax);
    }
    let seconds = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let number: u64 = number.parse().map_err(|_| WaitError::Range)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or(WaitError::Range)
}

/// A time of whole seconds as people write it.
pub(super) fn span_text(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span_text(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds, again) in
            [("60s", 60, "1m"), ("7", 7, "7s"), ("5m", 300, "5m"), ("1h", 3600, "1h")]
        {
            let wait: Wait = text.parse().unwrap();
            assert_eq!(wait.duration(), Duration::from_secs(seconds), "{text}");
            assert_eq!(wait.to_string(), again);
        }
        for text in ["", "s", "1.5s", "-1", "1d", "1 s", "é", "5ms"] {
            assert_eq!(text.parse::<Wait>(), Err(WaitError::Syntax), "{text}");
        }
        for text in ["0", "2h", "99999999999999999999s", "9999999999999999999h"] {
            assert_eq!(text.parse::<Wait>(), Err(WaitError::Range), "{text}");
        }
    }
}
