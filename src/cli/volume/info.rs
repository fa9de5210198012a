//! `krait volume info` and `krait volume status`.

use chunk::ids::volume_prefix;
use chunk::{ObjectStore, VolumeName};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::BLOCK_BYTES;

use super::error::VolumeError;
use super::{Known, VolumeView, known, log, store};
use crate::cli::output;
use crate::config::{ByteSize, Settings};
use crate::control::{ControlClient, DataDirLock, LockError, VolumeState, VolumeStatus};
use crate::error::Error;

/// The JSON output of `info`.
#[derive(Serialize)]
struct InfoView {
    #[serde(flatten)]
    volume: VolumeView,
    stripe_bytes: u64,
    /// Number of the newest manifest.
    manifest: u64,
    /// What that manifest covers.
    cut_incarnation: u64,
    cut_epoch: u64,
    /// Segments of the page directory that have pages, of 4 GiB each.
    directory_segments: usize,
    /// Chunks that the pages do not know yet.
    unfolded_chunks: usize,
    /// Everything that the store holds for the volume.
    objects: usize,
    object_bytes: u64,
}

/// Prints what the store knows of a volume.
pub(super) fn info(settings: &Settings, name: &VolumeName, json: bool) -> Result<(), Error> {
    store::agree_with_server(settings)?;
    let store = store::open(settings)?;
    let Known { id, seq, manifest } = known(&store, name)?;
    let objects = block_on(store.list(&volume_prefix(id))).map_err(VolumeError::Store)?;
    let view = InfoView {
        volume: VolumeView::new(name, &manifest),
        stripe_bytes: (BLOCK_BYTES as u64) << manifest.stripe_shift,
        manifest: seq.0,
        cut_incarnation: manifest.cut.incarnation.0,
        cut_epoch: manifest.cut.epoch.0,
        directory_segments: manifest.directory.len(),
        unfolded_chunks: manifest.unfolded.len(),
        objects: objects.len(),
        object_bytes: objects.iter().map(|(_, bytes)| bytes).sum(),
    };
    if json {
        return output::print_json(&view);
    }
    let size = ByteSize(view.volume.size_bytes);
    let (stripe, stored) = (ByteSize(view.stripe_bytes), ByteSize(view.object_bytes));
    output::print(&format!(
        "name         {}\nid           {}\nsize         {size} ({} bytes)\ncreated      {}\n\
         incarnation  {}\nstripe       {stripe}\nmanifest     {}, cut at epoch {} of incarnation \
         {}\nmap          {} directory segments, {} chunks not folded in\nstore        {stored} in \
         {} objects of {}\n",
        view.volume.name,
        view.volume.id,
        size.0,
        view.volume.created,
        view.volume.incarnation,
        view.manifest,
        view.cut_epoch,
        view.cut_incarnation,
        view.directory_segments,
        view.unfolded_chunks,
        view.objects,
        settings.store,
    ))
}

/// Prints how a volume is: what the server says if one runs, else what disk and store tell.
pub(super) fn status(settings: &Settings, name: &VolumeName, json: bool) -> Result<(), Error> {
    let status = match ControlClient::connect_if_running(settings)? {
        Some(mut client) => client.status(name.to_string())?,
        None => unserved(settings, name)?,
    };
    if json {
        return output::print_json(&status);
    }
    output::print(&status_text(&status))
}

/// What is known of a volume that nobody serves.
fn unserved(settings: &Settings, name: &VolumeName) -> Result<VolumeStatus, Error> {
    let store = store::open(settings)?;
    let known = known(&store, name)?;
    let objects = block_on(store.list(&volume_prefix(known.id))).map_err(VolumeError::Store)?;
    let wal = settings.wal_dir(known.id);
    let (_, wal_bytes) = log::usage(&wal).map_err(|error| Error::file("list", &wal, error))?;
    // Only who holds the lock may look into the log; a log with problems has no honest number.
    let logged = match DataDirLock::acquire_shared(settings) {
        Ok(_lock) => Some(log::read(settings, &known)?),
        Err(LockError::Missing { .. }) => Some(log::LogView::default()),
        Err(LockError::Held { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let logged_bytes = logged.filter(|log| log.problems.is_empty()).map(|log| log.replay_bytes);
    Ok(VolumeStatus {
        volume: name.to_string(),
        id: known.id.to_string(),
        state: VolumeState::NotServed,
        size_bytes: known.manifest.size_bytes,
        read_only: false,
        connections: 0,
        incarnation: known.manifest.incarnation.0,
        dirty_bytes: 0,
        logged_bytes,
        syncing_bytes: 0,
        remote_bytes: Some(objects.iter().map(|(_, bytes)| bytes).sum()),
        cached_bytes: 0,
        wal_bytes,
        failure: None,
    })
}

fn status_text(status: &VolumeStatus) -> String {
    let state = match status.state {
        VolumeState::Serving if status.read_only => "serving, read-only",
        VolumeState::Serving => "serving",
        VolumeState::Fenced => "fenced: another host has taken it over",
        VolumeState::Failed => "failed: a disk failed under it",
        VolumeState::NotServed => "not served",
    };
    let size = |bytes: u64| ByteSize(bytes).to_string();
    let maybe = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    let mut text = format!(
        "volume       {}\nstate        {state}\nsize         {}\nclients      {}\nincarnation  {}\n\
         dirty        {}  (acknowledged, only in memory)\nlogged       {}  (in the write-ahead \
         log)\nsyncing      {}  (being uploaded)\nremote       {}  (in the object store)\n\
         cached       {}  (in the memory cache)\nlog files    {}\n",
        status.volume,
        size(status.size_bytes),
        status.connections,
        status.incarnation,
        size(status.dirty_bytes),
        maybe(status.logged_bytes),
        size(status.syncing_bytes),
        maybe(status.remote_bytes),
        size(status.cached_bytes),
        size(status.wal_bytes),
    );
    if let Some(failure) = &status.failure {
        text.push_str(&format!("failure      {failure}\n"));
    }
    text
}
