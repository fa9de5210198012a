//! What a handshake asks of its caller, and how it ends.

use super::answer::Refusal;
use crate::export::Negotiated;
use crate::wire;

#[cfg(doc)]
use super::Handshake;
#[cfg(doc)]
use crate::limits;

/// Whether a connection may or must go on under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// There is no TLS: `NBD_OPT_STARTTLS` is refused.
    Unsupported,
    /// The client may ask for it.
    Offered,
    /// Nothing but `NBD_OPT_STARTTLS` and `NBD_OPT_ABORT` works before it.
    Required,
}

/// What the handshake depends on besides the exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether TLS may or must be used.
    pub tls: TlsPolicy,
}

/// What [`Handshake::advance`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Bytes of input that were used up; the caller drops them.
    pub consumed: usize,
    /// What to do next.
    pub step: Step,
}

/// What the caller has to do after sending the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read on: the unconsumed input must grow to this many bytes, at most
    /// [`limits::MAX_HANDSHAKE_INPUT`].
    NeedInput {
        /// Bytes the unconsumed input must have.
        bytes: usize,
    },
    /// Answer with [`Handshake::answer_list`] or [`Handshake::refuse`], then advance again.
    ListExports,
    /// Answer with [`Handshake::answer_export`] or [`Handshake::refuse`], then advance again.
    FindExport {
        /// The name as the client sent it; empty for the default export.
        name: String,
        /// What the answer is for.
        purpose: Purpose,
    },
    /// Send the output, drop nothing, run TLS, call [`Handshake::tls_started`], then advance again
    /// with input from inside TLS.
    StartTls,
    /// Serve requests; unconsumed input belongs to them. The handshake is over.
    Transmission(Negotiated),
    /// Send the output and close. The handshake is over.
    Close(CloseReason),
}

/// What a client wants to know of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It only asks (`NBD_OPT_INFO`, metadata contexts): opening the export can wait.
    Describe,
    /// It goes on to the transmission phase if it gets the export.
    Open,
}

/// Why the handshake ended without an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The client said goodbye.
    #[error("the client ended the session")]
    Aborted,
    /// The client set flags that the server did not offer.
    #[error("unknown client flags {flags:#x}")]
    UnknownClientFlags {
        /// All its flags.
        flags: u32,
    },
    /// An option did not start with its magic number.
    #[error("bad option magic")]
    BadOptionMagic,
    /// A client that did not choose the fixed newstyle sent an option other than
    /// `NBD_OPT_EXPORT_NAME`, the only one it may send.
    #[error("{} without fixed newstyle", wire::option_name(*option))]
    NotFixed {
        /// The option.
        option: u32,
    },
    /// An option is too long to be skipped.
    #[error("an option of {length} bytes")]
    OptionTooLong {
        /// Length of its data in bytes.
        length: u32,
    },
    /// More than [`limits::MAX_OPTIONS`] options.
    #[error("too many options")]
    TooManyOptions,
    /// `NBD_OPT_EXPORT_NAME` cannot be refused in another way.
    #[error("NBD_OPT_EXPORT_NAME cannot be served: {0}")]
    ExportName(Refusal),
    /// The client sent plaintext after asking for TLS: somebody may have put it there.
    #[error("plaintext after NBD_OPT_STARTTLS")]
    PlaintextAfterStartTls,
}
