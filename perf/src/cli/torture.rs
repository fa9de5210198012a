//! `perf torture`: the reliability programme, one table.

use std::path::PathBuf;

use clap::Args;
use perf::clock;
use perf::limits::MAX_LANES;
use perf::markdown;
use perf::torture::build::{Programs, root};
use perf::torture::lanes;
use perf::torture::profile::Profile;
use perf::torture::record::Record;
use perf::torture::verdict::Verdict;
use perf::torture::version::Version;

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
    /// Also write the table between the markers of this file, once nothing is missing
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Go on with what an earlier run of this profile recorded: do only what is missing, and print
    /// the table of all. Without it the steps that run begin anew
    #[arg(long)]
    resume: bool,
    /// Let --resume go on with results of other sources; the table then shows each row's commits
    #[arg(long, requires = "resume")]
    accept_other_versions: bool,
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
        let mut record = Record::open(&root().join("target/torture").join(&profile.stem))?;
        self.work(&profile, &mut record, lanes)?;
        let verdict = Verdict::new(&profile, &record);
        let (violations, skipped) = (verdict.violations(), verdict.skipped());
        let text = format!(
            "Profile {}, {}, {lanes} processes at most on {cores} cores: {violations} violations{}.\n\n\
             {verdict}\nA step again:\n\n{}",
            profile.name,
            verdict.provenance(),
            if skipped > 0 { format!(", {skipped} steps skipped") } else { String::new() },
            verdict.replays()
        );
        println!("{text}");
        let unfinished = verdict.unfinished();
        if unfinished > 0 {
            return Err(CliError::Unfinished { unfinished, violations });
        }
        if let Some(path) = &self.markdown {
            markdown::TORTURE.fill(path, &text)?;
        }
        match (violations, skipped) {
            (0, 0) => Ok(()),
            _ => Err(CliError::Torn { violations, skipped }),
        }
    }

    /// Does what is not recorded yet.
    fn work(&self, profile: &Profile, record: &mut Record, lanes: u64) -> Result<(), CliError> {
        let version = Version::of(&root());
        if self.resume && !self.accept_other_versions {
            record.only_of(profile, &version)?;
        }
        if !self.resume {
            let forgotten = record.forget(profile)?;
            if forgotten > 0 {
                let dir = record.dir().display();
                eprintln!(
                    "begins anew: {forgotten} slices of an earlier run are in {dir}/before.json"
                );
            }
        }
        let jobs: Vec<_> =
            profile.steps().flat_map(|(step, count)| record.missing(step, count, lanes)).collect();
        let mut steps: Vec<_> = jobs.iter().map(|job| job.step).collect();
        steps.dedup();
        let programs = Programs::build(&steps)?;
        let started = clock::now();
        let say = |line: &str| {
            eprintln!("{:>6} s  {line}", (clock::now() - started).as_secs());
        };
        Ok(lanes::run(jobs, &programs, &version, lanes, record, say)?)
    }
}
