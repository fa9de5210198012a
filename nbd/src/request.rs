//! Requests of the transmission phase: from bytes to a checked [`Command`] or an errno.

use crate::cursor::Cursor;
use crate::export::{ByteRange, Cookie, Negotiated, ReplyMode, Tag};
use crate::{limits, wire};

mod error;

#[cfg(test)]
mod tests;

#[cfg(doc)]
use crate::Errno;
pub use error::{ProtocolError, Rejection};

/// A request whose fields are all checked: its range is not empty and lies within the export, its
/// flags belong to it, and the export may be written if the command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Send the bytes of a range, of at most [`limits::MAX_PAYLOAD`] bytes.
    Read {
        /// Bytes to read.
        range: ByteRange,
        /// The reply must hold one content chunk at most (`NBD_CMD_FLAG_DF`).
        unfragmented: bool,
    },
    /// Write the payload, which has the length of the range.
    Write {
        /// Bytes to write.
        range: ByteRange,
        /// Reply only when the data is durable.
        fua: bool,
    },
    /// Reply when all writes completed before are durable.
    Flush,
    /// Forget a range; its content is undefined until written.
    Trim {
        /// Bytes to forget.
        range: ByteRange,
        /// Reply only when the effect is durable.
        fua: bool,
    },
    /// Make a range read as zeroes.
    WriteZeroes {
        /// Bytes to zero.
        range: ByteRange,
        /// Reply only when the effect is durable.
        fua: bool,
        /// Keep space for later writes (`NBD_CMD_FLAG_NO_HOLE`).
        no_hole: bool,
        /// Refuse with [`Errno::NotSupported`] what would be slow.
        fast: bool,
    },
    /// Bring a range near.
    Cache {
        /// Bytes that will be read soon.
        range: ByteRange,
    },
    /// Describe the start of a range, as far as is convenient.
    BlockStatus {
        /// Bytes to describe.
        range: ByteRange,
        /// Reply with one descriptor, no longer than the range.
        one: bool,
    },
    /// A request for zero bytes: reply "ok" and do nothing.
    Nothing,
    /// The client goes: finish what is in flight, then close. No reply.
    Disconnect,
}

/// The outcome of looking at the start of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// The header is not complete.
    NeedMore {
        /// How many bytes the input must have before another try.
        bytes: usize,
    },
    /// A request to serve.
    Command {
        /// Bytes of input it took.
        header_bytes: usize,
        /// What the reply repeats.
        tag: Tag,
        /// What to do.
        command: Command,
        /// Bytes that follow the header and are the data of a WRITE; zero for all else.
        payload_bytes: u32,
    },
    /// A request to answer with an error.
    Refused {
        /// Bytes of input it took.
        header_bytes: usize,
        /// What the reply repeats.
        tag: Tag,
        /// Bytes that follow the header and must be read and thrown away, of at most
        /// [`limits::MAX_SKIPPED_PAYLOAD`].
        skip_payload: u32,
        /// Why, with the errno to send.
        rejection: Rejection,
    },
}

/// The fields of a request as sent.
#[derive(Debug, Clone, Copy)]
struct RawRequest {
    flags: u16,
    command: u16,
    cookie: u64,
    range: ByteRange,
}

/// Reads one request from the start of `input` and checks it against what was negotiated. This is the
/// only place where a client's requests are checked.
///
/// # Errors
/// [`ProtocolError`] if the connection must be closed.
#[inline]
pub fn decode(negotiated: &Negotiated, input: &[u8]) -> Result<Decoded, ProtocolError> {
    let header_bytes = negotiated.mode.request_bytes();
    let Some(raw) = RawRequest::parse(negotiated.mode, input)? else {
        return Ok(Decoded::NeedMore { bytes: header_bytes });
    };
    let tag = Tag { cookie: Cookie(raw.cookie), offset: raw.range.offset };
    if raw.command == wire::NBD_CMD_DISC {
        let command = Command::Disconnect;
        return Ok(Decoded::Command { header_bytes, tag, command, payload_bytes: 0 });
    }
    let payload_bytes = raw.payload(negotiated.mode)?;
    Ok(match raw.check(negotiated) {
        Ok(command) => Decoded::Command { header_bytes, tag, command, payload_bytes },
        Err(rejection) => {
            Decoded::Refused { header_bytes, tag, skip_payload: payload_bytes, rejection }
        }
    })
}

impl RawRequest {
    /// The fields, or nothing if the header is not complete.
    #[inline]
    fn parse(mode: ReplyMode, input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        if input.len() < mode.request_bytes() {
            return Ok(None);
        }
        let expected = match mode {
            ReplyMode::Simple | ReplyMode::Structured => wire::NBD_REQUEST_MAGIC,
            ReplyMode::Extended => wire::NBD_EXTENDED_REQUEST_MAGIC,
        };
        let mut cursor = Cursor::new(input);
        let found = cursor.u32();
        if let Some(found) = found
            && found != expected
        {
            return Err(ProtocolError::BadMagic { found });
        }
        Ok(Self::fields(mode, &mut cursor))
    }

    #[inline]
    fn fields(mode: ReplyMode, cursor: &mut Cursor<'_>) -> Option<Self> {
        let flags = cursor.u16()?;
        let command = cursor.u16()?;
        let cookie = cursor.u64()?;
        let offset = cursor.u64()?;
        let length = match mode {
            ReplyMode::Simple | ReplyMode::Structured => u64::from(cursor.u32()?),
            ReplyMode::Extended => cursor.u64()?,
        };
        Some(Self { flags, command, cookie, range: ByteRange { offset, length } })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// How many bytes follow the header, whether the request is served or refused.
    #[inline]
    fn payload(&self, mode: ReplyMode) -> Result<u32, ProtocolError> {
        let (present, longest) = match mode {
            ReplyMode::Simple | ReplyMode::Structured => {
                (self.command == wire::NBD_CMD_WRITE, limits::MAX_SKIPPED_PAYLOAD)
            }
            ReplyMode::Extended => (self.has(wire::NBD_CMD_FLAG_PAYLOAD_LEN), limits::MAX_PAYLOAD),
        };
        let length = self.range.length;
        match u32::try_from(length) {
            _ if !present => Ok(0),
            Ok(short) if short <= longest => Ok(short),
            Ok(_) | Err(_) => Err(ProtocolError::PayloadTooLong { command: self.command, length }),
        }
    }

    /// All rules that refuse the request but not the connection, in order: command, payload, flags,
    /// permission, range, size.
    #[inline]
    fn check(&self, negotiated: &Negotiated) -> Result<Command, Rejection> {
        let allowed = self.allowed_flags(negotiated.mode)?;
        self.check_payload_flag(negotiated.mode)?;
        if self.flags & !allowed != 0 {
            return Err(Rejection::UnknownFlag);
        }
        let writes = matches!(
            self.command,
            wire::NBD_CMD_WRITE | wire::NBD_CMD_TRIM | wire::NBD_CMD_WRITE_ZEROES
        );
        if writes && negotiated.read_only {
            return Err(Rejection::ReadOnly);
        }
        if self.command == wire::NBD_CMD_FLUSH {
            let empty = self.range == ByteRange::new(0, 0);
            return if empty { Ok(Command::Flush) } else { Err(Rejection::FlushRange) };
        }
        self.check_range(negotiated)?;
        if self.range.length == 0 {
            return Ok(Command::Nothing);
        }
        self.command()
    }

    /// The flags that the command takes. FUA is taken by every command: the protocol demands it,
    /// because clients set it where it means nothing.
    #[inline]
    fn allowed_flags(&self, mode: ReplyMode) -> Result<u16, Rejection> {
        let own = match self.command {
            wire::NBD_CMD_READ if mode.has_chunks() => wire::NBD_CMD_FLAG_DF,
            wire::NBD_CMD_WRITE if mode == ReplyMode::Extended => wire::NBD_CMD_FLAG_PAYLOAD_LEN,
            wire::NBD_CMD_WRITE_ZEROES => wire::NBD_CMD_FLAG_NO_HOLE | wire::NBD_CMD_FLAG_FAST_ZERO,
            wire::NBD_CMD_BLOCK_STATUS => wire::NBD_CMD_FLAG_REQ_ONE,
            wire::NBD_CMD_READ
            | wire::NBD_CMD_WRITE
            | wire::NBD_CMD_FLUSH
            | wire::NBD_CMD_TRIM
            | wire::NBD_CMD_CACHE => 0,
            _ => return Err(Rejection::UnknownCommand),
        };
        Ok(own | wire::NBD_CMD_FLAG_FUA)
    }

    #[inline]
    fn check_payload_flag(&self, mode: ReplyMode) -> Result<(), Rejection> {
        if mode != ReplyMode::Extended {
            return Ok(());
        }
        let present = self.has(wire::NBD_CMD_FLAG_PAYLOAD_LEN);
        match (self.command == wire::NBD_CMD_WRITE, present) {
            (true, true) | (false, false) => Ok(()),
            (true, false) => Err(Rejection::MissingPayload),
            (false, true) => Err(Rejection::UnexpectedPayload),
        }
    }

    #[inline]
    fn check_range(&self, negotiated: &Negotiated) -> Result<(), Rejection> {
        if self.command == wire::NBD_CMD_BLOCK_STATUS {
            if negotiated.base_allocation.is_none() {
                return Err(Rejection::NoContext);
            }
            if self.range.length == 0 {
                return Err(Rejection::EmptyStatus);
            }
        }
        if !self.range.fits(negotiated.size) {
            let stores = matches!(self.command, wire::NBD_CMD_WRITE | wire::NBD_CMD_WRITE_ZEROES);
            return Err(if stores { Rejection::BeyondEnd } else { Rejection::OutOfRange });
        }
        let carries = matches!(self.command, wire::NBD_CMD_READ | wire::NBD_CMD_WRITE);
        if carries && self.range.length > u64::from(limits::MAX_PAYLOAD) {
            return Err(if self.has(wire::NBD_CMD_FLAG_DF) {
                Rejection::TooLongUnfragmented
            } else {
                Rejection::TooLong
            });
        }
        Ok(())
    }

    #[inline]
    fn command(&self) -> Result<Command, Rejection> {
        let range = self.range;
        let fua = self.has(wire::NBD_CMD_FLAG_FUA);
        Ok(match self.command {
            wire::NBD_CMD_READ => {
                Command::Read { range, unfragmented: self.has(wire::NBD_CMD_FLAG_DF) }
            }
            wire::NBD_CMD_WRITE => Command::Write { range, fua },
            wire::NBD_CMD_TRIM => Command::Trim { range, fua },
            wire::NBD_CMD_CACHE => Command::Cache { range },
            wire::NBD_CMD_WRITE_ZEROES => Command::WriteZeroes {
                range,
                fua,
                no_hole: self.has(wire::NBD_CMD_FLAG_NO_HOLE),
                fast: self.has(wire::NBD_CMD_FLAG_FAST_ZERO),
            },
            wire::NBD_CMD_BLOCK_STATUS => {
                Command::BlockStatus { range, one: self.has(wire::NBD_CMD_FLAG_REQ_ONE) }
            }
            _ => return Err(Rejection::UnknownCommand),
        })
    }
}
