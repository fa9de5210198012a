//! Snapshots and clones of the engine.

use std::ops::Range;
use std::time::Duration;

use chunk::clones::{self, NewClone};
use chunk::diff::{Change, diff};
use chunk::snapshot::{self, SnapshotError};
use chunk::{SnapshotId, SnapshotName, VolumeName, manifest};
use wal::VolumeId;
use wal::runtime::Runtime;

use super::{Handle, VOLUME};
use crate::engine::error::VolumeError;
use crate::engine::snapshot::NewSnapshot;
use crate::sim::judge::BLOCK_SECTORS;

/// More than any outage lasts.
const PATIENCE: Duration = Duration::from_secs(3600);

fn snapshot_name(number: u32) -> SnapshotName {
    SnapshotName::new(format!("s{number}")).expect("a sound name")
}

/// The id of the world's own volume stays the highest of all.
fn clone_id(number: u32) -> VolumeId {
    let mut id = [1; 16];
    id[8..12].copy_from_slice(&number.to_be_bytes());
    VolumeId(id)
}

fn name_of(volume: VolumeId) -> VolumeName {
    let number = u32::from_be_bytes(volume.0[8..12].try_into().expect("4 bytes"));
    let name = if volume == VOLUME { "world".to_owned() } else { format!("clone{number}") };
    VolumeName::new(name).expect("a sound name")
}

fn turn(handle: &Handle) -> SnapshotId {
    let mut turn = [0; 16];
    turn[..8].copy_from_slice(&handle.core.runtime.random().to_le_bytes());
    turn[8..].copy_from_slice(&handle.core.runtime.random().to_le_bytes());
    SnapshotId(turn)
}

pub(super) async fn snapshot(handle: &Handle, number: u32) -> Result<(), VolumeError> {
    let (id, name) = (turn(handle), snapshot_name(number));
    let new = NewSnapshot { id, name, created_unix_ms: 0, patience: PATIENCE };
    handle.core.snapshot(handle.volume.number(), new).await.map(drop)
}

pub(super) async fn snapshot_group(handles: &[Handle], number: u32) -> Result<(), VolumeError> {
    let member = |handle: &Handle| {
        let (id, name) = (turn(handle), snapshot_name(number));
        let new = NewSnapshot { id, name, created_unix_ms: 0, patience: PATIENCE };
        (handle.volume.clone(), new)
    };
    let members = handles.iter().map(member).collect();
    handles[0].keeper.snapshot_group(members).await.map(drop)
}

/// Waits until the snapshots that were made of a volume are in the store.
async fn settle(handle: &Handle) -> Result<(), VolumeError> {
    handle.core.settle(handle.volume.shared().volume).await
}

pub(super) async fn view(handle: &Handle, number: u32) -> Result<Handle, VolumeError> {
    settle(handle).await?;
    let (volume, name) = (handle.volume.shared().volume, snapshot_name(number));
    let Some(found) = snapshot::read(&handle.core.store, volume, &name).await? else {
        let volume = name_of(volume);
        return Err(SnapshotError::NotFound { volume, name }.into());
    };
    let volume = handle.core.view(found).await?;
    Ok(Handle { volume, ..handle.clone() })
}

pub(super) async fn exists(handle: &Handle, number: u32) -> Result<bool, String> {
    settle(handle).await.map_err(|error| error.to_string())?;
    let (volume, name) = (handle.volume.shared().volume, snapshot_name(number));
    let found = snapshot::read_header(&handle.core.store, volume, &name).await;
    Ok(found.map_err(|error| error.to_string())?.is_some())
}

pub(super) async fn changes(
    handle: &Handle,
    (from, to): (u32, u32),
) -> Result<Vec<Range<u64>>, String> {
    let (store, volume) = (&handle.core.store, handle.volume.shared().volume);
    let mut manifests = Vec::new();
    for number in [from, to] {
        let found = snapshot::read(store, volume, &snapshot_name(number)).await;
        let found = found.map_err(|error| error.to_string())?;
        manifests.push(found.ok_or("a snapshot is gone")?.manifest);
    }
    let mut changes = Vec::new();
    let note = |it: Change| {
        let sectors = |block: u64| block * BLOCK_SECTORS;
        changes.push(sectors(it.first.0)..sectors(it.first.0 + it.blocks));
    };
    diff(store, &manifests[0], &manifests[1], note).await.map_err(|error| error.to_string())?;
    Ok(changes)
}

pub(super) async fn close(handle: &Handle) -> Result<(), VolumeError> {
    handle.keeper.shut(handle.volume.shared().volume).await
}

pub(super) async fn clone_of(handle: &Handle, snap: u32, number: u32) -> Result<Handle, String> {
    settle(handle).await.map_err(|error| error.to_string())?;
    let source = handle.volume.shared().volume;
    let id = clone_id(number);
    let new = NewClone {
        name: name_of(id),
        id,
        source: (source, name_of(source)),
        snapshot: snapshot_name(snap),
        created_unix_ms: 0,
    };
    clones::create(&handle.core.store, new).await.map_err(|error| error.to_string())?;
    let volume = handle.core.attach(id).await.map_err(|error| error.to_string())?;
    Ok(Handle { volume, ..handle.clone() })
}

pub(super) async fn reopen(clone: &Handle) -> Result<Handle, VolumeError> {
    let id = clone.volume.shared().volume;
    clone.keeper.shut(id).await?;
    let volume = clone.core.attach(id).await?;
    Ok(Handle { volume, ..clone.clone() })
}

pub(super) async fn flatten(clone: &Handle) -> Result<bool, String> {
    match clone.core.flatten(clone.volume.number()).await {
        Ok(_) => Ok(true),
        Err(VolumeError::Inherited { .. }) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) async fn is_linked(clone: &Handle) -> Result<bool, String> {
    let newest = manifest::load(&clone.core.store, clone.volume.shared().volume).await;
    let (_, newest) = newest.map_err(|error| error.to_string())?.ok_or("it has no manifest")?;
    Ok(!newest.ancestors.is_empty())
}

pub(super) async fn open_clone(handle: &Handle, number: u32) -> Result<Handle, VolumeError> {
    let volume = handle.core.take_over(clone_id(number)).await?;
    Ok(Handle { volume, ..handle.clone() })
}

pub(super) async fn delete_clone(clone: &Handle, number: u32) -> Result<(), String> {
    close(clone).await.map_err(|error| error.to_string())?;
    let name = name_of(clone_id(number));
    let deleted = clones::delete_volume(&clone.core.store, &name, true, turn(clone)).await;
    match deleted.map_err(|error| error.to_string())? {
        Some(_) => Ok(()),
        None => Err(format!("there is no volume {name}")),
    }
}

pub(super) async fn delete_snapshot(handle: &Handle, number: u32) -> Result<bool, String> {
    settle(handle).await.map_err(|error| error.to_string())?;
    let volume = handle.volume.shared().volume;
    let (named, name) = ((volume, &name_of(volume)), snapshot_name(number));
    match snapshot::delete(&handle.core.store, named, &name, turn(handle)).await {
        Ok(()) => Ok(true),
        Err(SnapshotError::Needed { .. }) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
