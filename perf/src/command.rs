//! Krait's own commands, beside the server that they ask.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A binary and the data directory that it is about.
#[derive(Clone, Debug)]
pub struct Krait {
    binary: OsString,
    data_dir: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// Why a command did not do what it was for.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It does not start.
    #[error("cannot start krait")]
    Start(#[source] io::Error),
    /// It failed.
    #[error("krait {words}: {said}")]
    Failed {
        /// Its words.
        words: String,
        /// What it said.
        said: String,
    },
    /// It printed something else than is expected.
    #[error("krait {words} printed no such JSON")]
    Json {
        /// Its words.
        words: String,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// What a volume's status tells of its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Log on the disk.
    pub wal_bytes: u64,
    /// Written by clients since the volume was opened.
    pub written_bytes: u64,
    /// Gone into chunks since.
    pub sealed_bytes: u64,
    /// What these take after compression.
    pub stored_bytes: u64,
    /// Requests to the store since.
    pub traffic: Traffic,
}

/// Requests to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Traffic {
    /// Objects that were put.
    pub puts: u64,
    /// Their bytes.
    pub put_bytes: u64,
}

/// What a look at a volume's garbage tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Garbage {
    /// Chunks and map objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the blocks that the newest manifest refers to in them.
    pub live_bytes: u64,
    /// Bytes of objects that nothing needs.
    pub garbage_bytes: u64,
}

impl Krait {
    /// Commands of `binary` about `data_dir`.
    #[must_use]
    pub fn new(binary: impl Into<OsString>, data_dir: &Path) -> Self {
        let (binary, data_dir) = (binary.into(), data_dir.to_owned());
        Self { binary, data_dir, environment: Vec::new() }
    }

    /// Has all commands see a variable.
    #[must_use]
    pub fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    /// Where log and store are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A command of these words, split at spaces.
    #[must_use]
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words.split_ascii_whitespace()).arg("--data-dir").arg(&self.data_dir);
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command
    }

    /// Runs a command to its end and returns what it printed.
    ///
    /// # Errors
    /// If it does not start or fails.
    pub fn run(&self, words: &str) -> Result<String, CommandError> {
        let output = self.command(words).output().map_err(CommandError::Start)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CommandError::Failed { words: words.to_owned(), said })
    }

    /// Runs a command that prints JSON.
    ///
    /// # Errors
    /// As [`Self::run`], or if the JSON lacks what is asked for.
    pub fn json<T: DeserializeOwned>(&self, words: &str) -> Result<T, CommandError> {
        let text = self.run(&format!("{words} --json"))?;
        serde_json::from_str(&text)
            .map_err(|source| CommandError::Json { words: words.to_owned(), source })
    }

    /// The status of a volume.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn status(&self, volume: &str) -> Result<Status, CommandError> {
        self.json(&format!("volume status {volume}"))
    }

    /// Waits until the store has all of a volume.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn drain(&self, volume: &str) -> Result<(), CommandError> {
        self.run(&format!("volume drain {volume} --timeout 10m")).map(drop)
    }

    /// What is stored of a volume, and needed; changes nothing.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn garbage(&self, volume: &str) -> Result<Garbage, CommandError> {
        let found: Vec<Garbage> = self.json(&format!("gc --dry-run --volume {volume}"))?;
        Ok(found.first().copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_their_directory_and_say_why_they_fail() {
        let dir = Path::new("/d");
        let printed = Krait::new("echo", dir).run("volume list").expect("echo");
        assert_eq!(printed, "volume list --data-dir /d\n");
        assert!(matches!(Krait::new("false", dir).run("x"), Err(CommandError::Failed { .. })));
        let absent = Krait::new("no-such-program", dir).run("x");
        assert!(matches!(absent, Err(CommandError::Start(_))));
        let words = Krait::new("echo", dir).status("v");
        assert!(matches!(words, Err(CommandError::Json { .. })), "{words:?}");
    }

    #[test]
    fn a_status_is_read_whatever_else_it_has() {
        let text = "{\"wal_bytes\":1,\"written_bytes\":2,\"sealed_bytes\":3,\"stored_bytes\":4,\
                    \"traffic\":{\"requests\":9,\"puts\":5,\"put_bytes\":6},\"state\":\"idle\"}";
        let status: Status = serde_json::from_str(text).expect("status");
        assert_eq!((status.wal_bytes, status.traffic.put_bytes), (1, 6));
    }
}
