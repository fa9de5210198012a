//! Latency histograms and throughput of the timed part of a load.

use hdrhistogram::CreationError;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::limits::{CURVE_DECADES, CURVE_STEPS, MAX_LATENCY_NS};

/// Kind of an operation, for its own histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A read.
    Read,
    /// A write, with its flush if the scenario asks for one.
    Write,
}

/// Counts operations.
#[derive(Debug)]
pub struct Recorder {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    block_bytes: u64,
    per_second: Vec<u64>,
    /// Latencies of the newest second, with two digits: it is cleared every second.
    second: Histogram<u64>,
    p99_per_second: Vec<f64>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// 90 % are faster.
    pub p90: f64,
    /// 99 % are faster.
    pub p99: f64,
    /// 99.9 % are faster.
    pub p99_9: f64,
    /// The slowest.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

/// The outcome of one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Operations that ended in the timed part.
    pub operations: u64,
    /// Length of the timed part in seconds.
    pub seconds: f64,
    /// Operations per second.
    pub iops: f64,
    /// Payload, in 10^6 bytes per second.
    pub megabytes_per_second: f64,
    /// Latencies of all operations.
    pub latency_us: Latency,
    /// Latencies of reads, if there were any.
    pub read_latency_us: Option<Latency>,
    /// Latencies of writes, if there were any.
    pub write_latency_us: Option<Latency>,
    /// Operations in each whole second of the timed part.
    pub per_second: Vec<u64>,
    /// The 99th percentile of those operations, in microseconds; 0 of a second without any.
    #[serde(default)]
    pub p99_per_second_us: Vec<f64>,
    /// Latencies of all operations: point k is what all but one in 10^(k/10) are faster than. It
    /// ends where there are no operations to tell the next point from the slowest.
    #[serde(default)]
    pub curve_us: Vec<f64>,
    /// Processor time of the client thread, percent of one core: near 100 the client is the limit.
    pub client_cpu_percent: f64,
    /// Processor time of the server in the timed part, microseconds per operation.
    pub server_cpu_us_per_op: Option<f64>,
}

impl Recorder {
    /// An empty recorder for operations of `block_bytes`.
    pub fn new(block_bytes: u64) -> Result<Self, CreationError> {
        let histogram = || Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3);
        Ok(Self {
            reads: histogram()?,
            writes: histogram()?,
            block_bytes,
            per_second: Vec::new(),
            second: Histogram::new_with_bounds(1, MAX_LATENCY_NS, 2)?,
            p99_per_second: Vec::new(),
        })
    }

    /// Counts one operation that ended `since_start` nanoseconds into the timed part.
    pub fn record(&mut self, kind: Kind, latency_ns: u64, since_start: u64) {
        match kind {
            Kind::Read => self.reads.saturating_record(latency_ns),
            Kind::Write => self.writes.saturating_record(latency_ns),
        }
        let second = (since_start / 1_000_000_000) as usize;
        // Operations end in the order in which they are recorded.
        if self.per_second.len() <= second {
            if !self.per_second.is_empty() {
                self.end_second();
            }
            self.per_second.resize(second + 1, 0);
        }
        self.per_second[second] += 1;
        self.second.saturating_record(latency_ns);
    }

    /// Notes what the newest second was like, and that those before it had nothing.
    fn end_second(&mut self) {
        let p99 = self.second.value_at_quantile(0.99) as f64 / 1e3;
        self.p99_per_second.resize(self.per_second.len() - 1, 0.0);
        self.p99_per_second.push(p99);
        self.second.reset();
    }

    /// Sums up after `seconds`, the length of the timed part.
    #[must_use]
    pub fn summary(mut self, seconds: f64, client_cpu_seconds: f64) -> Measured {
        let read_latency_us = latency(&self.reads);
        let write_latency_us = latency(&self.writes);
        let operations = self.reads.len() + self.writes.len();
        // Both histograms were made with the same bounds.
        if self.reads.add(&self.writes).is_err() {
            unreachable!("histograms of equal bounds add up");
        }
        if !self.per_second.is_empty() {
            self.end_second();
        }
        self.p99_per_second.truncate(seconds as usize);
        // A cut-off last second would look like a stall.
        self.per_second.truncate(seconds as usize);
        let iops = operations as f64 / seconds;
        Measured {
            operations,
            seconds,
            iops,
            megabytes_per_second: iops * self.block_bytes as f64 / 1e6,
            curve_us: curve(&self.reads),
            latency_us: latency(&self.reads).unwrap_or_default(),
            read_latency_us,
            write_latency_us,
            per_second: self.per_second,
            p99_per_second_us: self.p99_per_second,
            client_cpu_percent: client_cpu_seconds / seconds * 100.0,
            server_cpu_us_per_op: None,
        }
    }
}

fn latency(histogram: &Histogram<u64>) -> Option<Latency> {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Latency {
        p50: micros(0.5),
        p90: micros(0.9),
        p99: micros(0.99),
        p99_9: micros(0.999),
        max: histogram.max() as f64 / 1e3,
        mean: histogram.mean() / 1e3,
    })
}

fn curve(histogram: &Histogram<u64>) -> Vec<f64> {
    (0..=CURVE_DECADES * CURVE_STEPS)
        .map(|step| 10_f64.powf(f64::from(step) / f64::from(CURVE_STEPS)))
        .take_while(|&one_in| one_in <= histogram.len() as f64)
        .map(|one_in| histogram.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e3)
        .collect()
}

/// The middle value; of an even number, the mean of the two in the middle. None of nothing.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected * 0.002
    }

    #[test]
    fn percentiles_and_rates_are_those_of_the_samples() {
        let mut recorder = Recorder::new(4096).expect("bounds");
        for micros in 1..=1000 {
            recorder.record(Kind::Read, micros * 1000, 0);
        }
        recorder.record(Kind::Write, 50_000_000, 1_500_000_000);
        let measured = recorder.summary(2.0, 1.0);
        let reads = measured.read_latency_us.expect("reads");
        assert!(close(reads.p50, 500.0) && close(reads.p90, 900.0) && close(reads.p99, 990.0));
        assert!(close(reads.p99_9, 999.0) && close(reads.max, 1000.0) && close(reads.mean, 500.5));
        assert!(close(measured.latency_us.max, 50_000.0));
        assert!(close(measured.write_latency_us.expect("writes").p50, 50_000.0));
        assert_eq!(measured.operations, 1001);
        assert_eq!(measured.per_second, [1000, 1]);
        let seconds = &measured.p99_per_second_us;
        let near = |value: f64, expected: f64| (value - expected).abs() < expected * 0.02;
        assert!(near(seconds[0], 990.0) && near(seconds[1], 50_000.0), "{seconds:?}");
        assert!(close(measured.iops, 500.5) && close(measured.megabytes_per_second, 2.050));
        assert!(close(measured.client_cpu_percent, 50.0));
    }

    #[test]
    fn the_curve_ends_where_operations_end() {
        let mut recorder = Recorder::new(4096).expect("bounds");
        for micros in 1..=1000 {
            recorder.record(Kind::Read, micros * 1000, 0);
        }
        let curve = recorder.summary(1.0, 0.0).curve_us;
        assert_eq!(curve.len(), 31, "three decades, both ends");
        assert!(close(curve[0], 1.0) && close(curve[10], 900.0) && close(curve[20], 990.0));
        assert!(curve.is_sorted(), "{curve:?}");
        assert!(Recorder::new(1).expect("bounds").summary(1.0, 0.0).curve_us.is_empty());
    }

    #[test]
    fn a_cut_off_second_is_not_reported() {
        let mut recorder = Recorder::new(4096).expect("bounds");
        recorder.record(Kind::Write, 1, 0);
        recorder.record(Kind::Write, 1, 3_100_000_000);
        let measured = recorder.summary(3.5, 0.0);
        assert_eq!(measured.per_second, [1, 0, 0]);
        assert_eq!(measured.p99_per_second_us.len(), 3);
        assert!(measured.p99_per_second_us[1..].iter().all(|&us| us == 0.0));
    }

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
