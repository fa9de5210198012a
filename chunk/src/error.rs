//! Why bytes from a store are not what they should be.

use crate::store::StoreError;

/// Why some bytes are not a structure of this format. Decoders look at length, magic, version,
/// checksum, features and fields in this order and name the first thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    /// Too few or too many bytes.
    #[error("{what}: {have} bytes where {need} belong")]
    Length {
        /// The structure.
        what: &'static str,
        /// Bytes that belong there (at least).
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// The bytes do not start as this structure does.
    #[error("{what}: the magic number is missing")]
    Magic {
        /// The structure.
        what: &'static str,
    },
    /// Written by a newer Krait, or damaged.
    #[error("{what}: version {found} is unknown, this build reads up to {known}")]
    Version {
        /// The structure.
        what: &'static str,
        /// Version in the bytes.
        found: u16,
        /// Newest version that this build reads.
        known: u16,
    },
    /// The bytes were changed since they were written.
    #[error("{what}: the checksum does not match")]
    Checksum {
        /// The structure.
        what: &'static str,
    },
    /// The structure uses features that this build does not have.
    #[error("{what}: needs unknown features {unknown:#x}")]
    Features {
        /// The structure.
        what: &'static str,
        /// The unknown ones, as bits.
        unknown: u64,
    },
    /// A sound structure, but not the one that was asked for.
    #[error("{what}: belongs to another {field}")]
    Identity {
        /// The structure.
        what: &'static str,
        /// What differs.
        field: &'static str,
    },
    /// Compressed bytes that are none: no decoder makes anything of them.
    #[error("{what}: it cannot be decompressed")]
    Packed {
        /// The structure.
        what: &'static str,
    },
    /// A field has a value that no sound structure has.
    #[error("{what}: {field} cannot be {value}")]
    Field {
        /// The structure.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// What a caller does about an error of this crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Try again later.
    Retry,
    /// The store is full; goes away when space returns.
    NoSpace,
    /// Bytes are wrong or missing: refuse, or heal from another copy.
    Corrupt,
    /// Another writer has the volume: publish and delete nothing more.
    Fenced,
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            Self::NotFound { .. } | Self::Exists { .. } | Self::Range { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => match source.kind() {
                StorageFull | QuotaExceeded | FileTooLarge => ErrorKind::NoSpace,
                _ => ErrorKind::Retry,
            },
            Self::Remote { failure, .. } => match failure.cause.is_full() {
                true => ErrorKind::NoSpace,
                // Keys, clocks and permissions get mended while the server runs.
                false => ErrorKind::Retry,
            },
        }
    }
}

/// Why a structure could not be read from a store.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store did not hand out the bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store handed out bytes that are not the structure.
    #[error("{object}: {source}")]
    Format {
        /// The object's name.
        object: String,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
}

impl ReadError {
    /// What to do about it. A missing or short object is as bad as a damaged one: something
    /// refers to it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Format { .. } => ErrorKind::Corrupt,
        }
    }
}

/// Turns a format error into a read error of the named object.
pub(crate) fn in_object(object: &impl ToString) -> impl FnOnce(FormatError) -> ReadError {
    let object = object.to_string();
    move |source| ReadError::Format { object, source }
}
