//! `perf compare`: many servers, one table.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use perf::bars;
use perf::compare::{CompareError, Comparison};
use perf::markdown;
use perf::page;
use perf::recipe::Recipe;
use perf::recovery::Recovery;
use perf::report::Report;
use perf::scenario::{Scenario, compared};
use perf::size::ByteSize;

use super::{CliError, ClientArgs, Subject, scratch};

/// Memory of the server that recovers.
const RECOVERY_MEMORY: ByteSize = ByteSize::new(512 << 20);

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
    /// Also kill Krait with 1 GiB of log and watch it recover, as without --workloads
    #[arg(long)]
    recovery: bool,
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
    /// Also write tables and latency plots as one HTML page
    #[arg(long)]
    report: Option<PathBuf>,
    /// Also write the tables between the markers of this file
    #[arg(long)]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Compare {
    /// Runs the comparison, prints and writes what it found.
    pub fn execute(self) -> Result<(), CliError> {
        let subject = self.subject.clone().or_built()?;
        let mut recipes = subject.recipes()?;
        recipes.extend(subject.krait.as_deref().map(Recipe::krait_uncached));
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
        recipes.retain(|recipe| scenarios.iter().any(|scenario| recipe.runs(scenario)));
        // Without a choice of workloads all bars are judged.
        let recovery = subject.krait.filter(|_| self.workloads.is_empty() || self.recovery);
        let recovery = recovery.map(|binary| Recovery {
            binary,
            bytes: ByteSize::new(1 << 30),
            cap: RECOVERY_MEMORY,
            runs: self.runs,
            workload: "randwrite-4k-qd32".to_owned(),
            client_core: self.client.core(),
        });
        let comparison = Comparison {
            recovery,
            recipes,
            scenarios,
            scratch: scratch(self.scratch.as_deref()),
            size: self.size,
            runs: self.runs,
            client_core: self.client.core(),
            server_cores: self.server_cores.clone(),
        };
        let report = comparison.run(|line| eprintln!("{line}"))?;
        let bars = bars::table(&report.bars);
        let (summary, servers) = (report.summary(), report.server_table());
        let text = format!("{summary}\n\n{bars}\n{}\n{servers}", report.table());
        println!("{text}");
        self.write(&report, &text)
    }

    fn write(&self, report: &Report, text: &str) -> Result<(), CliError> {
        let put = |path: &Path, text: &str| {
            let failed = |source| CliError::Io { what: path.display().to_string(), source };
            fs::write(path, text).map_err(failed)
        };
        if let Some(path) = &self.json {
            put(path, &serde_json::to_string_pretty(report)?)?;
        }
        if let Some(path) = &self.report {
            put(path, &page::render(report))?;
        }
        if let Some(path) = &self.markdown {
            markdown::COMPARISON.fill(path, text)?;
        }
        Ok(())
    }
}
