//! What can go wrong where Krait alone is measured.

use std::io;

use thiserror::Error;

use crate::command::CommandError;
use crate::operations::LoadError;
use crate::scenario::ScenarioError;
use crate::server::ServerError;

/// Why a row has no figure.
#[derive(Debug, Error)]
pub enum RowError {
    /// A workload.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file or thread.
    #[error("a file, directory or thread of the measurement")]
    Io(#[from] io::Error),
    /// A thread of the harness panicked.
    #[error("a thread of the measurement panicked")]
    Panicked,
}
