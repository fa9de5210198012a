//! A small blocking NBD client, with several requests under way.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nbd::client::{
    ClientHandshake, ClientStep, Flags, Reply, ReplyDecoded, Request, Session, Wishes, decode_reply,
};
use nbd::{Cookie, Errno, ReplyMode};

/// A server that says nothing for this long hangs.
const SILENCE: Duration = Duration::from_secs(120);

/// Bytes that one system call reads unless it is known that more come.
const READ_BYTES: usize = 64 << 10;

/// What a request brought: the bytes of a READ, nothing for others, or the server's error.
pub type Answer = Result<Vec<u8>, Errno>;

/// A request without its reply.
struct Pending {
    /// Offset of a READ.
    offset: u64,
    bytes: Vec<u8>,
    error: Option<Errno>,
}

/// One connection, past the handshake.
pub struct Client {
    pub stream: UnixStream,
    pub session: Session,
    input: Vec<u8>,
    pending: HashMap<Cookie, Pending>,
    next: u64,
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl Client {
    /// Connects and negotiates the best framing up to `mode`.
    pub fn connect(socket: &Path, export: &str, mode: ReplyMode) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let wishes = Wishes { export: export.to_owned(), mode, base_allocation: false };
        let mut handshake = ClientHandshake::new(wishes);
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            let advance = handshake.advance(&input, &mut out).map_err(broken)?;
            input.drain(..advance.consumed);
            stream.write_all(&out)?;
            out.clear();
            match advance.step {
                ClientStep::NeedInput { bytes } => fill(&mut stream, &mut input, bytes)?,
                ClientStep::Connected(session) => {
                    return Ok(Self { stream, session, input, pending: HashMap::new(), next: 0 });
                }
            }
        }
    }

    /// Sends a request, and `body` if it is a WRITE; its cookie comes back with the reply.
    pub fn send(&mut self, request: Request, flags: Flags, body: &[u8]) -> io::Result<Cookie> {
        let cookie = Cookie(self.next);
        self.next += 1;
        let (offset, length) = match request {
            Request::Read(range) => (range.offset, range.length),
            _ => (0, 0),
        };
        let bytes = vec![0; usize::try_from(length).map_err(broken)?];
        self.pending.insert(cookie, Pending { offset, bytes, error: None });
        let mut header = Vec::new();
        self.session.encode(cookie, request, flags, &mut header);
        self.stream.set_nonblocking(true)?;
        let sent = self.push(&mut [IoSlice::new(&header), IoSlice::new(body)]);
        self.stream.set_nonblocking(false)?;
        sent.map(|()| cookie)
    }

    /// Sends bytes, and takes replies meanwhile: a server that cannot say what it has to say need not
    /// listen.
    fn push(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut begun = None;
        while parts.iter().any(|part| !part.is_empty()) {
            match self.stream.write_vectored(parts) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    IoSlice::advance_slices(&mut parts, sent);
                    begun = None;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let have = self.input.len();
            self.input.resize(have + READ_BYTES, 0);
            let read = self.stream.read(&mut self.input[have..]);
            self.input.truncate(have + read.as_ref().map_or(0, |&bytes| bytes));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => begun = None,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let patience = self.stream.write_timeout()?.unwrap_or(SILENCE);
                    if begun.get_or_insert_with(Instant::now).elapsed() > patience {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    thread::sleep(Duration::from_micros(50));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Requests without a reply.
    pub fn under_way(&self) -> usize {
        self.pending.len()
    }

    /// Waits for the next reply, whichever request it answers.
    pub fn receive(&mut self) -> io::Result<(Cookie, Answer)> {
        loop {
            let (cookie, done, data) = self.message()?;
            let pending = self.pending.get_mut(&cookie);
            let pending = pending.ok_or_else(|| broken("a reply to no request"))?;
            if let Some((offset, length)) = data {
                let at = offset.checked_sub(pending.offset).ok_or_else(|| broken("offset"))?;
                let at = usize::try_from(at).map_err(broken)?;
                let place = pending.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..length));
                let place = place.ok_or_else(|| broken("data beyond the request"))?;
                let buffered = self.input.len().min(length);
                place[..buffered].copy_from_slice(&self.input[..buffered]);
                self.input.drain(..buffered);
                self.stream.read_exact(&mut place[buffered..])?;
            }
            if done {
                let Some(Pending { bytes, error, .. }) = self.pending.remove(&cookie) else {
                    return Err(broken("a reply to no request"));
                };
                return Ok((cookie, error.map_or(Ok(bytes), Err)));
            }
        }
    }

    /// Reads one message: whom it answers, whether it is the last, and the range of READ data that
    /// stands behind it.
    #[expect(clippy::type_complexity, reason = "for one caller")]
    fn message(&mut self) -> io::Result<(Cookie, bool, Option<(u64, usize)>)> {
        loop {
            let wanted = match decode_reply(self.session.mode, &self.input).map_err(broken)? {
                ReplyDecoded::NeedMore { bytes } => bytes,
                ReplyDecoded::Message { bytes, cookie, done, reply } => {
                    let pending = self.pending.get_mut(&cookie);
                    let data = match (reply, pending) {
                        (Reply::Data { range }, _) => {
                            Some((range.offset, usize::try_from(range.length).map_err(broken)?))
                        }
                        (Reply::Error { errno, .. }, Some(pending)) => {
                            pending.error = Some(errno);
                            None
                        }
                        _ => None,
                    };
                    self.input.drain(..bytes);
                    return Ok((cookie, done, data));
                }
            };
            fill(&mut self.stream, &mut self.input, wanted)?;
        }
    }

    /// Sends a request and waits for its reply; nothing else may be under way.
    pub fn call(&mut self, request: Request, flags: Flags, body: &[u8]) -> io::Result<Answer> {
        assert_eq!(self.under_way(), 0, "calls are made one by one");
        self.send(request, flags, body)?;
        Ok(self.receive()?.1)
    }
}

/// Reads until `input` has `bytes`.
fn fill(stream: &mut UnixStream, input: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    while input.len() < bytes {
        let start = input.len();
        input.resize(start + READ_BYTES.max(bytes - start), 0);
        let got = stream.read(&mut input[start..]);
        input.truncate(start + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
