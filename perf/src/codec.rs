//! The load's fast path through the NBD protocol: the request header, and a parser that turns
//! reply bytes into events without copying payloads. It is independent of the server's codec, so
//! that one mistake cannot hide in both; only the constants are shared.
//!
//! Source: the NBD project's `doc/proto.md`. Everything on the wire is big-endian.

use nbd::wire::{
    NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_FLAG_ERROR, NBD_REPLY_TYPE_NONE,
    NBD_REPLY_TYPE_OFFSET_DATA, NBD_REPLY_TYPE_OFFSET_HOLE, NBD_REQUEST_MAGIC,
    NBD_SIMPLE_REPLY_MAGIC, NBD_STRUCTURED_REPLY_MAGIC, REQUEST_BYTES, SIMPLE_REPLY_BYTES,
    STRUCTURED_REPLY_BYTES,
};
use thiserror::Error;

use crate::limits::MAX_MESSAGE_BYTES;

/// A reply stream that does not follow the protocol.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// A reply starts with neither known magic.
    #[error("reply magic is {0:#010x}")]
    Magic(u32),
    /// A chunk type that nothing asked for.
    #[error("reply chunk of unknown type {0}")]
    ChunkType(u16),
    /// A chunk whose length does not fit its type.
    #[error("reply chunk of type {kind} is {length} bytes long")]
    ChunkLength {
        /// Type on the wire.
        kind: u16,
        /// Length on the wire.
        length: u32,
    },
    /// A cookie that no request in flight has.
    #[error("reply to cookie {0:#x}, which is not in flight")]
    Cookie(u64),
}

/// What a parser tells about the replies it finds.
///
/// `E` of the methods must be able to carry protocol errors.
pub trait ReplySink {
    /// The sink's own error.
    type Error: From<WireError>;

    /// Bytes that follow a successful simple reply to `cookie`: the length of a read, else 0.
    fn simple_payload(&mut self, cookie: u64) -> Result<u32, Self::Error>;
    /// Part of a read's data. `skip` is its distance from the start of the reply's chunk,
    /// `chunk_offset` the volume offset of the chunk (none in a simple reply).
    fn data(
        &mut self,
        cookie: u64,
        chunk_offset: Option<u64>,
        skip: u32,
        bytes: &[u8],
    ) -> Result<(), Self::Error>;
    /// A part of a read that is all zeros.
    fn hole(&mut self, cookie: u64, offset: u64, length: u32) -> Result<(), Self::Error>;
    /// The server reports an NBD error number for the request.
    fn fail(&mut self, cookie: u64, error: u32) -> Result<(), Self::Error>;
    /// The last reply of the request was seen.
    fn done(&mut self, cookie: u64) -> Result<(), Self::Error>;
}

/// A request header.
#[must_use]
pub fn request(
    flags: u16,
    command: u16,
    cookie: u64,
    offset: u64,
    length: u32,
) -> [u8; REQUEST_BYTES] {
    let mut header = [0; REQUEST_BYTES];
    header[0..4].copy_from_slice(&NBD_REQUEST_MAGIC.to_be_bytes());
    header[4..6].copy_from_slice(&flags.to_be_bytes());
    header[6..8].copy_from_slice(&command.to_be_bytes());
    header[8..16].copy_from_slice(&cookie.to_be_bytes());
    header[16..24].copy_from_slice(&offset.to_be_bytes());
    header[24..28].copy_from_slice(&length.to_be_bytes());
    header
}

/// The unfinished data of a read between two receives.
#[derive(Clone, Copy, Debug)]
struct Body {
    cookie: u64,
    chunk_offset: Option<u64>,
    skip: u32,
    remaining: u32,
    last: bool,
}

/// Incremental reply parser of one connection.
#[derive(Debug, Default)]
pub struct ReplyParser {
    body: Option<Body>,
}

impl ReplyParser {
    /// Reports all that `bytes` holds and returns how many of them are used up. The rest, always
    /// shorter than a header or a server's message, must be offered again with more behind it.
    pub fn feed<S: ReplySink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<usize, S::Error> {
        let mut at = 0;
        loop {
            if let Some(body) = self.body.as_mut() {
                let here = &bytes[at..];
                let take = here.len().min(body.remaining as usize);
                if take > 0 {
                    sink.data(body.cookie, body.chunk_offset, body.skip, &here[..take])?;
                    // At most `remaining`, so it fits 32 bits.
                    let taken = take as u32;
                    body.skip += taken;
                    body.remaining -= taken;
                    at += take;
                }
                if body.remaining > 0 {
                    return Ok(at);
                }
                let ended = *body;
                self.body = None;
                if ended.last {
                    sink.done(ended.cookie)?;
                }
            }
            match self.header(&bytes[at..], sink)? {
                0 => return Ok(at),
                used => at += used,
            }
        }
    }

    /// Parses one reply header; 0 when it is not complete yet.
    fn header<S: ReplySink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<usize, S::Error> {
        let Some(magic) = be32(bytes, 0) else { return Ok(0) };
        match magic {
            NBD_STRUCTURED_REPLY_MAGIC => self.chunk(bytes, sink),
            NBD_SIMPLE_REPLY_MAGIC => self.simple(bytes, sink),
            other => Err(WireError::Magic(other).into()),
        }
    }

    fn simple<S: ReplySink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<usize, S::Error> {
        let (Some(error), Some(cookie)) = (be32(bytes, 4), be64(bytes, 8)) else { return Ok(0) };
        if error != 0 {
            sink.fail(cookie, error)?;
            sink.done(cookie)?;
            return Ok(SIMPLE_REPLY_BYTES);
        }
        let remaining = sink.simple_payload(cookie)?;
        if remaining == 0 {
            sink.done(cookie)?;
        } else {
            self.body = Some(Body { cookie, chunk_offset: None, skip: 0, remaining, last: true });
        }
        Ok(SIMPLE_REPLY_BYTES)
    }

    fn chunk<S: ReplySink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<usize, S::Error> {
        let (Some(flags_kind), Some(cookie), Some(length)) =
            (be32(bytes, 4), be64(bytes, 8), be32(bytes, 16))
        else {
            return Ok(0);
        };
        let [flag_high, flag_low, kind_high, kind_low] = flags_kind.to_be_bytes();
        let last = u16::from_be_bytes([flag_high, flag_low]) & NBD_REPLY_FLAG_DONE != 0;
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let wrong_length = WireError::ChunkLength { kind, length };
        let used = match kind {
            NBD_REPLY_TYPE_NONE if length == 0 && last => STRUCTURED_REPLY_BYTES,
            NBD_REPLY_TYPE_OFFSET_DATA if length > 8 => {
                let Some(offset) = be64(bytes, STRUCTURED_REPLY_BYTES) else { return Ok(0) };
                let chunk_offset = Some(offset);
                self.body =
                    Some(Body { cookie, chunk_offset, skip: 0, remaining: length - 8, last });
                return Ok(STRUCTURED_REPLY_BYTES + 8);
            }
            NBD_REPLY_TYPE_OFFSET_HOLE if length == 12 => {
                let (Some(offset), Some(hole)) =
                    (be64(bytes, STRUCTURED_REPLY_BYTES), be32(bytes, STRUCTURED_REPLY_BYTES + 8))
                else {
                    return Ok(0);
                };
                sink.hole(cookie, offset, hole)?;
                STRUCTURED_REPLY_BYTES + 12
            }
            _ if kind & NBD_REPLY_TYPE_FLAG_ERROR != 0 => {
                if !(6..=MAX_MESSAGE_BYTES).contains(&length) {
                    return Err(wrong_length.into());
                }
                let whole = STRUCTURED_REPLY_BYTES + length as usize;
                let Some(error) =
                    be32(bytes, STRUCTURED_REPLY_BYTES).filter(|_| bytes.len() >= whole)
                else {
                    return Ok(0);
                };
                sink.fail(cookie, error)?;
                whole
            }
            NBD_REPLY_TYPE_NONE | NBD_REPLY_TYPE_OFFSET_DATA | NBD_REPLY_TYPE_OFFSET_HOLE => {
                return Err(wrong_length.into());
            }
            _ => return Err(WireError::ChunkType(kind).into()),
        };
        if last {
            sink.done(cookie)?;
        }
        Ok(used)
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_be_bytes)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
