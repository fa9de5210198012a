//! `perf compare`: many servers, one table.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use perf::compare::{CompareError, Comparison};
use perf::markdown;
use perf::recipe::Recipe;
use perf::report::Report;
use perf::scenario::{Scenario, compared};
use perf::size::ByteSize;

use super::{CliError, ClientArgs, Subject, scratch};

/// Options of `perf compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// Servers to start beside Krait
    #[arg(long, value_delimiter = ',', default_value = "qemu-nbd,nbdkit-file,nbdkit-memory")]
    peers: Vec<String>,
    #[command(flatten)]
    subject: Subject,
    /// Built-in workloads or TOML files [default: all built-in ones]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Directory on the disk to measure [default: the system's temporary directory]
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Runs of each workload on each server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Length of the timed part of each run instead of the scenario's
    #[arg(long)]
    seconds: Option<f64>,
    /// Size of each volume
    #[arg(long, default_value = "1G")]
    size: ByteSize,
    /// Cores that the servers may use [default: all]
    #[arg(long, value_delimiter = ',')]
    server_cores: Vec<usize>,
    /// Also write everything as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write the tables between the markers of this file
    #[arg(long)]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Compare {
    /// Runs the comparison, prints and writes what it found.
    pub fn execute(self) -> Result<(), CliError> {
        let mut recipes = self.subject.recipes()?;
        for peer in self.peers.iter().filter(|peer| !peer.is_empty()) {
            recipes.extend(Recipe::peers(peer).map_err(CompareError::Recipe)?);
        }
        let names: Vec<_> = if self.workloads.is_empty() {
            compared().map(str::to_owned).collect()
        } else {
            self.workloads.clone()
        };
        let mut scenarios = Vec::new();
        for name in &names {
            let mut scenario = Scenario::load(name)?;
            scenario.seconds = self.seconds.unwrap_or(scenario.seconds);
            scenario.check()?;
            scenarios.push(scenario);
        }
        let comparison = Comparison {
            recipes,
            scenarios,
            scratch: scratch(self.scratch.as_deref()),
            size: self.size,
            runs: self.runs,
            client_core: self.client.core(),
            server_cores: self.server_cores.clone(),
        };
        let report = comparison.run(|line| eprintln!("{line}"))?;
        let text = format!("{}\n\n{}\n{}", report.summary(), report.table(), report.server_table());
        println!("{text}");
        self.write(&report, &text)
    }

    fn write(&self, report: &Report, text: &str) -> Result<(), CliError> {
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(report)?;
            fs::write(path, json)
                .map_err(|source| CliError::Io { what: path.display().to_string(), source })?;
        }
        if let Some(path) = &self.markdown {
            markdown::COMPARISON.fill(path, text)?;
        }
        Ok(())
    }
}
