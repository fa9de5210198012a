//! Another size for an open volume.
//!
//! The size is in the manifest, and the newest manifest counts: for connections that come, for
//! snapshots that are made, for openings. Those who are connected keep the size that they were told.
//!
//! Growing, whoever uses the volume meanwhile. What is behind the old end was never written, or was
//! discarded when the volume shrank, so it reads as zeros. What a power cut leaves after each step:
//! 1. the manifest with the new size is published: the volume has it.
//! 2. the cores know, and tell who connects: as 1. Nothing behind the old end is written before, so
//!    no log and no cut has any of it that is older than the size.
//!
//! Shrinking, while nobody uses the volume:
//! 1. what is behind the new end is discarded, as by a client that sends a TRIM: the volume has its
//!    old size, and each block of the tail is as it was or reads as zeros.
//! 2. a cut is made: the old size, and a tail that reads as zeros, on other hosts as well. All log
//!    records of the tail are covered: from here on no recovery replays one.
//! 3. the map is folded into pages, which have nothing of the tail: as 2.
//! 4. the manifest with the new size is published: the volume has it. A volume that grows later
//!    finds no page there, and no chunk that speaks of it.
//! 5. the cores know: as 4.
//!
//! Snapshots and clones hold manifests of their own, and what those refer to.

use bytes::Bytes;
use wal::planted::{self, Bug};
use wal::{BLOCK_BYTES, Extent, HoleKind, Lba};

use super::Env;
use super::coordinator::Coordinator;
use super::error::VolumeError;
use super::message::Ask;
use super::turn::Taken;
use super::volume::Volume;

/// A size that a volume is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resize {
    /// Bytes; a size that [`valid_size`] allows.
    pub size_bytes: u64,
    /// Whether the volume may shrink: nobody uses it, and what is behind the new end was discarded.
    pub shrinks: bool,
}

impl<E: Env> Volume<E> {
    /// Makes the volume larger, or leaves it as it is; published when this returns.
    ///
    /// # Errors
    /// [`VolumeError::Shrinks`] if it is larger than that; it is stopped or being closed.
    pub async fn grow(&self, size_bytes: u64) -> Result<(), VolumeError> {
        self.ask_home(|number| Ask::Resize(number, Resize { size_bytes, shrinks: false })).await
    }

    /// Makes the volume smaller, if it is larger than that. What is behind the new end is lost, also
    /// if this fails or is cut off. Nobody may use the volume meanwhile.
    ///
    /// # Errors
    /// It is stopped or being closed, its log has no room, or its map cannot be read.
    pub async fn shrink(&self, size_bytes: u64) -> Result<(), VolumeError> {
        if !planted::is(Bug::ShrinkKeepsTail) {
            self.discard_tail(size_bytes).await?;
        }
        self.ask_home(|number| Ask::Resize(number, Resize { size_bytes, shrinks: true })).await
    }

    /// Makes everything from `from` on read as zeros, and holes of all whole blocks: what stays
    /// allocated is at most the block that `from` lies in.
    async fn discard_tail(&self, from: u64) -> Result<(), VolumeError> {
        let (block, end) = (BLOCK_BYTES as u64, self.size_bytes());
        let first = from.next_multiple_of(block);
        if from < first.min(end) {
            self.write(from, Bytes::from(vec![0; (first.min(end) - from) as usize])).await?;
        }
        let (first, end) = (first / block, end.div_ceil(block));
        match Extent::new(Lba(first), end.saturating_sub(first)) {
            Some(tail) => self.punch_blocks(tail, HoleKind::Discard).await,
            None => Ok(()),
        }
    }
}

impl<E: Env> Coordinator<E> {
    /// Publishes another size, and tells the cores.
    pub(super) async fn resize(&self, to: Resize) -> Result<(), VolumeError> {
        let _turn = self.resizing.take().await;
        let before = self.newest.borrow().1.size_bytes;
        if planted::is(Bug::SizeToldEarly) {
            self.shared.resized(to.size_bytes);
        }
        match to.size_bytes >= before {
            true => self.publish_size(to.size_bytes).await?,
            false if to.shrinks => self.publish_shrunk(to.size_bytes).await?,
            false => {
                let volume = self.shared.volume.to_string();
                return Err(VolumeError::Shrinks { volume, size_bytes: before });
            }
        }
        self.shared.resized(to.size_bytes);
        Ok(())
    }

    async fn publish_shrunk(&self, size_bytes: u64) -> Result<(), VolumeError> {
        let _turn = self.after_a_cut().await?;
        self.fold_now().await?;
        self.publish_size(size_bytes).await
    }

    /// Makes a cut of all that was acknowledged, and waits for a moment between cuts.
    pub(super) async fn after_a_cut(&self) -> Result<Taken<'_>, VolumeError> {
        if !planted::is(Bug::ShrinkBeforeCut) {
            self.drain().await?;
        }
        self.turn_between_cuts().await
    }

    async fn publish_size(&self, size_bytes: u64) -> Result<(), VolumeError> {
        if self.newest.borrow().1.size_bytes == size_bytes {
            return Ok(());
        }
        self.publish_while_ours(|manifest| {
            manifest.size_bytes = size_bytes;
            // Those are empty: the map has no page behind the end.
            let segments = chunk::SegmentIndex::count(manifest.blocks());
            manifest.directory.retain(|(segment, _)| u64::from(segment.0) < segments);
        })
        .await
    }
}
