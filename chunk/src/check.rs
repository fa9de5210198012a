//! Is everything that a volume's newest manifest refers to there and sound?

mod blocks;
mod walk;

use wal::{Lba, VolumeId};

use crate::catalog::NameError;
use crate::chunk::Entry;
use crate::directory::SegmentIndex;
use crate::error::{FormatError, ReadError};
use crate::ids::{ChunkId, ManifestSeq, PayloadBlock};
use crate::limits::{CHECK_TRIES, MAX_CHECK_REFS, MAX_PROBLEMS};
use crate::manifest::Manifest;
use crate::manifest_log::{ManifestLogError, latest};
use crate::page::PageIndex;
use crate::snapshot::{self, SnapshotName};
use crate::store::{ObjectName, ObjectStore, StoreError};

/// Something wrong with a volume.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// There is no manifest, so there is no such volume.
    #[error("volume {volume} has no manifest")]
    NoManifest {
        /// The volume.
        volume: VolumeId,
    },
    /// The newest manifest could not be read.
    #[error(transparent)]
    Log(#[from] ManifestLogError),
    /// The newest manifest is damaged.
    #[error("manifest {seq}: {source}")]
    Manifest {
        /// Its number.
        seq: ManifestSeq,
        /// What is wrong.
        #[source]
        source: FormatError,
    },
    /// A segment of the page directory is missing or damaged.
    #[error("directory segment {}: {source}", index.0)]
    Segment {
        /// The segment.
        index: SegmentIndex,
        /// What is wrong.
        #[source]
        source: ReadError,
    },
    /// A page of the map is missing or damaged.
    #[error("map page {}: {source}", index.0)]
    Page {
        /// The page.
        index: PageIndex,
        /// What is wrong.
        #[source]
        source: ReadError,
    },
    /// Header or index of a chunk, or a part of its payload, could not be read.
    #[error("chunk {chunk}: {source}")]
    Chunk {
        /// The chunk.
        chunk: ChunkId,
        /// What is wrong.
        #[source]
        source: ReadError,
    },
    /// A chunk speaks twice of one block.
    #[error("chunk {chunk}: its entries {} and {} overlap", first.extent, second.extent)]
    Overlap {
        /// The chunk.
        chunk: ChunkId,
        /// One entry.
        first: Box<Entry>,
        /// The other one.
        second: Box<Entry>,
    },
    /// The bytes of a block are not those that were written to it.
    #[error("block {lba}: block {block} of chunk {chunk} does not match its checksum")]
    Block {
        /// The block of the volume.
        lba: Lba,
        /// Where its bytes should be.
        chunk: ChunkId,
        /// Where in the chunk.
        block: PayloadBlock,
    },
    /// Two blocks of the volume claim the same stored block.
    #[error("blocks {} and {} both own block {block} of chunk {chunk}", lbas[0], lbas[1])]
    OwnedTwice {
        /// The blocks of the volume.
        lbas: [Lba; 2],
        /// The chunk.
        chunk: ChunkId,
        /// The block in the chunk.
        block: PayloadBlock,
    },
    /// The map has something beyond the end of the volume.
    #[error("block {lba} is mapped but beyond the end of the volume")]
    Outside {
        /// The block.
        lba: Lba,
    },
    /// Something is wrong with a snapshot.
    #[error("snapshot {name}: {problem}")]
    Snapshot {
        /// The snapshot.
        name: SnapshotName,
        /// What is wrong.
        #[source]
        problem: Box<Problem>,
    },
    /// A snapshot is missing or damaged.
    #[error(transparent)]
    Listed(#[from] NameError),
    /// The objects of the volume could not be listed.
    #[error(transparent)]
    List(StoreError),
}

/// How far a check has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Directory segments read.
    pub segments: u64,
    /// Map pages read.
    pub pages: u64,
    /// Unfolded chunks whose index was read.
    pub unfolded: u64,
    /// Chunks whose payload was read, again for each part of a map that is checked in parts.
    pub chunks: u64,
    /// Blocks of data whose checksum was compared; one that several manifests have counts once.
    pub blocks: u64,
    /// Snapshots that were checked.
    pub snapshots: u64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// The manifest that was checked.
    pub manifest: Option<ManifestSeq>,
    /// What was looked at.
    pub counts: Counts,
    /// What is wrong; at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// Further problems.
    pub more_problems: u64,
    /// Older manifests that are kept.
    pub older_manifests: u64,
    /// Objects that nothing refers to, with their lengths: uploaded for a manifest that is not
    /// published yet or never was. `None` if that is not known because a part of the map could
    /// not be read.
    pub orphans: Option<Vec<(ObjectName, u64)>>,
}

impl CheckReport {
    /// Whether nothing is wrong. Orphans are not wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
    }
}

/// Checks a volume: its newest manifest, every directory segment, page and unfolded index, and
/// every block of data that can be read through them, also where ancestors wrote them; then the
/// same of each of its snapshots. Tells `progress` as it goes.
///
/// Memory is bounded: references are checked in batches, sorted by chunk. A stored block that two
/// blocks of the volume claim is named as such within a batch; over batches it shows as a
/// checksum that does not match, as checksums contain the address.
///
/// The volume may be in use: if problems were found and a newer manifest is there by then, the
/// check starts again.
pub async fn check<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    mut progress: impl FnMut(&Counts),
) -> CheckReport {
    let mut tries = 1;
    loop {
        let report = check_newest(store, volume, MAX_CHECK_REFS, &mut progress).await;
        if report.is_clean() || tries == CHECK_TRIES {
            return report;
        }
        match latest(store, volume).await {
            Ok(Some((newest, _))) if Some(newest) != report.manifest => tries += 1,
            Ok(_) | Err(_) => return report,
        }
    }
}

/// One try, with `batch` references at a time.
async fn check_newest<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    batch: usize,
    progress: &mut impl FnMut(&Counts),
) -> CheckReport {
    let mut report = CheckReport::default();
    let (seq, body) = match latest(store, volume).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            report.problem(Problem::NoManifest { volume });
            return report;
        }
        Err(error) => {
            report.problem(error.into());
            return report;
        }
    };
    report.manifest = Some(seq);
    let manifest = match Manifest::decode_as(&body, volume, seq) {
        Ok(manifest) => manifest,
        Err(source) => {
            report.problem(Problem::Manifest { seq, source });
            return report;
        }
    };
    let mut seen = walk::Seen::default();
    report = walk::run(store, &manifest, report, &mut seen, batch, progress).await;
    match snapshot::names(store, volume).await {
        Ok(names) => {
            for name in names {
                report =
                    check_snapshot(store, volume, name, report, &mut seen, batch, progress).await;
            }
        }
        Err(error) => report.problem(Problem::List(error)),
    }
    walk::objects(store, volume, &seen, &mut report).await;
    report
}

/// Checks a snapshot into the report of its volume.
async fn check_snapshot<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    name: Result<SnapshotName, NameError>,
    mut whole: CheckReport,
    seen: &mut walk::Seen,
    batch: usize,
    progress: &mut impl FnMut(&Counts),
) -> CheckReport {
    let found = match name {
        Ok(name) => snapshot::read(store, volume, &name).await.map_err(NameError::from),
        Err(error) => Err(error),
    };
    match found {
        Ok(Some(snapshot)) => {
            let part = CheckReport { counts: whole.counts, ..CheckReport::default() };
            let part = walk::run(store, &snapshot.manifest, part, seen, batch, progress).await;
            whole.counts = part.counts;
            whole.more_problems += part.more_problems;
            for problem in part.problems {
                let (name, problem) = (snapshot.name.clone(), Box::new(problem));
                whole.problem(Problem::Snapshot { name, problem });
            }
            whole.counts.snapshots += 1;
        }
        // Deleted since it was listed.
        Ok(None) => {}
        Err(error) => {
            seen.incomplete = true;
            whole.problem(error.into());
        }
    }
    whole
}

#[cfg(test)]
mod tests;
