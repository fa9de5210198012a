//! How long a killed server takes to serve what its log has, and how much memory.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::connection::Connection;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::plan::{Plan, Stop};
use crate::recipe::{EXPORT, Recipe};
use crate::rows::RowError;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::size::ByteSize;

/// What to recover.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Krait's binary.
    pub binary: String,
    /// Bytes that the log has of what was written.
    pub bytes: ByteSize,
    /// Memory that the server is to stay under.
    pub cap: ByteSize,
    /// Times that it is killed.
    pub runs: u32,
    /// Workload that writes them.
    pub workload: String,
    /// Core of the client.
    pub client_core: usize,
}

/// One recovery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovered {
    /// Bytes of the log at the kill.
    pub wal_bytes: u64,
    /// From the start of the process to a connection to the volume.
    pub ready_seconds: f64,
    /// From the start of the process to the first reply to a read.
    pub first_read_seconds: f64,
    /// Most memory that was resident.
    pub peak_bytes: u64,
    /// What it was to stay under.
    pub cap_bytes: u64,
}

impl Recovery {
    /// Writes, kills, recovers, each time anew.
    ///
    /// # Errors
    /// If a server or a load fails.
    pub fn run(&self, scratch: &Path) -> Result<Vec<Recovered>, RowError> {
        (0..self.runs).map(|_| self.once(scratch)).collect()
    }

    fn once(&self, scratch: &Path) -> Result<Recovered, RowError> {
        let dir = tempfile::Builder::new().prefix("recovery-").tempdir_in(scratch)?;
        // All of it goes to the log, and nothing leaves that before it is killed.
        let options = format!(
            "--memory {} --wal-cap {} --rpo-bytes 2G --rpo-seconds 86400 --durability wal",
            self.cap,
            ByteSize::new(self.bytes.bytes() * 4)
        );
        let recipe = Recipe::krait_with("krait recovery", &self.binary, &options);
        let size = ByteSize::new(self.bytes.bytes() * 2);
        let server = Server::start(&recipe, dir.path(), size, &[])?;
        self.write(&server)?;
        let wal_bytes = server.krait()?.status(EXPORT)?.wal_bytes;
        if wal_bytes < self.bytes.bytes() {
            return Err(RowError::ShortLog { wanted: self.bytes, found: ByteSize::new(wal_bytes) });
        }
        // That is kill -9.
        drop(server);
        let begun = clock::now();
        let server = Server::start(&recipe, dir.path(), size, &[])?;
        let ready_seconds = begun.elapsed().as_secs_f64();
        self.read_one(&server)?;
        let first_read_seconds = begun.elapsed().as_secs_f64();
        let peak_bytes = server.memory()?.peak;
        drop(server);
        let cap_bytes = self.cap.bytes();
        Ok(Recovered { wal_bytes, ready_seconds, first_read_seconds, peak_bytes, cap_bytes })
    }

    fn write(&self, server: &Server) -> Result<(), RowError> {
        let scenario = Scenario::load(&self.workload)?;
        let operations = self.bytes.bytes() / scenario.block_size.bytes();
        self.load(server, &scenario, operations)
    }

    fn read_one(&self, server: &Server) -> Result<(), RowError> {
        self.load(server, &Scenario::load("randread-4k-qd1")?, 1)
    }

    fn load(&self, server: &Server, scenario: &Scenario, operations: u64) -> Result<(), RowError> {
        let first = Connection::open(&server.uri).map_err(LoadError::from)?;
        let mut plan = Plan::new(scenario, &first.export).map_err(LoadError::from)?;
        (plan.warmup, plan.stop) = (Duration::ZERO, Stop::Operations(operations));
        pinned(self.client_core, || {
            Client::new(1).execute(&plan, first, &server.uri, None, &mut Vec::new())
        })?;
        Ok(())
    }
}
