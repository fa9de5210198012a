//! The asking end of the control socket.

use std::io::{self, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::DataDirLock;
use super::pass::Receiving;
use super::socket::{Address, read_line};
use super::{Answer, ControlError, Op, Response, ServerInfo, SnapshotInfo, VolumeStatus, limits};
use crate::config::{Settings, VolumeSize, Wait};
use crate::engine::collect::Collected;
use crate::engine::flatten::{Flattened, Flattening};
use crate::server::resize::Resized;

/// A connection to the process that serves a data directory.
#[derive(Debug)]
pub struct ControlClient {
    path: PathBuf,
    stream: BufReader<Receiving>,
}

impl ControlClient {
    /// Connects to the process that serves the data directory of `settings`.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`] if there is none.
    pub fn connect(settings: &Settings) -> Result<Self, ControlError> {
        let path = settings.control_path();
        let connected = Address::of(&path).and_then(|address| UnixStream::connect(&address.path));
        match connected {
            Ok(stream) => Ok(Self { path, stream: BufReader::new(Receiving::new(stream)) }),
            Err(error) if is_absent(&error) => {
                Err(ControlError::NotRunning { data_dir: settings.data_dir.clone() })
            }
            Err(source) => Err(ControlError::Socket { action: "connect to", path, source }),
        }
    }

    /// As [`Self::connect`], with `None` for a server that does not run. One that has taken the
    /// data directory and does not listen yet, or no more, is waited for, as is a command that has
    /// the directory for itself; not for longer than [`limits::START_TIMEOUT`].
    ///
    /// # Errors
    /// If the socket is there but cannot be used.
    pub fn connect_if_running(settings: &Settings) -> Result<Option<Self>, ControlError> {
        let tries = limits::START_TIMEOUT.as_millis() / limits::START_PAUSE.as_millis();
        for _ in 0..tries {
            match Self::connect(settings) {
                Ok(client) => return Ok(Some(client)),
                Err(ControlError::NotRunning { .. }) if DataDirLock::is_held(settings) => {
                    #[expect(clippy::disallowed_methods, reason = "a command has no executor")]
                    std::thread::sleep(limits::START_PAUSE);
                }
                Err(ControlError::NotRunning { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Asks one question and waits for its answer.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the server's own words, or a failed connection.
    pub fn ask(&mut self, op: &Op) -> Result<Answer, ControlError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ControlError::Socket { action, path, source }
        };
        let mut line = serde_json::to_vec(op).expect("an operation is plain data");
        line.push(b'\n');
        let wait = op.patience();
        let stream = self.stream.get_mut().stream();
        stream
            .set_read_timeout(Some(wait + limits::ANSWER_GRACE))
            .and_then(|()| stream.set_write_timeout(Some(limits::SOCKET_TIMEOUT)))
            .and_then(|()| stream.write_all(&line))
            .map_err(failed("write to", &self.path))?;
        let line = read_line(&mut self.stream, limits::MAX_ANSWER)
            .map_err(failed("wait for an answer from", &self.path))?
            .ok_or_else(|| ControlError::Closed { path: self.path.clone() })?;
        match serde_json::from_slice(&line) {
            Ok(Response::Ok(answer)) => Ok(answer),
            Ok(Response::Error(refusal)) => Err(ControlError::Refused(refusal)),
            Err(source) => Err(ControlError::Answer { path: self.path.clone(), source }),
        }
    }

    /// The open files that came with the last answer.
    pub(super) fn passed(&mut self) -> Vec<OwnedFd> {
        self.stream.get_mut().take()
    }

    /// The last answer was to another question.
    pub(super) fn unexpected(&self) -> ControlError {
        ControlError::Unexpected { path: self.path.clone() }
    }

    /// The files that should have come with the last answer did not.
    pub(super) fn not_passed(&self) -> ControlError {
        ControlError::NotPassed { path: self.path.clone() }
    }

    /// Asks who is there.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn server(&mut self) -> Result<ServerInfo, ControlError> {
        match self.ask(&Op::Ping)? {
            Answer::Server(info) => Ok(info),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Asks how a volume is.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn status(&mut self, volume: String) -> Result<VolumeStatus, ControlError> {
        match self.ask(&Op::Status { volume })? {
            Answer::Status(status) => Ok(*status),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Asks which volumes are open.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn volumes(&mut self) -> Result<Vec<VolumeStatus>, ControlError> {
        match self.ask(&Op::Volumes)? {
            Answer::Volumes { volumes } => Ok(volumes),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has everything uploaded that was acknowledged of a volume.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Retry`] when the time is over.
    pub fn drain(&mut self, volume: String, timeout: Wait) -> Result<(), ControlError> {
        let seconds = timeout.duration().as_secs();
        match self.ask(&Op::Drain { volume, seconds })? {
            Answer::Drained => Ok(()),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a volume opened for the host of the server; returns its incarnation.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Fenced`] if another host has it.
    pub fn attach(&mut self, volume: String, force: bool) -> Result<u64, ControlError> {
        match self.ask(&Op::Attach { volume, force })? {
            Answer::Attached { incarnation } => Ok(incarnation),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a volume closed and given back.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Busy`] while clients are connected to it.
    pub fn detach(&mut self, volume: String, timeout: Wait) -> Result<(), ControlError> {
        let seconds = timeout.duration().as_secs();
        match self.ask(&Op::Detach { volume, seconds })? {
            Answer::Detached => Ok(()),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has the log of a volume removed that is kept aside; returns files and bytes.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn drop_log(&mut self, volume: String) -> Result<(usize, u64), ControlError> {
        match self.ask(&Op::DropLog { volume })? {
            Answer::Dropped { files, bytes } => Ok((files, bytes)),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a volume deleted.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Busy`] while clients are connected to it.
    pub fn delete(&mut self, volume: String, snapshots: bool) -> Result<(), ControlError> {
        match self.ask(&Op::Delete { volume, snapshots })? {
            Answer::Deleted => Ok(()),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a volume's garbage collected, or looked for.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Fenced`] if another host has it.
    pub fn collect(&mut self, volume: String, dry_run: bool) -> Result<Collected, ControlError> {
        match self.ask(&Op::Collect { volume, dry_run })? {
            Answer::Collected(collected) => Ok(collected),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Gives a volume another size; a smaller one only if it is said to be fine that the tail is
    /// destroyed.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn resize(
        &mut self,
        volume: String,
        (size, danger_discard_tail): (VolumeSize, bool),
        timeout: Wait,
    ) -> Result<Resized, ControlError> {
        let (size_bytes, seconds) = (size.bytes().0, timeout.duration().as_secs());
        match self.ask(&Op::Resize { volume, size_bytes, danger_discard_tail, seconds })? {
            Answer::Resized(resized) => Ok(resized),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a snapshot made.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Retry`] when the time is over.
    pub fn create_snapshot(
        &mut self,
        volume: String,
        name: String,
        timeout: Wait,
    ) -> Result<SnapshotInfo, ControlError> {
        let seconds = timeout.duration().as_secs();
        match self.ask(&Op::CreateSnapshot { volume, name, seconds })? {
            Answer::Snapshot(info) => Ok(info),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has snapshots made of several volumes at one instant.
    ///
    /// # Errors
    /// As [`Self::create_snapshot`], for any of them: none is made then.
    pub fn create_snapshots(
        &mut self,
        volumes: Vec<String>,
        name: String,
        timeout: Wait,
    ) -> Result<Vec<SnapshotInfo>, ControlError> {
        let seconds = timeout.duration().as_secs();
        match self.ask(&Op::CreateSnapshots { volumes, name, seconds })? {
            Answer::Snapshots { snapshots } => Ok(snapshots),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// The snapshots of a volume that are on their way to the store.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn coming_snapshots(&mut self, volume: String) -> Result<Vec<SnapshotInfo>, ControlError> {
        match self.ask(&Op::ComingSnapshots { volume })? {
            Answer::Snapshots { snapshots } => Ok(snapshots),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Waits until those are in the store.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Retry`] when the time is over.
    pub fn settle_snapshots(
        &mut self,
        volume: String,
        timeout: Duration,
    ) -> Result<(), ControlError> {
        let seconds = timeout.as_secs();
        match self.ask(&Op::SettleSnapshots { volume, seconds })? {
            Answer::Settled => Ok(()),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a snapshot deleted.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Busy`] while something needs it.
    pub fn delete_snapshot(&mut self, volume: String, name: String) -> Result<(), ControlError> {
        match self.ask(&Op::DeleteSnapshot { volume, name })? {
            Answer::Deleted => Ok(()),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a clone made; returns its identity.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Retry`] when the time is over.
    pub fn clone_volume(
        &mut self,
        name: String,
        (from, snapshot): (String, Option<String>),
        timeout: Wait,
    ) -> Result<String, ControlError> {
        let seconds = timeout.duration().as_secs();
        match self.ask(&Op::Clone { name, from, snapshot, seconds })? {
            Answer::Cloned { id } => Ok(id),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Has a clone separated from what it was made of.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`crate::error::ErrorKind::Busy`] while snapshots of it share with that.
    pub fn flatten(&mut self, volume: String) -> Result<Flattened, ControlError> {
        match self.ask(&Op::Flatten { volume })? {
            Answer::Flattened(flattened) => Ok(flattened),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }

    /// Asks how far that is.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn flattening(&mut self, volume: String) -> Result<Flattening, ControlError> {
        match self.ask(&Op::Flattening { volume })? {
            Answer::Flattening(seen) => Ok(seen),
            _ => Err(ControlError::Unexpected { path: self.path.clone() }),
        }
    }
}

/// Whether nobody listens: no socket, no directory for one, or one that a dead process left behind.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused)
}
