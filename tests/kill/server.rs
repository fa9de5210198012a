//! The real server as a child process, and the commands beside it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use nbd::ReplyMode;
use rustix::process::{Pid, Signal, kill_process};

use super::client::Client;

/// A server that serves nothing after this long will never do it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of the servers' log that a failure shows.
const LOG_LINES: usize = 60;

/// Where a server has its data.
pub struct Place {
    /// The data directory.
    pub data: PathBuf,
    _dir: tempfile::TempDir,
    /// The environment of all commands.
    variables: Vec<(&'static str, String)>,
    /// Sockets have short names, and directories of builds may have long ones.
    sockets: tempfile::TempDir,
}

impl Place {
    /// A new directory on the disk of the build: other places for temporary files may be memory.
    /// `variables` are the environment of all commands.
    pub fn new(variables: Vec<(&'static str, String)>) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let sockets = tempfile::tempdir().expect("a directory");
        Self { data: dir.path().join("data"), _dir: dir, variables, sockets }
    }

    /// Where the server listens.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("nbd")
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_krait"));
        command.args(words.split_whitespace()).arg("--data-dir").arg(&self.data);
        command.env_clear().current_dir(self.sockets.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("the command runs")
    }

    /// Starts a server; `words` are further options.
    pub fn serve(&self, words: &str) -> Server {
        let mut log = File::options();
        let log = log.create(true).append(true).open(self.sockets.path().join("log"));
        let mut command = self.command(&format!("serve {words}"));
        command.arg(format!("--listen=unix:{}", self.socket().display()));
        let started = Instant::now();
        let child = command.stderr(log.expect("a log")).spawn().expect("a server");
        Server { child, socket: self.socket(), started }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.sockets.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("what the servers said last:\n{}", last.join("\n"));
        }
    }
}

/// A server that runs. It is killed when it is dropped.
pub struct Server {
    child: Child,
    socket: PathBuf,
    pub started: Instant,
}

impl Server {
    /// Connects, and waits for a server that is still starting.
    pub fn connect(&mut self, export: &str, mode: ReplyMode) -> io::Result<Client> {
        loop {
            let error = match Client::connect(&self.socket, export, mode) {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended with {status}: {error}")));
            }
            // The kernel closes the listener of a killed server only a moment after the process is
            // gone, so that a connection may still reach that one, and break.
            let early = [
                ErrorKind::NotFound,
                ErrorKind::ConnectionRefused,
                ErrorKind::ConnectionReset,
                ErrorKind::BrokenPipe,
                ErrorKind::UnexpectedEof,
            ];
            if !early.contains(&error.kind()) || self.started.elapsed() > PATIENCE {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// # Panics
    /// If it ended by itself before.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, and the end that follows.
    pub fn stop(self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).expect("the server can be told to end");
        self.wait()
    }

    /// Waits for an end that somebody else takes care of.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
