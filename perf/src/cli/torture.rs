//! `perf torture`: the reliability programme, one table.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use perf::clock;
use perf::limits::MAX_LANES;
use perf::markdown;
use perf::torture::build::{Programs, root};
use perf::torture::lanes;
use perf::torture::profile::Profile;
use perf::torture::verdict::Verdict;

use super::CliError;

/// Options of `perf torture`.
#[derive(Debug, Args)]
pub struct Torture {
    /// ci, nightly, release, or a TOML file of lines `step = count`
    #[arg(long, default_value = "ci")]
    profile: String,
    /// Other counts than the profile's, such as worlds=1000; 0 leaves a step out
    #[arg(value_name = "STEP=COUNT")]
    counts: Vec<String>,
    /// Only these steps
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Processes beside each other, where steps allow it [default: all processors]
    #[arg(long)]
    lanes: Option<u64>,
    /// Also write the table between the markers of this file
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Print the steps and their counts, and run nothing
    #[arg(long)]
    list: bool,
}

impl Torture {
    /// Runs the programme, prints and writes what it found.
    pub fn execute(self) -> Result<(), CliError> {
        let mut profile = Profile::load(&self.profile)?;
        profile.change(&self.counts)?;
        profile.keep(&self.only)?;
        if self.list {
            for (step, count) in profile.steps() {
                println!("{:<17} {count:>9} {}", step.name, step.what);
            }
            return Ok(());
        }
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let lanes = self.lanes.unwrap_or(cores).clamp(1, MAX_LANES);
        let programs = Programs::build(&profile)?;
        let started = clock::now();
        let say = |line: &str| {
            eprintln!("{:>6} s  {line}", (clock::now() - started).as_secs());
        };
        let logs = root().join("target/torture");
        let done = lanes::run(&profile, &programs, lanes, &logs, say)?;
        let verdict = Verdict::new(&profile, &done);
        let (violations, skipped) = (verdict.violations(), verdict.skipped());
        let text = format!(
            "Profile {}, commit {}, {lanes} processes at most on {cores} cores, {} minutes: \
             {violations} violations{}.\n\n{verdict}\nA step again:\n\n{}",
            profile.name,
            commit(),
            (clock::now() - started).as_secs().div_ceil(60),
            if skipped > 0 { format!(", {skipped} steps skipped") } else { String::new() },
            verdict.replays()
        );
        println!("{text}");
        if let Some(path) = &self.markdown {
            markdown::TORTURE.fill(path, &text)?;
        }
        match (violations, skipped) {
            (0, 0) => Ok(()),
            _ => Err(CliError::Torn { violations, skipped }),
        }
    }
}

/// What is checked out.
fn commit() -> String {
    let described =
        Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root()).output();
    described.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
