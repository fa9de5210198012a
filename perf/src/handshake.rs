//! Fixed newstyle handshake with `NBD_OPT_GO`, structured replies where the server has them.

use std::io::{self, Read, Write};

use nbd::wire::{
    NBD_FLAG_CAN_MULTI_CONN, NBD_FLAG_FIXED_NEWSTYLE, NBD_FLAG_NO_ZEROES, NBD_FLAG_READ_ONLY,
    NBD_FLAG_SEND_FLUSH, NBD_FLAG_SEND_FUA, NBD_INFO_BLOCK_SIZE, NBD_INFO_EXPORT, NBD_MAGIC,
    NBD_OPT_GO, NBD_OPT_MAGIC, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NBD_REP_ERR_UNSUP,
    NBD_REP_INFO, NBD_REP_MAGIC,
};
use thiserror::Error;

use crate::limits::{MAX_BLOCK_BYTES, MAX_MESSAGE_BYTES, MAX_OPTION_REPLIES};

/// What the server said of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// Bytes.
    pub size: u64,
    /// Transmission flags.
    pub flags: u16,
    /// Largest payload that the server takes.
    pub max_block: u64,
    /// Reads are answered in structured chunks.
    pub structured: bool,
}

impl Export {
    /// Writes are refused.
    #[must_use]
    pub const fn read_only(&self) -> bool {
        self.flags & NBD_FLAG_READ_ONLY != 0
    }

    /// FLUSH is understood.
    #[must_use]
    pub const fn can_flush(&self) -> bool {
        self.flags & NBD_FLAG_SEND_FLUSH != 0
    }

    /// FUA is understood.
    #[must_use]
    pub const fn can_fua(&self) -> bool {
        self.flags & NBD_FLAG_SEND_FUA != 0
    }

    /// A FLUSH on one connection covers the others.
    #[must_use]
    pub const fn can_multi_conn(&self) -> bool {
        self.flags & NBD_FLAG_CAN_MULTI_CONN != 0
    }
}

/// Why no transmission came about.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The socket failed.
    #[error("the connection failed during the handshake")]
    Io(#[from] io::Error),
    /// The peer does not greet like an NBD server.
    #[error("this is no fixed newstyle NBD server (first bytes {0:#018x}, {1:#018x})")]
    NotNbd(u64, u64),
    /// An old server.
    #[error("the server speaks newstyle, but not its fixed form")]
    NotFixed,
    /// An option reply that does not answer what was asked.
    #[error("the server answers option {asked} with magic {magic:#x}, option {answered}")]
    Confused {
        /// Option that was sent.
        asked: u32,
        /// Magic that came back.
        magic: u64,
        /// Option that came back.
        answered: u32,
    },
    /// A reply longer than any this client asked for.
    #[error("the server's option reply is {0} bytes long")]
    TooLong(u32),
    /// Replies without end.
    #[error("the server sent {MAX_OPTION_REPLIES} replies to one option and no end")]
    Endless,
    /// The server refuses the export.
    #[error("the server refuses export `{export}` (reply {reply:#x}): {message}")]
    Refused {
        /// Name that was asked for.
        export: String,
        /// Reply type.
        reply: u32,
        /// The server's words.
        message: String,
    },
    /// GO was acknowledged without telling the size.
    #[error("the server starts transmission without telling the size of export `{0}`")]
    NoSize(String),
    /// A name longer than 4096 bytes.
    #[error("an export name has at most 4096 bytes, this one {0}")]
    NameLength(usize),
}

/// Brings a fresh stream to the transmission phase of `export`.
pub fn negotiate<S: Read + Write>(stream: &mut S, export: &str) -> Result<Export, HandshakeError> {
    let name_length = match u32::try_from(export.len()) {
        Ok(length) if length <= 4096 => length,
        _ => return Err(HandshakeError::NameLength(export.len())),
    };
    let (magic, version) = (read_u64(stream)?, read_u64(stream)?);
    if magic != NBD_MAGIC || version != NBD_OPT_MAGIC {
        return Err(HandshakeError::NotNbd(magic, version));
    }
    let offered = read_u16(stream)?;
    if offered & NBD_FLAG_FIXED_NEWSTYLE == 0 {
        return Err(HandshakeError::NotFixed);
    }
    let wanted = offered & (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    stream.write_all(&u32::from(wanted).to_be_bytes())?;

    send_option(stream, NBD_OPT_STRUCTURED_REPLY, &[])?;
    // Any error reply means no: simple replies will do.
    let structured = read_reply(stream, NBD_OPT_STRUCTURED_REPLY)?.kind == NBD_REP_ACK;

    let mut go = name_length.to_be_bytes().to_vec();
    go.extend_from_slice(export.as_bytes());
    go.extend_from_slice(&1u16.to_be_bytes());
    go.extend_from_slice(&NBD_INFO_BLOCK_SIZE.to_be_bytes());
    send_option(stream, NBD_OPT_GO, &go)?;
    read_export(stream, export, structured)
}

fn read_export<S: Read>(
    stream: &mut S,
    export: &str,
    structured: bool,
) -> Result<Export, HandshakeError> {
    let mut found = None;
    let mut max_block = MAX_BLOCK_BYTES;
    for _ in 0..MAX_OPTION_REPLIES {
        let reply = read_reply(stream, NBD_OPT_GO)?;
        match reply.kind {
            NBD_REP_ACK => {
                let (size, flags) =
                    found.ok_or_else(|| HandshakeError::NoSize(export.to_owned()))?;
                return Ok(Export { size, flags, max_block, structured });
            }
            NBD_REP_INFO => {
                let (kind, rest) = split_u16(&reply.data).unwrap_or((u16::MAX, &[]));
                if kind == NBD_INFO_EXPORT
                    && let (Some(size), Some(flags)) =
                        (rest.first_chunk(), rest.get(8..).and_then(<[u8]>::first_chunk))
                {
                    found = Some((u64::from_be_bytes(*size), u16::from_be_bytes(*flags)));
                } else if kind == NBD_INFO_BLOCK_SIZE
                    && let Some(largest) = rest.get(8..).and_then(<[u8]>::first_chunk)
                {
                    max_block = max_block.min(u64::from(u32::from_be_bytes(*largest)));
                }
            }
            kind => {
                let mut message = String::from_utf8_lossy(&reply.data).into_owned();
                if message.is_empty() {
                    message =
                        if kind == NBD_REP_ERR_UNSUP { "GO is not known" } else { "no reason" }
                            .to_owned();
                }
                return Err(HandshakeError::Refused {
                    export: export.to_owned(),
                    reply: kind,
                    message,
                });
            }
        }
    }
    Err(HandshakeError::Endless)
}

struct OptionReply {
    kind: u32,
    data: Vec<u8>,
}

fn send_option<S: Write>(stream: &mut S, option: u32, data: &[u8]) -> io::Result<()> {
    let mut bytes = NBD_OPT_MAGIC.to_be_bytes().to_vec();
    bytes.extend_from_slice(&option.to_be_bytes());
    let length = u32::try_from(data.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(data);
    stream.write_all(&bytes)
}

fn read_reply<S: Read>(stream: &mut S, asked: u32) -> Result<OptionReply, HandshakeError> {
    let magic = read_u64(stream)?;
    let (answered, kind, length) = (read_u32(stream)?, read_u32(stream)?, read_u32(stream)?);
    if magic != NBD_REP_MAGIC || answered != asked {
        return Err(HandshakeError::Confused { asked, magic, answered });
    }
    if length > MAX_MESSAGE_BYTES {
        return Err(HandshakeError::TooLong(length));
    }
    let mut data = vec![0; length as usize];
    stream.read_exact(&mut data)?;
    Ok(OptionReply { kind, data })
}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*head), rest))
}

fn read_u16<S: Read>(stream: &mut S) -> io::Result<u16> {
    let mut bytes = [0; 2];
    stream.read_exact(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

fn read_u32<S: Read>(stream: &mut S) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_u64<S: Read>(stream: &mut S) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
