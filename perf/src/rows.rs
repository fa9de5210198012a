//! Krait alone: where its reads come from, what it needs, and how it grows.
//!
//! Each part starts servers of its own, and adds rows: a figure, beside its bar where there is one.

mod growth;
mod reads;
mod steady;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::bars::{Judged, Limit};
use crate::command::CommandError;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::recipe::Recipe;
use crate::recorder::Measured;
use crate::scenario::{Scenario, ScenarioError};
use crate::server::{Server, ServerError};
use crate::size::ByteSize;

/// Why a row has no figure.
#[derive(Debug, Error)]
pub enum RowError {
    /// A workload.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A peer.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    /// A command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file or thread.
    #[error("a file, directory or thread of the measurement")]
    Io(#[from] io::Error),
    /// There was less to recover than was to be measured.
    #[error("the log to recover has {found}, not {wanted}: a recovery of that would tell nothing")]
    ShortLog {
        /// Bytes that it was to have at least.
        wanted: ByteSize,
        /// Bytes that it has.
        found: ByteSize,
    },
    /// A thread of the harness panicked.
    #[error("a thread of the measurement panicked")]
    Panicked,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Krait's binary.
    pub binary: String,
    /// Directory on the disk to measure.
    pub scratch: PathBuf,
    /// Size of the volumes.
    pub size: ByteSize,
    /// Seconds of each load but the steady one.
    pub seconds: f64,
    /// Seconds of the steady one.
    pub steady_seconds: f64,
    /// Volumes on one server.
    pub volumes: u32,
    /// Bytes that are mapped where the map's memory counts.
    pub mapped: ByteSize,
    /// Core of the client.
    pub client_core: usize,
}

/// One load behind the rows.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// What ran.
    pub name: String,
    /// On which server.
    pub server: String,
    /// What came out.
    pub measured: Measured,
}

/// What the parts found so far.
#[derive(Debug)]
pub struct Rows {
    setup: Setup,
    /// All loads.
    pub loads: Vec<Load>,
    /// All figures.
    pub rows: Vec<Judged>,
}

impl Rows {
    /// Nothing measured yet.
    #[must_use]
    pub const fn new(setup: Setup) -> Self {
        Self { setup, loads: Vec::new(), rows: Vec::new() }
    }

    fn row(&mut self, what: &str, against: &str, value: f64, limit: Limit, unit: &str) {
        self.rows.push(Judged::new(what, against, Some(value), limit, unit));
    }

    /// A directory that is removed again.
    fn directory(&self) -> Result<tempfile::TempDir, RowError> {
        Ok(tempfile::Builder::new().prefix("krait-perf-").tempdir_in(&self.setup.scratch)?)
    }

    /// Krait with options of its own.
    fn krait(&self, name: &str, options: &str, dir: &Path) -> Result<Server, RowError> {
        self.krait_of(self.setup.size, name, options, dir)
    }

    /// The same with a volume of another size.
    fn krait_of(
        &self,
        size: ByteSize,
        name: &str,
        options: &str,
        dir: &Path,
    ) -> Result<Server, RowError> {
        let recipe = Recipe::krait_with(name, &self.setup.binary, options);
        Ok(Server::start(&recipe, dir, size, &[])?)
    }

    /// A workload of the length that was asked for.
    fn scenario(&self, name: &str) -> Result<Scenario, RowError> {
        let mut scenario = Scenario::load(name)?;
        scenario.seconds = self.setup.seconds;
        Ok(scenario)
    }

    fn prefill(&self, server: &Server) -> Result<(), RowError> {
        let scenario = Scenario::load("seqwrite-1m")?;
        pinned(self.setup.client_core, || Client::new(1).prefill(&scenario, &server.uri))?;
        Ok(())
    }

    /// One load, noted.
    fn load(&mut self, server: &Server, scenario: &Scenario) -> Result<Measured, RowError> {
        let pid = Some(server.pid());
        let run = || Client::new(scenario.seed).run(scenario, &server.uri, pid);
        let measured = pinned(self.setup.client_core, run)?;
        self.note(server, scenario, &measured);
        Ok(measured)
    }

    fn note(&mut self, server: &Server, scenario: &Scenario, measured: &Measured) {
        let (name, server) = (scenario.name.clone(), server.name.clone());
        self.loads.push(Load { name, server, measured: measured.clone() });
    }
}
