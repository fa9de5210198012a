//! `perf s3`: a bucket's own speed, and what Krait makes of it.

use clap::Args;
use perf::bucket::{BAR, Pair, Rates, Setup, measure};
use perf::pinned::default_core;
use perf::size::ByteSize;
use perf::table::{Table, number};
use std::time::Duration;

use super::CliError;

/// Options of `perf s3`.
#[derive(Debug, Args)]
pub struct S3 {
    /// Krait's binary
    #[arg(long)]
    krait: String,
    /// Memory of Krait's servers; with 1G and more they have 16 uploads under way
    #[arg(long, default_value = "1G")]
    memory: ByteSize,
    /// Raw requests under way at a time
    #[arg(long, default_value_t = 16)]
    parallel: usize,
    /// MiB that are uploaded and read in each round
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Times that all of it is done; the median of the ratios counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds that the server takes for each answer: 0 is on this host, others are far away
    #[arg(long, value_delimiter = ',', default_values_t = [0, 20])]
    latency: Vec<u64>,
    /// Core that the client thread is pinned to [default: the last one]
    #[arg(long)]
    client_core: Option<usize>,
}

impl S3 {
    /// Measures and prints both ratios, for each distance of the server.
    pub fn execute(self) -> Result<(), CliError> {
        let head = ["bucket", "answers after", "raw MiB/s", "Krait MiB/s", "ratio", "bar", "met"];
        let mut table = Table::new(&head, 1);
        for latency in &self.latency {
            let rounds = measure(&Setup {
                krait: self.krait.clone(),
                memory: self.memory,
                parallel: self.parallel,
                bytes: self.mib << 20,
                rounds: self.rounds.max(1),
                latency: Duration::from_millis(*latency),
                core: self.client_core.unwrap_or_else(default_core),
            })?;
            let mut row = |name: &str, of: fn(&Rates) -> Pair| {
                let all: Vec<_> = rounds.iter().map(of).collect();
                let ratio = median(&all, Pair::ratio);
                table.row(vec![
                    name.to_owned(),
                    format!("{latency} ms"),
                    number(median(&all, |pair| pair.raw)),
                    number(median(&all, |pair| pair.krait)),
                    number(ratio),
                    number(BAR),
                    if ratio >= BAR { "yes" } else { "no" }.to_owned(),
                ]);
            };
            row("upload, against parallel puts of 4 MiB", |rates| rates.upload);
            row("cold sequential read, against parallel gets of 1 MiB", |rates| rates.read);
        }
        print!("{table}");
        Ok(())
    }
}

fn median(all: &[Pair], of: impl Fn(Pair) -> f64) -> f64 {
    let mut values: Vec<_> = all.iter().map(|pair| of(*pair)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
