//! Directories outside: what there is to put, and what is got.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::format::{Entry, Kind};
use crate::cli::transfer::error::TransferError;

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    let path = path.to_owned();
    move |source| TransferError::File { action, path, source }
}

/// Something in a directory, by its path below that.
pub(super) struct Item {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    /// Bytes of its content.
    pub(super) bytes: u64,
}

/// All that is below a directory, in the order of paths; and the paths of what is neither file,
/// directory nor link.
pub(super) fn walk(root: &Path) -> Result<(Vec<Item>, Vec<String>), TransferError> {
    let (mut items, mut left_out) = (Vec::new(), Vec::new());
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let dir = root.join(&below);
        for found in fs::read_dir(&dir).map_err(failed("list", &dir))? {
            let found = found.map_err(failed("list", &dir))?;
            let path = below.join(found.file_name());
            let place = root.join(&path);
            let stat = fs::symlink_metadata(&place).map_err(failed("look at", &place))?;
            let not_utf8 = || TransferError::NotUtf8 { path: place.clone() };
            let text = path.to_str().ok_or_else(not_utf8)?.to_owned();
            let mode = stat.permissions().mode() & 0o7777;
            let kind = match stat.file_type() {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Directory,
                kind if kind.is_symlink() => Kind::Link,
                _ => {
                    left_out.push(text);
                    continue;
                }
            };
            if kind == Kind::Directory {
                waiting.push(path);
            }
            let bytes = if kind == Kind::Directory { 0 } else { stat.len() };
            items.push(Item { path: text, kind, mode, bytes });
        }
    }
    items.sort_by(|a, b| a.path.cmp(&b.path));
    left_out.sort();
    Ok((items, left_out))
}

/// Makes the directory that everything is written below; it must not be there, or be empty.
pub(super) fn make_target(dir: &Path) -> Result<(), TransferError> {
    match fs::read_dir(dir) {
        Ok(mut there) => match there.next() {
            None => Ok(()),
            Some(_) => Err(TransferError::NotEmpty { path: dir.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(failed("make directory", dir))
        }
        Err(error) => Err(failed("list", dir)(error)),
    }
}

/// An entry that is being written. The paths lead through directories that were made a moment ago,
/// never through links: the format has each entry behind its directory.
pub(super) enum Made {
    File(File, PathBuf),
    Directory,
    Link(Vec<u8>, PathBuf),
}

impl Made {
    pub(super) fn new(dir: &Path, entry: &Entry) -> Result<Self, TransferError> {
        let path = dir.join(&entry.path);
        match entry.kind {
            Kind::File => {
                let mut options = File::options();
                let made = options.write(true).create_new(true).mode(0o600).open(&path);
                Ok(Self::File(made.map_err(failed("make", &path))?, path))
            }
            Kind::Directory => {
                // Its owner has to put more into it.
                let mode = (entry.mode & 0o777) | 0o700;
                let made = fs::DirBuilder::new().mode(mode).create(&path);
                made.map_err(failed("make directory", &path))?;
                Ok(Self::Directory)
            }
            Kind::Link => Ok(Self::Link(Vec::new(), path)),
        }
    }

    pub(super) fn take(&mut self, content: &[u8]) -> Result<(), TransferError> {
        match self {
            Self::File(file, path) => file.write_all(content).map_err(failed("write", path)),
            Self::Link(target, _) => {
                target.extend_from_slice(content);
                Ok(())
            }
            Self::Directory => unreachable!("a directory has no content"),
        }
    }

    /// What was taken is not what was put: nothing of it stays.
    pub(super) fn discard(self) -> Result<(), TransferError> {
        match self {
            Self::File(_, path) => fs::remove_file(&path).map_err(failed("remove", &path)),
            Self::Directory | Self::Link(..) => Ok(()),
        }
    }

    pub(super) fn finish(self, entry: &Entry) -> Result<(), TransferError> {
        match self {
            Self::File(file, path) => {
                let mode = fs::Permissions::from_mode(entry.mode & 0o777);
                file.set_permissions(mode).map_err(failed("set permissions of", &path))
            }
            Self::Directory => Ok(()),
            Self::Link(target, path) => {
                symlink(OsStr::from_bytes(&target), &path).map_err(failed("make link", &path))
            }
        }
    }
}
