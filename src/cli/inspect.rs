//! `krait inspect`: what a file or object of Krait says, read by the code that the server reads it
//! with.

mod chunk_object;
mod manifest;
mod map_parts;
mod name;
mod segment;
mod snapshot;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use chunk::{ChunkIndex, FormatError, Manifest, Snapshot, catalog, map_object};
use wal::disk::DiskError;

use crate::error::{Error, ErrorKind};

/// Largest file that is read whole; only a segment of the log may be larger.
const MAX_OBJECT: u64 = 256 << 20;

/// Why a file cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// None of the formats.
    #[error("{}: this is no file of Krait's: give a WAL segment, chunk, map object, manifest, snapshot or name", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// One of the formats by its first bytes, and damaged.
    #[error("{}: {source}: the file is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// A sound frame around damaged data.
    #[error("{}: {blocks} of its blocks are damaged", path.display())]
    Payload {
        /// The file.
        path: PathBuf,
        /// How many.
        blocks: u64,
    },
    /// A segment cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl InspectError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::Invalid,
            Self::Damaged { .. } | Self::Payload { .. } => ErrorKind::Corrupt,
            Self::Disk(error) => ErrorKind::of_io(&error.source),
        }
    }
}

/// Prints what a file says.
///
/// # Errors
/// If it is none of Krait's files, or damaged.
pub(super) fn inspect(path: &Path, json: bool) -> Result<(), Error> {
    let failed = |source| Error::file("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let named_segment = path.to_string_lossy().ends_with(wal::scan::FILE_SUFFIX);
    let mut start = [0; wal::record::MAGIC.len()];
    let is_segment =
        named_segment || ((&file).read_exact(&mut start).is_ok() && start == wal::record::MAGIC);
    if is_segment {
        return segment::show(path, file, bytes, json);
    }
    if bytes > MAX_OBJECT {
        return Err(InspectError::Unknown { path: path.to_owned() }.into());
    }
    let object = std::fs::read(path).map_err(failed)?;
    let mut tries = Tries { path, length: None };
    if let Some(index) = tries.look(ChunkIndex::decode(&object))? {
        return chunk_object::show(path, &object, &index, json);
    }
    if let Some(found) = tries.look(Snapshot::decode(&object))? {
        return snapshot::show(&found, json);
    }
    if let Some((seq, manifest)) = tries.look(Manifest::decode(&object))? {
        return manifest::show(seq, &manifest, json);
    }
    if let Some(parts) = tries.look(map_object::parts(&object))?.filter(|it| !it.is_empty()) {
        return map_parts::show(&parts, json);
    }
    if let Some((name, volume)) = tries.look(catalog::decode_any_name(&object))? {
        return name::show(name, volume, json);
    }
    Err(tries.verdict(&object).into())
}

/// What every object of a store starts with.
const OBJECT_START: [u8; 3] = *b"KRT";

/// Decoders that were tried on a file.
struct Tries<'a> {
    path: &'a Path,
    /// The last complaint about a length.
    length: Option<FormatError>,
}

impl Tries<'_> {
    /// What a decoder made of the file; `None` if it does not start as the decoder's format does.
    fn look<T>(&mut self, result: Result<T, FormatError>) -> Result<Option<T>, InspectError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(FormatError::Magic { .. }) => Ok(None),
            Err(error @ FormatError::Length { .. }) => {
                // Too short for this format, and perhaps right for another one.
                self.length = Some(error);
                Ok(None)
            }
            Err(source) => Err(InspectError::Damaged { path: self.path.to_owned(), source }),
        }
    }

    /// What to say of a file that no decoder took.
    fn verdict(self, object: &[u8]) -> InspectError {
        let path = self.path.to_owned();
        match self.length {
            Some(source) if object.starts_with(&OBJECT_START) => {
                InspectError::Damaged { path, source }
            }
            _ => InspectError::Unknown { path },
        }
    }
}
