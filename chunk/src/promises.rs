//! What a volume promises its clients beyond the usual, chosen when it is created.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{DEFAULT_LEASE_SECONDS, MAX_LEASE_SECONDS, MIN_LEASE_SECONDS};

/// When a write may be acknowledged, and what a flush waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// As a disk with a volatile cache: a write is acknowledged from memory, a flush waits for the
    /// local log.
    #[default]
    Writeback,
    /// A write is acknowledged when it is durable in the local log.
    Wal,
    /// As `wal`, and a flush waits until a manifest in the object store covers it.
    Remote,
}

/// How soon a host that lost its volume stops completing flushes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fencing {
    /// At its next contact with the store. An outage of the store stops nobody.
    #[default]
    Contact,
    /// Before the host that takes over begins: a flush needs a lease from the store, which whoever
    /// takes over waits out. An outage longer than the lease stalls flushes.
    Lease(LeaseTerm),
}

/// How long a lease lasts: whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LeaseTerm(u16);

/// The promises of one volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Promises {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// What the loss of the volume to another host means.
    pub fencing: Fencing,
}

/// A text or number that names no promise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PromiseError {
    /// No such durability.
    #[error("write writeback, wal or remote, not `{text}`")]
    Durability {
        /// What was written.
        text: String,
    },
    /// No such fencing.
    #[error("write contact or lease, not `{text}`")]
    Fencing {
        /// What was written.
        text: String,
    },
    /// A lease is too short or too long.
    #[error("a lease lasts {MIN_LEASE_SECONDS} to {MAX_LEASE_SECONDS} seconds, not {seconds}")]
    Term {
        /// What was asked for.
        seconds: u64,
    },
}

impl Durability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Writeback, Self::Wal, Self::Remote];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writeback => "writeback",
            Self::Wal => "wal",
            Self::Remote => "remote",
        }
    }

    /// Its number in a manifest.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Writeback => 0,
            Self::Wal => 1,
            Self::Remote => 2,
        }
    }

    /// The one of a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|durability| durability.code() == code)
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Durability {
    type Err = PromiseError;

    fn from_str(text: &str) -> Result<Self, PromiseError> {
        let found = Self::ALL.into_iter().find(|durability| durability.name() == text);
        found.ok_or_else(|| PromiseError::Durability { text: text.to_owned() })
    }
}

impl Fencing {
    /// The lease, if one is needed.
    #[must_use]
    pub const fn lease(self) -> Option<LeaseTerm> {
        match self {
            Self::Contact => None,
            Self::Lease(term) => Some(term),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Lease(_) => "lease",
        }
    }
}

impl fmt::Display for Fencing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contact => f.write_str(self.name()),
            Self::Lease(term) => write!(f, "{} of {term}", self.name()),
        }
    }
}

/// A lease has the usual term; [`LeaseTerm::new`] makes others.
impl FromStr for Fencing {
    type Err = PromiseError;

    fn from_str(text: &str) -> Result<Self, PromiseError> {
        match text {
            "contact" => Ok(Self::Contact),
            "lease" => Ok(Self::Lease(LeaseTerm::default())),
            _ => Err(PromiseError::Fencing { text: text.to_owned() }),
        }
    }
}

impl LeaseTerm {
    /// A lease of so many seconds.
    ///
    /// # Errors
    /// If that is too short to be renewed in time, or too long to be waited out.
    pub fn new(seconds: u64) -> Result<Self, PromiseError> {
        let term = u16::try_from(seconds).ok();
        let within = MIN_LEASE_SECONDS..=MAX_LEASE_SECONDS;
        term.filter(|term| within.contains(term)).map(Self).ok_or(PromiseError::Term { seconds })
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.0
    }

    /// As a span of time.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl Default for LeaseTerm {
    fn default() -> Self {
        Self(DEFAULT_LEASE_SECONDS)
    }
}

impl fmt::Display for LeaseTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_durability_has_a_name_and_a_number_of_its_own() {
        for durability in Durability::ALL {
            assert_eq!(durability.name().parse(), Ok(durability));
            assert_eq!(Durability::from_code(durability.code()), Some(durability));
        }
        assert_eq!(Durability::from_code(3), None);
        assert!("sync".parse::<Durability>().unwrap_err().to_string().contains("not `sync`"));
    }

    #[test]
    fn leases_have_bounds() {
        assert_eq!("contact".parse::<Fencing>().unwrap().lease(), None);
        let lease: Fencing = "lease".parse().unwrap();
        assert_eq!(lease.to_string(), "lease of 30 s");
        assert_eq!(LeaseTerm::new(3600).unwrap().span(), Duration::from_secs(3600));
        for seconds in [0, 4, 3601, u64::MAX] {
            assert_eq!(LeaseTerm::new(seconds), Err(PromiseError::Term { seconds }));
        }
        assert!("strict".parse::<Fencing>().is_err());
    }
}
