//! Recovery: which records of a volume's log are to be replayed on top of its manifest.
//!
//! 1. List the files. Nothing is changed.
//! 2. Sync each file before a byte of it is believed. A killed process leaves writes that can be
//!    read and still be lost by a power cut; what recovery shows must not be un-shown later. A
//!    power cut here leaves what was there, or less of what was never synced.
//! 3. Find every record (`walk`) and leave out what the manifest's cut covers.
//! 4. Take the longest run without a gap of each (incarnation, shard), by the table in `decide`.
//! 5. Read the names of cuts that the manifest has not.
//!
//! Memory grows with the number of records and entries found, never with payload.

mod decide;
mod error;
mod names;
mod walk;

pub use error::{Loss, Place, ScanError};
pub use names::NamedCut;
pub use walk::{Sighted, Sighting, walk};

use crate::disk::{Disk, DiskFile};
use crate::limits::SEGMENT_MAX_BLOCKS;
use crate::planted::{self, Bug};
use crate::record::Record;
use crate::units::{BLOCK_BYTES, Epoch, Incarnation, Lsn, ShardId, VolumeId};
use decide::{Action, Proof, Rest, State, decide};

/// How the names of segment files end.
pub const FILE_SUFFIX: &str = ".wal";

/// What the newest manifest says about the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Floor {
    /// The incarnation that made the manifest's cut.
    pub incarnation: Incarnation,
    /// The last record of each shard of that incarnation within the cut; a shard that is not
    /// listed wrote none.
    pub lsns: Vec<(ShardId, Lsn)>,
    /// The epoch of the cut: records up to it are covered.
    pub epoch: Epoch,
    /// The incarnation of the manifest itself; no record may be above it.
    pub newest: Incarnation,
}

impl Floor {
    /// The last record of a log that the cut covers.
    fn lsn(&self, incarnation: Incarnation, shard: ShardId) -> Lsn {
        if incarnation != self.incarnation {
            return Lsn(0);
        }
        let listed = self.lsns.iter().find(|(listed, _)| *listed == shard);
        listed.map_or(Lsn(0), |&(_, lsn)| lsn)
    }

    fn covers(&self, record: &Record) -> bool {
        let id = &record.identity;
        let stale = planted::is(Bug::StaleLogReplayed);
        if (planted::is(Bug::NoIncarnationCheck) || stale) && id.incarnation < self.incarnation {
            return false;
        }
        if planted::is(Bug::NoEpochFilter) && id.incarnation == self.incarnation {
            return false;
        }
        id.incarnation < self.incarnation || record.lsn <= self.lsn(id.incarnation, id.shard)
    }
}

/// A record to be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its file, as an index into [`Scan::files`].
    pub file: usize,
    /// What it says; `Body::Data` tells where in the file its payload stands.
    pub record: Record,
}

/// The end of a log that was never synced, and is dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The opening that wrote it.
    pub incarnation: Incarnation,
    /// The shard that wrote it.
    pub shard: ShardId,
    /// The first record that is not there, or not whole.
    pub lsn: Lsn,
    /// How many header blocks from there on are left behind.
    pub dropped: usize,
    /// The row of the decision table.
    pub row: char,
}

/// What recovery found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scan {
    /// What to replay, in the order of (incarnation, shard, lsn).
    pub records: Vec<Found>,
    /// Named cuts that the manifest has not, oldest first.
    pub named: Vec<NamedCut>,
    /// The segment files, sorted by name, relative to it.
    pub files: Vec<String>,
    /// The highest epoch of the manifest's cut and of any record of the volume, replayed or not:
    /// the next opening starts above it.
    pub newest_epoch: Epoch,
    /// Tails that are dropped, in the order of (incarnation, shard).
    pub torn: Vec<TornTail>,
}

/// A record above the floor, before the decision.
struct Candidate {
    file: u32,
    damaged: bool,
    keep: bool,
    record: Record,
}

/// Finds what the files of `dir` whose names start with `prefix` say on top of the manifest.
/// Changes nothing but for the sync.
///
/// # Errors
/// Whatever keeps recovery from being sure: see [`ScanError`].
///
/// # Panics
/// If the cut is of a later incarnation than the manifest that holds it.
pub async fn scan<D: Disk>(
    disk: &D,
    dir: &str,
    prefix: &str,
    volume: VolumeId,
    floor: &Floor,
) -> Result<Scan, ScanError> {
    assert!(floor.incarnation <= floor.newest, "a cut from the future: {floor:?}");
    let mut newest_epoch = floor.epoch;
    let (mut files, mut candidates) = (Vec::new(), Vec::new());
    for entry in disk.list(dir).await? {
        if !entry.name.starts_with(prefix) || !entry.name.ends_with(FILE_SUFFIX) {
            continue;
        }
        let blocks = entry.bytes / BLOCK_BYTES as u64;
        if blocks > u64::from(SEGMENT_MAX_BLOCKS) {
            return Err(ScanError::TooLong { file: entry.name, bytes: entry.bytes });
        }
        let file = disk.open(&format!("{dir}/{}", entry.name)).await?;
        if !planted::is(Bug::RecoveryWithoutSync) {
            file.sync().await?;
        }
        let index = files.len() as u32;
        walk(&file, blocks as u32, |sighting| {
            let Some((record, damaged)) = admit(sighting, &entry.name, volume, floor)? else {
                return Ok(());
            };
            newest_epoch = newest_epoch.max(record.epoch);
            if !floor.covers(&record) {
                candidates.push(Candidate { file: index, damaged, keep: false, record });
            }
            Ok::<(), ScanError>(())
        })
        .await?;
        files.push(entry.name);
    }
    let torn = choose(&mut candidates, &files, floor)?;
    candidates.iter_mut().for_each(|candidate| names::leave_out_covered(candidate, floor));
    let named = names::named_cuts(disk, dir, &files, &candidates, floor).await?;
    let chosen = candidates.into_iter().filter(|candidate| candidate.keep);
    let records = chosen.map(|c| Found { file: c.file as usize, record: c.record }).collect();
    Ok(Scan { records, named, files, newest_epoch, torn })
}

/// Sorts out what is not of this volume, and refuses what is but cannot be judged. Returns the
/// record and whether its payload is damaged.
fn admit(
    sighting: Sighting,
    file: &str,
    volume: VolumeId,
    floor: &Floor,
) -> Result<Option<(Record, bool)>, ScanError> {
    let at_block = sighting.at_block;
    let (record, damaged) = match sighting.what {
        Sighted::Refused { volume: found, reject } if found == volume => {
            return Err(ScanError::Refused { file: file.into(), at_block, source: reject });
        }
        Sighted::Refused { .. } | Sighted::Misplaced(_) => return Ok(None),
        Sighted::Sound(record) => (record, false),
        Sighted::Damaged { record, entry: _ } => (record, !planted::is(Bug::NoPayloadChecksum)),
    };
    if record.identity.volume != volume {
        return Ok(None);
    }
    let (found, newest) = (record.identity.incarnation, floor.newest);
    if found > newest {
        return Err(ScanError::NewerIncarnation { file: file.into(), at_block, found, newest });
    }
    Ok(Some((record, damaged)))
}

/// Marks the candidates to keep, and puts all in the order of replay.
fn choose(
    candidates: &mut [Candidate],
    files: &[String],
    floor: &Floor,
) -> Result<Vec<TornTail>, ScanError> {
    let log = |c: &Candidate| (c.record.identity.incarnation, c.record.identity.shard);
    candidates.sort_by_key(|c| (log(c), c.record.lsn));
    let mut torn = Vec::new();
    for group in candidates.chunk_by_mut(|a, b| log(a) == log(b)) {
        torn.extend(choose_in_log(group, files, floor)?);
    }
    Ok(torn)
}

/// Goes along the log of one shard in one incarnation, from the floor up.
fn choose_in_log(
    group: &mut [Candidate],
    files: &[String],
    floor: &Floor,
) -> Result<Option<TornTail>, ScanError> {
    let place =
        |c: &Candidate| Place { file: files[c.file as usize].clone(), at_block: c.record.at_block };
    let identity = group[0].record.identity;
    let (incarnation, shard) = (identity.incarnation, identity.shard);
    if let Some(other) = group.iter().find(|c| c.record.identity != identity) {
        let (first, second) = (place(&group[0]), place(other));
        return Err(ScanError::IdentityClash { incarnation, shard, first, second });
    }
    let witness = group.iter().max_by_key(|c| c.record.durable_lsn).map(place);
    let durable = group.iter().map(|c| c.record.durable_lsn).max().unwrap_or_default();
    let mut lsn = floor.lsn(incarnation, shard).next();
    let unfiltered = [Bug::NoEpochFilter, Bug::NoIncarnationCheck, Bug::StaleLogReplayed];
    let unfiltered = unfiltered.into_iter().any(planted::is);
    if unfiltered {
        lsn = group[0].record.lsn;
    }
    let mut before = Epoch(0);
    let mut at = 0;
    loop {
        let same = group[at..].iter().take_while(|c| c.record.lsn == lsn).count();
        let state = match same {
            0 => State::Absent,
            1 if group[at].damaged => State::Damaged,
            1 => State::Sound,
            _ => State::Twice,
        };
        let proof = if durable >= lsn { Proof::Synced } else { Proof::Unproven };
        let rest = if at + same < group.len() { Rest::Later } else { Rest::Nothing };
        let row = decide(state, proof, rest);
        match row.action {
            Action::Accept => {
                let found = group[at].record.epoch;
                if found < before {
                    let place = place(&group[at]);
                    let fell =
                        ScanError::EpochFell { incarnation, shard, lsn, place, found, before };
                    return Err(fell);
                }
                group[at].keep = found > floor.epoch || unfiltered;
                (before, lsn, at) = (found, lsn.next(), at + 1);
            }
            Action::End => return Ok(None),
            Action::Drop => {
                let dropped = group.len() - at;
                let tail = TornTail { incarnation, shard, lsn, dropped, row: row.label };
                return Ok(Some(tail));
            }
            Action::RefuseLost if planted::is(Bug::LossTakenForTornTail) => return Ok(None),
            Action::RefuseLost => {
                let loss = match state {
                    State::Damaged => Loss::Damaged(place(&group[at])),
                    State::Sound | State::Twice | State::Absent => {
                        Loss::Missing { witness: witness.expect("a log has a record") }
                    }
                };
                return Err(ScanError::LostRecord { incarnation, shard, lsn, durable, loss });
            }
            Action::RefuseTwice => {
                let (first, second) = (place(&group[at]), place(&group[at + 1]));
                return Err(ScanError::DuplicateRecord { incarnation, shard, lsn, first, second });
            }
        }
    }
}

#[cfg(test)]
mod tests;
