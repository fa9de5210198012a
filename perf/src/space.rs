//! What overwriting costs the store: bytes written, bytes kept, and speed.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::bars::{Judged, Limit};
use crate::load::Client;
use crate::pinned::pinned;
use crate::recipe::{EXPORT, Recipe};
use crate::recorder::{Measured, median};
use crate::rows::RowError;
use crate::scenario::{Pattern, Scenario};
use crate::server::Server;
use crate::size::ByteSize;

/// A grace that no load outlives: the server does not look for garbage meanwhile.
const NEVER_SECONDS: u64 = 604_800;

/// What to overwrite, and how.
#[derive(Clone, Debug)]
pub struct Overwriting {
    /// Krait's binary.
    pub binary: String,
    /// Size of the volume.
    pub size: ByteSize,
    /// Part of it that is written at first, and overwritten then, in percent.
    pub full_percent: u64,
    /// Bytes per second of the paced load; garbage stays for a grace, so this decides how much
    /// there is of it beside the data.
    pub rate: ByteSize,
    /// How often the data are overwritten before anything counts, and then while it counts.
    pub turns: (f64, f64),
    /// Seconds of each load at full speed.
    pub seconds: f64,
    /// Pairs of loads at full speed, with and without collecting.
    pub runs: u32,
    /// Grace of the garbage in seconds.
    pub grace: u64,
    /// Core of the client.
    pub client_core: usize,
}

/// What a paced load left in the store.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Bytes that the client wrote while it counted.
    pub client_bytes: u64,
    /// Bytes that went to the store from then until the garbage had gone: chunks, what was moved,
    /// maps and manifests.
    pub backend_bytes: u64,
    /// Bytes of the data.
    pub live_bytes: u64,
    /// Bytes in the store at the end of the load, garbage that waits for its grace included.
    pub loaded_bytes: u64,
    /// Bytes in the store after the grace.
    pub settled_bytes: u64,
}

/// Speed with and without collecting.
#[derive(Clone, Debug, Serialize)]
pub struct Foreground {
    /// IOPS of each load on a server that collects.
    pub with: Vec<f64>,
    /// IOPS of each load on one that does not.
    pub without: Vec<f64>,
    /// The slowest second of the loads that collect.
    pub slowest_second: u64,
}

impl Cost {
    /// Bytes that the store takes for each byte of the client.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        self.backend_bytes as f64 / self.client_bytes.max(1) as f64
    }

    /// Bytes that the store has for each byte of data once the garbage has gone.
    #[must_use]
    pub fn space(&self) -> f64 {
        self.settled_bytes as f64 / self.live_bytes.max(1) as f64
    }

    /// The same at the end of the load.
    #[must_use]
    pub fn space_loaded(&self) -> f64 {
        self.loaded_bytes as f64 / self.live_bytes.max(1) as f64
    }

    /// The rows of one pattern.
    #[must_use]
    pub fn rows(&self, pattern: &str, amplification: f64) -> [Judged; 3] {
        let row = |what: &str, value, limit| Judged::new(what, pattern, Some(value), limit, "x");
        let most = Limit::AtMost(amplification);
        [
            row("bytes to the store per byte written", self.write_amplification(), most),
            row(
                "bytes stored per byte of data, after the grace",
                self.space(),
                Limit::AtMost(1.45),
            ),
            row("the same at the end of the load", self.space_loaded(), Limit::Open),
        ]
    }
}

impl Foreground {
    /// The rows of the speed.
    #[must_use]
    pub fn rows(&self) -> [Judged; 2] {
        let of = |values: &[f64]| median(values.iter().copied());
        let (with, without) = (of(&self.with), of(&self.without));
        let ratio = with.zip(without).map(|(with, without)| with / without.max(1.0) * 100.0);
        let slowest = self.slowest_second as f64;
        let row = |what: &str, value, limit, unit| Judged::new(what, "uniform", value, limit, unit);
        [
            row("IOPS with collecting, to those without", ratio, Limit::AtLeast(85.0), " %"),
            row("slowest second with collecting", Some(slowest), Limit::Open, " IOPS"),
        ]
    }
}

impl Overwriting {
    /// Bytes of the data.
    fn region(&self) -> ByteSize {
        let unit = 1 << 20;
        ByteSize::new(self.size.bytes() * self.full_percent / 100 / unit * unit)
    }

    fn scenario(&self, pattern: Pattern) -> Result<Scenario, RowError> {
        let mut scenario = Scenario::load("randwrite-4k-qd32")?;
        scenario.pattern = pattern;
        scenario.region = Some(self.region());
        scenario.warmup_seconds = 0.0;
        Ok(scenario)
    }

    fn start(&self, scratch: &Path, name: &str, grace: u64) -> Result<Server, RowError> {
        // As for a bucket: what goes to the store is small beside the data, so that few overwrites
        // meet in one upload.
        let options = format!("--rpo-bytes 64M --gc-grace-seconds {grace}");
        let recipe = Recipe::krait_with(name, &self.binary, &options);
        let server = Server::start(&recipe, scratch, self.size, &[])?;
        let scenario = self.scenario(Pattern::Random)?;
        pinned(self.client_core, || Client::new(1).prefill(&scenario, &server.uri))?;
        server.krait()?.drain(EXPORT)?;
        Ok(server)
    }

    fn load(&self, server: &Server, scenario: &Scenario) -> Result<Measured, RowError> {
        let pid = Some(server.pid());
        Ok(pinned(self.client_core, || Client::new(scenario.seed).run(scenario, &server.uri, pid))?)
    }

    /// Overwrites at a pace and adds up what the store takes.
    ///
    /// # Errors
    /// If the server, a load or a command fails.
    pub fn cost(&self, scratch: &Path, pattern: Pattern) -> Result<Cost, RowError> {
        let dir = tempfile::Builder::new().prefix("krait-perf-").tempdir_in(scratch)?;
        let server = self.start(dir.path(), "krait overwritten", self.grace)?;
        let krait = server.krait()?;
        let mut scenario = self.scenario(pattern)?;
        scenario.rate = Some(self.rate);
        let turn = self.region().bytes() as f64 / self.rate.bytes() as f64;
        (scenario.seconds, scenario.seed) = (self.turns.0 * turn, 1);
        self.load(&server, &scenario)?;
        krait.drain(EXPORT)?;
        let before = krait.status(EXPORT)?;
        (scenario.seconds, scenario.seed) = (self.turns.1 * turn, 2);
        self.load(&server, &scenario)?;
        krait.drain(EXPORT)?;
        let loaded = krait.garbage(EXPORT)?;
        // Takes the grace two or three times. What it moves was written by this load or before.
        krait.run(&format!("gc run --volume {EXPORT}"))?;
        let after = krait.status(EXPORT)?;
        let settled = krait.garbage(EXPORT)?;
        server.stop()?;
        Ok(Cost {
            client_bytes: after.written_bytes - before.written_bytes,
            backend_bytes: after.traffic.put_bytes - before.traffic.put_bytes,
            live_bytes: self.region().bytes(),
            loaded_bytes: loaded.bytes,
            settled_bytes: settled.bytes,
        })
    }

    /// Overwrites at full speed, on a server that collects and on one that does not, in turns.
    ///
    /// # Errors
    /// As [`Self::cost`].
    pub fn foreground(&self, scratch: &Path) -> Result<Foreground, RowError> {
        let mut found =
            Foreground { with: Vec::new(), without: Vec::new(), slowest_second: u64::MAX };
        let mut scenario = self.scenario(Pattern::Random)?;
        scenario.seconds = self.seconds;
        for _ in 0..self.runs {
            for (name, grace) in [("collecting", self.grace), ("not collecting", NEVER_SECONDS)] {
                let dir = tempfile::Builder::new().prefix("krait-perf-").tempdir_in(scratch)?;
                let server = self.start(dir.path(), name, grace)?;
                let measured = self.load(&server, &scenario)?;
                server.stop()?;
                if grace == NEVER_SECONDS {
                    found.without.push(measured.iops);
                } else {
                    found.with.push(measured.iops);
                    let slowest = measured.per_second.iter().copied().min().unwrap_or(0);
                    found.slowest_second = found.slowest_second.min(slowest);
                }
            }
        }
        Ok(found)
    }

    /// Seconds that the paced load of one pattern takes, without its end.
    #[must_use]
    pub fn paced_time(&self) -> Duration {
        let turn = self.region().bytes() as f64 / self.rate.bytes() as f64;
        Duration::from_secs_f64(turn * (self.turns.0 + self.turns.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amplification_and_space_are_ratios_of_what_was_counted() {
        let cost = Cost {
            client_bytes: 100,
            backend_bytes: 170,
            live_bytes: 1000,
            loaded_bytes: 2500,
            settled_bytes: 1400,
        };
        let rows = cost.rows("hot-cold", 1.6);
        let met: Vec<_> = rows.iter().map(Judged::word).collect();
        assert_eq!(met, ["no", "yes", "-"]);
        let shown: Vec<_> = rows.iter().map(|row| row.shown.as_str()).collect();
        assert_eq!(shown, ["1.70x", "1.40x", "2.50x"]);
    }

    #[test]
    fn speed_is_the_medians_ratio_in_percent() {
        let found = Foreground {
            with: vec![80.0, 90.0, 10.0],
            without: vec![100.0, 100.0, 900.0],
            slowest_second: 7,
        };
        let [ratio, slowest] = found.rows();
        assert_eq!((ratio.shown.as_str(), ratio.met), ("80.0 %", Some(false)));
        assert_eq!((slowest.shown.as_str(), slowest.met), ("7.00 IOPS", None));
    }
}
