//! The reliability programme: which tests run, how often, and what came of it. The tests
//! themselves stand in `tests/`; each of them takes a count from the environment and prints a line
//! `tried COUNT WHAT: NOTE`.

pub mod build;
pub mod job;
pub mod lanes;
pub mod profile;
pub mod programme;
pub mod verdict;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

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
    /// A file or a process.
    #[error("cannot use {what}")]
    Io {
        /// What.
        what: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
