//! What a process asks of the one that it replaces; [`crate::server::hand_over`] has the steps.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::{Answer, ControlClient, ControlError, DataDirLock, LockError, Op};
use crate::config::Settings;

/// The process that serves a data directory and is to be replaced.
#[derive(Clone, Copy, Debug)]
pub struct Predecessor {
    pid: u32,
}

/// Copies of its listening sockets; those of unix sockets with their path.
pub type Sockets = Vec<(Option<PathBuf>, OwnedFd)>;

/// Why it did not leave.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// It did not answer, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What it passed is not the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Predecessor {
    /// Asks for its listening sockets, on which it goes on accepting.
    ///
    /// # Errors
    /// If none runs, or it serves something else; nothing has changed then.
    pub fn find(settings: &Settings) -> Result<(Self, Sockets), ControlError> {
        let mut client = ControlClient::connect(settings)?;
        let (store, listen) = (settings.store.to_string(), settings.listen_texts());
        let answer = client.ask(&Op::ShareSockets { store, listen })?;
        let Answer::Sockets { pid, paths } = answer else { return Err(client.unexpected()) };
        let sockets = client.passed();
        if sockets.len() != paths.len() || sockets.is_empty() {
            return Err(client.not_passed());
        }
        let paths = paths.into_iter().map(|path| path.map(PathBuf::from));
        Ok((Self { pid }, paths.zip(sockets).collect()))
    }

    /// Has it end, and takes the lock on the data directory from it. All that it has acknowledged
    /// is durable then.
    ///
    /// # Errors
    /// If it refuses, fails or dies: it, and nobody else, may have acknowledged what is lost.
    pub fn leave(self, settings: &Settings) -> Result<DataDirLock, LeaveError> {
        let mut client = ControlClient::connect(settings)?;
        match client.ask(&Op::Leave { pid: self.pid })? {
            Answer::Left => {}
            _ => return Err(client.unexpected().into()),
        }
        let file = client.passed().pop().ok_or_else(|| client.not_passed())?;
        Ok(DataDirLock::adopt(settings, file)?)
    }

    /// Its process number.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }
}
