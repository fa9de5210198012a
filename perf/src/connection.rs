//! One client connection: a socket in transmission, bytes waiting to leave, bytes that came.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nbd::wire::REQUEST_BYTES;
use thiserror::Error;

use crate::codec::{ReplyParser, ReplySink};
use crate::handshake::{Export, HandshakeError, negotiate};
use crate::limits::{RECEIVE_BYTES, SEND_SLICES, SILENCE_SECONDS};
use crate::payload::{Payload, Window};
use crate::sys::{Waiting, receive, send_now};
use crate::uri::{Endpoint, Uri};

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No server there.
    #[error("cannot connect to {uri}")]
    Connect {
        /// Where to.
        uri: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server is there, the export not.
    #[error("no NBD session with {uri}")]
    Handshake {
        /// Where to.
        uri: String,
        /// What went wrong.
        source: HandshakeError,
    },
}

/// A negotiated connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// What the server said of the export.
    pub export: Export,
    /// Requests on their way out.
    pub outbox: Outbox,
    /// Replies on their way in.
    pub inbox: Inbox,
}

impl Connection {
    /// Connects and negotiates. The socket gives up on a server that is silent for
    /// [`SILENCE_SECONDS`].
    pub fn open(uri: &Uri) -> Result<Self, ConnectError> {
        let connect = |source| ConnectError::Connect { uri: uri.to_string(), source };
        let handshake = |source| ConnectError::Handshake { uri: uri.to_string(), source };
        let silence = Some(Duration::from_secs(SILENCE_SECONDS));
        let (export, socket) = match &uri.endpoint {
            Endpoint::Unix(path) => {
                let mut stream = UnixStream::connect(path).map_err(connect)?;
                stream.set_read_timeout(silence).map_err(connect)?;
                (negotiate(&mut stream, &uri.export).map_err(handshake)?, OwnedFd::from(stream))
            }
            Endpoint::Tcp { host, port } => {
                let mut stream = TcpStream::connect((host.as_str(), *port)).map_err(connect)?;
                stream.set_read_timeout(silence).map_err(connect)?;
                stream.set_nodelay(true).map_err(connect)?;
                (negotiate(&mut stream, &uri.export).map_err(handshake)?, OwnedFd::from(stream))
            }
        };
        Ok(Self { socket, export, outbox: Outbox::default(), inbox: Inbox::new() })
    }

    /// The descriptor, to wait for.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends what the socket takes; true when nothing is left.
    pub fn send(&mut self, payload: &Payload) -> io::Result<bool> {
        self.outbox.send(self.socket.as_fd(), payload)
    }

    /// Receives once; 0 means that the server closed the connection.
    pub fn receive(&mut self, waiting: Waiting) -> io::Result<usize> {
        self.inbox.receive(self.socket.as_fd(), waiting)
    }
}

/// What follows a request header.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A window of the payload pool.
    Window(Window),
    /// Bytes made for this request.
    Owned(Box<[u8]>),
}

impl Body {
    fn bytes<'b>(&'b self, payload: &'b Payload) -> &'b [u8] {
        match self {
            Self::Empty => &[],
            Self::Window(window) => payload.bytes(*window),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Requests that have not left completely.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<([u8; REQUEST_BYTES], Body)>,
    /// Bytes of the front request that have left.
    front_sent: usize,
}

impl Outbox {
    /// Appends a request.
    pub fn push(&mut self, header: [u8; REQUEST_BYTES], body: Body) {
        self.queue.push_back((header, body));
    }

    fn send(&mut self, socket: BorrowedFd<'_>, payload: &Payload) -> io::Result<bool> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SEND_SLICES];
            let mut used = 0;
            let mut skip = self.front_sent;
            for (header, body) in self.queue.iter().take(SEND_SLICES / 2) {
                for part in [&header[..], body.bytes(payload)] {
                    if skip >= part.len() {
                        skip -= part.len();
                    } else {
                        slices[used] = IoSlice::new(&part[skip..]);
                        used += 1;
                        skip = 0;
                    }
                }
            }
            match send_now(socket, &slices[..used]) {
                Ok(sent) => self.advance(sent, payload),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, sent: usize, payload: &Payload) {
        self.front_sent += sent;
        while let Some((header, body)) = self.queue.front() {
            let whole = header.len() + body.bytes(payload).len();
            if self.front_sent < whole {
                break;
            }
            self.front_sent -= whole;
            self.queue.pop_front();
        }
    }
}

/// Reply bytes and their parser.
#[derive(Debug)]
pub struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    parser: ReplyParser,
}

impl Inbox {
    fn new() -> Self {
        let buffer = vec![0; RECEIVE_BYTES].into_boxed_slice();
        Self { buffer, start: 0, end: 0, parser: ReplyParser::default() }
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, waiting: Waiting) -> io::Result<usize> {
        // What is left over is shorter than one header or message, so this moves little.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let got = receive(socket, &mut self.buffer[self.end..], waiting)?;
        self.end += got;
        Ok(got)
    }

    /// Reports every reply that has come.
    pub fn parse<S: ReplySink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        self.start += self.parser.feed(&self.buffer[self.start..self.end], sink)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_full_socket_keeps_the_rest_for_later_in_order() {
        let (client, mut server) = UnixStream::pair().expect("pair");
        server.set_nonblocking(true).expect("nonblocking");
        let mut payload = Payload::new(1);
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for number in 0..200u8 {
            let window = payload.take(5000);
            let header = [number; REQUEST_BYTES];
            expected.extend_from_slice(&header);
            let body = match number % 3 {
                0 => Body::Empty,
                1 => Body::Window(window),
                _ => Body::Owned(vec![number; 77].into()),
            };
            expected.extend_from_slice(body.bytes(&payload));
            outbox.push(header, body);
        }
        let mut got = Vec::new();
        let mut rounds = 0;
        while !outbox.send(client.as_fd(), &payload).expect("send") {
            rounds += 1;
            let mut piece = [0; 33_333];
            let read = server.read(&mut piece).expect("read");
            got.extend_from_slice(&piece[..read]);
        }
        drop(client);
        server.set_nonblocking(false).expect("blocking");
        server.read_to_end(&mut got).expect("read");
        assert!(rounds > 0, "the socket never filled up");
        assert_eq!(outbox.front_sent, 0);
        assert!(got == expected, "bytes differ");
    }
}
