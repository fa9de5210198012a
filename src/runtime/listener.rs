//! Listening sockets.
//!
//! They are made here and not by glommio, whose listeners let any other server share their port
//! (SO_REUSEPORT): a second server would start silently and take half of the connections.

use super::disk::plain;
use super::limits::{LISTEN_BACKLOG, TCP_KEEPALIVE, UNIX_SEND_BYTES};
use super::stream::Stream;
use glommio::net::TcpListener;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListenAddr {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A TCP port; 0 takes a free one.
    Tcp(SocketAddr),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why a server cannot listen there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another server is alive at this address.
    #[error("{address}: another server listens there")]
    InUse {
        /// Where we wanted to listen.
        address: ListenAddr,
    },
    /// The path leads to something that is not a socket, and is left alone.
    #[error("{}: exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{action} {address}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where we wanted to listen.
        address: ListenAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A socket that listens, not yet on any core.
#[derive(Debug)]
pub struct BoundListener {
    // Before the socket: a file that leads nowhere must be gone before the socket refuses, or a
    // server that starts at this moment would put its own file in place and have it removed.
    file: Option<SocketFile>,
    socket: Socket,
    address: ListenAddr,
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It is stale if it stays; the next server takes care of that.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl BoundListener {
    /// Binds and listens.
    ///
    /// # Errors
    /// If the address is taken or cannot be used.
    pub fn bind(address: &ListenAddr) -> Result<Self, ListenError> {
        match address {
            ListenAddr::Unix(path) => Self::bind_unix(path),
            ListenAddr::Tcp(socket_address) => Self::bind_tcp(*socket_address),
        }
    }

    /// Where it listens, with the port that was taken for port 0.
    #[must_use]
    pub fn address(&self) -> &ListenAddr {
        &self.address
    }

    fn bind_tcp(wanted: SocketAddr) -> Result<Self, ListenError> {
        let address = ListenAddr::Tcp(wanted);
        let listen = || {
            let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, None)?;
            // Only forgives connections of a server that ended; not a second one that listens.
            socket.set_reuse_address(true)?;
            socket.bind(&wanted.into())?;
            socket.listen(LISTEN_BACKLOG)?;
            let bound = socket.local_addr()?.as_socket().expect("it was bound to one");
            Ok(Self { file: None, socket, address: ListenAddr::Tcp(bound) })
        };
        listen().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Io { action: "listen on", address, source },
        })
    }

    fn bind_unix(path: &Path) -> Result<Self, ListenError> {
        let address = ListenAddr::Unix(path.to_owned());
        let failed = |action| {
            let address = address.clone();
            move |source| ListenError::Io { action, address, source }
        };
        let name = SockAddr::unix(path).map_err(failed("listen on"))?;
        let new_socket = || Socket::new(Domain::UNIX, Type::STREAM, None);
        let socket = new_socket().map_err(failed("listen on"))?;
        match socket.bind(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let stat = std::fs::symlink_metadata(path).map_err(failed("look at"))?;
                if !stat.file_type().is_socket() {
                    return Err(ListenError::NotASocket { path: path.to_owned() });
                }
                let caller = new_socket().map_err(failed("listen on"))?;
                caller.set_nonblocking(true).map_err(failed("listen on"))?;
                match caller.connect(&name) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    // A full backlog is a sign of life, too.
                    _ => return Err(ListenError::InUse { address }),
                }
                std::fs::remove_file(path).map_err(failed("remove the stale socket"))?;
                socket.bind(&name).map_err(failed("listen on"))?;
            }
            result => result.map_err(failed("listen on"))?,
        }
        let file = Some(SocketFile(path.to_owned()));
        socket.listen(LISTEN_BACKLOG).map_err(failed("listen on"))?;
        Ok(Self { file, socket, address })
    }

    /// A socket that another process listens on, or did, and that it passed to this one. Its file,
    /// if it has one, is the other process's until [`Self::serve`].
    ///
    /// # Errors
    /// If it is not a socket.
    pub fn adopt(path: Option<PathBuf>, passed: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(passed);
        let bound = socket.local_addr()?;
        let address = match (path, bound.as_socket()) {
            (Some(path), None) => ListenAddr::Unix(path),
            (None, Some(address)) => ListenAddr::Tcp(address),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Self { file: None, socket, address })
    }

    /// A copy of the socket, to pass to another process.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(OwnedFd::from)
    }

    /// Takes the listener into use on the core that this is called on.
    #[expect(unsafe_code, reason = "the one way to hand a socket to glommio")]
    #[must_use]
    pub fn serve(self) -> Listener {
        // SAFETY: the descriptor is open, and ownership passes to the new value.
        let socket = unsafe { TcpListener::from_raw_fd(self.socket.into_raw_fd()) };
        let adopted = || match &self.address {
            ListenAddr::Unix(path) => Some(SocketFile(path.clone())),
            ListenAddr::Tcp(_) => None,
        };
        let file = self.file.or_else(adopted);
        Listener { file, socket, address: self.address }
    }
}

/// A listening socket on the core that accepts. Dropping it removes its file.
#[derive(Debug)]
pub struct Listener {
    // Before the socket, as in `BoundListener`.
    file: Option<SocketFile>,
    socket: TcpListener,
    address: ListenAddr,
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &ListenAddr {
        &self.address
    }

    /// Leaves the file to another process, which has the socket.
    pub fn leave_file(&mut self) {
        std::mem::forget(self.file.take());
    }

    /// Waits for the next connection. Ones that were reset before we got to them are skipped.
    ///
    /// # Errors
    /// Out of descriptors or memory: to be reported, and tried again after a pause.
    #[expect(unsafe_code, reason = "glommio gives only the raw descriptor of a stream")]
    pub async fn accept(&self) -> io::Result<IncomingFd> {
        loop {
            let accepted = match self.socket.accept().await.map_err(plain) {
                Err(error) if is_passing(&error) => continue,
                accepted => accepted?,
            };
            // SAFETY: `accepted` is open until the end of this block, and the borrow ends before.
            let fd = unsafe { BorrowedFd::borrow_raw(accepted.as_raw_fd()) };
            // A copy of the descriptor, as the stream belongs to this core.
            let socket = fd.try_clone_to_owned()?;
            let tuned = match self.address {
                ListenAddr::Tcp(_) => tune_tcp(&socket),
                ListenAddr::Unix(_) => tune_unix(&socket),
            };
            if tuned.is_err() {
                // Options are refused when the client is gone already.
                continue;
            }
            return Ok(IncomingFd { socket });
        }
    }
}

/// An accepted connection that has not found its core yet.
#[derive(Debug)]
pub struct IncomingFd {
    socket: OwnedFd,
}

impl IncomingFd {
    /// Takes the connection into use on the core that this is called on.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        Stream::new(self.socket)
    }

    /// The address of a TCP client.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        SockRef::from(&self.socket).peer_addr().ok()?.as_socket()
    }
}

impl From<OwnedFd> for IncomingFd {
    /// A connected stream socket that was made elsewhere.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

/// Replies leave at once, and clients that vanished without a word are found out.
fn tune_tcp(socket: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))
}

/// Several large replies fit: with the default a server waits for the client after each one. TCP
/// finds out by itself what a connection needs.
fn tune_unix(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).set_send_buffer_size(UNIX_SEND_BYTES)
}

/// Whether an error is about one connection and not about the listener.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}
