//! The client's side of the protocol: what a load generator or a test needs, again without I/O.
//!
//! [`ClientHandshake`] negotiates the best framing that the server knows, [`Session`] encodes requests,
//! [`decode_reply`] reads replies. The data of a WRITE and of a READ never passes through here: it
//! stands right behind the bytes that are encoded or decoded.

use crate::export::{ContextId, ReplyMode};
use crate::wire;

mod handshake;
mod reply;
mod request;

pub use handshake::{ClientAdvance, ClientError, ClientHandshake, ClientStep, Wishes};
pub use reply::{Reply, ReplyDecoded, ReplyError, StatusRuns, decode_reply};
pub use request::{Flags, Request};

/// What the client knows of its connection once the transmission phase begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Size of the export in bytes.
    pub size: u64,
    /// The transmission flags, `NBD_FLAG_*` of [`wire`].
    pub flags: u16,
    /// How requests and replies are framed.
    pub mode: ReplyMode,
    /// The id of `base:allocation`, if it was chosen.
    pub base_allocation: Option<ContextId>,
    /// Minimum, preferred and maximum sizes in bytes, if the server told them.
    pub block_sizes: Option<BlockSizes>,
}

/// The server's constraints on requests, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths are multiples of this.
    pub minimum: u32,
    /// Multiples of this are served best.
    pub preferred: u32,
    /// Longest payload.
    pub maximum: u32,
}

impl Session {
    /// Whether the server offers all of these `NBD_FLAG_*` bits.
    pub fn offers(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Whether the export refuses writes.
    pub fn read_only(&self) -> bool {
        self.offers(wire::NBD_FLAG_READ_ONLY)
    }
}
