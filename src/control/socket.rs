//! What both ends of the socket share: addresses of any length, and lines of bounded length.

use std::fs::File;
use std::io::{self, BufRead, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// Longest path that the kernel takes as the address of a unix socket.
const MAX_ADDRESS: usize = 107;

/// An address for a socket path of any length. A long one is reached through its open directory,
/// which must outlive the call that uses the address.
pub(super) struct Address {
    pub(super) path: PathBuf,
    _dir: Option<File>,
}

impl Address {
    /// # Errors
    /// If the directory of a long path cannot be opened.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= MAX_ADDRESS {
            return Ok(Self { path: path.to_owned(), _dir: None });
        }
        let dir = File::open(path.parent().unwrap_or(Path::new(".")))?;
        let name = path.file_name().unwrap_or_default();
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _dir: Some(dir) })
    }
}

/// Reads one line without its end; `None` if the other side ended the connection between lines.
///
/// # Errors
/// `InvalidData` if the line is longer than `max`, `UnexpectedEof` if the connection ended in it.
pub(super) fn read_line(reader: &mut impl BufRead, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(max as u64).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() + 1 == max => Err(io::ErrorKind::InvalidData.into()),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
