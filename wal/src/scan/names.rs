//! The cuts that have a name and are in no manifest yet.

use super::{Candidate, Floor, ScanError};
use crate::disk::{Disk, DiskFile};
use crate::planted::{self, Bug};
use crate::record::{Body, Entry};
use crate::units::{BLOCK_BYTES, Epoch, Incarnation, Lsn, ShardId};

/// A cut that was named, and that no manifest has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedCut {
    /// The opening that made it.
    pub incarnation: Incarnation,
    /// The epoch that it ended.
    pub epoch: Epoch,
    /// The last record of each shard of that opening within the cut. What else is in it was logged
    /// later, and is older than its record, see [`crate::Record::epoch_of`].
    pub positions: Vec<(ShardId, Lsn)>,
    /// What it was named: one block.
    pub name: Vec<u8>,
}

/// Finds the names among the records that are to be replayed, oldest cut first.
pub(super) async fn named_cuts<D: Disk>(
    disk: &D,
    dir: &str,
    files: &[String],
    candidates: &[Candidate],
    floor: &Floor,
) -> Result<Vec<NamedCut>, ScanError> {
    let mut found = Vec::new();
    if planted::is(Bug::NameForgotten) {
        return Ok(found);
    }
    for candidate in candidates.iter().filter(|candidate| candidate.keep) {
        for entry in candidate.record.entries.iter() {
            let Body::Name(place) = entry.body else { continue };
            let (file, incarnation) =
                (&files[candidate.file as usize], candidate.record.identity.incarnation);
            let at = u64::from(place.block) * BLOCK_BYTES as u64;
            let opened = disk.open(&format!("{dir}/{file}")).await?;
            let name = opened.read_at(at, BLOCK_BYTES).await?.to_vec();
            if !entry.matches(&name) {
                return Err(ScanError::Unsteady { file: file.clone(), at_block: place.block });
            }
            let epoch = candidate.record.epoch_of(entry);
            let positions = positions(candidates, incarnation, epoch, floor);
            found.push(NamedCut { incarnation, epoch, positions, name });
        }
    }
    found.sort_by_key(|cut| cut.epoch);
    Ok(found)
}

/// The last record of each shard of an opening within the cut of an epoch.
fn positions(
    candidates: &[Candidate],
    incarnation: Incarnation,
    epoch: Epoch,
    floor: &Floor,
) -> Vec<(ShardId, Lsn)> {
    let mut positions = match incarnation == floor.incarnation {
        true => floor.lsns.clone(),
        false => Vec::new(),
    };
    for Candidate { record, keep, .. } in candidates {
        let id = &record.identity;
        if !keep || id.incarnation != incarnation || record.epoch > epoch {
            continue;
        }
        match positions.iter_mut().find(|(shard, _)| *shard == id.shard) {
            Some((_, last)) => *last = record.lsn.max(*last),
            None => positions.push((id.shard, record.lsn)),
        }
    }
    positions.sort_unstable();
    positions
}

/// Leaves out of a record what is older than it and in the manifest's cut.
pub(super) fn leave_out_covered(candidate: &mut Candidate, floor: &Floor) {
    let record = &candidate.record;
    let is_newer = |entry: &&Entry| record.epoch_of(entry) > floor.epoch;
    if record.entries.iter().any(|entry| entry.age > 0) {
        candidate.record.entries = record.entries.iter().filter(is_newer).copied().collect();
    }
}
