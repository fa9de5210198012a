//! `perf rows`: Krait alone, figure by figure.

use clap::{Args, ValueEnum};
use perf::rows::{Rows, Setup};
use perf::size::ByteSize;

use super::CliError;
use super::alone::Alone;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reads from memory, the log, the cache on the disk, and the store.
    Reads,
    /// Recovery of 1 GiB of log.
    Recovery,
    /// Random writes second by second.
    Sealing,
    /// Processor time per operation, and of an idle server.
    Processor,
    /// The slowest of a thousand under a mixed load with flushes.
    Tails,
    /// One core and two.
    Cores,
    /// Many volumes on one server.
    Volumes,
    /// Memory of the map.
    Mapped,
}

/// Options of `perf rows`.
#[derive(Debug, Args)]
pub struct RowsArgs {
    #[command(flatten)]
    alone: Alone,
    /// What to measure [default: everything]
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Size of the volumes
    #[arg(long, default_value = "1G")]
    size: ByteSize,
    /// Length of each load
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Length of the load that is looked at second by second
    #[arg(long, default_value_t = 60.0)]
    steady_seconds: f64,
    /// Volumes on one server
    #[arg(long, default_value_t = 100)]
    volumes: u32,
    /// Bytes that are mapped where the memory of the map counts
    #[arg(long, default_value = "16G")]
    mapped: ByteSize,
}

impl RowsArgs {
    /// Measures the parts in their order and prints what they found.
    pub fn execute(self) -> Result<(), CliError> {
        let mut rows = Rows::new(Setup {
            binary: self.alone.binary()?,
            scratch: self.alone.scratch(),
            size: self.size,
            seconds: self.seconds,
            steady_seconds: self.steady_seconds,
            volumes: self.volumes,
            mapped: self.mapped,
            client_core: self.alone.core(),
        });
        let parts = match self.parts.as_slice() {
            [] => Part::value_variants(),
            chosen => chosen,
        };
        for part in parts {
            eprintln!(
                "measuring {}",
                part.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
            );
            match part {
                Part::Reads => rows.reads(),
                Part::Recovery => rows.recovery(),
                Part::Sealing => rows.sealing(),
                Part::Processor => rows.processor(),
                Part::Tails => rows.tails(),
                Part::Cores => rows.cores(),
                Part::Volumes => rows.volumes(),
                Part::Mapped => rows.mapped(),
            }?;
        }
        self.alone.print(&rows.loads, &rows.rows)
    }
}
