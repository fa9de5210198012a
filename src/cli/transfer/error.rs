//! What can go wrong while a disk is moved in or out.

use std::io;
use std::path::PathBuf;

use nbd::Errno;
use nbd::client::{ClientError, ReplyError};
use nbd::wire;

use crate::cli::sfs::SfsError;
use crate::config::ByteSize;
use crate::config::new_volume::VolumeSizeError;
use crate::error::ErrorKind;

/// Why a disk is not moved, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server cannot be reached.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Where it should listen.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The server does not hand out the volume.
    #[error("{}", refusal(export, source))]
    Refused {
        /// Its export.
        export: String,
        /// What the server said.
        #[source]
        source: ClientError,
    },
    /// The server has gone.
    #[error("the connection to the server broke: {0}")]
    Broken(#[source] io::Error),
    /// The server says what is not the protocol.
    #[error("the server makes no sense: {0}")]
    Reply(#[from] ReplyError),
    /// The server answers what was not asked.
    #[error("the server makes no sense: an answer to no request")]
    Stray,
    /// A request failed.
    #[error("{action} at byte {offset}: {errno}; the log of the server says why")]
    Request {
        /// What was tried.
        action: &'static str,
        /// Where.
        offset: u64,
        /// The server's answer.
        errno: Errno,
    },
    /// No server of the data directory listens on an address that can be connected to.
    #[error("the server listens nowhere")]
    Nowhere,
    /// A call to the operating system failed.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The target of an export is there.
    #[error("{} exists: add --overwrite to replace what is in it", path.display())]
    TargetExists {
        /// The file.
        path: PathBuf,
    },
    /// Nobody knows how large the volume is to be.
    #[error("how large is the volume to be? What comes through a pipe does not tell: add --size")]
    SizeNeeded,
    /// The volume is smaller than the image.
    #[error("the image is larger than the {size} of the volume")]
    TooLong {
        /// The volume's size.
        size: ByteSize,
    },
    /// No volume has such a size.
    #[error(transparent)]
    Size(#[from] VolumeSizeError),
    /// The name leaves no room for what marks a volume as not complete.
    #[error("the name of a volume that is imported has at most {most} characters")]
    NameTooLong {
        /// So many.
        most: usize,
    },
    /// Standard output has the image and nothing else, from its start on.
    #[error("an export to - takes neither --json nor --resume")]
    Pipe,
    /// There is no sound file system in the volume.
    #[error(transparent)]
    Sfs(#[from] SfsError),
    /// A file is not what it was.
    #[error("{path} does not match its checksum, and is not written")]
    Damaged {
        /// The file.
        path: String,
    },
    /// A path that the format has no room for.
    #[error("{}: only paths in UTF-8 can be put", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The directory to write to has something in it.
    #[error("{} is not empty: choose another directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The volume is smaller than what shall go into it.
    #[error(
        "the directory takes {needed} and the volume has {size}: `krait volume resize` makes it larger"
    )]
    NoRoom {
        /// Bytes that are needed.
        needed: ByteSize,
        /// The volume's size.
        size: ByteSize,
    },
    /// The volume has something else in it.
    #[error("the volume has something else in it: add --overwrite if nobody needs it")]
    Occupied,
    /// Nothing to go on with.
    #[error("there is nothing to resume: no import of {name} was begun, or it is finished")]
    NotBegun {
        /// The volume that was to be made.
        name: String,
    },
    /// An import was begun and has not ended.
    #[error(
        "an import of {name} was begun: `krait import {name} ... --resume OFFSET` goes on, `krait \
         volume delete {partial}` removes what there is"
    )]
    Begun {
        /// The volume that is to be made.
        name: String,
        /// What there is of it.
        partial: String,
    },
    /// It goes on from beyond the end, or not from a whole block.
    #[error("{offset} is no place to go on from: choose a multiple of 4096 up to {size}")]
    Offset {
        /// What was asked for.
        offset: u64,
        /// The size of the disk.
        size: u64,
    },
    /// Some of an import is done.
    #[error(
        "{source}. The first {done} bytes are in volume {partial}: `krait import {name} {image} \
         --resume {done}` goes on{}", from_a_pipe(image, *done)
    )]
    Unfinished {
        /// The volume that is to be made.
        name: String,
        /// What there is of it.
        partial: String,
        /// Where the image comes from.
        image: String,
        /// Bytes that are durable.
        done: u64,
        /// What went wrong.
        #[source]
        source: Box<TransferError>,
    },
    /// Somebody ended it by a signal.
    #[error("interrupted")]
    Signal,
    /// The signals cannot be caught.
    #[error("catch SIGINT and SIGTERM: {0}")]
    Signals(#[source] std::io::Error),
    /// Some of an export is done.
    #[error(
        "{source}. The first {done} bytes are in {image}: `krait export {name} {image} --resume \
         {done}` goes on"
    )]
    Interrupted {
        /// The volume.
        name: String,
        /// The file.
        image: String,
        /// Bytes that are there.
        done: u64,
        /// What went wrong.
        #[source]
        source: Box<TransferError>,
    },
}

/// What a server says to people says more than its number.
fn refusal(export: &str, error: &ClientError) -> String {
    match error {
        ClientError::Refused { message, .. } if !message.is_empty() => message.clone(),
        other => format!("{export}: {other}"),
    }
}

fn from_a_pipe(image: &str, done: u64) -> String {
    match image {
        "-" => format!(", if the pipe begins with byte {done} of the image"),
        _ => String::new(),
    }
}

impl TransferError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect { .. } | Self::Broken(_) | Self::Nowhere => ErrorKind::Retry,
            Self::Refused { source: ClientError::Refused { kind, .. }, .. } => match *kind {
                wire::NBD_REP_ERR_UNKNOWN => ErrorKind::NotFound,
                wire::NBD_REP_ERR_POLICY => ErrorKind::Denied,
                _ => ErrorKind::Retry,
            },
            Self::Refused { .. } | Self::Reply(_) | Self::Stray => ErrorKind::Bug,
            Self::Request { errno, .. } => match errno {
                Errno::Perm => ErrorKind::Denied,
                Errno::NoSpace => ErrorKind::NoSpace,
                Errno::Shutdown => ErrorKind::Fenced,
                Errno::Io
                | Errno::NoMem
                | Errno::Invalid
                | Errno::Overflow
                | Errno::NotSupported => ErrorKind::Io,
            },
            Self::File { source, .. } => ErrorKind::of_io(source),
            Self::TargetExists { .. } => ErrorKind::Exists,
            Self::SizeNeeded
            | Self::TooLong { .. }
            | Self::NoRoom { .. }
            | Self::Size(_)
            | Self::NameTooLong { .. }
            | Self::Pipe
            | Self::Offset { .. } => ErrorKind::Invalid,
            Self::NotBegun { .. } | Self::Sfs(SfsError::None) => ErrorKind::NotFound,
            Self::Sfs(SfsError::Version { .. } | SfsError::TooMany) | Self::NotUtf8 { .. } => {
                ErrorKind::Invalid
            }
            Self::Sfs(SfsError::Checksum { .. } | SfsError::Field { .. })
            | Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::NotEmpty { .. } | Self::Occupied => ErrorKind::Exists,
            Self::Begun { .. } => ErrorKind::Exists,
            Self::Signal => ErrorKind::Retry,
            Self::Signals(error) => ErrorKind::of_io(error),
            Self::Unfinished { source, .. } | Self::Interrupted { source, .. } => source.kind(),
        }
    }
}
