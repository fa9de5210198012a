//! The reliability programme: which tests run, how often, and what came of it. The tests
//! themselves stand in `tests/`; each of them takes a count from the environment and prints a line
//! `tried COUNT WHAT: NOTE`.

pub mod build;
pub mod fuzzer;
pub mod job;
pub mod lanes;
pub mod profile;
pub mod programme;
pub mod record;
pub mod verdict;
pub mod version;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use version::Version;

/// Why the programme did not run.
#[derive(Debug, Error)]
pub enum TortureError {
    /// Neither a built-in profile nor a file.
    #[error("`{name}` is neither a file nor one of the profiles ci, nightly, release")]
    UnknownProfile {
        /// What was asked for.
        name: String,
    },
    /// A profile is not TOML of the form `name = count`.
    #[error("profile {name} is malformed")]
    Malformed {
        /// The profile.
        name: String,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// No such step.
    #[error("there is no step `{name}`; there are: {known}")]
    UnknownStep {
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// An override is not `NAME=COUNT`.
    #[error("`{word}` is not NAME=COUNT")]
    Override {
        /// What was given.
        word: String,
    },
    /// The tests do not build.
    #[error("the tests do not build")]
    Build,
    /// A test program is not among those that were built.
    #[error("cargo built no test `{test}`")]
    NotBuilt {
        /// The test target.
        test: String,
    },
    /// Cargo-fuzz cannot run here.
    #[error("cargo-fuzz cannot run here: {why}")]
    NoFuzzer {
        /// What is missing.
        why: String,
    },
    /// Two runs would write one record.
    #[error("another run of this profile is at work in {dir}")]
    Busy {
        /// The directory of the record.
        dir: PathBuf,
    },
    /// A record is not what this program writes.
    #[error("cannot read the record {path}; remove it to begin anew")]
    Record {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// One table would have results of two versions.
    #[error(
        "step {step} was recorded at {recorded}, whose sources are not those of {here}: begin anew \
         without --resume, or go on from there with --accept-other-versions"
    )]
    OtherVersion {
        /// A step that is recorded.
        step: String,
        /// The commit that it ran at.
        recorded: String,
        /// What is checked out.
        here: String,
    },
    /// Nobody knows any more what runs.
    #[error(
        "the sources changed from {} to {} while the tests ran, so that what ended last does not \
         count; use a worktree that nobody changes",
        from.commit, to.commit
    )]
    Changed {
        /// What was built.
        from: Version,
        /// What is there now.
        to: Version,
    },
    /// A file or a process.
    #[error("cannot use {what}")]
    Io {
        /// What.
        what: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
