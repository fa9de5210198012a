//! Replies of the transmission phase, appended to the caller's buffer.
//!
//! Every function appends whole headers and reserves nothing but the room it fills. The data of a READ
//! is never copied here: [`Replies::data`] writes what stands before it, and the caller sends the data.

use crate::export::{ByteRange, ContextId, ReplyMode, Tag};
use crate::{Errno, limits, wire};

#[cfg(test)]
mod tests;

/// Whether a chunk ends its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// More chunks follow.
    No,
    /// The reply is complete.
    Yes,
}

/// One descriptor of a block status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockStatus {
    /// Count of bytes, not zero.
    pub length: u64,
    /// `NBD_STATE_HOLE` and `NBD_STATE_ZERO`.
    pub state: u32,
}

/// Encodes replies in the negotiated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replies {
    mode: ReplyMode,
}

impl Replies {
    /// Replies in the form that was negotiated.
    #[inline]
    pub fn new(mode: ReplyMode) -> Self {
        Self { mode }
    }

    /// The form of the replies.
    #[inline]
    pub fn mode(self) -> ReplyMode {
        self.mode
    }

    /// Bytes that [`Replies::data`] appends.
    #[inline]
    pub fn data_header_bytes(self) -> usize {
        match self.mode {
            ReplyMode::Simple => wire::SIMPLE_REPLY_BYTES,
            ReplyMode::Structured => wire::STRUCTURED_REPLY_BYTES + 8,
            ReplyMode::Extended => wire::EXTENDED_REPLY_BYTES + 8,
        }
    }

    /// The request is done. Also ends a READ whose chunks were all sent with [`Last::No`]; must not
    /// be used for a READ of more than zero bytes in simple mode, where the data is the reply.
    #[inline]
    pub fn ok(self, tag: Tag, out: &mut Vec<u8>) {
        match self.mode {
            ReplyMode::Simple => simple(tag, 0, out),
            ReplyMode::Structured | ReplyMode::Extended => {
                self.chunk(tag, Last::Yes, wire::NBD_REPLY_TYPE_NONE, 0, out);
            }
        }
    }

    /// The request failed. `message` is for people; it is cut at [`limits::MAX_MESSAGE`] bytes and
    /// left out in simple mode. Ends the reply.
    pub fn error(self, tag: Tag, errno: Errno, message: &str, out: &mut Vec<u8>) {
        if !self.mode.has_chunks() {
            simple(tag, errno.to_wire(), out);
            return;
        }
        let message = cut(message);
        let payload = 6 + u32::from(message.length);
        self.chunk(tag, Last::Yes, wire::NBD_REPLY_TYPE_ERROR, payload, out);
        message.put(errno, out);
    }

    /// The request failed at byte `at` of the export, which must lie in the request. Ends the reply
    /// if `last`. In simple mode this is [`Replies::error`], and `last` must be set.
    pub fn error_at(
        self,
        tag: Tag,
        errno: Errno,
        at: u64,
        message: &str,
        last: Last,
        out: &mut Vec<u8>,
    ) {
        if !self.mode.has_chunks() {
            assert_eq!(last, Last::Yes, "a simple reply is one message");
            simple(tag, errno.to_wire(), out);
            return;
        }
        let message = cut(message);
        let payload = 6 + u32::from(message.length) + 8;
        self.chunk(tag, last, wire::NBD_REPLY_TYPE_ERROR_OFFSET, payload, out);
        message.put(errno, out);
        out.extend_from_slice(&at.to_be_bytes());
    }

    /// What stands before the bytes of `range`, all or a part of a READ. The caller sends exactly
    /// `range.length` bytes next. Once this is sent, an error can be reported in a later chunk only
    /// (so not with [`Last::Yes`], and not in simple mode, where the connection must be closed).
    /// In simple mode `range` is the whole request.
    #[inline]
    pub fn data(self, tag: Tag, range: ByteRange, last: Last, out: &mut Vec<u8>) {
        assert!(range.length > 0, "a data chunk describes at least one byte");
        assert!(range.length <= u64::from(limits::MAX_PAYLOAD), "a chunk of at most one payload");
        match self.mode {
            ReplyMode::Simple => {
                assert_eq!(last, Last::Yes, "a simple reply is one message");
                assert_eq!(
                    range.offset, tag.offset,
                    "a simple reply starts where the request does"
                );
                simple(tag, 0, out);
            }
            ReplyMode::Structured | ReplyMode::Extended => {
                let length = u32::try_from(range.length + 8).unwrap_or(u32::MAX);
                self.chunk(tag, last, wire::NBD_REPLY_TYPE_OFFSET_DATA, length, out);
                out.extend_from_slice(&range.offset.to_be_bytes());
            }
        }
    }

    /// `range`, all or a part of a READ, is zero. Needs chunks, and a READ that may be fragmented
    /// unless `range` is all of it.
    #[inline]
    pub fn hole(self, tag: Tag, range: ByteRange, last: Last, out: &mut Vec<u8>) {
        assert!(self.mode.has_chunks(), "a simple reply sends its zeroes");
        assert!(range.length > 0, "a hole describes at least one byte");
        assert!(range.length <= u64::from(limits::MAX_PAYLOAD), "a READ is one payload at most");
        let length = u32::try_from(range.length).unwrap_or(u32::MAX);
        self.chunk(tag, last, wire::NBD_REPLY_TYPE_OFFSET_HOLE, 12, out);
        out.extend_from_slice(&range.offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
    }

    /// The state of consecutive runs from the request's offset on; ends the reply.
    ///
    /// Takes descriptors until [`limits::MAX_STATUS_DESCRIPTORS`]. With 32-bit lengths a longer run is
    /// cut to the largest multiple of 4 KiB that fits, and the reply ends with it. The caller keeps
    /// to one descriptor of at most the request's length if the client asked for that.
    pub fn status(
        self,
        tag: Tag,
        context: ContextId,
        runs: impl IntoIterator<Item = BlockStatus>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        assert!(self.mode.has_chunks(), "without chunks no context was negotiated");
        let wide = self.mode == ReplyMode::Extended;
        let kind = if wide {
            wire::NBD_REPLY_TYPE_BLOCK_STATUS_EXT
        } else {
            wire::NBD_REPLY_TYPE_BLOCK_STATUS
        };
        self.chunk(tag, Last::Yes, kind, 0, out);
        let payload_start = out.len();
        out.extend_from_slice(&context.0.to_be_bytes());
        if wide {
            out.extend_from_slice(&[0; 4]);
        }
        let mut count: u32 = 0;
        for run in runs.into_iter().take(limits::MAX_STATUS_DESCRIPTORS) {
            assert!(run.length > 0, "a descriptor describes at least one byte");
            count += 1;
            if !put_descriptor(run, wide, out) {
                break;
            }
        }
        assert!(count > 0, "a status has at least one descriptor");
        let payload = u32::try_from(out.len() - payload_start).unwrap_or(u32::MAX);
        if wide {
            out[payload_start + 4..payload_start + 8].copy_from_slice(&count.to_be_bytes());
            out[start + 24..start + 32].copy_from_slice(&u64::from(payload).to_be_bytes());
        } else {
            out[start + 16..start + 20].copy_from_slice(&payload.to_be_bytes());
        }
    }

    /// The header of a chunk with `payload` bytes to come.
    #[inline]
    fn chunk(self, tag: Tag, last: Last, kind: u16, payload: u32, out: &mut Vec<u8>) {
        let flags = match last {
            Last::No => 0,
            Last::Yes => wire::NBD_REPLY_FLAG_DONE,
        };
        let mut header = [0; wire::EXTENDED_REPLY_BYTES];
        header[4..6].copy_from_slice(&flags.to_be_bytes());
        header[6..8].copy_from_slice(&kind.to_be_bytes());
        header[8..16].copy_from_slice(&tag.cookie.0.to_be_bytes());
        let used = if self.mode == ReplyMode::Extended {
            header[..4].copy_from_slice(&wire::NBD_EXTENDED_REPLY_MAGIC.to_be_bytes());
            header[16..24].copy_from_slice(&tag.offset.to_be_bytes());
            header[24..32].copy_from_slice(&u64::from(payload).to_be_bytes());
            wire::EXTENDED_REPLY_BYTES
        } else {
            header[..4].copy_from_slice(&wire::NBD_STRUCTURED_REPLY_MAGIC.to_be_bytes());
            header[16..20].copy_from_slice(&payload.to_be_bytes());
            wire::STRUCTURED_REPLY_BYTES
        };
        out.extend_from_slice(&header[..used]);
    }
}

#[inline]
fn simple(tag: Tag, error: u32, out: &mut Vec<u8>) {
    let mut header = [0; wire::SIMPLE_REPLY_BYTES];
    header[..4].copy_from_slice(&wire::NBD_SIMPLE_REPLY_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&error.to_be_bytes());
    header[8..].copy_from_slice(&tag.cookie.0.to_be_bytes());
    out.extend_from_slice(&header);
}

/// Appends one descriptor; false if it had to be cut, so that none may follow.
fn put_descriptor(run: BlockStatus, wide: bool, out: &mut Vec<u8>) -> bool {
    /// The longest 32-bit run that ends on a block boundary if it starts on one.
    const LONGEST: u32 = u32::MAX - (limits::PREFERRED_BLOCK - 1);

    if wide {
        out.extend_from_slice(&run.length.to_be_bytes());
        out.extend_from_slice(&u64::from(run.state).to_be_bytes());
        return true;
    }
    let whole = u32::try_from(run.length).ok().filter(|length| *length <= LONGEST);
    out.extend_from_slice(&whole.unwrap_or(LONGEST).to_be_bytes());
    out.extend_from_slice(&run.state.to_be_bytes());
    whole.is_some()
}

/// A message within its limit.
struct Message<'a> {
    text: &'a str,
    length: u16,
}

/// Cuts a message to its limit, between two characters.
fn cut(message: &str) -> Message<'_> {
    let end = message.floor_char_boundary(limits::MAX_MESSAGE);
    let text = &message[..end];
    Message { text, length: u16::try_from(end).unwrap_or(u16::MAX) }
}

impl Message<'_> {
    /// The fields that all error chunks begin with.
    fn put(&self, errno: Errno, out: &mut Vec<u8>) {
        out.extend_from_slice(&errno.to_wire().to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(self.text.as_bytes());
    }
}
