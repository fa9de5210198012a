//! Names of the local disk: directories, made durable and listed. All of it blocks.

use std::io;
use std::path::Path;

use wal::disk::DirEntry;

/// Makes `dir` and what is missing above it, down from `root`, each synced in its parent.
pub(super) fn make_directories(root: &Path, dir: &Path) -> io::Result<()> {
    if dir == root || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().expect("below the data directory");
    make_directories(root, parent)?;
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Another core may have made it just now, and not have synced it yet.
        _ => sync_directory(parent),
    }
}

pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

pub(super) fn list_directory(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let stat = match entry.metadata() {
            // Removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            stat => stat?,
        };
        if stat.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push(DirEntry { name, bytes: stat.len() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
