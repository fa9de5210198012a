//! Writing a new file past the page cache: an object is written once and read much later, if ever,
//! and the copy into fresh pages of the cache would cost more time than all else that is done to
//! it.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What file systems want of direct writes at most: addresses and lengths in whole pages.
const ALIGN: usize = 4096;

/// Shorter objects go through the page cache: there one write and one sync are as good.
const MIN_DIRECT_BYTES: usize = 64 << 10;

/// Bytes of one direct write: enough for full speed. Each worker thread keeps as much memory.
const PIECE_BYTES: usize = 1 << 20;

thread_local! {
    /// Memory to align pieces of a body in.
    static ALIGNED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes a file that is not there yet, and makes its bytes durable.
pub(super) fn write_new(path: &Path, body: &[u8]) -> io::Result<()> {
    if body.len() >= MIN_DIRECT_BYTES {
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)
        {
            Ok(file) => return write_direct(&file, body),
            // A file system without direct I/O; it may have made the file all the same.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                drop(std::fs::remove_file(path));
            }
            Err(error) => return Err(error),
        }
    }
    let mut file = File::create_new(path)?;
    file.write_all(body)?;
    file.sync_data()
}

/// Writes whole pages, the last one filled up with zeros, then cuts the file to its length.
fn write_direct(mut file: &File, body: &[u8]) -> io::Result<()> {
    // Large objects mostly are aligned, as allocators give out large memory in whole pages.
    let aligned = match body.as_ptr().align_offset(ALIGN) {
        0 => body.len() / ALIGN * ALIGN,
        _ => 0,
    };
    for piece in body[..aligned].chunks(PIECE_BYTES) {
        file.write_all(piece)?;
    }
    ALIGNED.with_borrow_mut(|memory| {
        memory.resize(PIECE_BYTES + ALIGN, 0);
        let start = memory.as_ptr().align_offset(ALIGN);
        for piece in body[aligned..].chunks(PIECE_BYTES) {
            let bytes = piece.len().next_multiple_of(ALIGN);
            let aligned = &mut memory[start..start + bytes];
            aligned[..piece.len()].copy_from_slice(piece);
            aligned[piece.len()..].fill(0);
            file.write_all(aligned)?;
        }
        Ok::<_, io::Error>(())
    })?;
    file.set_len(body.len() as u64)?;
    file.sync_data()
}

const _: () = assert!(PIECE_BYTES.is_multiple_of(ALIGN), "only the last piece is filled up");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        for len in
            [0, 1, 4096, MIN_DIRECT_BYTES - 1, MIN_DIRECT_BYTES, MIN_DIRECT_BYTES + 1, 300_000]
                .into_iter()
                .chain([PIECE_BYTES, 2 * PIECE_BYTES + 1])
        {
            let body: Vec<u8> = (0..len).map(|n| (n % 251) as u8 + 1).collect();
            let path = directory.path().join(len.to_string());
            write_new(&path, &body).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), body, "{len} bytes");
            let again = write_new(&path, &body).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists, "it is a new file or none");
        }
    }
}
