//! Starting and stopping the servers that are compared.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;

use crate::clock;
use crate::command::Krait;
use crate::connection::Connection;
use crate::limits::{START_SECONDS, STOP_SECONDS};
use crate::process::{self, Memory};
use crate::recipe::{Recipe, Storage};
use crate::size::ByteSize;
use crate::sys;
use crate::uri::Uri;

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    /// Row name.
    pub name: String,
    /// How to reach the volume.
    pub uri: Uri,
    /// The command line as it ran.
    pub command: String,
    child: Child,
    log: PathBuf,
    krait: Option<Krait>,
}

/// Why a server does not run as it should.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A file in the scratch directory.
    #[error("cannot use {path}")]
    Scratch {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program does not start.
    #[error("cannot start {program}; is it installed?")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended by itself.
    #[error("{name} ended ({status}): {log}")]
    Ended {
        /// Row name.
        name: String,
        /// Its exit status.
        status: ExitStatus,
        /// Last lines of its standard error.
        log: String,
    },
    /// The program runs and accepts no client.
    #[error("{name} accepts no client after {START_SECONDS} s: {log}")]
    NotReady {
        /// Row name.
        name: String,
        /// Last lines of its standard error.
        log: String,
    },
    /// The process cannot be watched or signalled.
    #[error("cannot watch {name}")]
    Watch {
        /// Row name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A server that has no commands of Krait's beside it.
    #[error("{name} was not started from Krait's binary, which this needs")]
    NotKrait {
        /// Row name.
        name: String,
    },
    /// The user stopped the run.
    #[error("stopped by a signal")]
    Interrupted,
}

impl Server {
    /// Starts `recipe` with a directory of its own below `scratch` and waits until it accepts.
    /// It may run on `cores` (empty: on all).
    pub fn start(
        recipe: &Recipe,
        scratch: &Path,
        size: ByteSize,
        cores: &[usize],
    ) -> Result<Self, ServerError> {
        let dir = scratch.join(&recipe.name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ServerError::Scratch { path, source }
        };
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        if recipe.storage == Storage::File {
            let file = dir.join("volume.img");
            let create = || File::create(&file)?.set_len(size.bytes());
            create().map_err(failed(&file))?;
        }
        let socket = dir.join("nbd.sock");
        let log = dir.join("stderr.log");
        let errors = File::create(&log).map_err(failed(&log))?;
        let words = recipe.words(&dir, &socket, size);
        let program = words[0].clone();
        let mut command = Command::new(&program);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        sys::confine_child(&mut command, cores.to_vec());
        let child = command.spawn().map_err(|source| ServerError::Spawn { program, source })?;
        let uri = Uri::unix(&socket, recipe.export);
        let command = recipe.words(Path::new("DIR"), Path::new("SOCKET"), size).join(" ");
        let krait = recipe.binary.as_ref().map(|binary| Krait::new(binary, &dir.join("data")));
        let mut server = Self { name: recipe.name.clone(), uri, command, child, log, krait };
        server.wait_ready()?;
        Ok(server)
    }

    /// Krait's commands about this server.
    pub fn krait(&self) -> Result<&Krait, ServerError> {
        self.krait.as_ref().ok_or_else(|| ServerError::NotKrait { name: self.name.clone() })
    }

    /// Another export of this server.
    #[must_use]
    pub fn sibling(&self, export: &str) -> Uri {
        Uri { export: export.to_owned(), ..self.uri.clone() }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory now and at its peak.
    pub fn memory(&self) -> Result<Memory, ServerError> {
        process::memory(self.pid()).map_err(|source| self.watch(source))
    }

    /// Asks the server to end and waits for it.
    pub fn stop(mut self) -> Result<(), ServerError> {
        sys::terminate(self.pid()).map_err(|source| self.watch(source))?;
        let start = clock::now();
        while clock::nanos_since(start) < STOP_SECONDS * 1_000_000_000 {
            if self.child.try_wait().map_err(|source| self.watch(source))?.is_some() {
                return Ok(());
            }
            clock::pause(Duration::from_millis(20));
        }
        Err(self.watch(io::ErrorKind::TimedOut.into()))
    }

    fn wait_ready(&mut self) -> Result<(), ServerError> {
        let start = clock::now();
        while clock::nanos_since(start) < START_SECONDS * 1_000_000_000 {
            if sys::interrupted() {
                return Err(ServerError::Interrupted);
            }
            if let Some(status) = self.child.try_wait().map_err(|source| self.watch(source))? {
                let (name, log) = (self.name.clone(), self.last_words());
                return Err(ServerError::Ended { name, status, log });
            }
            if Connection::open(&self.uri).is_ok() {
                return Ok(());
            }
            clock::pause(Duration::from_millis(20));
        }
        Err(ServerError::NotReady { name: self.name.clone(), log: self.last_words() })
    }

    fn watch(&self, source: io::Error) -> ServerError {
        ServerError::Watch { name: self.name.clone(), source }
    }

    /// The last lines of the server's standard error.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        if lines.is_empty() {
            return "(none)".to_owned();
        }
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
