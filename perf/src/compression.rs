//! What compression saves of a file system image, and what it costs who writes one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use serde::Serialize;

use crate::bars::{Judged, Limit};
use crate::clock;
use crate::connection::Connection;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::plan::{Plan, Stop};
use crate::recipe::{EXPORT, Recipe};
use crate::recorder::median;
use crate::rows::RowError;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::size::ByteSize;

/// The image is cut to whole requests.
const UNIT: usize = 1 << 20;

/// What to write.
#[derive(Clone, Debug)]
pub struct Compression {
    /// Krait's binary.
    pub binary: String,
    /// An image; one of `tree` is made if there is none.
    pub image: Option<PathBuf>,
    /// Directory that goes into an ext4 file system.
    pub tree: PathBuf,
    /// Bytes of the image that are written.
    pub bytes: ByteSize,
    /// Times that it is written with and without, in turns.
    pub runs: u32,
    /// Core of the client.
    pub client_core: usize,
}

/// One writing of the image.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Written {
    /// 10^6 bytes per second until the last acknowledgement.
    pub megabytes_per_second: f64,
    /// The same until the store had everything.
    pub drained_megabytes_per_second: f64,
    /// Bytes that went to the store.
    pub backend_bytes: u64,
}

/// All writings.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// With LZ4.
    pub with: Vec<Written>,
    /// Without.
    pub without: Vec<Written>,
}

impl Compared {
    /// The figures beside their bars.
    #[must_use]
    pub fn rows(&self) -> [Judged; 3] {
        let row = |what: &str, of: fn(&Written) -> f64, limit| {
            let part = |all: &[Written]| median(all.iter().map(of));
            let ratio = part(&self.with).zip(part(&self.without));
            let less = ratio.map(|(with, without)| (1.0 - with / without.max(1e-9)) * 100.0);
            Judged::new(what, "none", less, limit, " %")
        };
        [
            row("LZ4 saves of the store's bytes", |w| w.backend_bytes as f64, Limit::AtLeast(35.0)),
            row("and takes of the writing", |w| w.megabytes_per_second, Limit::AtMost(10.0)),
            row("and until all is stored", |w| w.drained_megabytes_per_second, Limit::Open),
        ]
    }
}

impl Compression {
    /// Writes the image to new servers, with and without compression in turns.
    ///
    /// # Errors
    /// If no image can be made, or a server or load fails.
    pub fn run(&self, scratch: &Path) -> Result<Compared, RowError> {
        let dir = tempfile::Builder::new().prefix("krait-perf-").tempdir_in(scratch)?;
        let bytes = self.image_bytes(dir.path())?;
        let mut client = Client::of(bytes);
        let mut found = Compared::default();
        for _ in 0..self.runs {
            found.with.push(self.once(&mut client, dir.path(), "lz4")?);
            found.without.push(self.once(&mut client, dir.path(), "none")?);
        }
        Ok(found)
    }

    fn image_bytes(&self, dir: &Path) -> Result<Vec<u8>, RowError> {
        let made = dir.join("tree.img");
        let image = match &self.image {
            Some(image) => image,
            None => {
                make(&self.tree, &made)?;
                &made
            }
        };
        let mut bytes = Vec::new();
        let most = self.bytes.bytes();
        io::Read::read_to_end(&mut io::Read::take(fs::File::open(image)?, most), &mut bytes)?;
        bytes.truncate(bytes.len() / UNIT * UNIT);
        if bytes.len() < crate::limits::POOL_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an image too small").into());
        }
        if self.image.is_none() {
            fs::remove_file(&made)?;
        }
        Ok(bytes)
    }

    fn once(&self, client: &mut Client, dir: &Path, how: &str) -> Result<Written, RowError> {
        let scenario = Scenario::load("seqwrite-1m")?;
        let dir = tempfile::tempdir_in(dir)?;
        let options = format!("--compression {how}");
        let recipe = Recipe::krait_with("krait image", &self.binary, &options);
        let size = ByteSize::new(client.pool_bytes());
        let server = Server::start(&recipe, dir.path(), size, &[])?;
        let begun = clock::now();
        let first = Connection::open(&server.uri).map_err(LoadError::from)?;
        let mut plan = Plan::new(&scenario, &first.export).map_err(LoadError::from)?;
        (plan.warmup, plan.stop) = (Duration::ZERO, Stop::Operations(plan.positions));
        let measured = pinned(self.client_core, || {
            client.execute(&plan, first, &server.uri, None, &mut Vec::new())
        })?;
        server.krait()?.drain(EXPORT)?;
        let drained = begun.elapsed().as_secs_f64();
        let backend_bytes = server.krait()?.status(EXPORT)?.traffic.put_bytes;
        server.stop()?;
        Ok(Written {
            megabytes_per_second: measured.megabytes_per_second,
            drained_megabytes_per_second: size.bytes() as f64 / 1e6 / drained,
            backend_bytes,
        })
    }
}

/// Makes an ext4 image of a directory, as large as it needs.
fn make(tree: &Path, image: &Path) -> io::Result<()> {
    let size = tree_bytes(tree)?;
    let file = fs::File::create(image)?;
    // Metadata, and the unused ends of blocks.
    file.set_len((size + size / 4 + (64 << 20)) / UNIT as u64 * UNIT as u64)?;
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-m", "0", "-O", "^has_journal", "-d"]).arg(tree).arg(image);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("mkfs.ext4: {said}")))
}

/// Bytes of all files below a directory, in whole blocks.
fn tree_bytes(tree: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        sum += if facts.is_dir() {
            4096 + tree_bytes(&entry.path())?
        } else {
            facts.len().next_multiple_of(4096)
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn savings_and_losses_are_percent_of_what_is_not_compressed() {
        let written = |speed: f64, backend_bytes| Written {
            megabytes_per_second: speed,
            drained_megabytes_per_second: speed / 2.0,
            backend_bytes,
        };
        let found =
            Compared { with: vec![written(80.0, 500)], without: vec![written(100.0, 1000)] };
        let rows = found.rows();
        let shown: Vec<_> = rows.iter().map(|row| (row.shown.as_str(), row.word())).collect();
        assert_eq!(shown, [("50.0 %", "yes"), ("20.0 %", "no"), ("20.0 %", "-")]);
    }

    #[test]
    fn a_tree_counts_in_blocks() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("a")).expect("directory");
        fs::write(dir.path().join("a/b"), vec![1; 5000]).expect("file");
        assert_eq!(tree_bytes(dir.path()).expect("walked"), 4096 + 8192);
    }
}
