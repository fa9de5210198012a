//! Subcommands and options.

mod alone;
mod compare;
mod fill;
mod gc;
mod lz4;
mod rows;
mod run;
mod s3;
mod snapshots;
mod torture;

use std::path::{Path, PathBuf};
use std::{env, io};

use clap::{Args, Parser, Subcommand};
use perf::compare::CompareError;
use perf::markdown::MarkdownError;
use perf::operations::LoadError;
use perf::pinned::default_core;
use perf::recipe::Recipe;
use perf::scenario::{Scenario, ScenarioError, compared};
use perf::server::ServerError;
use perf::size::ByteSize;
use perf::sys;
use thiserror::Error;

/// Measures NBD servers with a client of its own.
#[derive(Debug, Parser)]
#[command(name = "perf")]
pub struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run one workload against a server that is already there.
    Run(run::Run),
    /// Start servers one beside the other and compare them.
    Compare(compare::Compare),
    /// Write at full speed, watch the server's memory, then its idle processor time.
    #[command(alias = "memory")]
    Fill(fill::FillArgs),
    /// Run workloads against a server that stores nothing: the client's own limit.
    Ceiling(run::Ceiling),
    /// Measure Krait alone: its reads by their source, recovery, sealing, processor, cores, volumes.
    Rows(rows::RowsArgs),
    /// Overwrite a volume and add up what the store takes, keeps and costs.
    Gc(gc::Gc),
    /// Make snapshots and clones under load, and list many.
    Snapshots(snapshots::Snapshots),
    /// Write a file system image with and without compression.
    Lz4(lz4::Lz4),
    /// Compare Krait's uploads and cold reads with raw requests to the same S3 server.
    S3(s3::S3),
    /// Run the reliability programme: every test that takes a count, and one table of all.
    Torture(torture::Torture),
    /// List the built-in workloads.
    List,
}

#[derive(Debug, Args)]
struct ClientArgs {
    /// Core that the client thread is pinned to [default: the last one]
    #[arg(long)]
    client_core: Option<usize>,
}

impl ClientArgs {
    fn core(&self) -> usize {
        self.client_core.unwrap_or_else(default_core)
    }
}

#[derive(Clone, Debug, Args)]
struct Subject {
    /// Krait's binary [default of compare: built first under cargo, else the one beside this program]
    #[arg(long, conflicts_with = "krait_cmd")]
    krait: Option<String>,
    /// Krait's whole command, with {socket}, {dir} and {size}; its export is named bench
    #[arg(long)]
    krait_cmd: Option<String>,
    /// Start Krait once for each of these numbers of cores; ratios are of the first
    #[arg(long, value_delimiter = ',', conflicts_with = "krait_cmd")]
    krait_cores: Vec<u32>,
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// A workload cannot be used.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A load failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A comparison failed.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A server failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The Markdown file was not filled.
    #[error(transparent)]
    Markdown(#[from] MarkdownError),
    /// JSON cannot be written.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// A file or signal handler.
    #[error("cannot use {what}")]
    Io {
        /// What.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Krait's binary is not there.
    #[error(transparent)]
    Built(#[from] perf::built::BuiltError),
    /// A measurement of Krait alone.
    #[error(transparent)]
    Row(#[from] perf::rows::RowError),
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] perf::bucket::BucketError),
    /// The reliability programme cannot run.
    #[error(transparent)]
    Torture(#[from] perf::torture::TortureError),
    /// The reliability programme found something, or could not do all of its work.
    #[error("{violations} steps failed, {skipped} were skipped")]
    Torn {
        /// Steps with a broken promise.
        violations: usize,
        /// Steps that this machine cannot do.
        skipped: usize,
    },
    /// The reliability programme was interrupted.
    #[error(
        "interrupted: {unfinished} steps are unfinished and {violations} failed; \
         the same command with --resume goes on"
    )]
    Unfinished {
        /// Steps of which something is missing.
        unfinished: usize,
        /// Steps with a broken promise.
        violations: usize,
    },
    /// No server to fill.
    #[error("name the server: --uri with --pid, --krait or --krait-cmd")]
    NoServer,
    /// More memory than allowed.
    #[error("peak memory of {peak} bytes exceeds the cap of {cap}")]
    OverCap {
        /// Seen.
        peak: u64,
        /// Allowed.
        cap: ByteSize,
    },
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> Result<(), CliError> {
        sys::catch_interrupts()
            .map_err(|source| CliError::Io { what: "signal handlers".to_owned(), source })?;
        match self.command {
            Task::Run(run) => run.execute(),
            Task::Compare(compare) => compare.execute(),
            Task::Fill(fill) => fill.execute(),
            Task::Ceiling(ceiling) => ceiling.execute(),
            Task::Rows(rows) => rows.execute(),
            Task::Gc(gc) => gc.execute(),
            Task::Snapshots(snapshots) => snapshots.execute(),
            Task::Lz4(lz4) => lz4.execute(),
            Task::S3(s3) => s3.execute(),
            Task::Torture(torture) => torture.execute(),
            Task::List => {
                for name in compared().chain(["oltp"]) {
                    println!("{name:<20} {}", Scenario::load(name)?.description);
                }
                Ok(())
            }
        }
    }
}

impl Subject {
    /// Names the binary if nothing else was named.
    fn or_built(mut self) -> Result<Self, CliError> {
        if self.krait.is_none() && self.krait_cmd.is_none() {
            self.krait = Some(perf::built::krait()?);
        }
        Ok(self)
    }

    fn recipes(&self) -> Result<Vec<Recipe>, CliError> {
        Ok(match (&self.krait, &self.krait_cmd) {
            (_, Some(command)) => {
                vec![Recipe::krait_command(command).map_err(CompareError::Recipe)?]
            }
            (Some(binary), None) if self.krait_cores.is_empty() => {
                vec![Recipe::krait(binary, None)]
            }
            (Some(binary), None) => {
                self.krait_cores.iter().map(|&cores| Recipe::krait(binary, Some(cores))).collect()
            }
            (None, None) => Vec::new(),
        })
    }
}

fn scratch(chosen: Option<&Path>) -> PathBuf {
    chosen.map_or_else(env::temp_dir, Path::to_owned)
}
