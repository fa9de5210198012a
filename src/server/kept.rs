//! Logs kept aside: what a host had logged of a volume when another host took it over.
//!
//! No opening ever replays or removes them, as their writes were made beside those of the host that
//! has the volume since. A person may look into them, and removes them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use chunk::{Manifest, VolumeName};
use wal::scan::FILE_SUFFIX;

use crate::engine::open::NO_HOST;
use crate::engine::recovered::log_prefix;

/// The segment files of a volume that no opening will replay.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
}

/// Finds what is kept aside in the log directory of a volume: all files but those of this host's
/// own tenure, which its next opening replays. A missing directory has none.
///
/// # Errors
/// The directory cannot be read.
pub fn find(directory: &Path, manifest: &Manifest, host: Option<[u8; 16]>) -> io::Result<Kept> {
    // The host that gave the volume back has no files but those that the next opening removes.
    let counts = manifest.owner == NO_HOST || Some(manifest.owner) == host;
    let live = counts.then(|| log_prefix(manifest.tenure));
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        entries => entries?,
    };
    let mut kept = Kept::default();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_live = live.as_ref().is_some_and(|prefix| name.starts_with(prefix.as_str()));
        if name.ends_with(FILE_SUFFIX)
            && !is_live
            && let Some(bytes) = length(&entry)?
        {
            kept.bytes += bytes;
            kept.files.push(entry.path());
        }
    }
    kept.files.sort();
    Ok(kept)
}

/// Bytes of all segment files in a log directory; none if it is missing.
///
/// # Errors
/// The directory cannot be read.
pub fn bytes(directory: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(FILE_SUFFIX) {
            bytes += length(&entry)?.unwrap_or_default();
        }
    }
    Ok(bytes)
}

/// Bytes of a file, unless it is gone since it was listed.
fn length(entry: &fs::DirEntry) -> io::Result<Option<u64>> {
    match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(|stat| Some(stat.len())),
    }
}

/// What is said where there is nothing to remove.
#[must_use]
pub fn nothing(name: &VolumeName) -> String {
    format!("nothing is kept aside of volume {name}: a log that is replayed is not touched")
}

impl Kept {
    /// Removes the files. A power cut leaves some of them, which are still kept aside then.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        for file in &self.files {
            fs::remove_file(file)?;
        }
        match self.files.first().and_then(|file| file.parent()) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunk::{Cut, Promises};
    use wal::{Incarnation, VolumeId};

    fn manifest(owner: [u8; 16], tenure: u64) -> Manifest {
        Manifest {
            volume: VolumeId([1; 16]),
            name: VolumeName::new("vm").unwrap(),
            size_bytes: 1 << 20,
            stripe_shift: 10,
            promises: Promises::default(),
            created_unix_ms: 0,
            incarnation: Incarnation(9),
            owner,
            tenure: Incarnation(tenure),
            salt: 0,
            cut: Cut::default(),
            directory: Vec::new(),
            unfolded: Vec::new(),
            parent: None,
            ancestors: chunk::Ancestors::default(),
            compressed_since: None,
        }
    }

    #[test]
    fn files_of_the_own_tenure_are_never_among_them() {
        let dir = tempfile::tempdir().unwrap();
        let (me, other) = ([7; 16], [8; 16]);
        for name in ["00000003-1.wal", "00000005-1.wal", "00000005-2.wal", "note"] {
            fs::write(dir.path().join(name), b"four").unwrap();
        }
        let bytes =
            |owner, tenure| find(dir.path(), &manifest(owner, tenure), Some(me)).unwrap().bytes;
        assert_eq!(bytes(me, 5), 4);
        assert_eq!(bytes(NO_HOST, 5), 4);
        assert_eq!(bytes(me, 6), 12);
        assert_eq!(bytes(other, 5), 12);
        let unknown = find(dir.path(), &manifest(me, 5), None).unwrap();
        assert_eq!(unknown.bytes, 12);
        find(dir.path(), &manifest(me, 5), Some(me)).unwrap().remove().unwrap();
        assert_eq!((bytes(me, 5), bytes(other, 5)), (0, 8));
        assert!(dir.path().join("note").exists());
        let missing = find(&dir.path().join("none"), &manifest(me, 5), Some(me)).unwrap();
        assert_eq!(missing, Kept::default());
    }
}
