//! The write-ahead log of a volume that nobody serves.

use std::fs;
use std::io;
use std::path::Path;

use chunk::SnapshotHeader;
use futures_lite::future::block_on;
use serde::Serialize;
use wal::record::Body;
use wal::scan::{FILE_SUFFIX, Floor, ScanError, scan};
use wal::{BLOCK_BYTES, Record};

use super::Known;
use crate::cli::plain_disk::PlainDisk;
use crate::config::Settings;
use crate::engine::named::Named;
use crate::engine::recovered::log_prefix;
use crate::error::Error;

/// What the log holds on top of the newest manifest.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::cli) struct LogView {
    /// Segment files.
    pub(super) files: usize,
    /// Their bytes.
    pub(super) file_bytes: u64,
    /// Records that the next opening replays.
    pub(super) replay_records: usize,
    /// Data in them.
    pub(super) replay_bytes: u64,
    /// Ends that were never synced, and are dropped.
    pub(super) torn_tails: usize,
    /// Snapshots that were made, and that the next opening brings to the store.
    #[serde(skip)]
    pub(in crate::cli) coming: Vec<SnapshotHeader>,
    /// What keeps the log from being replayed.
    pub(super) problems: Vec<String>,
}

/// Reads the whole log of a volume. The caller holds the lock on the data directory.
///
/// # Errors
/// If the disk fails. A log that cannot be replayed is no error but a problem in the view.
pub(in crate::cli) fn read(settings: &Settings, known: &Known) -> Result<LogView, Error> {
    let cut = &known.manifest.cut;
    let floor = Floor {
        incarnation: cut.incarnation,
        lsns: cut.positions.clone(),
        epoch: cut.epoch,
        newest: known.manifest.incarnation,
    };
    let root = settings.wal_dir(known.id);
    let mut view = LogView::default();
    (view.files, view.file_bytes) = usage(&root).map_err(|e| Error::file("list", &root, e))?;
    let prefix = log_prefix(known.manifest.tenure);
    match block_on(scan(&PlainDisk::new(&root), ".", &prefix, known.id, &floor)) {
        Ok(found) => {
            let bytes = found.records.iter().map(|found| data_bytes(&found.record));
            view.replay_records = found.records.len();
            view.replay_bytes = bytes.sum();
            view.torn_tails = found.torn.len();
            for cut in &found.named {
                match Named::try_from(cut) {
                    Ok(named) => view.coming.extend(named.header(known.id)),
                    Err(problem) => view.problems.push(problem),
                }
            }
        }
        Err(ScanError::Disk(error)) => {
            return Err(Error::file(error.action, &root.join(error.path), error.source));
        }
        Err(error) => view.problems.push(format!("log {}: {error}", root.display())),
    }
    Ok(view)
}

fn data_bytes(record: &Record) -> u64 {
    let is_data = |body: &Body| matches!(body, Body::Data(_));
    let data = record.entries.iter().filter(|entry| is_data(&entry.body));
    data.map(|entry| entry.extent.count() * BLOCK_BYTES as u64).sum()
}

/// Number and bytes of the segment files of a log; none if it is missing.
pub(super) fn usage(dir: &Path) -> io::Result<(usize, u64)> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries?,
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(FILE_SUFFIX) {
            files += 1;
            bytes += entry.metadata()?.len();
        }
    }
    Ok((files, bytes))
}
