//! From the greeting to a [`Session`].

use thiserror::Error;

use super::{BlockSizes, Session};
use crate::cursor::Cursor;
use crate::export::{ContextId, ReplyMode};
use crate::{limits, wire};

#[cfg(test)]
mod tests;

/// What the client asks for. It takes less if the server offers less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// Name of the export; empty for the default export.
    pub export: String,
    /// The best framing to ask for.
    pub mode: ReplyMode,
    /// Ask for `base:allocation`; needs a framing with chunks.
    pub base_allocation: bool,
}

/// What [`ClientHandshake::advance`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAdvance {
    /// Bytes of input that were used up; the caller drops them.
    pub consumed: usize,
    /// What to do next.
    pub step: ClientStep,
}

/// What the caller has to do after sending the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStep {
    /// Read on: the unconsumed input must grow to this many bytes.
    NeedInput {
        /// Bytes the unconsumed input must have.
        bytes: usize,
    },
    /// Send requests. The handshake is over.
    Connected(Session),
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The peer is not a newstyle NBD server.
    #[error("not a newstyle NBD server")]
    NotNewstyle,
    /// The server is too old to refuse options.
    #[error("the server does not speak fixed newstyle")]
    NotFixed,
    /// A reply did not start with its magic number.
    #[error("bad option reply magic")]
    BadReplyMagic,
    /// A reply to another option than the last one sent.
    #[error("a reply to {} instead of {}", wire::option_name(*found), wire::option_name(*sent))]
    WrongOption {
        /// The option sent.
        sent: u32,
        /// The option answered.
        found: u32,
    },
    /// A reply of more than [`limits::MAX_CLIENT_OPTION_REPLY`] bytes.
    #[error("an option reply of {length} bytes")]
    ReplyTooLong {
        /// Length of its data in bytes.
        length: u32,
    },
    /// A reply whose data is malformed, or a success without the facts that belong to it.
    #[error("a malformed reply to {}", wire::option_name(*option))]
    Malformed {
        /// The option it answers.
        option: u32,
    },
    /// The server refused an option that the session needs.
    #[error("{} refused with {}: {message}", wire::option_name(*option), wire::option_reply_name(*kind))]
    Refused {
        /// The option.
        option: u32,
        /// The type of the reply, `NBD_REP_ERR_*`.
        kind: u32,
        /// What the server says.
        message: String,
    },
}

/// The state of one handshake.
#[derive(Debug)]
pub struct ClientHandshake {
    wishes: Wishes,
    /// The option whose final reply is awaited; none before the greeting.
    sent: Option<u32>,
    mode: ReplyMode,
    base_allocation: Option<ContextId>,
    export: Option<(u64, u16)>,
    block_sizes: Option<BlockSizes>,
}

impl ClientHandshake {
    /// A handshake that waits for the server's greeting.
    pub fn new(wishes: Wishes) -> Self {
        Self {
            wishes,
            sent: None,
            mode: ReplyMode::Simple,
            base_allocation: None,
            export: None,
            block_sizes: None,
        }
    }

    /// Works through `input`, appends what to send to `out`.
    ///
    /// # Errors
    /// [`ClientError`] if no session comes of this connection.
    pub fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<ClientAdvance, ClientError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let Some(sent) = self.sent else {
                if rest.len() < wire::GREETING_BYTES {
                    return Ok(need(consumed, wire::GREETING_BYTES));
                }
                self.greeting(rest, out)?;
                consumed += wire::GREETING_BYTES;
                continue;
            };
            let Some((kind, data)) = option_reply(sent, rest)? else {
                return Ok(need(consumed, wanted(rest)));
            };
            consumed += wire::OPTION_REPLY_HEADER_BYTES + data.len();
            if let Some(session) = self.reply(sent, kind, data, out)? {
                return Ok(ClientAdvance { consumed, step: ClientStep::Connected(session) });
            }
        }
    }

    fn greeting(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let mut cursor = Cursor::new(input);
        let magics = (cursor.u64(), cursor.u64());
        if magics != (Some(wire::NBD_MAGIC), Some(wire::NBD_OPT_MAGIC)) {
            return Err(ClientError::NotNewstyle);
        }
        let flags = cursor.u16().unwrap_or(0);
        if flags & wire::NBD_FLAG_FIXED_NEWSTYLE == 0 {
            return Err(ClientError::NotFixed);
        }
        let both = wire::NBD_FLAG_FIXED_NEWSTYLE | wire::NBD_FLAG_NO_ZEROES;
        out.extend_from_slice(&u32::from(flags & both).to_be_bytes());
        match self.wishes.mode {
            ReplyMode::Extended => self.send(wire::NBD_OPT_EXTENDED_HEADERS, &[], out),
            ReplyMode::Structured => self.send(wire::NBD_OPT_STRUCTURED_REPLY, &[], out),
            ReplyMode::Simple => self.send_go(out),
        }
        Ok(())
    }

    fn send(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&wire::NBD_OPT_MAGIC.to_be_bytes());
        out.extend_from_slice(&option.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(data);
        self.sent = Some(option);
    }

    fn named(&self) -> Vec<u8> {
        let name = self.wishes.export.as_bytes();
        let mut data = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        data.extend_from_slice(name);
        data
    }

    fn send_go(&mut self, out: &mut Vec<u8>) {
        let mut data = self.named();
        data.extend_from_slice(&1u16.to_be_bytes());
        data.extend_from_slice(&wire::NBD_INFO_BLOCK_SIZE.to_be_bytes());
        self.send(wire::NBD_OPT_GO, &data, out);
    }

    /// Asks for the context, or goes on without.
    fn after_mode(&mut self, out: &mut Vec<u8>) {
        if !self.wishes.base_allocation || !self.mode.has_chunks() {
            return self.send_go(out);
        }
        let query = wire::BASE_ALLOCATION.as_bytes();
        let mut data = self.named();
        data.extend_from_slice(&1u32.to_be_bytes());
        data.extend_from_slice(&u32::try_from(query.len()).unwrap_or(u32::MAX).to_be_bytes());
        data.extend_from_slice(query);
        self.send(wire::NBD_OPT_SET_META_CONTEXT, &data, out);
    }

    fn reply(
        &mut self,
        option: u32,
        kind: u32,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Session>, ClientError> {
        if kind & wire::NBD_REP_FLAG_ERROR != 0 {
            return self.refused(option, kind, data, out).map(|()| None);
        }
        match (option, kind) {
            (wire::NBD_OPT_EXTENDED_HEADERS, wire::NBD_REP_ACK) => {
                self.mode = ReplyMode::Extended;
                self.after_mode(out);
            }
            (wire::NBD_OPT_STRUCTURED_REPLY, wire::NBD_REP_ACK) => {
                self.mode = ReplyMode::Structured;
                self.after_mode(out);
            }
            (wire::NBD_OPT_SET_META_CONTEXT, wire::NBD_REP_META_CONTEXT) => {
                let mut cursor = Cursor::new(data);
                let id = cursor.u32().ok_or(ClientError::Malformed { option })?;
                if cursor.rest() == wire::BASE_ALLOCATION.as_bytes() {
                    self.base_allocation = Some(ContextId(id));
                }
            }
            (wire::NBD_OPT_SET_META_CONTEXT, wire::NBD_REP_ACK) => self.send_go(out),
            (wire::NBD_OPT_GO, wire::NBD_REP_INFO) => {
                self.info(data).ok_or(ClientError::Malformed { option })?;
            }
            (wire::NBD_OPT_GO, wire::NBD_REP_ACK) => {
                return self.session().map(Some).ok_or(ClientError::Malformed { option });
            }
            _ => return Err(ClientError::Malformed { option }),
        }
        Ok(None)
    }

    /// Goes on with less, or gives up.
    fn refused(
        &mut self,
        option: u32,
        kind: u32,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        match option {
            wire::NBD_OPT_EXTENDED_HEADERS => self.send(wire::NBD_OPT_STRUCTURED_REPLY, &[], out),
            wire::NBD_OPT_STRUCTURED_REPLY => self.after_mode(out),
            wire::NBD_OPT_SET_META_CONTEXT => {
                self.base_allocation = None;
                self.send_go(out);
            }
            _ => {
                let end = usize::min(data.len(), limits::MAX_STRING);
                let message = String::from_utf8_lossy(&data[..end]).into_owned();
                return Err(ClientError::Refused { option, kind, message });
            }
        }
        Ok(())
    }

    /// Notes one fact about the export; unknown facts are ignored.
    fn info(&mut self, data: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(data);
        match cursor.u16()? {
            wire::NBD_INFO_EXPORT => self.export = Some((cursor.u64()?, cursor.u16()?)),
            wire::NBD_INFO_BLOCK_SIZE => {
                self.block_sizes = Some(BlockSizes {
                    minimum: cursor.u32()?,
                    preferred: cursor.u32()?,
                    maximum: cursor.u32()?,
                });
            }
            _ => {}
        }
        Some(())
    }

    fn session(&self) -> Option<Session> {
        let (size, flags) = self.export?;
        Some(Session {
            size,
            flags,
            mode: self.mode,
            base_allocation: self.base_allocation,
            block_sizes: self.block_sizes,
        })
    }
}

fn need(consumed: usize, bytes: usize) -> ClientAdvance {
    ClientAdvance { consumed, step: ClientStep::NeedInput { bytes } }
}

/// How many bytes the option reply at the start of `input` has, as far as is known.
fn wanted(input: &[u8]) -> usize {
    let length = input.get(16..20).and_then(|field| Cursor::new(field).u32()).unwrap_or(0);
    wire::OPTION_REPLY_HEADER_BYTES + length as usize
}

/// Type and data of the option reply at the start of `input`, if it is complete.
fn option_reply(sent: u32, input: &[u8]) -> Result<Option<(u32, &[u8])>, ClientError> {
    let mut cursor = Cursor::new(input);
    let header = (cursor.u64(), cursor.u32(), cursor.u32(), cursor.u32());
    let (Some(magic), Some(found), Some(kind), Some(length)) = header else {
        return Ok(None);
    };
    if magic != wire::NBD_REP_MAGIC {
        return Err(ClientError::BadReplyMagic);
    }
    if found != sent {
        return Err(ClientError::WrongOption { sent, found });
    }
    if length > limits::MAX_CLIENT_OPTION_REPLY {
        return Err(ClientError::ReplyTooLong { length });
    }
    Ok(cursor.take(length as usize).map(|data| (kind, data)))
}
