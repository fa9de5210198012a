//! What is done of a profile: one file, written anew as each slice ends.
//!
//! A step is a run of numbers from 0 to its count; a slice is a part of them. What is missing is
//! what no slice covers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TortureError;
use super::fuzzer::targets;
use super::job::{Job, Wrong};
use super::profile::Profile;
use super::programme::{Parts, Step, Tool};
use super::version::Version;

/// A slice that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The name of its step.
    pub step: String,
    /// The decoder, for cargo-fuzz.
    pub target: Option<String>,
    /// Its first number.
    pub first: u64,
    /// How many numbers.
    pub count: u64,
    /// How often it was really tried, as the test says.
    pub tried: u64,
    /// What else the test says.
    pub note: String,
    /// Why it does not count as passed.
    pub wrong: Option<Wrong>,
    /// Milliseconds that it took.
    pub millis: u64,
    /// When it ended, in UTC.
    pub ended: String,
    /// What it printed, from the root of the workspace.
    pub log: PathBuf,
    /// The sources that it ran with.
    pub version: Version,
}

/// All slices of a profile that ended. One process at a time has it.
#[derive(Debug)]
pub struct Record {
    dir: PathBuf,
    done: Vec<Done>,
    _lock: File,
}

impl Record {
    /// Reads what is recorded in `dir`, which is made if need be.
    ///
    /// # Errors
    /// If another process works on it, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, TortureError> {
        let failed = |source| TortureError::Io { what: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => TortureError::Busy { dir: dir.to_owned() },
            fs::TryLockError::Error(source) => failed(source),
        })?;
        let path = dir.join(FILE);
        let mut done: Vec<Done> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| TortureError::Record { path, source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TortureError::Io { what: path, source }),
        };
        // The machine may be able to do it by now.
        done.retain(|done| done.wrong != Some(Wrong::Skipped));
        Ok(Self { dir: dir.to_owned(), done, _lock: lock })
    }

    /// Where it is, and the logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The slices of a step.
    pub fn of(&self, step: &Step) -> impl Iterator<Item = &Done> {
        self.done.iter().filter(|done| done.step == step.name)
    }

    /// Forgets the steps of a profile, which begin anew; the file as it was stays beside. How many
    /// slices that were.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn forget(&mut self, profile: &Profile) -> Result<usize, TortureError> {
        let known = self.done.len();
        self.done.retain(|done| !profile.steps().any(|(step, _)| step.name == done.step));
        let forgotten = known - self.done.len();
        if forgotten > 0 {
            let old = self.dir.join(FILE);
            fs::copy(&old, self.dir.join("before.json"))
                .map_err(|source| TortureError::Io { what: old, source })?;
            self.save()?;
        }
        Ok(forgotten)
    }

    /// Refuses what is recorded for a profile of other sources.
    ///
    /// # Errors
    /// If there is any.
    pub fn only_of(&self, profile: &Profile, version: &Version) -> Result<(), TortureError> {
        let mut all = profile.steps().flat_map(|(step, _)| self.of(step));
        match all.find(|done| !done.version.is_same(version)) {
            None => Ok(()),
            Some(done) => Err(TortureError::OtherVersion {
                step: done.step.clone(),
                recorded: done.version.commit.clone(),
                here: version.commit.clone(),
            }),
        }
    }

    /// Adds a slice, and writes the file anew: after a power cut it is the old one or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, done: Done) -> Result<(), TortureError> {
        self.done.push(done);
        self.save()
    }

    fn save(&self) -> Result<(), TortureError> {
        let text = serde_json::to_string_pretty(&self.done);
        let text = text.expect("words and numbers can be written");
        let (new, path) = (self.dir.join("results.new"), self.dir.join(FILE));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| TortureError::Io { what: path.clone(), source })
    }

    /// The slices of a step that are still to be done: as many as make progress visible, lose
    /// little when they are cut off, and keep so many processes busy.
    #[must_use]
    pub fn missing(&self, step: &'static Step, count: u64, lanes: u64) -> Vec<Job> {
        let targets = match step.tool {
            Tool::Fuzz => targets().into_iter().map(Some).collect(),
            Tool::Test(..) | Tool::Planted(..) => vec![None],
        };
        let mut jobs = Vec::new();
        for target in targets {
            let done = self.of(step).filter(|done| done.target == target);
            let gaps = gaps(count, done.map(|done| done.first..done.first + done.count));
            let slices = match step.parts {
                Parts::Whole if gaps.is_empty() => Vec::new(),
                Parts::Whole => std::iter::once(0..count).collect(),
                Parts::From(_, most) => cut(&gaps, count.div_ceil(lanes).clamp(1, most)),
                Parts::Times(most) => cut(&gaps, most),
            };
            jobs.extend(slices.into_iter().map(|slice| Job {
                step,
                first: slice.start,
                count: slice.end - slice.start,
                target: target.clone(),
            }));
        }
        // Every target gets some time before one gets all of its time.
        jobs.sort_by_key(|job| job.first);
        jobs
    }
}

const FILE: &str = "results.json";

/// What of `0..count` is in none of `done`.
fn gaps(count: u64, done: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut done: Vec<_> = done.collect();
    done.sort_by_key(|done| done.start);
    let (mut gaps, mut next) = (Vec::new(), 0);
    for done in done {
        if next < done.start.min(count) {
            gaps.push(next..done.start.min(count));
        }
        next = next.max(done.end);
    }
    if next < count {
        gaps.push(next..count);
    }
    gaps
}

fn cut(gaps: &[Range<u64>], most: u64) -> Vec<Range<u64>> {
    let starts =
        |gap: &Range<u64>| gap.clone().step_by(usize::try_from(most).unwrap_or(usize::MAX));
    let slices = |gap: &Range<u64>| {
        let end = gap.end;
        starts(gap).map(move |start| start..end.min(start + most)).collect::<Vec<_>>()
    };
    gaps.iter().flat_map(slices).collect()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
