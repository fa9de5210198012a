//! What the log of earlier openings holds for one shard of this one.

use chunk::Manifest;
use wal::disk::Disk;
use wal::planted::{self, Bug};
use wal::scan::{Sighted, walk};
use wal::{BLOCK_BYTES, Body, Incarnation, Layout, Scan, ShardId, ShardRun, VolumeId};

use super::Env;
use super::core::Core;
use super::error::VolumeError;
use super::place::{FileNo, LogPlace, Place};

/// Directory of a volume's log, below the data directory.
#[must_use]
pub fn log_directory(volume: VolumeId) -> String {
    format!("wal/{volume}")
}

/// How the names of one shard's segment files start, in one opening of a volume.
#[must_use]
pub fn log_prefix(incarnation: Incarnation, shard: ShardId) -> String {
    format!("{incarnation}-{shard}-")
}

/// What one shard takes over from the log of earlier openings.
#[derive(Default)]
pub struct RecoveredShard {
    /// Segment files that its places lie in.
    pub files: Vec<(FileNo, String)>,
    /// Its blocks, oldest change first: later ones win.
    pub places: Vec<(ShardRun, Place)>,
}

impl RecoveredShard {
    /// Opens the segment files.
    pub(super) async fn open_files<D: Disk>(
        &self,
        disk: &D,
    ) -> Result<Vec<(FileNo, D::File)>, wal::disk::DiskError> {
        let mut files = Vec::with_capacity(self.files.len());
        for (number, path) in &self.files {
            files.push((*number, disk.open(path).await?));
        }
        Ok(files)
    }
}

/// For a host that finds its volume taken over by another one: an incarnation of which the log
/// here holds records that no manifest is known to cover.
///
/// The cut of the newest manifest speaks of the log of the host that made it. A record of a lower
/// incarnation is covered if that host is this one; if not, nobody knows.
///
/// # Errors
/// The disk failed.
pub async fn unpublished<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    manifest: &Manifest,
    found: &Scan,
) -> Result<Option<Incarnation>, VolumeError> {
    if let Some(above) = found.records.first() {
        return Ok(Some(above.record.identity.incarnation));
    }
    let cut = manifest.cut.incarnation;
    let (mut below, mut is_own_cut) = (None, false);
    for name in &found.files {
        let file = core.disk.open(&format!("{}/{name}", log_directory(volume))).await?;
        let blocks = core.disk.list(&log_directory(volume)).await?;
        let bytes = blocks.iter().find(|entry| entry.name == *name).map_or(0, |entry| entry.bytes);
        walk(&file, (bytes / BLOCK_BYTES as u64) as u32, |sighting| {
            if let Sighted::Sound(record) | Sighted::Damaged { record, .. } = sighting.what
                && record.identity.volume == volume
            {
                is_own_cut |= record.identity.incarnation == cut;
                if record.identity.incarnation < cut {
                    below = below.max(Some(record.identity.incarnation));
                }
            }
            Ok::<(), wal::disk::DiskError>(())
        })
        .await?;
    }
    Ok(below.filter(|_| !is_own_cut))
}

/// Deals what a scan found to the shards of `layout`. Records stand in the order of (incarnation,
/// shard, lsn): all records of one block in one incarnation are of one shard, so for each block
/// this is the order in which it was written.
///
/// # Errors
/// A record was made under another stripe than the volume has.
pub fn deal(
    scan: &Scan,
    layout: Layout,
    volume: VolumeId,
) -> Result<Vec<RecoveredShard>, VolumeError> {
    let mut dealt: Vec<_> = (0..layout.shards()).map(|_| RecoveredShard::default()).collect();
    let mut records: Vec<_> = scan.records.iter().collect();
    if planted::is(Bug::ReplayInListOrder) {
        records.sort_by_key(|found| (found.file, found.record.at_block));
    }
    for found in records {
        let (made, maker) = (found.record.identity.layout, found.record.identity.shard);
        let file = FileNo(found.file as u32);
        if made.stripe_shift() != layout.stripe_shift() {
            let found = format!("{}: a record of other stripes", scan.files[found.file]);
            return Err(VolumeError::Corrupt { volume: volume.to_string(), lba: 0, found });
        }
        for entry in &found.record.entries {
            match entry.body {
                Body::Data(place) => {
                    let owner = layout.owner(entry.extent.lba());
                    let run = layout.owned(owner, entry.extent).expect("the owner owns it");
                    assert_eq!(run.count, entry.extent.count(), "data never spans two stripes");
                    let place = LogPlace::new(file, place.block, place.crc, run.count as u8);
                    dealt[usize::from(owner.0)].places.push((run, Place::Log(place)));
                }
                Body::Hole(_) if planted::is(Bug::ZeroesNotReplayed) => {}
                Body::Hole(kind) => {
                    let place = Place::from(kind);
                    for (shard, to) in (0..).map(ShardId).zip(&mut dealt) {
                        let runs = layout.inherited(shard, made, maker, entry.extent);
                        to.places.extend(runs.map(|run| (run, place)));
                    }
                }
            }
        }
    }
    let directory = log_directory(volume);
    let path = |name: &String| format!("{directory}/{name}");
    let files: Vec<_> = (0..).map(FileNo).zip(scan.files.iter().map(path)).collect();
    for shard in &mut dealt {
        shard.files.clone_from(&files);
    }
    Ok(dealt)
}
