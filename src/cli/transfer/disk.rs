//! A volume as a client of the server has it: many requests under way, one connection.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nbd::client::{
    ClientHandshake, ClientStep, Flags, Reply, ReplyDecoded, Request, Session, Wishes, decode_reply,
};

use nbd::{ByteRange, Cookie, Errno, ReplyMode, wire};

use super::error::TransferError;
use crate::config::Listen;

/// Bytes of one read or write.
pub(in crate::cli) const PIECE_BYTES: usize = 1 << 20;

/// Requests under way: enough for a server that syncs, uploads and reads meanwhile.
const UNDER_WAY: usize = 16;

/// Bytes that one request zeroes, or asks the state of.
const LONG_BYTES: u64 = 1 << 30;

/// Bytes that one system call reads unless it is known that more come.
const READ_BYTES: usize = 64 << 10;

trait Socket: Read + Write + Send {}

impl<T: Read + Write + Send> Socket for T {}

/// An open volume, or snapshot.
pub(in crate::cli) struct Disk {
    socket: Box<dyn Socket>,
    session: Session,
    input: Vec<u8>,
    pending: HashMap<Cookie, Pending>,
    /// Reads that have ended, until somebody takes them.
    ended: HashMap<Cookie, Vec<u8>>,
    next: u64,
}

/// A request without its reply.
struct Pending {
    action: &'static str,
    offset: u64,
    bytes: Vec<u8>,
    runs: Vec<(u64, bool)>,
    error: Option<Errno>,
}

/// A read that was asked for.
pub(in crate::cli) struct Reading(Cookie);

impl Disk {
    /// Opens an export.
    pub(in crate::cli) fn open(address: &Listen, export: &str) -> Result<Self, TransferError> {
        let failed = |source| TransferError::Connect { address: address.to_string(), source };
        let mut socket: Box<dyn Socket> = match address {
            Listen::Unix(path) => Box::new(UnixStream::connect(path).map_err(failed)?),
            Listen::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Box::new(stream)
            }
        };
        let export = export.to_owned();
        let mode = ReplyMode::Extended;
        let wishes = Wishes { export: export.clone(), mode, base_allocation: true };
        let mut handshake = ClientHandshake::new(wishes);
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            let refused = |source| TransferError::Refused { export: export.clone(), source };
            let advance = handshake.advance(&input, &mut out).map_err(refused)?;
            input.drain(..advance.consumed);
            socket.write_all(&out).map_err(TransferError::Broken)?;
            out.clear();
            match advance.step {
                ClientStep::NeedInput { bytes } => fill(&mut *socket, &mut input, bytes)?,
                ClientStep::Connected(session) => {
                    let (pending, ended) = (HashMap::new(), HashMap::new());
                    return Ok(Self { socket, session, input, pending, ended, next: 0 });
                }
            }
        }
    }

    /// Its size in bytes.
    pub(in crate::cli) fn size(&self) -> u64 {
        self.session.size
    }

    /// Starts to write; what is written is durable after [`Self::flush`].
    pub(in crate::cli) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let range = ByteRange::new(offset, bytes.len() as u64);
        self.send("write", Request::Write(range), bytes).map(drop)
    }

    /// Starts to make bytes zeros, as holes where that is possible.
    pub(in crate::cli) fn zero(&mut self, offset: u64, bytes: u64) -> Result<(), TransferError> {
        let end = offset + bytes;
        let mut at = offset;
        while at < end {
            let range = ByteRange::new(at, LONG_BYTES.min(end - at));
            self.send("zero", Request::WriteZeroes(range), &[])?;
            at += range.length;
        }
        Ok(())
    }

    /// Waits until all that was started has ended, and is durable.
    pub(in crate::cli) fn flush(&mut self) -> Result<(), TransferError> {
        self.settle()?;
        self.send("flush", Request::Flush, &[])?;
        self.settle()
    }

    /// Starts to read.
    pub(in crate::cli) fn start_read(
        &mut self,
        offset: u64,
        bytes: usize,
    ) -> Result<Reading, TransferError> {
        let range = ByteRange::new(offset, bytes as u64);
        self.send("read", Request::Read(range), &[]).map(Reading)
    }

    /// Waits for what a read brings.
    pub(in crate::cli) fn finish_read(
        &mut self,
        reading: &Reading,
    ) -> Result<Vec<u8>, TransferError> {
        loop {
            if let Some(bytes) = self.ended.remove(&reading.0) {
                return Ok(bytes);
            }
            self.receive()?;
        }
    }

    /// Reads, while nothing else is under way.
    pub(in crate::cli) fn read(
        &mut self,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, TransferError> {
        let reading = self.start_read(offset, bytes)?;
        self.finish_read(&reading)
    }

    /// What lies from `offset` on, for a while: runs of bytes and whether they are data. Others read
    /// as zeros.
    pub(in crate::cli) fn runs(
        &mut self,
        offset: u64,
        bytes: u64,
    ) -> Result<Vec<(u64, bool)>, TransferError> {
        if self.session.base_allocation.is_none() {
            return Ok(vec![(bytes, true)]);
        }
        self.settle()?;
        let range = ByteRange::new(offset, bytes.min(LONG_BYTES));
        let cookie = self.send("look", Request::BlockStatus(range), &[])?;
        loop {
            let (ended, runs) = self.receive()?;
            if ended == cookie {
                return Ok(if runs.is_empty() { vec![(range.length, true)] } else { runs });
            }
        }
    }

    fn send(
        &mut self,
        action: &'static str,
        request: Request,
        body: &[u8],
    ) -> Result<Cookie, TransferError> {
        while self.pending.len() >= UNDER_WAY {
            self.receive()?;
        }
        let cookie = Cookie(self.next);
        self.next += 1;
        let (offset, length) = match request {
            Request::Read(range) => (range.offset, range.length as usize),
            Request::Write(range) | Request::WriteZeroes(range) => (range.offset, 0),
            _ => (0, 0),
        };
        let (bytes, runs) = (vec![0; length], Vec::new());
        self.pending.insert(cookie, Pending { action, offset, bytes, runs, error: None });
        let mut header = Vec::new();
        self.session.encode(cookie, request, Flags::NONE, &mut header);
        let mut parts = [IoSlice::new(&header), IoSlice::new(body)];
        let mut parts = &mut parts[..];
        while parts.iter().any(|part| !part.is_empty()) {
            match self.socket.write_vectored(parts).map_err(TransferError::Broken)? {
                0 => return Err(TransferError::Broken(ErrorKind::WriteZero.into())),
                sent => IoSlice::advance_slices(&mut parts, sent),
            }
        }
        Ok(cookie)
    }

    /// Waits for all replies.
    fn settle(&mut self) -> Result<(), TransferError> {
        while !self.pending.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    /// Waits until one more request has ended; returns it, and what it told of states.
    fn receive(&mut self) -> Result<(Cookie, Vec<(u64, bool)>), TransferError> {
        loop {
            let (cookie, is_done, data) = self.message()?;
            let pending = self.pending.get_mut(&cookie).ok_or(TransferError::Stray)?;
            if let Some(range) = data {
                let at = range.offset.checked_sub(pending.offset).ok_or(TransferError::Stray)?;
                let (at, length) = (at as usize, range.length as usize);
                let place = pending.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..length));
                let place = place.ok_or(TransferError::Stray)?;
                let buffered = self.input.len().min(length);
                place[..buffered].copy_from_slice(&self.input[..buffered]);
                self.input.drain(..buffered);
                self.socket.read_exact(&mut place[buffered..]).map_err(TransferError::Broken)?;
            }
            if is_done {
                let pending = self.pending.remove(&cookie).ok_or(TransferError::Stray)?;
                let Pending { action, offset, bytes, runs, error } = pending;
                if let Some(errno) = error {
                    return Err(TransferError::Request { action, offset, errno });
                }
                if !bytes.is_empty() {
                    self.ended.insert(cookie, bytes);
                }
                return Ok((cookie, runs));
            }
        }
    }

    /// Reads one message: whom it answers, whether it is the last one, and the range of the data
    /// that stands behind it.
    fn message(&mut self) -> Result<(Cookie, bool, Option<ByteRange>), TransferError> {
        loop {
            let wanted = match decode_reply(self.session.mode, &self.input)? {
                ReplyDecoded::NeedMore { bytes } => bytes,
                ReplyDecoded::Message { bytes, cookie, done, reply } => {
                    let pending = self.pending.get_mut(&cookie).ok_or(TransferError::Stray)?;
                    let data = match reply {
                        Reply::Data { range } => Some(range),
                        Reply::Error { errno, .. } => {
                            pending.error = Some(errno);
                            None
                        }
                        Reply::Status { runs, .. } => {
                            let is_data = |state: u32| state & wire::NBD_STATE_ZERO == 0;
                            pending.runs.extend(runs.map(|run| (run.length, is_data(run.state))));
                            None
                        }
                        Reply::Ok | Reply::Hole { .. } => None,
                    };
                    self.input.drain(..bytes);
                    return Ok((cookie, done, data));
                }
            };
            fill(&mut *self.socket, &mut self.input, wanted)?;
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut header = Vec::new();
        self.session.encode(Cookie(self.next), Request::Disconnect, Flags::NONE, &mut header);
        // The server notices the end of the connection just as well.
        let _ = self.socket.write_all(&header);
    }
}

/// Reads until `input` has `bytes`.
fn fill(socket: &mut dyn Socket, input: &mut Vec<u8>, bytes: usize) -> Result<(), TransferError> {
    while input.len() < bytes {
        let start = input.len();
        input.resize(start + READ_BYTES.max(bytes - start), 0);
        let got = socket.read(&mut input[start..]);
        input.truncate(start + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => return Err(TransferError::Broken(ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(TransferError::Broken(error)),
        }
    }
    Ok(())
}
