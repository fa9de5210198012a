//! The serving end of the control socket: plain threads, one for each connection.

use std::fs;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::{Builder, JoinHandle};

use async_channel::{Sender, TrySendError};
use socket2::{Domain, SockAddr, Socket, Type};

use super::lock::DataDirLock;
use super::reply::Parcel;
use super::socket::{Address, read_line};
use super::{ControlError, ControlRequest, Op, Refusal, Reply, Response, limits, pass};
use crate::error::ErrorKind;

/// Name of the socket in the data directory; [`crate::config::Settings::control_path`] agrees.
const NAME: &str = "control.sock";

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// The running control socket. Dropping it removes the socket and takes no further requests.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    requests: Sender<ControlRequest>,
    stopping: AtomicBool,
    connections: AtomicUsize,
}

impl ControlServer {
    /// Opens the socket in the locked data directory and serves it from now on, handing requests
    /// to `requests`. To be called before the executors start, so that its threads are not pinned
    /// to a core of theirs.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(
        lock: &DataDirLock,
        requests: Sender<ControlRequest>,
    ) -> Result<Self, ControlError> {
        let path = lock.data_dir().join(NAME);
        let failed = |action| {
            let path = path.clone();
            move |source| ControlError::Socket { action, path, source }
        };
        let listener = listen(&path).map_err(failed("listen on"))?;
        let shared = Arc::new(Shared {
            requests,
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let accepted = Arc::clone(&shared);
        let accepting = Builder::new()
            .name("krait-control".to_owned())
            .spawn(move || accept(&listener, &accepted))
            .map_err(failed("start the thread of"))?;
        Ok(Self { path, shared, accepting: Some(accepting) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the accepting thread. If that fails, it ends with the process instead.
        let woken = Address::of(&self.path).and_then(|address| UnixStream::connect(&address.path));
        if let (Ok(_), Some(thread)) = (woken, self.accepting.take()) {
            drop(thread.join());
        }
        // A socket that stays behind is harmless: nobody answers on it.
        drop(fs::remove_file(&self.path));
    }
}

/// Makes the socket, replacing one that an earlier process left: the lock on the directory proves
/// that it is dead. Nobody can connect before the permissions are right.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let address = Address::of(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&address.path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let before = shared.connections.fetch_add(1, Ordering::AcqRel);
        if before >= limits::MAX_CONNECTIONS {
            let busy = refusal(ErrorKind::Busy, "too many control connections: try again");
            drop(respond(&stream, &busy));
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let connection = Connection(Arc::clone(shared));
        // Without a thread the connection is dropped, which its other end sees.
        drop(
            Builder::new()
                .name("krait-control-conn".to_owned())
                .spawn(move || drop(connection.serve(&stream))),
        );
    }
}

/// One counted connection.
struct Connection(Arc<Shared>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connection {
    /// Answers line after line until the other side ends the connection, stalls or breaks a limit.
    fn serve(&self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(limits::SOCKET_TIMEOUT))?;
        let mut reader = BufReader::new(stream);
        loop {
            let line = match read_line(&mut reader, limits::MAX_LINE) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return respond(stream, &refusal(ErrorKind::Invalid, "the line is too long"));
                }
                Err(error) => return Err(error),
            };
            let parcel = match serde_json::from_slice(&line) {
                Ok(op) => self.forward(op),
                Err(error) => {
                    let text = format!("the request is not understood: {error}");
                    Parcel::from(refusal(ErrorKind::Invalid, &text))
                }
            };
            deliver(stream, parcel)?;
        }
    }

    /// Hands a request to core 0 and waits for the outcome, not for ever.
    fn forward(&self, op: Op) -> Parcel {
        let wait = op.patience();
        let (reply, outcome) = Reply::channel();
        match self.0.requests.try_send(ControlRequest { op, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let text = "the server has too many requests: try again";
                return refusal(ErrorKind::Busy, text).into();
            }
            Err(TrySendError::Closed(_)) => return stopping().into(),
        }
        match outcome.recv_timeout(wait) {
            Ok(parcel) => parcel,
            Err(RecvTimeoutError::Disconnected) => stopping().into(),
            Err(RecvTimeoutError::Timeout) => {
                let text = "the server did not finish in time: it goes on with it";
                refusal(ErrorKind::Retry, text).into()
            }
        }
    }
}

fn stopping() -> Response {
    refusal(ErrorKind::Retry, "the server is stopping: try again later")
}

fn refusal(kind: ErrorKind, message: &str) -> Response {
    Response::Error(Refusal { kind, message: message.to_owned() })
}

fn respond(stream: &UnixStream, response: &Response) -> io::Result<()> {
    send(stream, response, &[])
}

/// Sends an outcome and what goes with it, and tells who waits for that.
fn deliver(stream: &UnixStream, parcel: Parcel) -> io::Result<()> {
    send(stream, &parcel.response, &parcel.files)?;
    if let Some(delivered) = parcel.delivered {
        // Nobody waits any more where the server has ended meanwhile.
        let _ = delivered.send(());
    }
    Ok(())
}

fn send(stream: &UnixStream, response: &Response, files: &[OwnedFd]) -> io::Result<()> {
    let mut line = serde_json::to_vec(response).expect("a response is plain data");
    line.push(b'\n');
    stream.set_write_timeout(Some(limits::SOCKET_TIMEOUT))?;
    pass::send(stream, &line, files)
}
