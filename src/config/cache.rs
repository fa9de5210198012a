//! The cache of chunks on the local disk.

use std::fmt;
use std::str::FromStr;

use super::size::ByteSize;

/// How much of what the store has is copied to the local disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskCache {
    /// Most bytes; 0 for none.
    pub size: ByteSize,
    /// What goes when it is full.
    pub policy: CachePolicy,
}

/// What goes when the cache is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// What was not used for longest.
    Lru,
}

/// A text that names no policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a policy of the cache: write lru")]
pub struct CachePolicyError {
    text: String,
}

impl FromStr for CachePolicy {
    type Err = CachePolicyError;

    fn from_str(text: &str) -> Result<Self, CachePolicyError> {
        match text {
            "lru" => Ok(Self::Lru),
            _ => Err(CachePolicyError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for CachePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lru => f.write_str("lru"),
        }
    }
}
