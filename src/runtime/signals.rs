//! Being asked to end.
//!
//! SIGPIPE needs no care: Rust programs ignore it from the start, and sockets are written to with
//! `MSG_NOSIGNAL`.

use super::stream::{ByteStream, Stream};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// SIGTERM and SIGINT as bytes of a socket. Made on any thread, then moved to the core that
/// listens for them. Once it is gone both signals do nothing, so it is kept to the end.
#[derive(Debug)]
pub struct StopSignals {
    // Before the socket: the handler must not write to a socket without a reader.
    registered: [Registered; 2],
    socket: UnixStream,
}

#[derive(Debug)]
struct Registered(SigId);

impl Drop for Registered {
    fn drop(&mut self) {
        unregister(self.0);
    }
}

impl StopSignals {
    /// Catches both signals from now on.
    ///
    /// # Errors
    /// Out of descriptors, or the handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let (socket, writer) = UnixStream::pair()?;
        let term = Registered(pipe::register(SIGTERM, writer.try_clone()?)?);
        let int = Registered(pipe::register(SIGINT, writer)?);
        Ok(Self { registered: [term, int], socket })
    }

    /// Waits for a signal for so long, before any core does; says whether one came.
    ///
    /// # Errors
    /// The socket fails.
    pub fn came_within(&self, span: Duration) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(span))?;
        let read = (&self.socket).read(&mut [0; 64]);
        self.socket.set_read_timeout(None)?;
        match read {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            // The signal itself may be what interrupts.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.came_within(span),
            Err(error) => Err(error),
        }
    }

    /// Takes them into use on the core that this is called on.
    #[must_use]
    pub fn serve(self) -> StopRequests {
        StopRequests { _registered: self.registered, stream: Stream::new(self.socket.into()) }
    }
}

/// [`StopSignals`] on the core that waits for them.
#[derive(Debug)]
pub struct StopRequests {
    // Before the stream, as in `StopSignals`.
    _registered: [Registered; 2],
    stream: Stream,
}

impl StopRequests {
    /// Waits for a signal. Signals that came since the last call count as one.
    pub async fn next(&self) {
        let mut bytes = [0; 64];
        let read = self.stream.read_some(&mut bytes).await;
        assert!(matches!(read, Ok(1..)), "the handler holds the other end: {read:?}");
    }
}
