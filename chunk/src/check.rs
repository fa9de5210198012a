//! Is everything that a volume's newest manifest refers to there and sound?

mod blocks;
mod walk;

use wal::{Lba, VolumeId};

use crate::chunk::Entry;
use crate::directory::SegmentIndex;
use crate::error::{FormatError, ReadError};
use crate::ids::{ChunkId, ManifestSeq, PayloadBlock};
use crate::limits::{CHECK_TRIES, MAX_CHECK_REFS, MAX_PROBLEMS};
use crate::manifest::Manifest;
use crate::manifest_log::{ManifestLogError, latest};
use crate::page::PageIndex;
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
    /// Blocks of data whose checksum was compared.
    pub blocks: u64,
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
/// every block of data that can be read through them. Tells `progress` as it goes.
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
    match Manifest::decode_as(&body, volume, seq) {
        Ok(manifest) => walk::run(store, &manifest, report, batch, progress).await,
        Err(source) => {
            report.problem(Problem::Manifest { seq, source });
            report
        }
    }
}

#[cfg(test)]
mod tests;
