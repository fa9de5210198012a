//! Why a request is refused, or its connection closed.

use std::fmt;

use thiserror::Error;

use crate::{Errno, wire};

/// Why one request is refused while the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// No such command.
    UnknownCommand,
    /// A flag that does not belong to the command or was not negotiated.
    UnknownFlag,
    /// A writing command to a read-only export.
    ReadOnly,
    /// A range beyond the end of the export, for a command that stores nothing.
    OutOfRange,
    /// A range beyond the end of the export, for a command that stores.
    BeyondEnd,
    /// More data in one READ or WRITE than advertised.
    TooLong,
    /// An unfragmented READ of more than the maximum payload.
    TooLongUnfragmented,
    /// BLOCK_STATUS without a context.
    NoContext,
    /// BLOCK_STATUS of zero bytes, to which no valid reply exists.
    EmptyStatus,
    /// FLUSH with an offset or a length.
    FlushRange,
    /// An extended WRITE that says it has no payload.
    MissingPayload,
    /// An extended request with a payload its command does not take.
    UnexpectedPayload,
}

impl Rejection {
    /// The error number to send.
    pub fn errno(self) -> Errno {
        match self {
            Self::ReadOnly => Errno::Perm,
            Self::BeyondEnd => Errno::NoSpace,
            Self::TooLongUnfragmented => Errno::Overflow,
            Self::UnknownCommand
            | Self::UnknownFlag
            | Self::OutOfRange
            | Self::TooLong
            | Self::NoContext
            | Self::EmptyStatus
            | Self::FlushRange
            | Self::MissingPayload
            | Self::UnexpectedPayload => Errno::Invalid,
        }
    }

    /// The text to send along, without allocating.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownCommand => "unknown command",
            Self::UnknownFlag => "a flag that this command does not take",
            Self::ReadOnly => "the export is read-only",
            Self::OutOfRange => "the range goes beyond the end of the export",
            Self::BeyondEnd => "the export ends before the range does",
            Self::TooLong => "longer than the maximum payload",
            Self::TooLongUnfragmented => "too long for an unfragmented reply",
            Self::NoContext => "no metadata context was negotiated",
            Self::EmptyStatus => "a status of zero bytes",
            Self::FlushRange => "the offset and length of a flush must be zero",
            Self::MissingPayload => "an extended write needs the payload flag",
            Self::UnexpectedPayload => "a payload that this command does not take",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.errno(), self.message())
    }
}

impl std::error::Error for Rejection {}

/// Why the connection must be closed: the next request can no longer be found in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The input does not start with a request of the negotiated form.
    #[error("bad request magic {found:#010x}")]
    BadMagic {
        /// The first four bytes.
        found: u32,
    },
    /// A payload of more bytes than are worth skipping.
    #[error("a payload of {length} bytes for {}", wire::command_name(*command))]
    PayloadTooLong {
        /// Command it came with.
        command: u16,
        /// Its length in bytes.
        length: u64,
    },
}
