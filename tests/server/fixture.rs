//! A serving process with a directory of its own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for a server to be ready.
const START: Duration = Duration::from_secs(30);

/// Longest wait for a server to end: the bounds of its own, and some.
const END: Duration = Duration::from_secs(40);

/// Longest run of a client.
const CLIENT: &str = "120";

/// A directory to serve from. The data outlive the servers.
pub struct Home {
    dir: TempDir,
    cores: &'static str,
    variables: Vec<(&'static str, String)>,
}

impl Home {
    /// An empty one, to be served on two cores.
    pub fn new() -> Self {
        Self::on_cores("2")
    }

    /// An empty one, to be served on so many cores.
    pub fn on_cores(cores: &'static str) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), cores, variables: Vec::new() }
    }

    /// The same directory, to be served on so many cores from now on.
    pub fn with_cores(self, cores: &'static str) -> Self {
        Self { cores, ..self }
    }

    /// The same directory, with one more variable in the environment.
    pub fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with the settings of this directory.
    pub fn krait(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_krait"));
        command.arg("--data-dir").arg(self.path("data"));
        // What was set for the tests is nothing to the program.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KRAIT_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(["--cores", self.cores, "--memory", "256M"]).current_dir(self.dir.path());
        command
    }

    /// What `volume status` says of a volume, in JSON.
    pub fn status(&self, volume: &str) -> serde_json::Value {
        let output = self.krait().args(["volume", "status", volume, "--json"]).output();
        let output = output.expect("the program");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Waits until the status of a volume is as wanted, and returns it.
    pub fn status_when(
        &self,
        volume: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = now() + START;
        loop {
            let status = self.status(volume);
            if wanted(&status) {
                return status;
            }
            assert!(now() < deadline, "{status}");
            pause();
        }
    }

    /// Starts a server that has the volume `demo`, and waits until it is ready.
    pub fn serve(&self, size: &str) -> Server {
        self.serve_with(size, &[])
    }

    /// As [`Self::serve`], with more arguments.
    pub fn serve_with(&self, size: &str, more: &[&str]) -> Server {
        let socket = self.path("run/nbd.sock");
        let mut command = self.krait();
        command.args(["serve", "--wal-cap", "256M", "--create"]).arg(format!("demo={size}"));
        command.arg("--listen").arg(format!("unix:{}", socket.display())).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program");
        let (sender, lines) = mpsc::channel();
        let stderr = child.stderr.take().expect("it is piped");
        let reader = std::thread::Builder::new().spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("server: {line}");
                // Nobody listens any more once the server is dropped.
                let _ = sender.send(line);
            }
        });
        drop(reader.expect("a thread"));
        let server = Server { child, socket, lines };
        server.says("ready: ");
        server
    }
}

/// A server that is ready. Killed when dropped.
pub struct Server {
    child: Child,
    pub socket: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Server {
    /// Waits for a line of the log that has this text, and returns it.
    pub fn says(&self, text: &str) -> String {
        let deadline = now() + START;
        loop {
            let left = deadline.saturating_duration_since(now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn uri(&self) -> String {
        format!("nbd+unix:///demo?socket={}", self.socket.display())
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A connection without any protocol.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    /// Asks the server to end and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let deadline = now() + END;
        loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => return status,
                None => assert!(now() < deadline, "the server ends in bounded time"),
            }
            pause();
        }
    }

    /// Waits until the server has ended by itself; its exit code.
    pub fn ended(mut self) -> Option<i32> {
        let deadline = now() + END;
        loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => return status.code(),
                None => assert!(now() < deadline, "the server ends in bounded time"),
            }
            pause();
        }
    }

    /// Its exit code, if it has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("it is our child")?;
        Some(status.code().expect("no signal ended it"))
    }

    /// Ends the server the hard way.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    /// Runs a script of `nbdsh`, connected as `h`; panics unless it ends well. False if there is no
    /// `nbdsh`.
    #[must_use]
    pub fn nbdsh(&self, script: &str) -> bool {
        client("nbdsh", |command| {
            command.args(["--base-allocation", "-u", &self.uri(), "-c", script])
        })
        .is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client for a bounded time and returns its standard output; panics if it fails. `None`
/// skips the test where the tool is missing, which in CI is a failure.
pub fn client(tool: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Option<String> {
    let mut command = Command::new("timeout");
    command.args([CLIENT, tool]);
    // Debian's own Python before any other: it has the module of `nbdsh`.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/bin:/bin:{path}"));
    arguments(&mut command);
    let Output { status, stdout, stderr } = command.output().expect("coreutils have `timeout`");
    if status.code() == Some(127) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{tool} is missing");
        eprintln!("skipped: {tool} is missing");
        return None;
    }
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}{}",
        String::from_utf8_lossy(&stderr)
    );
    Some(stdout)
}

/// Bytes that compress badly and repeat nowhere, the same each time.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Bytes on the disk below a directory.
pub fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(stat) if stat.is_dir() => disk_bytes(&entry.path()),
            Ok(stat) => stat.blocks() * 512,
            // Gone since it was listed.
            Err(_) => 0,
        })
        .sum()
}

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
