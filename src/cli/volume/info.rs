//! `krait volume info`.

use chunk::ids::volume_prefix;
use chunk::{ObjectStore, SnapshotName, VolumeName, clones, manifest, snapshot};
use futures_lite::future::block_on;
use serde::Serialize;
use wal::BLOCK_BYTES;

use super::error::VolumeError;
use super::{Known, VolumeView, known, store};
use crate::cli::output;
use crate::config::{ByteSize, Settings};
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
    /// Snapshots, without those that were made for a clone alone.
    snapshots: usize,
    /// Volumes that were cloned from it.
    clones: Vec<String>,
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
    let snapshots = block_on(snapshot::names(&store, id)).map_err(VolumeError::Store)?;
    let is_users =
        |name: &Result<SnapshotName, _>| name.as_ref().is_ok_and(|name| name.clone_id().is_none());
    let pins = block_on(clones::pins(&store, id)).map_err(VolumeError::Snapshot)?;
    let mut volume = VolumeView::new(name, &manifest);
    if let (Some(view), Some(parent)) = (&mut volume.parent, &manifest.parent) {
        // A parent that cannot be read has its identity.
        let newest = block_on(manifest::load(&store, parent.volume)).ok().flatten();
        view.volume = newest.map(|(_, parent)| parent.name.to_string());
    }
    let view = InfoView {
        volume,
        snapshots: snapshots.iter().filter(|name| is_users(name)).count(),
        clones: pins.live.iter().map(|pin| pin.name.to_string()).collect(),
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
    let parent = view.volume.parent.as_ref();
    let parent = parent.map_or_else(String::new, |it| format!("clone of     {}\n", it.text()));
    let clones = match view.clones.is_empty() {
        true => "none".to_owned(),
        false => view.clones.join(", "),
    };
    let (stripe, stored) = (ByteSize(view.stripe_bytes), ByteSize(view.object_bytes));
    output::print(&format!(
        "name         {}\nid           {}\nsize         {size} ({} bytes)\ncreated      {}\n\
         durability   {}\nfencing      {}\nincarnation  {}\nstripe       {stripe}\nmanifest     {}, cut at epoch {} of incarnation \
         {}\nmap          {} directory segments, {} chunks not folded in\nstore        {stored} in \
         {} objects of {}\n{parent}snapshots    {}\nclones       {clones}\n",
        view.volume.name,
        view.volume.id,
        size.0,
        view.volume.created,
        view.volume.durability,
        manifest.promises.fencing,
        view.volume.incarnation,
        view.manifest,
        view.cut_epoch,
        view.cut_incarnation,
        view.directory_segments,
        view.unfolded_chunks,
        view.objects,
        settings.store,
        view.snapshots,
    ))
}
