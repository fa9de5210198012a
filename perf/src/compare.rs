//! All servers, all workloads, in one run.
//!
//! Rounds go over workloads, and within a workload over servers, beginning with another server
//! each time: what else happens on the machine hits all alike. Only one server is under load; the
//! next load starts when the last server's background work is over.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::bare::{self, BARE};
use crate::bars;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::process;
use crate::recipe::{Recipe, RecipeError, Storage};
use crate::recorder::Measured;
use crate::recovery::Recovery;
use crate::report::{Cell, Host, Report, ServerFacts};
use crate::rows::RowError;
use crate::scenario::{Scenario, ScenarioError};
use crate::server::{Server, ServerError};
use crate::size::ByteSize;
use crate::sys;
use crate::uncached;

/// Free space that is left to others.
const SPARE_BYTES: u64 = 2 << 30;

/// What to compare.
#[derive(Debug)]
pub struct Comparison {
    /// The servers.
    pub recipes: Vec<Recipe>,
    /// The workloads.
    pub scenarios: Vec<Scenario>,
    /// Directory below which a scratch directory is made and removed again.
    pub scratch: PathBuf,
    /// Size of each volume.
    pub size: ByteSize,
    /// Runs of each workload on each server.
    pub runs: u32,
    /// Core of the client.
    pub client_core: usize,
    /// Cores of the servers; empty: all.
    pub server_cores: Vec<usize>,
    /// Krait is killed and recovers after all loads.
    pub recovery: Option<Recovery>,
}

/// Why a comparison ended early.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A scratch directory cannot be made or looked at.
    #[error("cannot use scratch directory {path}")]
    Scratch {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too little space.
    #[error("{path} has {free} free, this comparison may need {needed}")]
    Space {
        /// The directory.
        path: PathBuf,
        /// Bytes there are.
        free: ByteSize,
        /// Bytes wanted.
        needed: ByteSize,
    },
    /// Nothing to compare.
    #[error("there is nothing to compare: name peers, or Krait's binary, and a workload for them")]
    Nothing,
    /// A workload.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A command.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A recovery.
    #[error("a server was killed and did not recover")]
    Recovery(#[from] RowError),
    /// A load.
    #[error("{workload} on {server} failed; the server's last words: {log}")]
    Load {
        /// Workload.
        workload: String,
        /// Server.
        server: String,
        /// Its log's end.
        log: String,
        /// What went wrong.
        source: Box<LoadError>,
    },
}

/// What runs: a server, or the bare file.
enum Target<'t> {
    Server(&'t Server),
    Bare(&'t Path),
}

impl Comparison {
    /// Runs it all; `progress` hears of every run.
    pub fn run(&self, mut progress: impl FnMut(&str)) -> Result<Report, CompareError> {
        let unusable = |source| CompareError::Scratch { path: self.scratch.clone(), source };
        if self.recipes.is_empty() || self.scenarios.is_empty() {
            return Err(CompareError::Nothing);
        }
        self.check_space(&mut progress)?;
        let scratch = tempfile::Builder::new()
            .prefix("krait-perf-")
            .tempdir_in(&self.scratch)
            .map_err(unusable)?;
        let mut client = Client::new(1);
        let mut servers = Vec::new();
        for recipe in &self.recipes {
            progress(&format!("starting and filling {}", recipe.name));
            let server = Server::start(recipe, scratch.path(), self.size, &self.server_cores)?;
            self.prefill(&mut client, &server)?;
            servers.push(server);
        }
        let file = scratch.path().join("bare.img");
        if self.scenarios.iter().any(bare::fits) {
            bare::prepare(&file, self.size.bytes()).map_err(unusable)?;
        }
        let mut report = self.rounds(&mut client, &servers, &file, &mut progress)?;
        for server in servers {
            server.stop()?;
        }
        if let Some(recovery) = &self.recovery {
            progress(&format!("recovering {} of log", recovery.bytes));
            report.recoveries = recovery.run(scratch.path())?;
        }
        report.bars = bars::judge(&report);
        scratch.close().map_err(unusable)?;
        Ok(report)
    }

    fn check_space(&self, progress: &mut impl FnMut(&str)) -> Result<(), CompareError> {
        let path = self.scratch.clone();
        let found = sys::file_system(&path)
            .map_err(|source| CompareError::Scratch { path: path.clone(), source })?;
        let servers: u64 = self.recipes.iter().map(|recipe| recipe.disk_bytes(self.size)).sum();
        let needed = ByteSize::new(servers + self.size.bytes() + SPARE_BYTES);
        let free = ByteSize::new(found.free_bytes);
        if free < needed {
            return Err(CompareError::Space { path, free, needed });
        }
        let on_disk = self.recipes.iter().any(|recipe| recipe.storage != Storage::Memory);
        if found.in_memory && on_disk {
            progress("warning: the scratch directory is in memory, so flushes cost nothing");
        }
        Ok(())
    }

    fn prefill(&self, client: &mut Client, server: &Server) -> Result<(), CompareError> {
        let mut whole = self.scenarios[0].clone();
        whole.region = None;
        whole.verify = false;
        pinned(self.client_core, || client.prefill(&whole, &server.uri)).map_err(|source| {
            let (server, log) = (server.name.clone(), server.last_words());
            let source = Box::new(source);
            CompareError::Load { workload: "prefill".to_owned(), server, log, source }
        })?;
        process::settle(server.pid()).map_err(|source| watch(server, source))?;
        Ok(())
    }

    fn rounds(
        &self,
        client: &mut Client,
        servers: &[Server],
        file: &Path,
        progress: &mut impl FnMut(&str),
    ) -> Result<Report, CompareError> {
        let mut cells = Vec::new();
        let mut plan = Vec::new();
        for scenario in &self.scenarios {
            let mut targets = Vec::new();
            for (server, recipe) in servers.iter().zip(&self.recipes) {
                if recipe.runs(scenario) {
                    targets.push((cells.len(), Target::Server(server)));
                    cells.push(cell(scenario, &server.name));
                }
            }
            if bare::fits(scenario) {
                targets.push((cells.len(), Target::Bare(file)));
                cells.push(cell(scenario, BARE));
            }
            plan.push((scenario, targets));
        }
        for round in 0..self.runs {
            for (scenario, targets) in &mut plan {
                for (number, target) in targets.iter() {
                    let cell = &mut cells[*number];
                    let (measured, after) = self.run_once(client, scenario, target)?;
                    progress(&format!(
                        "round {}/{} {:<18} {:<24} {:>9.0} IOPS  p50 {:>8.1} us",
                        round + 1,
                        self.runs,
                        cell.workload,
                        cell.server,
                        measured.iops,
                        measured.latency_us.p50
                    ));
                    cell.runs.push(measured);
                    cell.after_us_per_op.extend(after);
                }
                if !targets.is_empty() {
                    targets.rotate_left(1);
                }
            }
        }
        for cell in &mut cells {
            cell.sum_up();
        }
        let mut host = Host::look(self.client_core, &self.server_cores, self.size.to_string());
        host.runs = self.runs;
        host.seconds = self.scenarios[0].seconds;
        let say = |scenario: &Scenario| (scenario.name.clone(), scenario.description.clone());
        let descriptions = self.scenarios.iter().map(say).collect();
        let (recoveries, bars) = (Vec::new(), Vec::new());
        Ok(Report { host, servers: self.facts(servers)?, cells, descriptions, recoveries, bars })
    }

    /// One load; the second figure is the server's processor time afterwards, per operation.
    fn run_once(
        &self,
        client: &mut Client,
        scenario: &Scenario,
        target: &Target<'_>,
    ) -> Result<(Measured, Option<f64>), CompareError> {
        let failed = |server: &str, log, source| CompareError::Load {
            workload: scenario.name.clone(),
            server: server.to_owned(),
            log,
            source: Box::new(source),
        };
        match target {
            Target::Bare(file) => pinned(self.client_core, || bare::run(scenario, file))
                .map(|measured| (measured, None))
                .map_err(|source| failed(BARE, "(none)".to_owned(), source)),
            Target::Server(server) => {
                let load = || client.run(scenario, &server.uri, Some(server.pid()));
                let store = server.krait().ok().filter(|_| scenario.uncached);
                let measured = match store {
                    Some(krait) => uncached::load(krait, || pinned(self.client_core, load))?,
                    None => pinned(self.client_core, load),
                };
                let measured =
                    measured.map_err(|source| failed(&server.name, server.last_words(), source))?;
                let settled =
                    process::settle(server.pid()).map_err(|source| watch(server, source))?;
                let after = per_operation(settled.cpu, measured.operations);
                Ok((measured, Some(after)))
            }
        }
    }

    fn facts(&self, servers: &[Server]) -> Result<Vec<ServerFacts>, CompareError> {
        let facts = |(server, recipe): (&Server, &Recipe)| {
            Ok(ServerFacts {
                name: server.name.clone(),
                subject: recipe.subject,
                command: server.command.clone(),
                peak_rss_bytes: server.memory()?.peak,
            })
        };
        servers.iter().zip(&self.recipes).map(facts).collect()
    }
}

fn per_operation(cpu: Duration, operations: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / operations.max(1) as f64
}

fn cell(scenario: &Scenario, server: &str) -> Cell {
    Cell {
        workload: scenario.name.clone(),
        server: server.to_owned(),
        runs: Vec::new(),
        after_us_per_op: Vec::new(),
        median: None,
    }
}

fn watch(server: &Server, source: io::Error) -> CompareError {
    CompareError::Server(ServerError::Watch { name: server.name.clone(), source })
}
