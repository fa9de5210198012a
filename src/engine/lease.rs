//! The lease that a flush needs, where the fencing of a volume asks for one.
//!
//! It runs from the moment before this host began to publish a manifest, for the term that the
//! manifest names. Whoever takes over reads the newest manifest, waits that long by its own clock,
//! and goes on only if that manifest is still the newest: whatever this host published was
//! published before that reading, so its lease has run out. What it publishes later takes the
//! number that the other one needs, or finds that number taken.
//!
//! What is answered is looked at right before the answer. A process that is stopped between the
//! two, for as long as the lease lasts, may still send that one answer when it goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chunk::Fencing;

/// A lease on a volume, as all cores see it.
pub struct Lease {
    /// How long it lasts from one publication on; `None`: for ever.
    term: Option<Duration>,
    /// When it runs out, in nanoseconds of the runtime's clock.
    until: AtomicU64,
    /// Somebody is renewing it before it has run out.
    renewing: AtomicBool,
}

impl Lease {
    /// A lease that begins with a publication that began at `from`.
    #[must_use]
    pub fn new(fencing: Fencing, from: Duration) -> Self {
        let lease = Self {
            term: fencing.lease().map(chunk::LeaseTerm::span),
            until: AtomicU64::new(0),
            renewing: AtomicBool::new(false),
        };
        lease.renewed(from);
        lease
    }

    /// A manifest was published; whoever did began at `from`.
    pub fn renewed(&self, from: Duration) {
        if let Some(term) = self.term {
            let until = (from + term).as_nanos() as u64;
            self.until.fetch_max(until, Ordering::AcqRel);
            self.renewing.store(false, Ordering::Release);
        }
    }

    /// Whether a flush may be answered now.
    pub fn holds(&self, now: Duration) -> bool {
        self.term.is_none() || self.left(now) > Duration::ZERO
    }

    /// Whether a publication now is of use: half of the lease has gone.
    pub fn is_old(&self, now: Duration) -> bool {
        self.term.is_some_and(|term| self.left(now) < term / 2)
    }

    /// Whether whoever asks is to renew it although it holds: the first who finds it old.
    pub fn must_renew(&self, now: Duration) -> bool {
        self.is_old(now) && !self.renewing.swap(true, Ordering::AcqRel)
    }

    fn left(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.until.load(Ordering::Acquire)).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunk::LeaseTerm;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_runs_out_unless_it_is_renewed() {
        let lease = Lease::new(Fencing::Lease(LeaseTerm::new(10).unwrap()), at(100));
        assert!(lease.holds(at(109)) && !lease.is_old(at(105)));
        assert!(!lease.holds(at(110)));
        assert!(lease.must_renew(at(106)));
        assert!(!lease.must_renew(at(107)), "somebody does");
        lease.renewed(at(106));
        assert!(lease.holds(at(115)) && !lease.holds(at(116)));
        assert!(lease.must_renew(at(112)));
        // An answer that came late says nothing of later times.
        lease.renewed(at(104));
        assert!(lease.holds(at(115)));
    }

    #[test]
    fn without_a_term_there_is_nothing_to_renew() {
        let lease = Lease::new(Fencing::Contact, at(0));
        assert!(lease.holds(at(1 << 40)) && !lease.must_renew(at(1 << 40)));
    }
}
