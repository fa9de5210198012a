//! The NBD protocol as state machines: bytes in, bytes out, no I/O.
//!
//! A server feeds what it read to a [`Handshake`], answers its questions (which exports are there, is
//! there one of this name), and from [`Step::Transmission`] on calls [`decode`] for each request and
//! [`Replies`] for each answer. Nothing here reads a socket, a clock or a file, so all of it can be
//! tested and fuzzed from a byte slice.
//!
//! What is supported, since when, and the bytes of every structure: `PROTOCOL.md` beside this crate.
//! The rules come from the protocol's own document, `doc/proto.md` of the project
//! NetworkBlockDevice/nbd; names that begin with `NBD_` are that document's names.
//!
//! Limits: every length, count and budget a client can influence is named in [`limits`].

pub mod client;
mod cursor;
mod errno;
mod export;
mod handshake;
pub mod limits;
mod reply;
mod request;
pub mod wire;

pub use errno::Errno;
pub use export::{
    ByteRange, ContextId, Cookie, ExportInfo, ExportSummary, Negotiated, ReplyMode, Tag,
};
pub use handshake::{Advance, CloseReason, Config, Handshake, Purpose, Refusal, Step, TlsPolicy};
pub use reply::{BlockStatus, Last, Replies};
pub use request::{Command, Decoded, ProtocolError, Rejection, decode};
