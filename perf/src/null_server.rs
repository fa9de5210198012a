//! A server that stores nothing: one thread reads requests in batches and acknowledges them. It
//! shows how fast the client can be, and serves tests that need no real server.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nbd::wire::{
    NBD_CMD_DISC, NBD_CMD_READ, NBD_CMD_WRITE, NBD_FLAG_CAN_MULTI_CONN, NBD_FLAG_FIXED_NEWSTYLE,
    NBD_FLAG_HAS_FLAGS, NBD_FLAG_NO_ZEROES, NBD_FLAG_SEND_FLUSH, NBD_FLAG_SEND_FUA,
    NBD_INFO_EXPORT, NBD_MAGIC, NBD_OPT_GO, NBD_OPT_MAGIC, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK,
    NBD_REP_ERR_UNSUP, NBD_REP_INFO, NBD_REP_MAGIC, NBD_REQUEST_MAGIC, NBD_SIMPLE_REPLY_MAGIC,
    NBD_STRUCTURED_REPLY_MAGIC, REQUEST_BYTES,
};

use crate::sys::{Epoll, NO_EVENT};

const BUFFER_BYTES: usize = 512 << 10;
const LARGEST_READ: usize = 32 << 20;

/// One client in transmission.
struct Session {
    stream: UnixStream,
    structured: bool,
    buffer: Vec<u8>,
    filled: usize,
    /// Payload bytes of the write that is being received.
    skip: usize,
    written: Option<[u8; REQUEST_BYTES]>,
}

/// Listens on `socket` and serves from one thread until the process ends. With `structured`, reads
/// are answered in structured chunks where the client wants them.
pub fn start(socket: &Path, size: u64, structured: bool) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let body = move || drop(serve(&listener, size, structured));
    thread::Builder::new().name("null-server".to_owned()).spawn(body).map(drop)
}

fn serve(listener: &UnixListener, size: u64, offer: bool) -> io::Result<()> {
    let epoll = Epoll::new()?;
    epoll.add(listener.as_fd(), 0)?;
    let mut sessions = HashMap::new();
    let mut next = 1;
    let mut events = [NO_EVENT; 64];
    let mut replies = Vec::with_capacity(BUFFER_BYTES);
    let zeros = vec![0; LARGEST_READ];
    loop {
        let ready = match epoll.wait(&mut events, Duration::from_secs(3600)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            outcome => outcome.unwrap_or_default(),
        };
        for event in ready {
            let token = event.u64;
            if token == 0 {
                let (mut stream, _) = listener.accept()?;
                // A client that fails or leaves is no event for a server without state.
                if let Ok(structured) = handshake(&mut stream, size, offer) {
                    epoll.add(stream.as_fd(), next)?;
                    sessions.insert(next, Session::new(stream, structured));
                    next += 1;
                }
            } else if let Some(session) = sessions.get_mut(&token)
                && session.turn(&zeros, &mut replies).is_err()
            {
                sessions.remove(&token);
            }
        }
    }
}

impl Session {
    fn new(stream: UnixStream, structured: bool) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { stream, structured, buffer, filled: 0, skip: 0, written: None }
    }

    /// Receives once and answers every complete request.
    fn turn(&mut self, zeros: &[u8], replies: &mut Vec<u8>) -> io::Result<()> {
        let got = self.stream.read(&mut self.buffer[self.filled..])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += got;
        replies.clear();
        let mut at = 0;
        loop {
            let payload = self.skip.min(self.filled - at);
            at += payload;
            self.skip -= payload;
            if self.skip == 0
                && let Some(header) = self.written.take()
            {
                reply(replies, &header, &[], false);
            }
            let Some(header) = self.buffer[at..self.filled].first_chunk::<REQUEST_BYTES>() else {
                break;
            };
            at += REQUEST_BYTES;
            let length = field(header, 24) as usize;
            if field(header, 0) != NBD_REQUEST_MAGIC || length > LARGEST_READ {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match u16::from_be_bytes([header[6], header[7]]) {
                NBD_CMD_DISC => return Err(io::ErrorKind::UnexpectedEof.into()),
                NBD_CMD_WRITE => (self.skip, self.written) = (length, Some(*header)),
                NBD_CMD_READ => reply(replies, header, &zeros[..length], self.structured),
                _ => reply(replies, header, &[], false),
            }
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        self.stream.write_all(replies)
    }
}

fn reply(out: &mut Vec<u8>, header: &[u8; REQUEST_BYTES], data: &[u8], structured: bool) {
    let cookie = &header[8..16];
    if structured {
        out.extend_from_slice(&NBD_STRUCTURED_REPLY_MAGIC.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 1]);
        out.extend_from_slice(cookie);
        out.extend_from_slice(&(data.len() as u32 + 8).to_be_bytes());
        out.extend_from_slice(&header[16..24]);
    } else {
        out.extend_from_slice(&NBD_SIMPLE_REPLY_MAGIC.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(cookie);
    }
    out.extend_from_slice(data);
}

/// Answers options until GO; true when reads are to be structured.
fn handshake(stream: &mut UnixStream, size: u64, offer: bool) -> io::Result<bool> {
    let mut hello = NBD_MAGIC.to_be_bytes().to_vec();
    hello.extend_from_slice(&NBD_OPT_MAGIC.to_be_bytes());
    hello.extend_from_slice(&(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES).to_be_bytes());
    stream.write_all(&hello)?;
    stream.read_exact(&mut [0; 4])?;
    let mut structured = false;
    loop {
        let mut option = [0; 16];
        stream.read_exact(&mut option)?;
        let (kind, length) = (field(&option, 8), field(&option, 12));
        io::copy(&mut Read::by_ref(stream).take(u64::from(length)), &mut io::sink())?;
        match kind {
            NBD_OPT_GO => {
                let mut flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_CAN_MULTI_CONN;
                flags |= NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA;
                let mut info = NBD_INFO_EXPORT.to_be_bytes().to_vec();
                info.extend_from_slice(&size.to_be_bytes());
                info.extend_from_slice(&flags.to_be_bytes());
                answer(stream, kind, NBD_REP_INFO, &info)?;
                answer(stream, kind, NBD_REP_ACK, &[])?;
                return Ok(structured);
            }
            NBD_OPT_STRUCTURED_REPLY if offer => {
                structured = true;
                answer(stream, kind, NBD_REP_ACK, &[])?;
            }
            _ => answer(stream, kind, NBD_REP_ERR_UNSUP, &[])?,
        }
    }
}

fn answer(stream: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut bytes = NBD_REP_MAGIC.to_be_bytes().to_vec();
    for word in [option, kind, data.len() as u32] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(data);
    stream.write_all(&bytes)
}

/// The 32-bit field at `at` of a header that is long enough.
fn field(header: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_be_bytes(bytes)
}
