//! `perf s3`: a bucket's own speed, and what Krait makes of it.

use clap::Args;
use perf::bucket::{Plan, Rates, measure};
use perf::pinned::default_core;
use perf::table::{Table, number};

use super::CliError;

/// Options of `perf s3`.
#[derive(Debug, Args)]
pub struct S3 {
    /// Krait's binary
    #[arg(long)]
    krait: String,
    /// Raw requests under way at a time; Krait's settings allow as many uploads
    #[arg(long, default_value_t = 16)]
    parallel: usize,
    /// MiB that are uploaded and read in each round
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// Times that all of it is done; the median of the ratios counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds that the server takes for each answer, as a far one
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Core that the client thread is pinned to [default: the last one]
    #[arg(long)]
    client_core: Option<usize>,
}

impl S3 {
    /// Measures and prints both ratios.
    pub fn execute(self) -> Result<(), CliError> {
        let plan = Plan {
            krait: self.krait,
            parallel: self.parallel,
            bytes: self.mib << 20,
            latency: std::time::Duration::from_millis(self.latency),
            core: self.client_core.unwrap_or_else(default_core),
        };
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(measure(&plan)?);
        }
        let mut table = Table::new(&["bucket", "raw MiB/s", "Krait MiB/s", "ratio"], 1);
        let mut row = |name: &str, rates: fn(&Rates) -> (f64, f64)| {
            let mut all: Vec<_> = rounds.iter().map(rates).collect();
            all.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
            let (raw, krait) = all[all.len() / 2];
            table.row(vec![name.to_owned(), number(raw), number(krait), number(krait / raw)]);
        };
        row("upload, against parallel puts of 4 MiB", |rates| rates.upload);
        row("cold sequential read, against parallel gets of 1 MiB", |rates| rates.read);
        print!("{table}");
        Ok(())
    }
}
