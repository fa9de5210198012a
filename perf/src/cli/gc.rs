//! `perf gc`: what overwriting costs the store, and those who overwrite.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use perf::scenario::Pattern;
use perf::size::ByteSize;
use perf::space::{Cost, Foreground, Overwriting};
use serde::Serialize;

use super::CliError;
use super::alone::Alone;

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// Overwrites that are spread evenly, at a pace.
    Uniform,
    /// Nine of ten overwrites in a tenth of the data, at a pace.
    HotCold,
    /// Overwrites at full speed, with and without collecting.
    Foreground,
}

/// Options of `perf gc`.
#[derive(Debug, Args)]
pub struct Gc {
    #[command(flatten)]
    alone: Alone,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "uniform,hot-cold,foreground")]
    parts: Vec<Part>,
    /// Size of the volume
    #[arg(long, default_value = "2G")]
    size: ByteSize,
    /// Part of it that has data, in percent
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u64).range(1..=100))]
    full: u64,
    /// Bytes per second of the paced loads
    #[arg(long, default_value = "32M")]
    rate: ByteSize,
    /// How often the data are overwritten while it counts
    #[arg(long, default_value_t = 3.0)]
    turns: f64,
    /// How often before
    #[arg(long, default_value_t = 1.0)]
    turns_before: f64,
    /// Seconds of each load at full speed
    #[arg(long, default_value_t = 100.0)]
    seconds: f64,
    /// Pairs of loads at full speed
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Seconds that garbage stays: the least that a server takes
    #[arg(long, default_value_t = 40)]
    grace: u64,
}

#[derive(Default, Serialize)]
struct Found {
    paced: BTreeMap<Part, Cost>,
    foreground: Option<Foreground>,
}

impl Gc {
    /// Measures the chosen parts and prints them.
    pub fn execute(self) -> Result<(), CliError> {
        let overwriting = Overwriting {
            binary: self.alone.binary()?,
            size: self.size,
            full_percent: self.full,
            rate: self.rate,
            turns: (self.turns_before, self.turns),
            seconds: self.seconds,
            runs: self.runs,
            grace: self.grace,
            client_core: self.alone.core(),
        };
        let scratch = self.alone.scratch();
        let (mut found, mut rows) = (Found::default(), Vec::new());
        for &part in &self.parts {
            let paced = overwriting.paced_time().as_secs();
            let (pattern, most, name) = match part {
                Part::Uniform => (Pattern::Random, 2.0, "uniform"),
                Part::HotCold => (Pattern::HotCold, 1.6, "90/10 hot and cold"),
                Part::Foreground => {
                    eprintln!("overwriting at full speed");
                    let foreground = overwriting.foreground(&scratch)?;
                    rows.extend(foreground.rows());
                    found.foreground = Some(foreground);
                    continue;
                }
            };
            eprintln!("overwriting, {name}, for {paced} s, then up to three graces");
            let cost = overwriting.cost(&scratch, pattern)?;
            rows.extend(cost.rows(name, most));
            found.paced.insert(part, cost);
        }
        self.alone.print(&found, &rows)
    }
}
