//! `perf snapshots`: what snapshots and clones cost.

use clap::Args;
use perf::size::ByteSize;
use perf::snapshots::Snapshotting;

use super::CliError;
use super::alone::Alone;

/// Options of `perf snapshots`.
#[derive(Debug, Args)]
pub struct Snapshots {
    #[command(flatten)]
    alone: Alone,
    /// Size of the volume, all of which is written first
    #[arg(long, default_value = "8G")]
    size: ByteSize,
    /// Snapshots under load, one every three seconds
    #[arg(long, default_value_t = 9)]
    under_load: u32,
    /// Bytes per second of the load [default: as fast as it goes]
    #[arg(long)]
    rate: Option<ByteSize>,
    /// More options of the server, in one word: "--rpo-bytes 64M" makes the cuts of a bucket
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    options: String,
    /// Clones
    #[arg(long, default_value_t = 9)]
    clones: u32,
    /// Snapshots of the volume when they are listed
    #[arg(long, default_value_t = 1000)]
    listed: u32,
}

impl Snapshots {
    /// Measures and prints.
    pub fn execute(self) -> Result<(), CliError> {
        let snapshotting = Snapshotting {
            binary: self.alone.binary()?,
            size: self.size,
            under_load: self.under_load.max(1),
            clones: self.clones,
            listed: self.listed,
            rate: self.rate,
            options: self.options.clone(),
            client_core: self.alone.core(),
        };
        let seen = snapshotting.run(&self.alone.scratch())?;
        self.alone.print(&seen, &seen.rows())
    }
}
