//! A connected socket on the core that serves it.

use super::heartbeat::touch;
use super::limits::SEND_SLICES;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;

/// A connection as the protocol sees it. [`Stream`] is the plain one; an encrypted one wraps it
/// and keeps the rest of the server as it is.
///
/// One task may read while another one writes; two readers or two writers at a time are our bug.
pub trait ByteStream: 'static {
    /// Reads what is there, at most `into`, and at least one byte: waits for that. Bytes go
    /// straight into the caller's memory. 0 means that the peer has finished sending.
    ///
    /// # Errors
    /// The connection is broken.
    async fn read_some(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Reads what is there, if there is something: `None` means that one would have to wait.
    ///
    /// # Errors
    /// The connection is broken.
    fn try_read(&self, into: &mut [u8]) -> io::Result<Option<usize>>;

    /// Writes as much as needs no waiting, from the start on; returns how much that is.
    ///
    /// # Errors
    /// The connection is broken.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes all slices in order, in as few system calls as possible. The slices are used up.
    ///
    /// # Errors
    /// The connection is broken; how much of the data arrived is unknown.
    async fn write_all_vectored(&self, slices: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Ends the connection in both directions: a pending read returns 0, the peer sees the end of
    /// the stream after all data that was written.
    fn shutdown(&self);

    /// Fills `into`.
    ///
    /// # Errors
    /// As [`Self::read_some`]; `UnexpectedEof` if the peer finished before that.
    async fn read_exact(&self, into: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            match self.read_some(&mut into[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Writes all of one slice.
    ///
    /// # Errors
    /// As [`Self::write_all_vectored`].
    async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_all_vectored(&mut [IoSlice::new(bytes)]).await
    }
}

/// A stream socket, TCP or unix, on the executor that it was made on.
///
/// Dropping it shuts the connection down.
#[derive(Debug)]
pub struct Stream {
    // For glommio all stream sockets are TCP: nothing it does here depends on the family.
    socket: RefCell<TcpStream>,
    reading: Cell<bool>,
    writing: Cell<bool>,
}

impl Stream {
    /// Takes a connected socket into use on the core that this is called on.
    #[expect(unsafe_code, reason = "the one way to hand a socket to glommio")]
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        // SAFETY: the descriptor is open, and ownership passes to the new value.
        let socket = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
        Self { socket: RefCell::new(socket), reading: Cell::new(false), writing: Cell::new(false) }
    }

    /// Sends what the socket takes now; `None` if it is full.
    #[expect(unsafe_code, reason = "glommio gives only the raw descriptor of a stream")]
    fn send_now(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let socket = self.socket.borrow();
        // SAFETY: the socket is open as long as `self.socket` lives, which is borrowed above.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let slices = &slices[..slices.len().min(SEND_SLICES)];
        match SockRef::from(&fd).send_vectored_with_flags(slices, flags) {
            Ok(sent) => Ok(Some(sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Waits until the socket takes data again, and sends a part of `slice` with that.
    async fn send_later(&self, slice: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, slice)).await
    }
}

impl ByteStream for Stream {
    async fn read_some(&self, into: &mut [u8]) -> io::Result<usize> {
        let _turn = Turn::take(&self.reading);
        loop {
            let read = poll_fn(|cx| Pin::new(&mut *self.socket.borrow_mut()).poll_read(cx, into));
            match read.await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    touch();
                    return result;
                }
            }
        }
    }

    #[expect(unsafe_code, reason = "glommio gives only the raw descriptor of a stream")]
    fn try_read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let _turn = Turn::take(&self.reading);
        let socket = self.socket.borrow();
        // SAFETY: the socket is open as long as `self.socket` lives, which is borrowed above; `into`
        // is as long as it says and is written to by this call only.
        let read = unsafe {
            libc::recv(socket.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT)
        };
        match usize::try_from(read) {
            Ok(read) => {
                touch();
                Ok(Some(read))
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                error => Err(error),
            },
        }
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _turn = Turn::take(&self.writing);
        Ok(self.send_now(slices)?.unwrap_or(0))
    }

    async fn write_all_vectored(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let _turn = Turn::take(&self.writing);
        // Also drops empty slices at the front, of which no byte could be sent.
        IoSlice::advance_slices(&mut slices, 0);
        while let Some(first) = slices.first() {
            let sent = match self.send_now(slices)? {
                Some(sent) => sent,
                None => self.send_later(first).await?,
            };
            IoSlice::advance_slices(&mut slices, sent);
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "glommio gives only the raw descriptor of a stream")]
    fn shutdown(&self) {
        let socket = self.socket.borrow();
        // SAFETY: the socket is open as long as `self.socket` lives, which is borrowed above.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        // Fails only if the peer was faster.
        let _ = SockRef::from(&fd).shutdown(Shutdown::Both);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The ring may hold the socket a little longer; the peer shall not wait for that.
        self.shutdown();
    }
}

/// The right to read or to write, held by one task at a time.
struct Turn<'a>(&'a Cell<bool>);

impl<'a> Turn<'a> {
    fn take(taken: &'a Cell<bool>) -> Self {
        assert!(!taken.replace(true), "one reader and one writer at a time");
        Self(taken)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
