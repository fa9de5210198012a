//! What the store has done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// Write an object, or a part of one.
    Put,
    /// Read bytes.
    Get,
    /// Ask for a length.
    Head,
    /// Remove one object.
    Delete,
    /// Remove up to a thousand objects.
    DeleteMany,
    /// One page of a listing.
    List,
    /// Begin, complete or abort a large upload.
    Upload,
}

impl Op {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Put,
        Self::Get,
        Self::Head,
        Self::Delete,
        Self::DeleteMany,
        Self::List,
        Self::Upload,
    ];

    /// Name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::List => "list",
            Self::Upload => "upload",
        }
    }
}

/// Numbers of one kind of request, or of all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OpMetrics {
    /// Attempts that were sent, repeated ones included.
    pub requests: u64,
    /// Attempts that followed a failed one.
    pub retries: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Requests that were given up.
    pub errors: u64,
    /// Answers that asked for fewer requests.
    pub slowdowns: u64,
    /// Bytes of bodies that were sent.
    pub bytes_sent: u64,
    /// Bytes of bodies that came.
    pub bytes_received: u64,
}

/// A reading of all numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Metrics {
    /// Each kind with its numbers.
    pub ops: [(Op, OpMetrics); Op::ALL.len()],
    /// Requests that may be in flight now.
    pub concurrency: usize,
}

impl S3Metrics {
    /// The numbers of one kind.
    #[must_use]
    pub fn of(&self, op: Op) -> OpMetrics {
        self.ops[op as usize].1
    }

    /// The sum of all kinds.
    #[must_use]
    pub fn total(&self) -> OpMetrics {
        self.ops.iter().fold(OpMetrics::default(), |sum, (_, op)| OpMetrics {
            requests: sum.requests + op.requests,
            retries: sum.retries + op.retries,
            failures: sum.failures + op.failures,
            errors: sum.errors + op.errors,
            slowdowns: sum.slowdowns + op.slowdowns,
            bytes_sent: sum.bytes_sent + op.bytes_sent,
            bytes_received: sum.bytes_received + op.bytes_received,
        })
    }
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live numbers of one kind.
#[derive(Debug, Default)]
pub(crate) struct OpCounts {
    pub(crate) requests: Count,
    pub(crate) retries: Count,
    pub(crate) failures: Count,
    pub(crate) errors: Count,
    pub(crate) slowdowns: Count,
    pub(crate) bytes_sent: Count,
    pub(crate) bytes_received: Count,
}

/// The live numbers.
#[derive(Debug, Default)]
pub(crate) struct Counts([OpCounts; Op::ALL.len()]);

impl Counts {
    /// Those of one kind.
    pub(crate) fn of(&self, op: Op) -> &OpCounts {
        &self.0[op as usize]
    }

    /// Reads them all; not in one instant.
    pub(crate) fn read(&self, concurrency: usize) -> S3Metrics {
        let read = |op: Op| {
            let live = self.of(op);
            let metrics = OpMetrics {
                requests: live.requests.get(),
                retries: live.retries.get(),
                failures: live.failures.get(),
                errors: live.errors.get(),
                slowdowns: live.slowdowns.get(),
                bytes_sent: live.bytes_sent.get(),
                bytes_received: live.bytes_received.get(),
            };
            (op, metrics)
        };
        S3Metrics { ops: Op::ALL.map(read), concurrency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_numbers_of_its_own() {
        let counts = Counts::default();
        for (n, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, n, "the order of ALL is that of the kinds");
            counts.of(op).requests.add(1 << n);
        }
        let metrics = counts.read(3);
        assert_eq!(metrics.of(Op::Head).requests, 1 << 2);
        assert_eq!((metrics.total().requests, metrics.concurrency), (127, 3));
    }
}
