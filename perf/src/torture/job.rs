//! One slice of a step: a process with a log file.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TortureError;
use super::build::{Programs, root};
use super::programme::{Parts, Step, Tool};
use super::record::Done;
use super::version::Version;
use crate::limits::JOB_SECONDS;
use crate::{clock, sys};

/// A slice that is still to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The step.
    pub step: &'static Step,
    /// The first number.
    pub first: u64,
    /// How often.
    pub count: u64,
    /// The decoder, for cargo-fuzz.
    pub target: Option<String>,
}

/// Why a slice does not count as passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrong {
    /// A promise was broken, or the test could not do its work.
    Failed,
    /// It did not end.
    Hung,
    /// It cannot be done on this machine.
    Skipped,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    By(ExitStatus),
    TooLate,
    /// The user asked twice.
    Stopped,
}

impl Job {
    /// What tells it from all others.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.target {
            Some(target) => format!("{}-{target}-{}", self.step.name, self.first),
            None => format!("{}-{}", self.step.name, self.first),
        }
    }

    fn command(&self, programs: &Programs) -> Result<Command, TortureError> {
        if let Some(target) = &self.target {
            return programs.fuzzer()?.command(target, self.count);
        }
        let mut command = programs.command(self.step)?;
        command.env(self.step.count, self.count.to_string());
        if let Parts::From(first, _) = self.step.parts {
            command.env(first, self.first.to_string());
        }
        Ok(command)
    }

    /// Runs it to its end, with its log in `logs`; `asked` is called again and again once the user
    /// wants an end. `None` if the user wanted it at once: nothing is known of the slice then.
    ///
    /// # Errors
    /// If it cannot be started, or its log not be read.
    pub fn run(
        &self,
        programs: &Programs,
        version: &Version,
        logs: &Path,
        asked: &dyn Fn(),
    ) -> Result<Option<Done>, TortureError> {
        let log = logs.join(format!("{}.log", self.name()));
        let failed = |source| TortureError::Io { what: log.clone(), source };
        let started = clock::now();
        let file = File::create(&log).map_err(failed)?;
        let (end, said) = match self.command(programs) {
            Err(TortureError::NoFuzzer { why }) => (None, format!("skipped: {why}")),
            Err(error) => return Err(error),
            Ok(mut command) => {
                command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
                // Ctrl-C at the terminal must not reach what is to run to its end.
                sys::lead_group(&mut command);
                let mut child = command.spawn().map_err(failed)?;
                let end = wait(&mut child, asked).map_err(failed)?;
                let said = fs::read(&log).map_err(failed)?;
                (Some(end), String::from_utf8_lossy(&said).into_owned())
            }
        };
        if end == Some(End::Stopped) {
            return Ok(None);
        }
        let (tried, note, wrong) = self.judge(end, &said);
        Ok(Some(Done {
            step: self.step.name.to_owned(),
            target: self.target.clone(),
            first: self.first,
            count: self.count,
            tried,
            note,
            wrong,
            millis: u64::try_from((clock::now() - started).as_millis()).unwrap_or(u64::MAX),
            ended: clock::date(),
            log: log.strip_prefix(root()).unwrap_or(&log).to_owned(),
            version: version.clone(),
        }))
    }

    /// How often it was tried, what it says, and what is wrong; `end` is missing if nothing could
    /// be started.
    fn judge(&self, end: Option<End>, said: &str) -> (u64, String, Option<Wrong>) {
        let tried = match self.step.tool {
            Tool::Fuzz => parse_runs(said).map(|runs| (self.count, format!("{runs} inputs"))),
            Tool::Test(..) | Tool::Planted(..) => said.lines().rev().find_map(parse_tried),
        };
        let skipped = said.lines().find(|line| line.starts_with("skipped"));
        let wrong = match (end, &tried, skipped) {
            (None, _, _) => Some(Wrong::Skipped),
            (Some(End::TooLate | End::Stopped), _, _) => Some(Wrong::Hung),
            (Some(End::By(status)), _, _) if !status.success() => Some(Wrong::Failed),
            (Some(End::By(_)), Some(_), _) => None,
            (Some(End::By(_)), None, Some(_)) => Some(Wrong::Skipped),
            // A test that says nothing was not there, or did nothing.
            (Some(End::By(_)), None, None) => Some(Wrong::Failed),
        };
        let (tried, note) = tried.unwrap_or_else(|| (0, skipped.unwrap_or_default().to_owned()));
        (tried, note, wrong)
    }
}

/// `tried COUNT WHAT: NOTE`.
fn parse_tried(line: &str) -> Option<(u64, String)> {
    let (_, rest) = line.split_once("tried ")?;
    let (count, rest) = rest.split_once(' ')?;
    let note = rest.split_once(": ").map_or("", |(_, note)| note);
    Some((count.parse().ok()?, note.to_owned()))
}

/// `Done COUNT runs in SECONDS second(s)`, as libFuzzer ends.
fn parse_runs(said: &str) -> Option<u64> {
    let count = |line: &str| line.strip_prefix("Done ")?.split_once(" runs in ")?.0.parse().ok();
    said.lines().rev().find_map(count)
}

/// Waits for an end, which must come in time.
fn wait(child: &mut Child, asked: &dyn Fn()) -> std::io::Result<End> {
    let started = clock::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::By(status));
        }
        let end = match sys::interrupts() {
            0 => None,
            1 => {
                asked();
                None
            }
            _ => Some(End::Stopped),
        };
        let late = (clock::now() - started).as_secs() > JOB_SECONDS;
        if let Some(end) = end.or(late.then_some(End::TooLate)) {
            sys::kill_group(child.id())?;
            child.wait()?;
            return Ok(end);
        }
        clock::pause(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::super::programme::STEPS;
    use super::*;

    fn job(name: &str) -> Job {
        let step = STEPS.iter().find(|step| step.name == name).expect("it is there");
        Job { step, first: 0, count: 60, target: None }
    }

    #[test]
    fn what_a_test_says_is_understood() {
        let said = parse_tried("tried 60 kills: lost 0; stops 4");
        assert_eq!(said, Some((60, "lost 0; stops 4".to_owned())));
        assert_eq!(parse_tried("test a ... tried 3 fills"), Some((3, String::new())));
        assert_eq!(parse_tried("tried hard"), None);
        assert_eq!(parse_runs("#9 DONE\nDone 4711 runs in 61 second(s)\n"), Some(4711));
    }

    #[test]
    fn only_what_ends_well_and_says_what_it_did_has_passed() {
        let by = |code: i32| Some(End::By(ExitStatus::from_raw(code << 8)));
        let wrong = |end, said: &str| job("kills").judge(end, said).2;
        assert_eq!(wrong(by(0), "tried 60 kills: lost 0"), None);
        assert_eq!(wrong(by(1), "tried 60 kills: lost 0"), Some(Wrong::Failed));
        assert_eq!(wrong(by(0), "running 0 tests"), Some(Wrong::Failed));
        assert_eq!(wrong(by(0), "skipped: needs root"), Some(Wrong::Skipped));
        assert_eq!(wrong(Some(End::TooLate), ""), Some(Wrong::Hung));
        let fuzzed = job("fuzz").judge(by(0), "Done 9 runs in 60 second(s)");
        assert_eq!(fuzzed, (60, "9 inputs".to_owned(), None));
        assert_eq!(job("fuzz").judge(by(0), "").2, Some(Wrong::Failed));
        let none = job("fuzz").judge(None, "skipped: no compiler");
        assert_eq!(none, (0, "skipped: no compiler".to_owned(), Some(Wrong::Skipped)));
    }
}
