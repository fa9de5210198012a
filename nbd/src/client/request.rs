//! Requests, appended to the caller's buffer.

use super::Session;
use crate::export::{ByteRange, Cookie, ReplyMode};
use crate::wire;

/// Command flags, `NBD_CMD_FLAG_*` of [`wire`] without the one for payloads, which is set by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// Durable before the reply.
    pub const FUA: Self = Self(wire::NBD_CMD_FLAG_FUA);
}

/// One request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Read a range.
    Read(ByteRange),
    /// Write a range: the caller sends its bytes right behind.
    Write(ByteRange),
    /// Make completed writes durable.
    Flush,
    /// Forget a range.
    Trim(ByteRange),
    /// Bring a range near.
    Cache(ByteRange),
    /// Zero a range.
    WriteZeroes(ByteRange),
    /// Describe a range.
    BlockStatus(ByteRange),
    /// End the session; no reply comes.
    Disconnect,
}

impl Request {
    fn fields(self) -> (u16, ByteRange) {
        let none = ByteRange::new(0, 0);
        match self {
            Self::Read(range) => (wire::NBD_CMD_READ, range),
            Self::Write(range) => (wire::NBD_CMD_WRITE, range),
            Self::Flush => (wire::NBD_CMD_FLUSH, none),
            Self::Trim(range) => (wire::NBD_CMD_TRIM, range),
            Self::Cache(range) => (wire::NBD_CMD_CACHE, range),
            Self::WriteZeroes(range) => (wire::NBD_CMD_WRITE_ZEROES, range),
            Self::BlockStatus(range) => (wire::NBD_CMD_BLOCK_STATUS, range),
            Self::Disconnect => (wire::NBD_CMD_DISC, none),
        }
    }
}

impl Session {
    /// Appends the header of a request.
    ///
    /// # Panics
    /// In compact framing on a length of 4 GiB or more, which has no encoding: splitting such a request
    /// is the caller's work.
    #[inline]
    pub fn encode(&self, cookie: Cookie, request: Request, flags: Flags, out: &mut Vec<u8>) {
        let (command, range) = request.fields();
        let mut header = [0; wire::EXTENDED_REQUEST_BYTES];
        header[6..8].copy_from_slice(&command.to_be_bytes());
        header[8..16].copy_from_slice(&cookie.0.to_be_bytes());
        header[16..24].copy_from_slice(&range.offset.to_be_bytes());
        let mut flags = flags.0;
        let used = if self.mode == ReplyMode::Extended {
            if command == wire::NBD_CMD_WRITE {
                flags |= wire::NBD_CMD_FLAG_PAYLOAD_LEN;
            }
            header[..4].copy_from_slice(&wire::NBD_EXTENDED_REQUEST_MAGIC.to_be_bytes());
            header[24..32].copy_from_slice(&range.length.to_be_bytes());
            wire::EXTENDED_REQUEST_BYTES
        } else {
            let Ok(length) = u32::try_from(range.length) else {
                panic!("a compact request of {} bytes", range.length);
            };
            header[..4].copy_from_slice(&wire::NBD_REQUEST_MAGIC.to_be_bytes());
            header[24..28].copy_from_slice(&length.to_be_bytes());
            wire::REQUEST_BYTES
        };
        header[4..6].copy_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&header[..used]);
    }
}
