//! The server, and a directory that outlives it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::tool;

/// Longest wait for a server to be ready.
const START: Duration = Duration::from_secs(30);

/// Longest wait for a server to end: its own bounds, and some.
const END: Duration = Duration::from_secs(40);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until then.
const END_PAUSES: u128 = END.as_millis() / PAUSE.as_millis();

/// A directory to serve from.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where clients connect.
    pub fn socket(&self) -> PathBuf {
        self.path("nbd.sock")
    }

    fn krait(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_krait"));
        command.arg("--data-dir").arg(self.path("data"));
        command.args(["--cores", "2", "--memory", "256M"]).current_dir(self.0.path());
        command
    }

    /// Starts a server, which makes these volumes if they are missing, and waits until it is ready.
    pub fn serve(&self, volumes: &[(&str, u64)]) -> Server {
        self.serve_with(volumes, &[])
    }

    /// Starts a server in the place of another one, and waits until that has ended.
    pub fn replace(&self, mut old: Server) -> Server {
        let new = self.serve_with(&[], &["--replace"]);
        old.await_end();
        new
    }

    fn serve_with(&self, volumes: &[(&str, u64)], more: &[&str]) -> Server {
        let mut command = self.krait();
        command.args(["serve", "--listen", &format!("unix:{}", self.socket().display())]);
        for (name, bytes) in volumes {
            command.args(["--create", &format!("{name}={bytes}")]);
        }
        command.args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program");
        let log = child.stderr.take().expect("it is piped");
        let server = Server { child, socket: self.socket() };
        let (sender, ready) = mpsc::channel();
        let reader = std::thread::Builder::new().spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                eprintln!("server: {line}");
                if line.starts_with("ready: ") {
                    // Nobody listens any more if it was late.
                    let _ = sender.send(());
                }
            }
        });
        drop(reader.expect("a thread"));
        ready.recv_timeout(START).expect("the server says that it is ready");
        server
    }

    /// Verifies a volume that is not served.
    pub fn check(&self, volume: &str) {
        let told = tool::text(self.krait().args(["volume", "check", volume]));
        eprint!("{told}");
    }
}

/// A server that is ready. Killed when dropped.
pub struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// Bytes of an export that its block status calls data.
    pub fn data_bytes(&self, export: &str) -> u64 {
        let uri = format!("nbd+unix:///{export}?socket={}", self.socket.display());
        let mut command = Command::new(tool::find("nbdinfo").expect("it was there"));
        let totals = tool::text(command.args(["--map", "--totals", &uri]));
        // Columns are: bytes, percentage, type, name of the type.
        let data = totals.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let bytes = data.filter(|row| row.last() == Some(&"data"));
        bytes.map(|row| row[0].parse::<u64>().expect("bytes")).sum()
    }

    /// Asks it to end, and waits until it did.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        self.await_end();
    }

    fn await_end(&mut self) {
        for _ in 0..END_PAUSES {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(status.success(), "the server ended with {status}");
                return;
            }
            pause();
        }
        panic!("the server still runs {END:?} after it was to end");
    }

    /// Ends it the hard way, and waits until its socket refuses: the kernel takes back a ring of
    /// io_uring, and with it the socket that a ring waits at, some milliseconds after the process.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
        for _ in 0..END_PAUSES {
            if UnixStream::connect(&self.socket).is_err() {
                return;
            }
            pause();
        }
        panic!("the socket of a killed server still accepts {END:?} later");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn pause() {
    std::thread::sleep(PAUSE);
}
