//! The manifest: the small root object that makes a cut of a volume real.

mod codec;
mod load;

use wal::layout::{MAX_STRIPE_SHIFT, MIN_STRIPE_SHIFT};
use wal::{BLOCK_BYTES, Epoch, Incarnation, Lsn, SECTOR_BYTES, ShardId, VolumeId};

use crate::directory::{PageRef, SegmentIndex};
use crate::error::FormatError;
use crate::ids::{ChunkId, MAX_INCARNATION, VolumeName};
use crate::limits::{MAX_SHARDS, MAX_UNFOLDED_CHUNKS, MAX_VOLUME_BYTES};
use crate::lineage::{Ancestors, Lineage, Parent};
use crate::promises::Promises;

pub use load::{LoadError, load};

/// Which records of the logs a manifest covers: all of earlier incarnations than the cut's, and
/// those of the cut's incarnation whose epoch is the cut's or lower.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    /// The opening whose records it counts; 0 before the first one.
    pub incarnation: Incarnation,
    /// Highest epoch that is covered.
    pub epoch: Epoch,
    /// The last covered record of each shard, in order of shards.
    pub positions: Vec<(ShardId, Lsn)>,
}

/// Everything that a volume is, at one cut.
///
/// A block's bytes are those of the last chunk in `unfolded` that speaks of it, else those that
/// its map page says, else it is a hole. Within one chunk no block occurs twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The volume.
    pub volume: VolumeId,
    /// Its name when this was written, for people who look into the store; the name objects
    /// decide.
    pub name: VolumeName,
    /// Size in bytes: whole sectors, at least one.
    pub size_bytes: u64,
    /// Blocks of one stripe as a power of two; never changes.
    pub stripe_shift: u8,
    /// What it promises.
    pub promises: Promises,
    /// When the volume was created, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// The opening for writing that wrote this; 0 if the volume was never opened.
    pub incarnation: Incarnation,
    /// Host that has the volume; all zero if none has: it was never opened, or its last host gave
    /// it back, having published everything.
    pub owner: [u8; 16],
    /// First opening of that host, or of the last one that had it: all openings since then were by
    /// the same host. Logs of earlier tenures are never replayed.
    pub tenure: Incarnation,
    /// Random bits of that opening, so that no two openings ever write equal manifests.
    pub salt: u64,
    /// What of the logs is covered.
    pub cut: Cut,
    /// Segments of the page directory, in order. Segments that are not listed have no page.
    pub directory: Vec<(SegmentIndex, PageRef)>,
    /// Chunks that the pages do not know yet, oldest first.
    pub unfolded: Vec<ChunkId>,
    /// What the volume was cloned from, if it is a clone.
    pub parent: Option<Parent>,
    /// Other volumes whose objects this one refers to.
    pub ancestors: Ancestors,
    /// If set, chunks of this incarnation and later ones may be compressed, so their headers have to
    /// be looked at; all others have their blocks as they are.
    pub compressed_since: Option<Incarnation>,
}

pub(crate) const WHAT: &str = "manifest";

impl Manifest {
    /// Blocks of the volume; the last one may be in part beyond its end.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.size_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Whether the blocks of a chunk may be compressed.
    #[must_use]
    pub fn may_be_compressed(&self, chunk: ChunkId) -> bool {
        self.compressed_since.is_some_and(|since| chunk.incarnation() >= since)
    }

    /// Tells whose the objects are that this refers to.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        Lineage::new(self.volume, &self.ancestors)
    }

    /// Checks everything that the fields must obey, before encoding and after decoding.
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let must = |holds: bool, field: &'static str, value: u64| {
            let error = FormatError::Field { what: WHAT, field, value };
            if holds { Ok(()) } else { Err(error) }
        };
        let size = self.size_bytes;
        must(valid_size(size), "size", size)?;
        must(valid_stripe(self.stripe_shift), "stripe shift", self.stripe_shift.into())?;
        must(self.incarnation <= MAX_INCARNATION, "incarnation", self.incarnation.0)?;
        must(self.tenure <= self.incarnation, "tenure", self.tenure.0)?;
        let cut = &self.cut;
        must(cut.incarnation <= self.incarnation, "cut's incarnation", cut.incarnation.0)?;
        let count = cut.positions.len();
        must(count <= MAX_SHARDS.into(), "number of positions", count as u64)?;
        for (n, (shard, _)) in cut.positions.iter().enumerate() {
            let ordered = n == 0 || cut.positions[n - 1].0 < *shard;
            must(ordered && shard.0 < MAX_SHARDS, "position's shard", shard.0.into())?;
        }
        let segments = SegmentIndex::count(self.blocks());
        for (n, (segment, place)) in self.directory.iter().enumerate() {
            let ordered = n == 0 || self.directory[n - 1].0 < *segment;
            let fits = u64::from(segment.0) < segments;
            must(ordered && fits, "directory segment", segment.0.into())?;
            let known = place.object.incarnation() <= self.incarnation;
            must(known, "map object", place.object.raw())?;
        }
        let count = self.unfolded.len();
        must(count <= MAX_UNFOLDED_CHUNKS, "number of unfolded chunks", count as u64)?;
        let mut sorted = self.unfolded.clone();
        sorted.sort_unstable();
        for (n, id) in sorted.iter().enumerate() {
            let known = id.incarnation() <= self.incarnation;
            must(known && (n == 0 || sorted[n - 1] != *id), "unfolded chunk", id.raw())?;
        }
        if let Some(since) = self.compressed_since {
            let known = since.0 > 0 && since <= self.incarnation;
            must(known, "first compressed incarnation", since.0)?;
        }
        let is_own = self.parent.as_ref().is_some_and(|parent| parent.volume == self.volume);
        must(!is_own, "parent", 1)?;
        self.ancestors.check(WHAT, self.volume, self.incarnation)
    }
}

/// Whether a volume can have this size: whole sectors, at least one, within the limit.
#[must_use]
pub fn valid_size(bytes: u64) -> bool {
    bytes > 0 && bytes <= MAX_VOLUME_BYTES && bytes.is_multiple_of(SECTOR_BYTES as u64)
}

/// Whether a volume can have stripes of this power of two of blocks.
#[must_use]
pub fn valid_stripe(shift: u8) -> bool {
    (MIN_STRIPE_SHIFT..=MAX_STRIPE_SHIFT).contains(&shift)
}

#[cfg(test)]
mod tests;
