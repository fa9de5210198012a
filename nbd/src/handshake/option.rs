//! The data of options: from bytes to checked requests.

use crate::cursor::Cursor;
use crate::{limits, wire};

/// Why the data of an option is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionError {
    /// Lengths that do not fit, bytes left over, or a name that is not text.
    Malformed,
    /// A name longer than a string of the protocol may be.
    NameTooLong,
}

/// The data of `NBD_OPT_INFO` and `NBD_OPT_GO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InfoRequest {
    /// Which of the two.
    pub(super) option: u32,
    /// Name as sent.
    pub(super) name: String,
    /// `NBD_INFO_NAME` was asked for.
    pub(super) wants_name: bool,
    /// `NBD_INFO_DESCRIPTION` was asked for.
    pub(super) wants_description: bool,
    /// `NBD_INFO_BLOCK_SIZE` was asked for.
    pub(super) wants_block_size: bool,
}

/// The data of `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetaRequest {
    /// Which of the two.
    pub(super) option: u32,
    /// Name of the export as sent.
    pub(super) export: String,
    /// Whether a query matches `base:allocation`.
    pub(super) base_allocation: bool,
}

/// An export name: text without NUL, of at most the protocol's length.
pub(super) fn name(bytes: &[u8]) -> Result<&str, OptionError> {
    if bytes.len() > limits::MAX_STRING {
        return Err(OptionError::NameTooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| OptionError::Malformed)?;
    if text.contains('\0') { Err(OptionError::Malformed) } else { Ok(text) }
}

impl InfoRequest {
    /// Reads the name and the list of information requests; unknown requests are ignored.
    pub(super) fn parse(option: u32, data: &[u8]) -> Result<Self, OptionError> {
        let mut cursor = Cursor::new(data);
        let name_bytes = cursor.counted().ok_or(OptionError::Malformed)?;
        let count = cursor.u16().ok_or(OptionError::Malformed)?;
        let list = cursor.rest();
        if list.len() != usize::from(count) * 2 {
            return Err(OptionError::Malformed);
        }
        let asked = |info: u16| list.chunks_exact(2).any(|item| item == info.to_be_bytes());
        Ok(Self {
            option,
            name: name(name_bytes)?.to_owned(),
            wants_name: asked(wire::NBD_INFO_NAME),
            wants_description: asked(wire::NBD_INFO_DESCRIPTION),
            wants_block_size: asked(wire::NBD_INFO_BLOCK_SIZE),
        })
    }
}

impl MetaRequest {
    /// Reads the name and the queries; queries for unknown contexts are ignored.
    pub(super) fn parse(option: u32, data: &[u8]) -> Result<Self, OptionError> {
        let mut cursor = Cursor::new(data);
        let name_bytes = cursor.counted().ok_or(OptionError::Malformed)?;
        let count = cursor.u32().ok_or(OptionError::Malformed)?;
        let lists = option == wire::NBD_OPT_LIST_META_CONTEXT;
        let mut base_allocation = lists && count == 0;
        // A count beyond the data fails on its first missing query: the loop is bounded by the data.
        for _ in 0..count {
            let query = cursor.counted().ok_or(OptionError::Malformed)?;
            base_allocation |= query == wire::BASE_ALLOCATION.as_bytes();
            base_allocation |= lists && query == b"base:";
        }
        if !cursor.is_empty() {
            return Err(OptionError::Malformed);
        }
        Ok(Self { option, export: name(name_bytes)?.to_owned(), base_allocation })
    }
}
