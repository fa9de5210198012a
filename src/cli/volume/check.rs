//! `krait volume check`.

use chunk::check::{CheckReport, Counts, Problem, check as check_store};
use chunk::{VolumeName, catalog};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::VolumeId;

use super::error::VolumeError;
use super::log::{self, LogView};
use super::{Known, known, store};
use crate::cli::output;
use crate::cli::progress::Progress;
use crate::config::{ByteSize, Settings};
use crate::control::{DataDirLock, LockError};
use crate::error::{Error, ErrorKind};

/// The JSON output.
#[derive(Serialize)]
struct CheckView {
    name: String,
    id: String,
    /// Whether nothing is damaged.
    clean: bool,
    store: StoreView,
    /// The log, unless a server works on it or the manifest cannot be read.
    log: Option<LogView>,
    /// Everything that is damaged, one message each.
    problems: Vec<String>,
    /// Problems beyond those.
    more_problems: u64,
}

/// What was looked at in the store.
#[derive(Serialize)]
struct StoreView {
    /// Number of the manifest that was checked.
    manifest: Option<u64>,
    older_manifests: u64,
    directory_segments: u64,
    map_pages: u64,
    unfolded_chunks: u64,
    chunks: u64,
    blocks: u64,
    /// Snapshots that were checked as well; a block that several have counts once.
    snapshots: u64,
    /// Objects that nothing refers to: remains of an upload, or parts of one under way.
    orphans: Option<usize>,
    orphan_bytes: Option<u64>,
}

/// Verifies every checksum and reference of a volume, in its store and in its log.
pub(super) fn check(settings: &Settings, name: &VolumeName, json: bool) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    let store = store::open(settings)?;
    let found = block_on(catalog::find(&store, name)).map_err(VolumeError::Read)?;
    let id = found.ok_or_else(|| VolumeError::NotFound { name: name.clone() })?;
    let report = {
        let progress = Progress::start(format!("checking {name}"));
        let tell = |counts: &Counts| {
            progress.say(format!("checking {name}: {} blocks", counts.blocks));
        };
        block_on(check_store(&store, id, tell))
    };
    // Without a manifest nothing is known of the log; the report says what became of it.
    let log = match known(&store, name) {
        Ok(known) => read_log(settings, &known)?,
        Err(_) => None,
    };
    let kind = kind(&report, log.as_ref());
    let view = view(name, id, &report, log);
    if json {
        output::print_json(&view)?;
    } else {
        output::print(&text(&view))?;
    }
    match kind {
        None => Ok(()),
        Some(ErrorKind::Retry) => Err(VolumeError::Unchecked { name: name.clone() }.into()),
        Some(_) => Err(VolumeError::Damaged { count: view.problems.len() }.into()),
    }
}

/// What to do about all problems together: damage counts above a store that did not answer.
fn kind(report: &CheckReport, log: Option<&LogView>) -> Option<ErrorKind> {
    let log_is_damaged = log.is_some_and(|log| !log.problems.is_empty());
    if log_is_damaged || report.problems.iter().any(is_damage) {
        return Some(ErrorKind::Corrupt);
    }
    (!report.is_clean()).then_some(ErrorKind::Retry)
}

/// Whether a problem is more than a store that did not answer.
fn is_damage(problem: &Problem) -> bool {
    match problem {
        Problem::Log(error) => error.kind() == chunk::ErrorKind::Corrupt,
        Problem::List(error) => error.kind() == chunk::ErrorKind::Corrupt,
        Problem::Segment { source, .. }
        | Problem::Page { source, .. }
        | Problem::Chunk { source, .. } => source.kind() == chunk::ErrorKind::Corrupt,
        Problem::NoManifest { .. }
        | Problem::Manifest { .. }
        | Problem::Overlap { .. }
        | Problem::Block { .. }
        | Problem::OwnedTwice { .. }
        | Problem::Outside { .. } => true,
        Problem::Listed(error) => error.kind() == chunk::ErrorKind::Corrupt,
        Problem::Snapshot { problem, .. } => is_damage(problem),
    }
}

fn view(name: &VolumeName, id: VolumeId, report: &CheckReport, log: Option<LogView>) -> CheckView {
    let stored = report.problems.iter().map(ToString::to_string);
    let logged = log.iter().flat_map(|log| log.problems.clone());
    let problems: Vec<_> = stored.chain(logged).collect();
    let Counts { segments, pages, unfolded, chunks, blocks, snapshots } = report.counts;
    let orphan_bytes = |all: &Vec<(_, u64)>| all.iter().map(|(_, bytes)| bytes).sum();
    CheckView {
        name: name.to_string(),
        id: id.to_string(),
        clean: problems.is_empty(),
        store: StoreView {
            manifest: report.manifest.map(|seq| seq.0),
            older_manifests: report.older_manifests,
            directory_segments: segments,
            map_pages: pages,
            unfolded_chunks: unfolded,
            chunks,
            blocks,
            snapshots,
            orphans: report.orphans.as_ref().map(Vec::len),
            orphan_bytes: report.orphans.as_ref().map(orphan_bytes),
        },
        log,
        problems,
        more_problems: report.more_problems,
    }
}

/// Reads the log if no server works on it.
fn read_log(settings: &Settings, known: &Known) -> Result<Option<LogView>, Error> {
    match DataDirLock::acquire_shared(settings) {
        Ok(_lock) => log::read(settings, known).map(Some),
        Err(LockError::Missing { .. }) => Ok(Some(LogView::default())),
        Err(LockError::Held { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn text(view: &CheckView) -> String {
    let stored = &view.store;
    let number = |number: Option<u64>| number.map_or("none".to_owned(), |it| it.to_string());
    let mut text = format!(
        "volume {}, id {}\nstore: manifest {}; {} directory segments, {} map pages, {} chunks not \
         folded in, {} chunks; {} blocks of data; {} snapshots\n",
        view.name,
        view.id,
        number(stored.manifest),
        stored.directory_segments,
        stored.map_pages,
        stored.unfolded_chunks,
        stored.chunks,
        stored.blocks,
        stored.snapshots,
    );
    if let (Some(orphans @ 1..), Some(bytes)) = (stored.orphans, stored.orphan_bytes) {
        let bytes = ByteSize(bytes);
        text.push_str(&format!("store: {orphans} objects of {bytes} that nothing refers to\n"));
    }
    match &view.log {
        None => {
            text.push_str("log: not checked, as a server works on it or no manifest is there\n");
        }
        Some(log) => text.push_str(&format!(
            "log: {} in {} files; {} records with {} of data to replay; {} unsynced ends to drop\n",
            ByteSize(log.file_bytes),
            log.files,
            log.replay_records,
            ByteSize(log.replay_bytes),
            log.torn_tails,
        )),
    }
    for problem in &view.problems {
        text.push_str(&format!("damaged: {problem}\n"));
    }
    if view.more_problems > 0 {
        text.push_str(&format!("damaged: {} more\n", view.more_problems));
    }
    text.push_str(if view.clean { "clean\n" } else { "NOT CLEAN\n" });
    text
}
