//! `krait volume status`.

use std::fmt::Write as _;
use std::time::Duration;

use chunk::ids::volume_prefix;
use chunk::{ObjectStore, VolumeName};
use futures_lite::future::block_on;

use super::error::VolumeError;
use super::{known, log, store};
use crate::cli::output;
use crate::config::{ByteSize, Settings};
use crate::control::{ControlClient, DataDirLock, LockError, VolumeState, VolumeStatus};
use crate::engine::open::NO_HOST;
use crate::error::Error;
use crate::server::{host_id, kept};

/// Prints how a volume is: what the server says if one runs, else what disk and store tell.
pub(super) fn status(settings: &Settings, name: &VolumeName, json: bool) -> Result<(), Error> {
    let status = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => client.status(name.to_string())?,
        None => unserved(settings, name)?,
    };
    if json {
        return output::print_json(&status);
    }
    output::print(&text(&status))
}

/// What is known of a volume that nobody serves.
fn unserved(settings: &Settings, name: &VolumeName) -> Result<VolumeStatus, Error> {
    let store = store::open(settings)?;
    let known = known(&store, name)?;
    let objects = block_on(store.list(&volume_prefix(known.id))).map_err(VolumeError::Store)?;
    let wal = settings.wal_dir(known.id);
    let failed = |error| Error::file("list", &wal, error);
    let wal_bytes = kept::bytes(&wal).map_err(failed)?;
    let host = host_id::peek(&settings.data_dir);
    let kept = kept::find(&wal, &known.manifest, host).map_err(failed)?;
    let owner = known.manifest.owner;
    let is_own = Some(owner) == host;
    let is_elsewhere = owner != NO_HOST && !is_own;
    // Only who holds the lock may look into the log; a log with problems has no honest number.
    let logged = match DataDirLock::acquire_shared(settings) {
        Ok(_) if is_elsewhere => Some(log::LogView::default()),
        Ok(_lock) => Some(log::read(settings, &known)?),
        Err(LockError::Missing { .. }) => Some(log::LogView::default()),
        Err(LockError::Held { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let logged_bytes = logged.filter(|log| log.problems.is_empty()).map(|log| log.replay_bytes);
    Ok(VolumeStatus {
        volume: name.to_string(),
        id: known.id.to_string(),
        state: if is_elsewhere { VolumeState::Elsewhere } else { VolumeState::NotServed },
        size_bytes: known.manifest.size_bytes,
        incarnation: known.manifest.incarnation.0,
        logged_bytes,
        remote_bytes: Some(objects.iter().map(|(_, bytes)| bytes).sum()),
        wal_bytes,
        host: (owner != NO_HOST).then(|| host_id::text(&owner)),
        host_since_incarnation: known.manifest.tenure.0,
        is_own,
        kept_aside_bytes: kept.bytes,
        kept_aside_in: (kept.bytes > 0).then(|| wal.display().to_string()),
        ..VolumeStatus::default()
    })
}

/// Lines of a name and a text.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, text: impl std::fmt::Display) {
        writeln!(self.0, "{name:<12} {text}").expect("text takes text");
    }
}

fn text(status: &VolumeStatus) -> String {
    let size = |bytes: u64| ByteSize(bytes).to_string();
    let maybe = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    let mut lines = Lines::default();
    lines.add("volume", &status.volume);
    lines.add("state", state(status));
    lines.add("host", host(status));
    lines.add("size", size(status.size_bytes));
    lines.add("clients", status.connections);
    lines.add("incarnation", status.incarnation);
    let dirty = size(status.dirty_bytes);
    lines.add("dirty", format!("{dirty}  (acknowledged, only in memory)"));
    let logged = maybe(status.logged_bytes);
    lines.add("logged", format!("{logged}  (in the write-ahead log)"));
    lines.add("syncing", format!("{}  (being uploaded)", size(status.syncing_bytes)));
    lines.add("remote", format!("{}  (in the object store)", maybe(status.remote_bytes)));
    let (memory, disk) = (size(status.cached_bytes), size(status.disk_cached_bytes));
    lines.add("cached", format!("{memory} in memory, {disk} on the local disk  (of all volumes)"));
    if status.disk_cached_bytes > 0 {
        let (hits, rotten) = (status.disk_cache_hits, status.disk_cache_rotten);
        let text = format!("answered {hits} reads, {rotten} were rotten and fetched again");
        lines.add("disk cache", text);
    }
    lines.add("log files", size(status.wal_bytes));
    if matches!(status.state, VolumeState::Serving) {
        lines.add("newest cut", newest_cut(status));
    }
    if status.sealed_bytes > 0 {
        let (sealed, stored) = (status.sealed_bytes, status.stored_bytes);
        let saved = 100 - (stored.min(sealed) * 100).div_ceil(sealed);
        let (sealed, stored) = (size(sealed), size(stored));
        let text = format!("{sealed} of blocks take {stored} in the store, {saved} % less");
        lines.add("compressed", format!("{text}  (since it was opened)"));
    }
    add_traffic(&mut lines, status);
    if let Some(failure) = &status.failure {
        lines.add("failure", failure);
    }
    if let Some(place) = &status.kept_aside_in {
        let (kept, name) = (size(status.kept_aside_bytes), &status.volume);
        lines.add(
            "kept aside",
            format!(
                "{kept} in {place}: logged by this host, and not in the store, when another host \
                 took the volume over; never replayed; `krait volume drop-log {name}` removes it"
            ),
        );
    }
    lines.0
}

fn state(status: &VolumeStatus) -> &'static str {
    match status.state {
        VolumeState::Serving if status.read_only => "serving, read-only",
        VolumeState::Serving => "serving",
        VolumeState::Fenced => "fenced: another host has taken it over",
        VolumeState::Failed => "failed: a disk failed under it",
        VolumeState::NotServed => "not served",
        VolumeState::Elsewhere if status.kept_aside_bytes > 0 => {
            "another host has taken it over: to take it back, `krait volume attach --force`"
        }
        VolumeState::Elsewhere => {
            "another host has it: to take it over, `krait volume attach --force`"
        }
    }
}

fn host(status: &VolumeStatus) -> String {
    let since = status.host_since_incarnation;
    match &status.host {
        Some(host) if status.is_own => format!("{host}, this one, since incarnation {since}"),
        Some(host) => format!("{host}, since incarnation {since}"),
        None => "none has it, any may open it".to_owned(),
    }
}

fn newest_cut(status: &VolumeStatus) -> String {
    let seconds = |millis: u64| format!("{:.1} s", Duration::from_millis(millis).as_secs_f64());
    let cut = match status.published_age_ms {
        Some(age) => format!("{} ago", seconds(age)),
        None => "none by this opening".to_owned(),
    };
    match status.unpublished_age_ms {
        Some(age) => {
            format!("{cut}; the oldest write that the store lacks is {} old", seconds(age))
        }
        None => format!("{cut}; the store lacks nothing"),
    }
}

fn add_traffic(lines: &mut Lines, status: &VolumeStatus) {
    if let Some(traffic) = &status.traffic {
        let rate = match (traffic.requests_per_mib, traffic.puts_per_mib) {
            (Some(requests), Some(puts)) => {
                let written = ByteSize(status.written_bytes);
                format!("; {requests:.2} requests, {puts:.2} puts per MiB of the {written} written")
            }
            _ => String::new(),
        };
        let (requests, puts) = (traffic.requests, traffic.puts);
        lines.add("requests", format!("{requests}, of these {puts} puts{rate}"));
    }
    let state = status.store_state.map(|state| state.name());
    let Some(store) = &status.store else {
        state.iter().for_each(|state| lines.add("store", state));
        return;
    };
    let seconds = |millis: u64| Duration::from_millis(millis).as_secs();
    let health = match (store.failing_ms, &store.last_error) {
        (Some(since), Some(error)) => format!("failing for {} s: {error}", seconds(since)),
        (_, Some(error)) => {
            let age = seconds(store.last_error_age_ms.unwrap_or_default());
            format!("answers; the last error was {age} s ago: {error}")
        }
        (_, None) => "answers".to_owned(),
    };
    lines.add("store", state.into_iter().chain([&*health]).collect::<Vec<_>>().join(", "));
    lines.add(
        "",
        format!(
            "{} requests for all volumes, {} of them repeated, {} given up, {} told to slow down",
            store.requests, store.retries, store.errors, store.slowdowns
        ),
    );
}
