//! What snapshots and clones cost those who write meanwhile, and those who ask for them.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::bars::{Judged, Limit};
use crate::clock;
use crate::command::{CommandError, Krait};
use crate::load::Client;
use crate::pinned::pinned;
use crate::recipe::{EXPORT, Recipe};
use crate::recorder::median;
use crate::rows::RowError;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::size::ByteSize;

/// Seconds from one snapshot under load to the next.
const EVERY: u32 = 3;

/// Into the second in which a snapshot is made.
const INTO: Duration = Duration::from_millis(30);

/// What to do.
#[derive(Clone, Debug)]
pub struct Snapshotting {
    /// Krait's binary.
    pub binary: String,
    /// Size of the volume, all of which is written first.
    pub size: ByteSize,
    /// Snapshots under load.
    pub under_load: u32,
    /// Clones.
    pub clones: u32,
    /// Snapshots that the volume has when they are listed.
    pub listed: u32,
    /// Bytes per second of the load; as fast as it goes unless set.
    pub rate: Option<ByteSize>,
    /// More options of the server.
    pub options: String,
    /// Core of the client.
    pub client_core: usize,
}

/// What was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Seconds that each call under load took, the start of its process included.
    pub calls: Vec<f64>,
    /// For each of them: the writes' 99th percentile in its second, and in the second before, in us.
    pub p99_us: Vec<(f64, f64)>,
    /// IOPS of the load.
    pub iops: f64,
    /// Seconds that each clone took.
    pub clones: Vec<f64>,
    /// Seconds that each snapshot of an idle volume took.
    pub idle_calls: Vec<f64>,
    /// Snapshots of the volume at the end.
    pub listed: u32,
    /// Seconds that it took to list them.
    pub list: f64,
}

impl Seen {
    /// All figures beside their bars.
    #[must_use]
    pub fn rows(&self) -> Vec<Judged> {
        let most = |values: &[f64]| values.iter().copied().reduce(f64::max);
        let ratios: Vec<f64> = self.p99_us.iter().map(|(in_it, before)| in_it / before).collect();
        let middle = median(ratios.iter().copied());
        let row = |what: &str, against: &str, value: Option<f64>, limit, unit: &str| {
            Judged::new(what, against, value, limit, unit)
        };
        let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
        let listed = format!("{} snapshots", self.listed);
        let of = |values: &[f64]| median(values.iter().copied());
        vec![
            row(
                "p99 of writes, the second of a snapshot",
                "median",
                middle,
                Limit::AtMost(2.0),
                "x",
            ),
            row("to the second before", "worst", most(&ratios), Limit::Open, "x"),
            row("snapshot under load", "median", of(&self.calls), Limit::Open, " s"),
            row("snapshot under load", "slowest", most(&self.calls), Limit::AtMost(1.0), " s"),
            row("writes meanwhile", "4k, depth 32", Some(self.iops), Limit::Open, " IOPS"),
            row("clone", "slowest", ms(most(&self.clones)), Limit::AtMost(100.0), " ms"),
            row("snapshot without load", "median", ms(of(&self.idle_calls)), Limit::Open, " ms"),
            row("list", &listed, ms(Some(self.list)), Limit::Open, " ms"),
        ]
    }
}

impl Snapshotting {
    /// Writes the volume, makes snapshots under load, clones, and lists what there is then.
    ///
    /// # Errors
    /// If the server, the load or a command fails.
    pub fn run(&self, scratch: &Path) -> Result<Seen, RowError> {
        let dir = tempfile::Builder::new().prefix("krait-perf-").tempdir_in(scratch)?;
        let recipe = Recipe::krait_with("krait snapshots", &self.binary, &self.options);
        let server = Server::start(&recipe, dir.path(), self.size, &[])?;
        let scenario = Scenario::load("randwrite-4k-qd32")?;
        pinned(self.client_core, || Client::new(1).prefill(&scenario, &server.uri))?;
        let krait = server.krait()?;
        krait.drain(EXPORT)?;
        let mut seen = Seen::default();
        self.under_load(&server, scenario, &mut seen)?;
        krait.drain(EXPORT)?;
        for number in 0..self.clones {
            let words = format!("clone create clone{number} --from {EXPORT}@load0");
            seen.clones.push(timed(krait, &words)?);
        }
        let made = seen.calls.len() as u32;
        for number in made..self.listed {
            let words = format!("snapshot create {EXPORT} idle{number}");
            seen.idle_calls.push(timed(krait, &words)?);
        }
        seen.listed = self.listed.max(made);
        seen.list = timed(krait, &format!("snapshot list {EXPORT}"))?;
        server.stop()?;
        Ok(seen)
    }

    fn under_load(
        &self,
        server: &Server,
        mut scenario: Scenario,
        seen: &mut Seen,
    ) -> Result<(), RowError> {
        (scenario.warmup_seconds, scenario.rate) = (0.0, self.rate);
        scenario.seconds = f64::from(EVERY * (self.under_load + 1)) + 0.5;
        let krait = server.krait()?;
        let begun = clock::now();
        let (measured, calls) = thread::scope(|scope| {
            let load = || {
                let mut client = Client::new(2);
                pinned(self.client_core, || client.run(&scenario, &server.uri, None))
            };
            let load = thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, load)?;
            let mut calls = Vec::new();
            for number in 0..self.under_load {
                let planned = u64::from(EVERY * (number + 1));
                // A second between a call that took long and the one that the next is compared with.
                let second = planned.max(begun.elapsed().as_secs() + 3);
                if (second + 1) as f64 > scenario.seconds {
                    break;
                }
                clock::pause((Duration::from_secs(second) + INTO).saturating_sub(begun.elapsed()));
                let took = timed(krait, &format!("snapshot create {EXPORT} load{number}"))?;
                calls.push((second as usize, took));
            }
            let measured = load.join().map_err(|_| RowError::Panicked)??;
            Ok::<_, RowError>((measured, calls))
        })?;
        let p99 = |second: usize| measured.p99_per_second_us.get(second).copied();
        for (second, took) in calls {
            seen.calls.push(took);
            seen.p99_us.extend(p99(second).zip(p99(second - 1)));
        }
        seen.iops = measured.iops;
        Ok(())
    }
}

fn timed(krait: &Krait, words: &str) -> Result<f64, CommandError> {
    let begun = clock::now();
    krait.run(words)?;
    Ok(begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_a_snapshot_is_compared_with_the_one_before() {
        let seen = Seen {
            calls: vec![0.1, 1.5],
            p99_us: vec![(300.0, 100.0), (110.0, 100.0), (150.0, 100.0)],
            clones: vec![0.02, 0.05],
            list: 0.25,
            listed: 1000,
            ..Seen::default()
        };
        let rows = seen.rows();
        let shown: Vec<_> = rows.iter().map(|row| (row.shown.as_str(), row.word())).collect();
        let expected = [("1.50x", "yes"), ("3.00x", "-"), ("0.80 s", "-"), ("1.50 s", "no")];
        assert_eq!(shown[..4], expected);
        assert_eq!(shown[5..7], [("50.0 ms", "yes"), ("not measured", "-")]);
        assert_eq!((rows[7].against.as_str(), shown[7].0), ("1000 snapshots", "250 ms"));
    }
}
