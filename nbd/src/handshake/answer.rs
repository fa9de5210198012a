//! Answers to options, appended to the caller's buffer.

use std::fmt;

use super::option::{InfoRequest, MetaRequest};
use crate::export::{ContextId, ExportInfo, ExportSummary, ReplyMode};
use crate::{limits, wire};

/// The id of `base:allocation` in every session that chose it.
pub(super) const BASE_ALLOCATION_ID: ContextId = ContextId(1);

/// Why an option is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no export of this name.
    UnknownExport,
    /// Configuration forbids it.
    Policy,
    /// The server is going down.
    Shutdown,
    /// TLS comes first.
    TlsRequired,
    /// The option is not known.
    Unsupported,
    /// The option's data makes no sense, or the option comes at the wrong time.
    Invalid,
    /// The option's data is too long.
    TooBig,
    /// Extended headers are in force and exclude the option.
    ExtendedHeaders,
}

impl Refusal {
    /// The type of the option reply.
    pub fn to_wire(self) -> u32 {
        match self {
            Self::UnknownExport => wire::NBD_REP_ERR_UNKNOWN,
            Self::Policy => wire::NBD_REP_ERR_POLICY,
            Self::Shutdown => wire::NBD_REP_ERR_SHUTDOWN,
            Self::TlsRequired => wire::NBD_REP_ERR_TLS_REQD,
            Self::Unsupported => wire::NBD_REP_ERR_UNSUP,
            Self::Invalid => wire::NBD_REP_ERR_INVALID,
            Self::TooBig => wire::NBD_REP_ERR_TOO_BIG,
            Self::ExtendedHeaders => wire::NBD_REP_ERR_EXT_HEADER_REQD,
        }
    }

    /// The text that goes with it if the server has nothing better to say.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownExport => "no export of this name",
            Self::Policy => "refused by configuration",
            Self::Shutdown => "the server is going down",
            Self::TlsRequired => "this server wants TLS first",
            Self::Unsupported => "this option is not supported",
            Self::Invalid => "malformed option, or option at the wrong time",
            Self::TooBig => "the option is too long",
            Self::ExtendedHeaders => "not possible together with extended headers",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", wire::option_reply_name(self.to_wire()), self.message())
    }
}

/// The header of an option reply with `length` bytes of data to come.
fn header(option: u32, kind: u32, length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&wire::NBD_REP_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}

/// Text within the protocol's length of a string, cut between two characters.
fn string(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(limits::MAX_STRING)]
}

/// The option is done, or accepted.
pub(super) fn ack(option: u32, out: &mut Vec<u8>) {
    header(option, wire::NBD_REP_ACK, 0, out);
}

/// The option is refused, with a text for people.
pub(super) fn error(option: u32, refusal: Refusal, message: &str, out: &mut Vec<u8>) {
    let message = string(message);
    header(option, refusal.to_wire(), message.len(), out);
    out.extend_from_slice(message);
}

/// One line of the list of exports.
pub(super) fn server(export: ExportSummary<'_>, out: &mut Vec<u8>) {
    let (name, description) = (string(export.name), string(export.description));
    let name_length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    header(wire::NBD_OPT_LIST, wire::NBD_REP_SERVER, 4 + name.len() + description.len(), out);
    out.extend_from_slice(&name_length.to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(description);
}

/// The answer to `NBD_OPT_EXPORT_NAME`, which has no header.
pub(super) fn export_name(
    export: &ExportInfo,
    mode: ReplyMode,
    no_zeroes: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&export.size.to_be_bytes());
    out.extend_from_slice(&export.transmission_flags(mode).to_be_bytes());
    if !no_zeroes {
        out.extend_from_slice(&[0; wire::EXPORT_NAME_PADDING]);
    }
}

/// What `NBD_OPT_INFO` or `NBD_OPT_GO` asked for.
pub(super) fn info(request: &InfoRequest, export: &ExportInfo, mode: ReplyMode, out: &mut Vec<u8>) {
    let mut item = |kind: u16, length: usize, fields: &[&[u8]]| {
        header(request.option, wire::NBD_REP_INFO, 2 + length, out);
        out.extend_from_slice(&kind.to_be_bytes());
        for field in fields {
            out.extend_from_slice(field);
        }
    };
    let flags = export.transmission_flags(mode);
    item(wire::NBD_INFO_EXPORT, 10, &[&export.size.to_be_bytes(), &flags.to_be_bytes()]);
    if request.wants_name || request.name != export.name {
        let name = string(&export.name);
        item(wire::NBD_INFO_NAME, name.len(), &[name]);
    }
    if request.wants_description && !export.description.is_empty() {
        let description = string(&export.description);
        item(wire::NBD_INFO_DESCRIPTION, description.len(), &[description]);
    }
    if request.wants_block_size {
        let sizes = [limits::MIN_BLOCK, export.preferred_block, limits::MAX_PAYLOAD];
        let [min, preferred, max] = sizes.map(u32::to_be_bytes);
        item(wire::NBD_INFO_BLOCK_SIZE, 12, &[&min, &preferred, &max]);
    }
    ack(request.option, out);
}

/// The contexts that a request lists or sets.
pub(super) fn meta(request: &MetaRequest, out: &mut Vec<u8>) {
    if request.base_allocation {
        // A listed context has no id yet: the protocol wants zero there.
        let id =
            if request.option == wire::NBD_OPT_SET_META_CONTEXT { BASE_ALLOCATION_ID.0 } else { 0 };
        let name = wire::BASE_ALLOCATION.as_bytes();
        header(request.option, wire::NBD_REP_META_CONTEXT, 4 + name.len(), out);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(name);
    }
    ack(request.option, out);
}
