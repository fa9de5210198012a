//! `perf lz4`: what compression saves and costs.

use std::path::PathBuf;

use clap::Args;
use perf::compression::Compression;
use perf::size::ByteSize;

use super::CliError;
use super::alone::Alone;

/// Options of `perf lz4`.
#[derive(Debug, Args)]
pub struct Lz4 {
    #[command(flatten)]
    alone: Alone,
    /// Image to write [default: an ext4 file system of --tree is made]
    #[arg(long)]
    image: Option<PathBuf>,
    /// Directory that the image is made of; needs mkfs.ext4
    #[arg(long, default_value = "/usr")]
    tree: PathBuf,
    /// Bytes of the image that are written
    #[arg(long, default_value = "2G")]
    bytes: ByteSize,
    /// Times that it is written with and without compression, in turns
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

impl Lz4 {
    /// Measures and prints.
    pub fn execute(self) -> Result<(), CliError> {
        let compression = Compression {
            binary: self.alone.binary()?,
            image: self.image.clone(),
            tree: self.tree.clone(),
            bytes: self.bytes,
            runs: self.runs.max(1),
            client_core: self.alone.core(),
        };
        let found = compression.run(&self.alone.scratch())?;
        self.alone.print(&found, &found.rows())
    }
}
