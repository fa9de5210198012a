//! Replies: one message at a time, borrowed from the input.

use thiserror::Error;

use crate::cursor::Cursor;
use crate::export::{ByteRange, ContextId, Cookie, ReplyMode};
use crate::reply::BlockStatus;
use crate::{Errno, limits, wire};

#[cfg(test)]
mod tests;

/// The outcome of looking at the start of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyDecoded<'a> {
    /// The message is not complete.
    NeedMore {
        /// How many bytes the input must have before another try.
        bytes: usize,
    },
    /// One message.
    Message {
        /// Bytes of input it took, without the data of a READ.
        bytes: usize,
        /// The request it answers.
        cookie: Cookie,
        /// Whether the reply is complete after this message.
        done: bool,
        /// What it says.
        reply: Reply<'a>,
    },
}

/// What one message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The request is done, or no more chunks follow. In simple mode, if the request was a READ, its
    /// data follows.
    Ok,
    /// The request failed.
    Error {
        /// Why.
        errno: Errno,
        /// Where, if the server says it.
        at: Option<u64>,
        /// What the server says to people.
        message: &'a [u8],
    },
    /// Data of a READ: as many bytes as the range has follow the message.
    Data {
        /// Which bytes.
        range: ByteRange,
    },
    /// Zeroes of a READ.
    Hole {
        /// Which bytes.
        range: ByteRange,
    },
    /// States of consecutive runs from the request's offset on.
    Status {
        /// Which context.
        context: ContextId,
        /// The runs.
        runs: StatusRuns<'a>,
    },
}

/// The descriptors of a block status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRuns<'a> {
    bytes: &'a [u8],
    wide: bool,
}

impl Iterator for StatusRuns<'_> {
    type Item = BlockStatus;

    fn next(&mut self) -> Option<BlockStatus> {
        let mut cursor = Cursor::new(self.bytes);
        let (length, state) = if self.wide {
            (cursor.u64()?, cursor.u64()?)
        } else {
            (u64::from(cursor.u32()?), u64::from(cursor.u32()?))
        };
        self.bytes = cursor.rest();
        // The flags of `base:allocation` are in the low 32 bits in both forms.
        let state = u32::try_from(state & u64::from(u32::MAX)).unwrap_or(0);
        Some(BlockStatus { length, state })
    }
}

/// Why the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The input does not start with a reply of the negotiated form.
    #[error("bad reply magic {found:#010x}")]
    BadMagic {
        /// The first four bytes.
        found: u32,
    },
    /// A chunk type that this client does not know and that is not an error.
    #[error("an unknown reply chunk of type {kind}")]
    UnknownChunk {
        /// Its type.
        kind: u16,
    },
    /// A chunk whose length or content does not fit its type.
    #[error("a malformed chunk of type {}", wire::chunk_name(*kind))]
    Malformed {
        /// Its type.
        kind: u16,
    },
    /// A chunk of more bytes than this client takes.
    #[error("a reply chunk of {length} bytes")]
    TooLong {
        /// Length of its payload in bytes.
        length: u64,
    },
}

/// Reads one message from the start of `input`. In structured mode simple replies are taken too.
///
/// # Errors
/// [`ReplyError`] if the connection must be closed.
#[inline]
pub fn decode_reply(mode: ReplyMode, input: &[u8]) -> Result<ReplyDecoded<'_>, ReplyError> {
    let mut cursor = Cursor::new(input);
    let Some(found) = cursor.u32() else {
        return Ok(ReplyDecoded::NeedMore { bytes: wire::SIMPLE_REPLY_BYTES });
    };
    match (found, mode) {
        (wire::NBD_SIMPLE_REPLY_MAGIC, ReplyMode::Simple | ReplyMode::Structured) => {
            Ok(simple(cursor).unwrap_or(ReplyDecoded::NeedMore { bytes: wire::SIMPLE_REPLY_BYTES }))
        }
        (wire::NBD_STRUCTURED_REPLY_MAGIC, ReplyMode::Structured)
        | (wire::NBD_EXTENDED_REPLY_MAGIC, ReplyMode::Extended) => chunk(mode, cursor),
        _ => Err(ReplyError::BadMagic { found }),
    }
}

#[inline]
fn simple(mut cursor: Cursor<'_>) -> Option<ReplyDecoded<'_>> {
    let error = cursor.u32()?;
    let cookie = Cookie(cursor.u64()?);
    let reply = match Errno::from_wire(error) {
        None => Reply::Ok,
        Some(errno) => Reply::Error { errno, at: None, message: &[] },
    };
    let bytes = wire::SIMPLE_REPLY_BYTES;
    Some(ReplyDecoded::Message { bytes, cookie, done: true, reply })
}

/// The header of a chunk, behind its magic number.
struct Header {
    flags: u16,
    kind: u16,
    cookie: u64,
    length: u64,
}

impl Header {
    #[inline]
    fn parse(mode: ReplyMode, cursor: &mut Cursor<'_>) -> Option<Self> {
        let (flags, kind, cookie) = (cursor.u16()?, cursor.u16()?, cursor.u64()?);
        let length = if mode == ReplyMode::Extended {
            cursor.u64()?;
            cursor.u64()?
        } else {
            u64::from(cursor.u32()?)
        };
        Some(Self { flags, kind, cookie, length })
    }
}

#[inline]
fn chunk(mode: ReplyMode, mut cursor: Cursor<'_>) -> Result<ReplyDecoded<'_>, ReplyError> {
    let header_bytes = match mode {
        ReplyMode::Extended => wire::EXTENDED_REPLY_BYTES,
        ReplyMode::Simple | ReplyMode::Structured => wire::STRUCTURED_REPLY_BYTES,
    };
    let Some(header) = Header::parse(mode, &mut cursor) else {
        return Ok(ReplyDecoded::NeedMore { bytes: header_bytes });
    };
    let (kind, length) = (header.kind, header.length);
    let malformed = ReplyError::Malformed { kind };
    let here = if kind == wire::NBD_REPLY_TYPE_OFFSET_DATA {
        if length > u64::from(limits::MAX_PAYLOAD) + 8 {
            return Err(ReplyError::TooLong { length });
        }
        if length < 9 {
            return Err(malformed);
        }
        8
    } else {
        let short = u32::try_from(length).ok().filter(|short| *short <= limits::MAX_CLIENT_CHUNK);
        short.ok_or(ReplyError::TooLong { length })? as usize
    };
    let Some(payload) = cursor.take(here) else {
        return Ok(ReplyDecoded::NeedMore { bytes: header_bytes + here });
    };
    let done = header.flags & wire::NBD_REPLY_FLAG_DONE != 0;
    let reply = match kind {
        wire::NBD_REPLY_TYPE_NONE if length == 0 && done => Reply::Ok,
        wire::NBD_REPLY_TYPE_OFFSET_DATA => data(payload, length).ok_or(malformed)?,
        wire::NBD_REPLY_TYPE_OFFSET_HOLE => hole(payload).ok_or(malformed)?,
        wire::NBD_REPLY_TYPE_BLOCK_STATUS => status(payload, false).ok_or(malformed)?,
        wire::NBD_REPLY_TYPE_BLOCK_STATUS_EXT if mode == ReplyMode::Extended => {
            status(payload, true).ok_or(malformed)?
        }
        _ if kind & wire::NBD_REPLY_TYPE_FLAG_ERROR != 0 => {
            error(kind, payload).ok_or(malformed)?
        }
        wire::NBD_REPLY_TYPE_NONE | wire::NBD_REPLY_TYPE_BLOCK_STATUS_EXT => return Err(malformed),
        _ => return Err(ReplyError::UnknownChunk { kind }),
    };
    let bytes = header_bytes + here;
    Ok(ReplyDecoded::Message { bytes, cookie: Cookie(header.cookie), done, reply })
}

fn data(payload: &[u8], length: u64) -> Option<Reply<'_>> {
    let offset = Cursor::new(payload).u64()?;
    Some(Reply::Data { range: ByteRange::new(offset, length.checked_sub(8)?) })
}

fn hole(payload: &[u8]) -> Option<Reply<'_>> {
    let mut cursor = Cursor::new(payload);
    let (offset, length) = (cursor.u64()?, cursor.u32()?);
    let whole = cursor.is_empty() && length > 0;
    whole.then_some(Reply::Hole { range: ByteRange::new(offset, u64::from(length)) })
}

fn error(kind: u16, payload: &[u8]) -> Option<Reply<'_>> {
    let mut cursor = Cursor::new(payload);
    let errno = Errno::from_wire(cursor.u32()?)?;
    let length = usize::from(cursor.u16()?);
    let message = cursor.take(length)?;
    let at = if kind == wire::NBD_REPLY_TYPE_ERROR_OFFSET { Some(cursor.u64()?) } else { None };
    Some(Reply::Error { errno, at, message })
}

fn status(payload: &[u8], wide: bool) -> Option<Reply<'_>> {
    let mut cursor = Cursor::new(payload);
    let context = ContextId(cursor.u32()?);
    let size = if wide { 16 } else { 8 };
    let announced = if wide { cursor.u32()? as usize } else { 0 };
    let bytes = cursor.rest();
    let count = bytes.len() / size;
    let fits = count > 0 && bytes.len().is_multiple_of(size);
    if !fits || (announced != 0 && announced != count) {
        return None;
    }
    let runs = StatusRuns { bytes, wide };
    if runs.into_iter().any(|run| run.length == 0) {
        return None;
    }
    Some(Reply::Status { context, runs })
}
