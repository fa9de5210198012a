//! One part of a step: a process with a log file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::TortureError;
use super::build::{Programs, root};
use super::programme::{Parts, Step, Tool};
use crate::limits::JOB_SECONDS;
use crate::{clock, sys};

/// A part of a step that is still to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// The step.
    pub step: &'static Step,
    /// The first number, where the step is split by numbers.
    pub first: u64,
    /// How often.
    pub count: u64,
    /// The decoder, for cargo-fuzz.
    pub target: Option<String>,
}

/// What came of a part.
#[derive(Clone, Debug)]
pub struct Done {
    /// How often it was really tried, as the test says.
    pub tried: u64,
    /// What else the test says.
    pub note: String,
    /// Why it does not count as passed.
    pub wrong: Option<Wrong>,
    /// How long it took.
    pub span: Duration,
    /// What it printed.
    pub log: PathBuf,
}

/// Why a part does not count as passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A promise was broken, or the test could not do its work.
    Failed,
    /// It did not end.
    Hung,
    /// It cannot be done on this machine.
    Skipped,
}

/// The parts of a step: as many as make progress visible and keep all processors busy.
pub fn split(step: &'static Step, count: u64, lanes: u64) -> Vec<Job> {
    if step.tool == Tool::Fuzz {
        let dir = root().join("tests/fuzz/seeds");
        let mut targets: Vec<_> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        targets.sort();
        let job = |target| Job { step, first: 0, count, target: Some(target) };
        return targets.into_iter().map(job).collect();
    }
    let part = match step.parts {
        Parts::Whole => count,
        Parts::From(_, most) => count.div_ceil(lanes).clamp(1, most),
    };
    let starts = (0..count).step_by(usize::try_from(part).unwrap_or(usize::MAX));
    starts.map(|first| Job { step, first, count: part.min(count - first), target: None }).collect()
}

impl Job {
    fn name(&self) -> String {
        match &self.target {
            Some(target) => format!("{}-{target}", self.step.name),
            None => format!("{}-{}", self.step.name, self.first),
        }
    }

    fn command(&self, programs: &Programs) -> Result<Command, TortureError> {
        if let Some(mut command) = programs.command(self.step)? {
            command.env(self.step.count, self.count.to_string());
            if let Parts::From(first, _) = self.step.parts {
                command.env(first, self.first.to_string());
            }
            return Ok(command);
        }
        let target = self.target.as_deref().unwrap_or_default();
        let (corpus, seeds) = (format!("corpus/{target}"), format!("seeds/{target}"));
        let dir = root().join("tests/fuzz");
        fs::create_dir_all(dir.join(&corpus))
            .map_err(|source| TortureError::Io { what: dir.join(&corpus), source })?;
        // By way of rustup, which knows `+nightly`.
        let mut command = Command::new("cargo");
        command.current_dir(dir).args(["+nightly", "fuzz", "run", "--fuzz-dir", ".", target]);
        command.args([&corpus, &seeds, "--", "-rss_limit_mb=1024", "-timeout=10"]);
        command.arg(format!("-max_total_time={}", self.count));
        Ok(command)
    }

    /// Runs it to its end, with its log below `logs`.
    ///
    /// # Errors
    /// If it cannot be started, or its log not be read.
    pub fn run(&self, programs: &Programs, logs: &Path) -> Result<Done, TortureError> {
        let log = logs.join(format!("{}.log", self.name()));
        let failed = |source| TortureError::Io { what: log.clone(), source };
        fs::create_dir_all(logs).map_err(failed)?;
        let file = File::create(&log).map_err(failed)?;
        let mut command = self.command(programs)?;
        command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        let started = clock::now();
        let mut child = command.spawn().map_err(failed)?;
        let ended = wait(&mut child).map_err(failed)?;
        let span = clock::now() - started;
        let said = String::from_utf8_lossy(&fs::read(&log).map_err(failed)?).into_owned();
        Ok(self.judge(ended, &said, span, log))
    }

    fn judge(&self, ended: Option<ExitStatus>, said: &str, span: Duration, log: PathBuf) -> Done {
        let tried = said.lines().rev().find_map(parse_tried);
        let skipped = said.lines().any(|line| line.starts_with("skipped"));
        let wrong = match (ended, &tried) {
            (None, _) => Some(Wrong::Hung),
            (Some(ended), _) if !ended.success() => Some(Wrong::Failed),
            (Some(_), None) if skipped => Some(Wrong::Skipped),
            // A test that says nothing was not there, or did nothing.
            (Some(_), None) if self.step.tool != Tool::Fuzz => Some(Wrong::Failed),
            (Some(_), _) => None,
        };
        let fuzzed = (self.count, String::new());
        let nothing = if self.step.tool == Tool::Fuzz { fuzzed } else { (0, String::new()) };
        let (tried, note) = tried.unwrap_or(nothing);
        Done { tried, note, wrong, span, log }
    }
}

/// `tried COUNT WHAT: NOTE`.
fn parse_tried(line: &str) -> Option<(u64, String)> {
    let (_, rest) = line.split_once("tried ")?;
    let (count, rest) = rest.split_once(' ')?;
    let note = rest.split_once(": ").map_or("", |(_, note)| note);
    Some((count.parse().ok()?, note.to_owned()))
}

/// Waits for an end, which must come in time.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let started = clock::now();
    loop {
        if let Some(ended) = child.try_wait()? {
            return Ok(Some(ended));
        }
        if sys::interrupted() || (clock::now() - started).as_secs() > JOB_SECONDS {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        clock::pause(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::super::programme::STEPS;
    use super::*;

    #[test]
    fn a_step_is_split_into_numbers_without_gap_or_overlap() {
        let step = STEPS.iter().find(|step| step.name == "worlds").expect("it is there");
        for count in [1, 7, 5000, 200_001] {
            let jobs = split(step, count, 2);
            let mut next = 0;
            for job in &jobs {
                assert_eq!(job.first, next);
                next += job.count;
            }
            assert_eq!(next, count);
        }
        let whole = STEPS.iter().find(|step| step.name == "kills").expect("it is there");
        assert_eq!(split(whole, 1000, 2).len(), 1);
    }

    #[test]
    fn what_a_test_says_is_understood() {
        let said = parse_tried("tried 60 kills: lost 0; stops 4");
        assert_eq!(said, Some((60, "lost 0; stops 4".to_owned())));
        assert_eq!(parse_tried("test a ... tried 3 fills"), Some((3, String::new())));
        assert_eq!(parse_tried("tried hard"), None);
    }
}
