//! Images outside: files that may have holes, block devices, pipes.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom as RawSeek;
use rustix::io::Errno as SystemError;

use super::disk::PIECE_BYTES;
use super::error::TransferError;

/// Bytes that are looked at together when zeros are looked for: what is less is not worth a request
/// less.
const UNIT_BYTES: usize = 64 << 10;

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError + use<> {
    let path = path.to_owned();
    move |source| TransferError::File { action, path, source }
}

/// Whether a name means standard input or output.
pub(super) fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Where an image comes from.
pub(super) enum Source {
    /// A file or a block device, and its length.
    File(File, PathBuf, u64),
    /// Something that is read once, from its start to its end.
    Pipe(Box<dyn Read + Send>, PathBuf),
}

/// Part of an image.
pub(super) enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// So many bytes of zeros.
    Hole(u64),
    /// The image ends here.
    End,
}

impl Source {
    /// Opens an image; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Self, TransferError> {
        if is_pipe(path) {
            return Ok(Self::Pipe(Box::new(io::stdin()), "standard input".into()));
        }
        let mut file = File::open(path).map_err(failed("open", path))?;
        let kind = file.metadata().map_err(failed("look at", path))?.file_type();
        if kind.is_fifo() || kind.is_char_device() {
            return Ok(Self::Pipe(Box::new(file), path.to_owned()));
        }
        if kind.is_dir() {
            let source = ErrorKind::IsADirectory.into();
            return Err(TransferError::File { action: "read", path: path.to_owned(), source });
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed("measure", path))?;
        Ok(Self::File(file, path.to_owned(), bytes))
    }

    /// Its length, if it is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Self::File(_, _, bytes) => Some(*bytes),
            Self::Pipe(..) => None,
        }
    }

    /// What stands at `at`, where the piece before it has ended.
    pub(super) fn next(&mut self, at: u64) -> Result<Piece, TransferError> {
        match self {
            Self::Pipe(pipe, path) => {
                let mut bytes = Vec::with_capacity(PIECE_BYTES);
                let read = pipe.take(PIECE_BYTES as u64).read_to_end(&mut bytes);
                read.map_err(failed("read", path))?;
                Ok(if bytes.is_empty() { Piece::End } else { Piece::Data(bytes) })
            }
            Self::File(_, _, end) if at >= *end => Ok(Piece::End),
            Self::File(file, path, end) => {
                let data = next_data(file, at, *end).map_err(failed("look for data in", path))?;
                if data > at {
                    return Ok(Piece::Hole(data - at));
                }
                let left = usize::try_from(*end - at).unwrap_or(usize::MAX);
                let mut bytes = vec![0; left.min(PIECE_BYTES)];
                file.read_exact_at(&mut bytes, at).map_err(failed("read", path))?;
                Ok(Piece::Data(bytes))
            }
        }
    }
}

/// Where the next data of a file begins; at once, if its file system knows of no holes.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, RawSeek::Data(at)) {
        Ok(data) => Ok(data),
        Err(SystemError::NXIO) => Ok(end),
        Err(SystemError::INVAL | SystemError::OPNOTSUPP) => Ok(at),
        Err(error) => Err(error.into()),
    }
}

/// Runs of zeros and of other bytes, in order; all but the last end at multiples of 64 KiB.
pub(super) fn runs(bytes: &[u8]) -> Vec<(usize, bool)> {
    let mut found: Vec<(usize, bool)> = Vec::new();
    for unit in bytes.chunks(UNIT_BYTES) {
        let is_data = unit.iter().any(|byte| *byte != 0);
        match found.last_mut() {
            Some((length, kind)) if *kind == is_data => *length += unit.len(),
            _ => found.push((unit.len(), is_data)),
        }
    }
    found
}

/// Where an image goes.
pub(super) enum Target {
    /// A file: what is not written stays a hole.
    Sparse(File, PathBuf),
    /// A device or a file that has something already: zeros are written.
    Solid(File, PathBuf),
    /// Standard output.
    Pipe,
}

impl Target {
    /// Opens the file of an export, which may not be there unless it is to be overwritten or an
    /// export goes on.
    pub(super) fn open(path: &Path, may_exist: bool) -> Result<Self, TransferError> {
        if is_pipe(path) {
            return Ok(Self::Pipe);
        }
        let mut options = OpenOptions::new();
        options.write(true);
        let file = match options.clone().create_new(true).open(path) {
            Ok(file) => return Ok(Self::Sparse(file, path.to_owned())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && may_exist => {
                options.open(path).map_err(failed("open", path))?
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(TransferError::TargetExists { path: path.to_owned() });
            }
            Err(error) => return Err(failed("make", path)(error)),
        };
        let kind = file.metadata().map_err(failed("look at", path))?.file_type();
        Ok(match kind.is_file() {
            true => Self::Sparse(file, path.to_owned()),
            false => Self::Solid(file, path.to_owned()),
        })
    }

    /// Cuts off what is behind `at`: nothing of it is to stay.
    pub(super) fn begin(&self, at: u64) -> Result<(), TransferError> {
        match self {
            Self::Sparse(file, path) => file.set_len(at).map_err(failed("empty", path)),
            Self::Solid(..) | Self::Pipe => Ok(()),
        }
    }

    /// Takes bytes.
    pub(super) fn data(&mut self, at: u64, bytes: &[u8]) -> Result<(), TransferError> {
        match self {
            Self::Sparse(file, path) => {
                let mut from = 0;
                for (length, is_data) in runs(bytes) {
                    if is_data {
                        let part = &bytes[from..from + length];
                        let wrote = file.write_all_at(part, at + from as u64);
                        wrote.map_err(failed("write", path))?;
                    }
                    from += length;
                }
                Ok(())
            }
            Self::Solid(file, path) => file.write_all_at(bytes, at).map_err(failed("write", path)),
            Self::Pipe => {
                let wrote = io::stdout().lock().write_all(bytes);
                wrote.map_err(failed("write", Path::new("standard output")))
            }
        }
    }

    /// Takes zeros.
    pub(super) fn hole(&mut self, at: u64, bytes: u64) -> Result<(), TransferError> {
        if matches!(self, Self::Sparse(..)) {
            return Ok(());
        }
        let zeros = vec![0; PIECE_BYTES.min(usize::try_from(bytes).unwrap_or(PIECE_BYTES))];
        let (mut at, end) = (at, at + bytes);
        while at < end {
            let count = zeros.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.data(at, &zeros[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    /// The image is complete, and has this length.
    pub(super) fn finish(&self, size: u64) -> Result<(), TransferError> {
        match self {
            Self::Sparse(file, path) => {
                file.set_len(size).map_err(failed("set the length of", path))?;
                file.sync_all().map_err(failed("sync", path))
            }
            Self::Solid(file, path) => file.sync_all().map_err(failed("sync", path)),
            Self::Pipe => {
                let flushed = io::stdout().lock().flush();
                flushed.map_err(failed("write", Path::new("standard output")))
            }
        }
    }
}
