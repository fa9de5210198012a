//! Makes the kernel forget what it has read of files, so that reads of them go to the disk.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::sys;

/// Drops the pages of all files below `dir`; files that go away meanwhile are none.
///
/// # Errors
/// If a directory or file cannot be looked at.
pub fn forget(dir: &Path) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(dir) {
        Err(error) if gone(&error) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = match entry.file_type() {
            Err(error) if gone(&error) => continue,
            other => other?,
        };
        if kind.is_dir() {
            forget(&entry.path())?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Err(error) if gone(&error) => {}
                file => sys::forget_pages(file?.as_fd())?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_walked_and_what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("a")).expect("directory");
        fs::write(dir.path().join("a/b"), vec![1; 8192]).expect("file");
        forget(dir.path()).expect("walked");
        assert_eq!(fs::read(dir.path().join("a/b")).expect("still there"), vec![1; 8192]);
        forget(&dir.path().join("gone")).expect("nothing to forget");
    }
}
