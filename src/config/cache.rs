//! The cache of chunks on the local disk.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chunk::VolumeName;

use super::limits::MAX_CACHE_TTL;
use super::size::ByteSize;
use super::span::{span, span_text};

/// How much of what the store has is copied to the local disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskCache {
    /// Most bytes; 0 for none.
    pub size: ByteSize,
    /// What goes, and when.
    pub policy: CachePolicy,
    /// Volumes whose chunks stay when others want their room.
    pub pin: Vec<VolumeName>,
}

/// What goes from the cache, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// What was not used for longest, when the cache is full.
    Lru,
    /// As [`Self::Lru`], and what was not used for this long, full or not.
    Ttl(Duration),
}

/// A text that names no policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is not a policy of the cache: write lru, or ttl= and a time of 1s to {}, such as ttl=30m",
    span_text(MAX_CACHE_TTL)
)]
pub struct CachePolicyError {
    text: String,
}

impl FromStr for CachePolicy {
    type Err = CachePolicyError;

    fn from_str(text: &str) -> Result<Self, CachePolicyError> {
        let refused = || CachePolicyError { text: text.to_owned() };
        match text.strip_prefix("ttl=") {
            None if text == "lru" => Ok(Self::Lru),
            None => Err(refused()),
            Some(ttl) => {
                let ttl = span(ttl).map_err(|_| refused())?;
                let fits = !ttl.is_zero() && ttl <= MAX_CACHE_TTL;
                fits.then_some(Self::Ttl(ttl)).ok_or_else(refused)
            }
        }
    }
}

impl fmt::Display for CachePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lru => f.write_str("lru"),
            Self::Ttl(ttl) => write!(f, "ttl={}", span_text(*ttl)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        for text in ["lru", "ttl=30m", "ttl=45s", "ttl=720h"] {
            assert_eq!(text.parse::<CachePolicy>().unwrap().to_string(), text);
        }
        for text in ["", "LRU", "ttl", "ttl=", "ttl=0s", "ttl=721h", "ttl=1d", "fifo"] {
            let error = text.parse::<CachePolicy>().unwrap_err().to_string();
            assert!(error.contains("such as ttl=30m") && error.contains(text), "{error}");
        }
    }
}
