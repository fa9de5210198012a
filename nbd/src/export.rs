//! What server and client agree on: exports, reply modes, and how requests are told apart.

use crate::{limits, wire};

/// The client's id of a request, given back in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cookie(pub u64);

/// The server's id of a metadata context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContextId(pub u32);

/// What a reply must repeat of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The client's id of the request.
    pub cookie: Cookie,
    /// The request's offset as sent, in bytes; extended replies carry it.
    pub offset: u64,
}

/// A run of bytes of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Count of bytes.
    pub length: u64,
}

impl ByteRange {
    /// The run of `length` bytes from `offset`.
    #[inline]
    pub fn new(offset: u64, length: u64) -> Self {
        Self { offset, length }
    }

    /// Whether the run lies within an export of `size` bytes.
    #[inline]
    pub fn fits(self, size: u64) -> bool {
        self.offset <= size && self.length <= size - self.offset
    }

    /// Whether `inner` lies within this run.
    #[inline]
    pub fn covers(self, inner: Self) -> bool {
        inner.offset >= self.offset
            && inner.length <= self.length
            && inner.offset - self.offset <= self.length - inner.length
    }
}

/// How replies are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplyMode {
    /// Simple replies: an error number, and the data of a READ.
    Simple,
    /// Chunks with 32-bit lengths.
    Structured,
    /// Chunks and requests with 64-bit lengths.
    Extended,
}

impl ReplyMode {
    /// Bytes of a request header.
    #[inline]
    pub fn request_bytes(self) -> usize {
        match self {
            Self::Simple | Self::Structured => wire::REQUEST_BYTES,
            Self::Extended => wire::EXTENDED_REQUEST_BYTES,
        }
    }

    /// Whether replies are chunks, so that holes, contexts and messages can be sent.
    #[inline]
    pub fn has_chunks(self) -> bool {
        match self {
            Self::Simple => false,
            Self::Structured | Self::Extended => true,
        }
    }
}

/// One line of the list of exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSummary<'a> {
    /// Name to ask for.
    pub name: &'a str,
    /// Text for people; may be empty.
    pub description: &'a str,
}

/// What the server tells of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportInfo {
    /// Canonical name, whatever name the client used to find it.
    pub name: String,
    /// Text for people; may be empty.
    pub description: String,
    /// Size in bytes.
    pub size: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether a flush on one connection covers the writes of all.
    pub multi_conn: bool,
    /// Unit in which requests are served best, in bytes.
    pub preferred_block: u32,
}

impl ExportInfo {
    /// A writable export with the defaults of this server.
    pub fn new(name: impl Into<String>, size: u64) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            size,
            read_only: false,
            multi_conn: true,
            preferred_block: limits::PREFERRED_BLOCK,
        }
    }

    /// The transmission flags for a client that negotiated `mode`.
    pub fn transmission_flags(&self, mode: ReplyMode) -> u16 {
        let mut flags = wire::NBD_FLAG_HAS_FLAGS
            | wire::NBD_FLAG_SEND_FLUSH
            | wire::NBD_FLAG_SEND_FUA
            | wire::NBD_FLAG_SEND_CACHE;
        if self.read_only {
            flags |= wire::NBD_FLAG_READ_ONLY;
        } else {
            flags |= wire::NBD_FLAG_SEND_TRIM
                | wire::NBD_FLAG_SEND_WRITE_ZEROES
                | wire::NBD_FLAG_SEND_FAST_ZERO;
        }
        if self.multi_conn {
            flags |= wire::NBD_FLAG_CAN_MULTI_CONN;
        }
        if mode.has_chunks() {
            flags |= wire::NBD_FLAG_SEND_DF;
        }
        flags
    }
}

/// The outcome of a handshake: all that [`decode`](crate::decode) and replies depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Canonical name of the export.
    pub export: String,
    /// Its size in bytes; requests beyond it are refused.
    pub size: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// How requests and replies are framed.
    pub mode: ReplyMode,
    /// The id of `base:allocation`, if the client chose it for this export.
    pub base_allocation: Option<ContextId>,
    /// Whether the connection runs under TLS.
    pub tls: bool,
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, ExportInfo, ReplyMode};
    use crate::wire;

    #[test]
    fn a_range_at_the_top_of_the_address_space_does_not_wrap() {
        assert!(!ByteRange::new(u64::MAX, 2).fits(u64::MAX));
        assert!(ByteRange::new(u64::MAX, 0).fits(u64::MAX));
        assert!(!ByteRange::new(1, u64::MAX).fits(u64::MAX));
    }

    #[test]
    fn a_range_covers_itself_and_its_parts_only() {
        let outer = ByteRange::new(10, 10);
        assert!(outer.covers(outer));
        assert!(outer.covers(ByteRange::new(19, 1)));
        assert!(!outer.covers(ByteRange::new(19, 2)));
        assert!(!outer.covers(ByteRange::new(9, 1)));
        assert!(!outer.covers(ByteRange::new(u64::MAX, 1)));
    }

    #[test]
    fn read_only_exports_offer_no_writing_commands() {
        let mut export = ExportInfo::new("a", 1);
        export.read_only = true;
        let flags = export.transmission_flags(ReplyMode::Simple);
        assert_ne!(flags & wire::NBD_FLAG_READ_ONLY, 0);
        let writing = wire::NBD_FLAG_SEND_TRIM
            | wire::NBD_FLAG_SEND_WRITE_ZEROES
            | wire::NBD_FLAG_SEND_FAST_ZERO;
        assert_eq!(flags & writing, 0);
    }

    #[test]
    fn dont_fragment_is_offered_with_chunks_only() {
        let export = ExportInfo::new("a", 1);
        let df = |mode| export.transmission_flags(mode) & wire::NBD_FLAG_SEND_DF;
        assert_eq!(df(ReplyMode::Simple), 0);
        assert_ne!(df(ReplyMode::Structured), 0);
        assert_ne!(df(ReplyMode::Extended), 0);
    }
}
