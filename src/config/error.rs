//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use chunk::VolumeNameError;

use super::listen::ListenError;
use super::size::{ByteSize, SizeError};
use super::source::Source;
use super::store_url::StoreUrlError;
use crate::error::ErrorKind;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file is far too large to be one.
    #[error("configuration {} has more than {max}: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most that is read.
        max: ByteSize,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {}: correct the TOML syntax", path.display(), source.message())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file has a key that means nothing.
    #[error("{}:{line}: unknown key `{key}`: {}", path.display(), hint(*suggestion))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key, with its table.
        key: String,
        /// The known key most like it.
        suggestion: Option<&'static str>,
    },
    /// The file has a value of another type than the key takes.
    #[error("{}:{line}: `{key}` is {found}: write {expected}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key, with its table.
        key: String,
        /// The TOML type that stands there.
        found: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
    /// An environment variable is not UTF-8.
    #[error("{variable} is not UTF-8: set it again or unset it")]
    Encoding {
        /// The variable.
        variable: &'static str,
    },
    /// A value cannot be used.
    #[error("{key} ({source}): {problem}", source = .from)]
    Value {
        /// The setting.
        key: &'static str,
        /// Where the value stands.
        from: Source,
        /// What is wrong with it.
        #[source]
        problem: ValueError,
    },
}

/// Why a value cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// Not a size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// Not the URL of a store.
    #[error(transparent)]
    Store(#[from] StoreUrlError),
    /// Not a listening address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Not the name of a volume.
    #[error(transparent)]
    Name(#[from] VolumeNameError),
    /// Not a whole number.
    #[error("`{text}` is not a whole number")]
    Number {
        /// What was written.
        text: String,
    },
    /// Not a log level.
    #[error("`{text}` is not a log level: write error, warn, info, debug or trace")]
    Level {
        /// What was written.
        text: String,
    },
    /// Neither true nor false.
    #[error("`{text}` is neither true nor false")]
    Switch {
        /// What was written.
        text: String,
    },
    /// Not a policy of the cache.
    #[error(transparent)]
    Policy(#[from] super::cache::CachePolicyError),
    /// No promise of a volume.
    #[error(transparent)]
    Promise(#[from] chunk::PromiseError),
    /// No way of compressing.
    #[error(transparent)]
    Compression(#[from] chunk::chunk::CompressionError),
    /// Not a setting of an S3 store.
    #[error(transparent)]
    S3(#[from] s3::S3ConfigError),
    /// Nothing between the quotes.
    #[error("it is empty: give a value or leave the setting out")]
    Empty,
    /// A size out of its range.
    #[error("{value} is out of range: choose from {min} to {max}{}", because(why))]
    SizeRange {
        /// The size.
        value: ByteSize,
        /// Least allowed.
        min: ByteSize,
        /// Most allowed.
        max: ByteSize,
        /// What sets the limit, or empty.
        why: &'static str,
    },
    /// A number out of its range.
    #[error("{value} is out of range: choose from {min} to {max}")]
    Range {
        /// The number.
        value: u64,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
    /// A size that is not made of whole units.
    #[error("{value} is not a multiple of {unit}: choose {suggestion}")]
    Multiple {
        /// The size.
        value: ByteSize,
        /// The unit.
        unit: ByteSize,
        /// The next size that is one.
        suggestion: ByteSize,
    },
    /// The path cannot be made absolute.
    #[error("the working directory is not known ({source}): give an absolute path")]
    WorkingDirectory {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl ConfigError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => ErrorKind::of_io(source),
            Self::TooLarge { .. }
            | Self::Toml { .. }
            | Self::UnknownKey { .. }
            | Self::WrongType { .. }
            | Self::Encoding { .. }
            | Self::Value { .. } => ErrorKind::Invalid,
        }
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(
        || "remove it; `krait config explain` lists the known ones".to_owned(),
        |name| format!("did you mean `{name}`?"),
    )
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}
