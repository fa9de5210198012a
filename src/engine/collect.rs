//! Collecting what no manifest needs any more, and compacting what little is needed of.
//!
//! Judged by what is published, never by the map in memory: all that the newest manifest and the
//! snapshots refer to stays. Clones need nothing more, for a snapshot of their parent stays as long
//! as they do. An object is removed once it was found unneeded twice, a grace apart: whoever found
//! its name in an older map has read it, or given up, by then.
//!
//! The order of a pass is what makes it safe:
//! 1. list the objects.
//! 2. wait for a moment between two cuts, write the map into pages, take the newest manifest. What
//!    was listed was uploaded before this moment, so a manifest that refers to it is published, or
//!    will never be. Objects of later openings are left alone.
//! 3. list the snapshots, and let none be made until step 5 is over.
//! 4. read all maps. What cannot be read ends the pass.
//! 5. look whether this host still has the volume; remove what was unneeded a grace ago as well.
//!
//! A power cut after any step leaves garbage, which the next pass finds. What one manifest and all
//! snapshots do not refer to, no later one does: maps are made of older maps and of new objects.

use std::cell::RefCell;
use std::time::Duration;

use ahash::AHashMap;
use chunk::ids::volume_prefix;
use chunk::limits::SEGMENT_SPAN_BYTES;
use chunk::{ChunkId, Manifest, ObjectName, ObjectStore, StoreError, snapshot};
use serde::{Deserialize, Serialize};
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, VolumeId};

use super::Env;
use super::abreast::abreast;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{
    COMPACT_AT_A_TIME, COMPACT_BELOW_PERCENT, COMPACT_UP_TO_PERCENT, DELETES_AT_A_TIME,
};
use super::message::{Answer, Ask};
use super::open::newest_manifest;
use super::reach::{Reach, Root};
use super::turn::{Taken, Turn};

/// What one pass found and did: objects and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Collected {
    /// Chunks and map objects of the volume's own.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the blocks that the newest manifest refers to in them.
    pub live_bytes: u64,
    /// Objects that only snapshots need.
    pub kept_by_snapshots: u64,
    /// Objects that nothing needs, still there.
    pub garbage: u64,
    /// Their bytes.
    pub garbage_bytes: u64,
    /// Objects that were removed.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Chunks whose blocks moved, or would.
    pub victims: u64,
    /// Bytes that moved.
    pub moved_bytes: u64,
}

/// The collector's memory of a volume.
#[derive(Default)]
pub(super) struct Collector {
    /// One pass at a time.
    passing: Turn,
    /// What is unneeded, and since when that is known.
    unneeded: RefCell<AHashMap<ObjectName, Duration>>,
    /// Blocks of the chunks that may be compressed.
    blocks: RefCell<AHashMap<ChunkId, u32>>,
}

/// An object of the volume.
struct Found {
    name: ObjectName,
    id: ChunkId,
    is_chunk: bool,
    bytes: u64,
}

impl<E: Env> Core<E> {
    /// One pass over an open volume.
    ///
    /// # Errors
    /// The volume is stopped, not open, or another host's, or something of its map cannot be read.
    pub async fn collect(
        self: &std::rc::Rc<Self>,
        volume: VolumeNo,
    ) -> Result<Collected, VolumeError> {
        match self.ask(self.home(volume), Ask::Collect(volume)).await? {
            Answer::Collected(collected) => Ok(*collected),
            _ => unreachable!("collecting is answered by what was collected"),
        }
    }

    /// What a pass would find in the store, and do. Nothing is changed, and the volume need not be
    /// open; what an open one has uploaded and not published counts as garbage.
    ///
    /// # Errors
    /// Something of the map cannot be read.
    pub async fn survey(&self, volume: VolumeId) -> Result<Collected, VolumeError> {
        let found = list_objects(self, volume).await?;
        let (_, manifest) = newest_manifest(self, volume).await?;
        let (_, collected, _) = judge(self, &manifest, &found, &RefCell::default()).await?;
        Ok(collected)
    }
}

impl<E: Env> Coordinator<E> {
    /// Collects as long as the volume is open and written to.
    pub(super) async fn run_collector(self: std::rc::Rc<Self>) {
        let pause = self.core.tuning.gc_grace;
        let (mut written, mut stored) = (0, self.mapped_at_most());
        loop {
            self.core.runtime.sleep(pause).await;
            if self.is_ending() {
                return;
            }
            let now = self.written.get();
            let waits = !self.collector.unneeded.borrow().is_empty();
            // A pass reads the whole map: the larger it is, the more must be there to be gained.
            let due = self.core.tuning.gc_after_bytes.max(stored / self.core.tuning.gc_share);
            if !waits && now.saturating_sub(written) < due {
                continue;
            }
            written = now;
            match self.collect().await {
                Ok(collected) => stored = collected.bytes,
                Err(error) => {
                    log::debug!("volume {}: not collected now: {error}", self.shared.volume);
                }
            }
        }
    }

    /// Bytes of the volume that its map speaks of, at most.
    fn mapped_at_most(&self) -> u64 {
        let segments = self.newest.borrow().1.directory.len() as u64;
        (segments * SEGMENT_SPAN_BYTES).min(self.shared.size_bytes)
    }

    /// One pass.
    pub(super) async fn collect(&self) -> Result<Collected, VolumeError> {
        let (core, volume) = (&self.core, self.shared.volume);
        let _pass = self.collector.passing.take().await;
        let mut found = list_objects(core, volume).await?;
        found.retain(|object| object.id.incarnation() <= self.shared.incarnation);
        let manifest = {
            let _turn = self.between_cuts().await?;
            self.fold_now().await?;
            self.newest.borrow().1.clone()
        };
        assert!(manifest.unfolded.is_empty(), "nothing that is listed counts as unneeded");
        let roots = self.rooting.take().await;
        let (reach, mut collected, victims) =
            judge(core, &manifest, &found, &self.collector.blocks).await?;
        self.sweep(&roots, &found, &reach, &mut collected).await?;
        drop(roots);
        for some in victims.chunks(COMPACT_AT_A_TIME) {
            collected.moved_bytes += self.compact(some).await?;
        }
        Ok(collected)
    }

    /// Removes what nothing needs, and has not for as long as the grace.
    async fn sweep(
        &self,
        _roots: &Taken<'_>,
        found: &[Found],
        reach: &Reach,
        collected: &mut Collected,
    ) -> Result<(), VolumeError> {
        let now = self.core.runtime.now();
        let grace = match planted::is(Bug::GraceIgnored) {
            true => Duration::ZERO,
            false => self.core.tuning.gc_grace,
        };
        let ripe: Vec<&Found> = {
            let mut unneeded = self.collector.unneeded.borrow_mut();
            let before = std::mem::take(&mut *unneeded);
            let mut since = |object: &&Found| {
                let since = before.get(&object.name).copied().unwrap_or(now);
                unneeded.insert(object.name.clone(), since);
                now.saturating_sub(since) >= grace
            };
            found.iter().filter(|object| !is_needed(reach, object)).filter(|o| since(o)).collect()
        };
        if ripe.is_empty() {
            return Ok(());
        }
        for some in ripe.chunks(DELETES_AT_A_TIME) {
            self.see_that_it_is_ours().await?;
            if self.is_ending() {
                return Err(VolumeError::Closed);
            }
            let delete = async |object: &&Found| match self.core.store.delete(&object.name).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            };
            abreast(DELETES_AT_A_TIME, some.iter().map(delete)).await?;
            for object in some {
                self.collector.unneeded.borrow_mut().remove(&object.name);
                collected.removed += 1;
                collected.removed_bytes += object.bytes;
                collected.garbage -= 1;
                collected.garbage_bytes -= object.bytes;
            }
        }
        Ok(())
    }

    /// Waits for a moment between two cuts; there is none as long as this is held.
    ///
    /// # Errors
    /// The volume is stopped or being closed, or a cut is half done.
    pub(super) async fn between_cuts(&self) -> Result<Taken<'_>, VolumeError> {
        let turn = self.cutting.take().await;
        self.shared.alive()?;
        match self.is_ending() || self.is_unfinished() {
            true => Err(VolumeError::Closed),
            false => Ok(turn),
        }
    }
}

/// Chunks and map objects of a volume's own.
async fn list_objects<E: Env>(core: &Core<E>, volume: VolumeId) -> Result<Vec<Found>, VolumeError> {
    let prefix = volume_prefix(volume);
    let own = |(name, bytes): (ObjectName, u64)| {
        let part = &name.as_str()[prefix.len()..];
        let (is_chunk, id) = match part.split_once('/')? {
            ("chunks", id) => (true, ChunkId::parse(id)?),
            ("maps", id) => (false, ChunkId::parse(id)?),
            _ => return None,
        };
        Some(Found { name, id, is_chunk, bytes })
    };
    Ok(core.store.list(&prefix).await?.into_iter().filter_map(own).collect())
}

/// What the newest manifest and the snapshots need of a volume's objects, what that comes to, and the
/// chunks whose blocks are to move.
async fn judge<E: Env>(
    core: &Core<E>,
    manifest: &Manifest,
    found: &[Found],
    blocks: &RefCell<AHashMap<ChunkId, u32>>,
) -> Result<(Reach, Collected, Vec<ChunkId>), VolumeError> {
    let mut reach = Reach::new(manifest.volume);
    reach.add(core, manifest, Root::Newest).await?;
    add_snapshots(core, manifest.volume, &mut reach).await?;
    reach.learn_blocks(core, manifest, blocks).await?;
    let mut collected = tell(found, &reach);
    let victims = choose(found, &reach, &collected, core.tuning.gc_pass_bytes);
    collected.victims = victims.len() as u64;
    Ok((reach, collected, victims))
}

async fn add_snapshots<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    reach: &mut Reach,
) -> Result<(), VolumeError> {
    if planted::is(Bug::SnapshotsSwept) {
        return Ok(());
    }
    for name in snapshot::names(&core.store, volume).await? {
        let name = name.map_err(|error| VolumeError::Corrupt {
            volume: volume.to_string(),
            lba: 0,
            found: error.to_string(),
        })?;
        // One that was deleted since it was listed needs nothing.
        if let Some(snapshot) = snapshot::read(&core.store, volume, &name).await? {
            reach.add(core, &snapshot.manifest, Root::Snapshot).await?;
        }
    }
    Ok(())
}

/// The chunks whose live blocks are to move: those that free most for what they cost, the
/// older the better, until what is left of the garbage in chunks is little enough.
fn choose(found: &[Found], reach: &Reach, collected: &Collected, most: u64) -> Vec<ChunkId> {
    let mut stored = collected.bytes - collected.garbage_bytes;
    let live = collected.live_bytes;
    if stored == 0 || live * 100 >= stored * COMPACT_BELOW_PERCENT {
        return Vec::new();
    }
    let newest = found.iter().map(|object| object.id.incarnation().0).max().unwrap_or(0);
    let mut candidates: Vec<(f64, ChunkId, u64, u64)> = found
        .iter()
        .filter(|object| object.is_chunk)
        .filter_map(|object| {
            let needed = reach.needed_bytes(object.id, object.bytes)?;
            let share = needed as f64 / object.bytes.max(1) as f64;
            let age = (newest - object.id.incarnation().0 + 1) as f64;
            let worth = (1.0 - share).max(0.0) * age.sqrt() / (1.0 + share);
            let gains = needed + BLOCK_BYTES as u64 <= object.bytes;
            gains.then_some((worth, object.id, needed, object.bytes))
        })
        .collect();
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut victims = Vec::new();
    let mut moved = 0;
    for (_, id, needed, bytes) in candidates {
        let enough = live * 100 >= stored * COMPACT_UP_TO_PERCENT;
        if enough || moved >= most {
            break;
        }
        stored = stored - bytes + needed;
        moved += needed;
        victims.push(id);
    }
    victims
}

fn is_needed(reach: &Reach, object: &Found) -> bool {
    match object.is_chunk {
        true => reach.has_chunk(object.id),
        false => reach.has_map(object.id),
    }
}

fn tell(found: &[Found], reach: &Reach) -> Collected {
    let mut told = Collected::default();
    for object in found {
        told.objects += 1;
        told.bytes += object.bytes;
        if !is_needed(reach, object) {
            told.garbage += 1;
            told.garbage_bytes += object.bytes;
            continue;
        }
        let needed = reach.needed_bytes(object.id, object.bytes).filter(|_| object.is_chunk);
        // Of a map, or a chunk that is not to be compacted, all counts as needed.
        told.live_bytes += needed.unwrap_or(object.bytes);
        told.kept_by_snapshots += u64::from(object.is_chunk && needed.is_none());
    }
    told
}
