//! The identity of a data directory.
//!
//! 1. Write `host-id.new` and sync it. A power cut after this leaves a file that nobody looks at.
//! 2. Rename it to `host-id`. A power cut after this leaves the old name or the new one.
//! 3. Sync the directory: from here on it stays. Only then is the identity used.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::ServeError;

/// Its length.
const BYTES: usize = 16;

/// The identity of the directory, drawn the first time. The caller holds the directory's lock.
pub(super) fn load(data_dir: &Path) -> Result<[u8; BYTES], ServeError> {
    let path = data_dir.join("host-id");
    match fs::read(&path) {
        Ok(bytes) => <[u8; BYTES]>::try_from(bytes)
            .map_err(|bytes| ServeError::HostId { path, bytes: bytes.len() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            draw(data_dir).map_err(|source| ServeError::File { action: "write", path, source })
        }
        Err(source) => Err(ServeError::File { action: "read", path, source }),
    }
}

/// The identity of the directory, if it has a sound one.
#[must_use]
pub fn peek(data_dir: &Path) -> Option<[u8; BYTES]> {
    fs::read(data_dir.join("host-id")).ok()?.try_into().ok()
}

/// An identity as people see it: its first bytes are enough to tell a few hosts apart.
#[must_use]
pub fn text(host: &[u8; BYTES]) -> String {
    host[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn draw(data_dir: &Path) -> io::Result<[u8; BYTES]> {
    let mut id = [0; BYTES];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let new = data_dir.join("host-id.new");
    let mut file = File::create(&new)?;
    file.write_all(&id)?;
    file.sync_all()?;
    fs::rename(&new, data_dir.join("host-id"))?;
    File::open(data_dir)?.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_identity_and_shares_it_with_no_other() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = load(one.path()).unwrap();
        assert_eq!(load(one.path()).unwrap(), id);
        assert_ne!(load(two.path()).unwrap(), id);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("host-id"), b"short").unwrap();
        assert!(matches!(load(dir.path()), Err(ServeError::HostId { bytes: 5, .. })));
    }
}
