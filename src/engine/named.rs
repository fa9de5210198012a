//! Naming a cut in the log: a snapshot that is there, whatever becomes of the process, before its cut
//! is in the store.
//!
//! What a power cut leaves after each step:
//! 1. the epoch ended, and shards froze their part of the cut: nothing on disk changed.
//! 2. what only memory had of the cut, or of cuts before it, is in the log: entries that are as old as
//!    their cut, also if a newer version of a block is logged before. Nothing counts that was not flushed.
//! 3. the logs of all shards are synced: each has all of the cut.
//! 4. the name is in the log of the home shard, and is synced: the snapshot was made. Whoever opens the
//!    volume with this log finds the cut in it and goes on with step 5.
//! 5. the cut is sealed, the snapshot is put, and the manifest of the cut is published, in this order:
//!    from the last one on the log's name is covered. Before it, sealing begins again, and a snapshot
//!    of this identity that is there is the one.

use std::cell::Cell;

use chunk::{ManifestSeq, SnapshotHeader, SnapshotId, SnapshotName};
use wal::limits::ENTRY_MAX_BLOCKS;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{
    BLOCK_BYTES, Epoch, Incarnation, Lsn, NamedCut, ShardBlock, ShardId, ShardRun, VolumeId,
};

use super::Env;
use super::error::VolumeError;
use super::frozen::Layer;
use super::limits::NAME_BLOCKS;
use super::log::NoRoom;
use super::place::Place;
use super::shard::{Maps, Shard};
use super::snapshot::NewSnapshot;

/// A cut that becomes a snapshot, or one that an earlier opening named.
#[derive(Clone, Debug)]
pub struct Named {
    /// The epoch that it ended.
    pub epoch: Epoch,
    /// The snapshot; `None`: nobody wants it any more.
    pub new: Option<NewSnapshot>,
    /// Size of the volume in it.
    pub size_bytes: u64,
    /// What of which log it covers, if an earlier opening made it.
    pub(super) recovered: Option<(Incarnation, Vec<(ShardId, Lsn)>)>,
}

impl Named {
    /// What the snapshot is, which is not in the store; none if nobody wants it any more.
    #[must_use]
    pub fn header(&self, volume: VolumeId) -> Option<SnapshotHeader> {
        let NewSnapshot { id, name, created_unix_ms, .. } = self.new.clone()?;
        let (seq, size_bytes) = (ManifestSeq(0), self.size_bytes);
        Some(SnapshotHeader { volume, id, name, created_unix_ms, seq, size_bytes })
    }
}

const ID_AT: usize = 0;
const CREATED_AT: usize = 16;
const SIZE_AT: usize = 24;
const LENGTH_AT: usize = 32;
const NAME_AT: usize = 34;

/// What the log says of a snapshot, see `wal/FORMAT.md`.
pub(super) fn encode(new: &NewSnapshot, size_bytes: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    let name = new.name.as_str().as_bytes();
    block[ID_AT..CREATED_AT].copy_from_slice(&new.id.0);
    block[CREATED_AT..SIZE_AT].copy_from_slice(&new.created_unix_ms.to_le_bytes());
    block[SIZE_AT..LENGTH_AT].copy_from_slice(&size_bytes.to_le_bytes());
    block[LENGTH_AT..NAME_AT].copy_from_slice(&(name.len() as u16).to_le_bytes());
    block[NAME_AT..NAME_AT + name.len()].copy_from_slice(name);
    block
}

/// Reads what [`encode`] wrote.
fn decode(block: &[u8]) -> Option<(NewSnapshot, u64)> {
    let number = |at: usize, bytes: usize| {
        let part = block.get(at..at + bytes)?;
        Some(part.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let length = number(LENGTH_AT, 2)? as usize;
    let name = std::str::from_utf8(block.get(NAME_AT..NAME_AT + length)?).ok()?;
    if block.len() != BLOCK_BYTES || block[NAME_AT + length..].iter().any(|byte| *byte != 0) {
        return None;
    }
    let new = NewSnapshot {
        id: SnapshotId(block[ID_AT..CREATED_AT].try_into().expect("16 bytes")),
        name: SnapshotName::parse(name).ok()?,
        created_unix_ms: number(CREATED_AT, 8)?,
        patience: std::time::Duration::ZERO,
    };
    Some((new, number(SIZE_AT, 8)?))
}

impl TryFrom<&NamedCut> for Named {
    type Error = String;

    fn try_from(cut: &NamedCut) -> Result<Self, String> {
        let new = decode(&cut.name);
        let (new, size_bytes) =
            new.ok_or_else(|| format!("the name of the cut of epoch {} says nothing", cut.epoch))?;
        let recovered = Some((cut.incarnation, cut.positions.clone()));
        Ok(Self { epoch: cut.epoch, new: Some(new), size_bytes, recovered })
    }
}

/// For as long as a cut is brought to the log: sealing takes longer pauses then.
struct Naming<'c>(&'c Cell<u32>);

impl<'c> Naming<'c> {
    fn begin(count: &'c Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// How far a cut went to the log.
enum Logged {
    /// All of it.
    All,
    /// That of cuts after this one, and blocks of it before this one.
    Below(Epoch, ShardBlock),
    /// The same, and the log has no room for more.
    Full(Epoch, ShardBlock),
}

/// What became of a part of a cut, seen from a later cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// It was not written again.
    Newest,
    /// It was written again, but not up to the later cut.
    Replaced,
    /// It was written again up to the later cut.
    Hidden,
}

impl Maps {
    /// The first part of a run in one of the cuts that has its content in one place; and what the
    /// cut of the epoch `seen_at` sees of it.
    fn part_of(&self, index: usize, run: ShardRun, seen_at: Epoch) -> (ShardRun, Seen) {
        let (mut part, newest) = self.first_layer(run);
        if newest.is_some_and(|(layer, _)| layer == Layer::Frozen(index)) {
            return (part, Seen::Newest);
        }
        let newer = self.frozen.iter().skip(index + 1).take_while(|it| it.epoch <= seen_at);
        for frozen in newer {
            let written;
            (part, written) = frozen.map.first_part(part);
            if written.is_some() {
                return (part, Seen::Hidden);
            }
        }
        (part, Seen::Replaced)
    }
}

impl<E: Env> Shard<E> {
    /// Freezes the shard's part of a cut, and makes durable in the log all that is seen in it.
    ///
    /// # Errors
    /// The volume is stopped, or the log cannot grow.
    pub(super) async fn log_cut(&self, cut: Epoch) -> Result<(), VolumeError> {
        let mut naming = Some(Naming::begin(&self.core.naming));
        self.freeze(&mut self.maps.borrow_mut(), cut.next());
        let mut from = (cut, ShardBlock(0));
        loop {
            self.shared.alive()?;
            match self.log_some(cut, from) {
                Logged::All => break,
                Logged::Below(epoch, block) => {
                    from = (epoch, block);
                    self.core.runtime.pause().await;
                }
                Logged::Full(epoch, block) => {
                    from = (epoch, block);
                    // It may be sealing that makes some.
                    drop(naming.take());
                    self.log.room().await?;
                    naming = Some(Naming::begin(&self.core.naming));
                }
            }
        }
        drop(naming);
        match planted::is(Bug::NameBeforeSync) {
            true => Ok(()),
            false => self.log.sync(self.log.last_lsn()).await,
        }
    }

    /// The newest cuts first: while that is done, the oldest one may come to the store.
    fn log_some(&self, cut: Epoch, (epoch, from): (Epoch, ShardBlock)) -> Logged {
        let mut maps = self.maps.borrow_mut();
        self.stamp(&mut maps);
        let mut left = NAME_BLOCKS;
        for index in (0..maps.frozen.len()).rev() {
            let of = maps.frozen[index].epoch;
            if of > epoch || planted::is(Bug::NameLeavesMemory) {
                continue;
            }
            let mut at = if of == epoch { from } else { ShardBlock(0) };
            while let Some((run, place)) = maps.frozen[index].map.next_from(at) {
                if left == 0 {
                    return Logged::Below(of, at);
                }
                if place != Place::Memory {
                    (at, left) = (run.end(), left - 1);
                    continue;
                }
                let count = run.count.min(ENTRY_MAX_BLOCKS.into()).min(self.stripe_left(run.start));
                let (part, seen) = maps.part_of(index, ShardRun { count, ..run }, cut);
                let is_newest = seen == Seen::Newest;
                if seen != Seen::Hidden
                    && self.log_frozen(&mut maps, index, (part, is_newest)).is_err()
                {
                    return Logged::Full(of, part.start);
                }
                (at, left) = (part.end(), left.saturating_sub(part.count));
            }
        }
        Logged::All
    }

    /// Logs a part of a cut that only memory has; `is_newest`: it was not written again.
    fn log_frozen(
        &self,
        maps: &mut Maps,
        index: usize,
        (run, is_newest): (ShardRun, bool),
    ) -> Result<(), NoRoom> {
        let mut cache = self.core.cache.borrow_mut();
        let frozen = &mut maps.frozen[index];
        let tag = frozen.tag();
        let held = frozen.held(self.volume, run, &cache);
        let lba = self.shared.layout.to_volume(self.id, run.start);
        let place = self.log.push_older(maps.epoch, frozen.epoch, lba, &held)?;
        frozen.map.insert(run, Place::Log(place));
        if is_newest {
            cache.let_go(self.volume, run);
            self.forget_unlogged(maps, run);
        } else {
            for block in run.start.0..run.end().0 {
                cache.let_aside_go(self.volume, tag, ShardBlock(block));
            }
        }
        Ok(())
    }

    /// Logs the name of a cut that has ended, and makes it durable.
    ///
    /// # Errors
    /// As [`Self::log_cut`].
    pub(super) async fn log_name(&self, cut: Epoch, name: &[u8]) -> Result<(), VolumeError> {
        loop {
            self.shared.alive()?;
            let epoch = self.stamp(&mut self.maps.borrow_mut());
            if self.log.push_name(epoch, cut, name).is_ok() {
                return self.log.sync(self.log.last_lsn()).await;
            }
            self.log.room().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_as_it_was() {
        let name = SnapshotName::new("before-upgrade").expect("a sound name");
        let new = NewSnapshot {
            id: SnapshotId([7; 16]),
            name,
            created_unix_ms: 1_700_000_000_123,
            patience: std::time::Duration::ZERO,
        };
        assert_eq!(decode(&encode(&new, 1 << 40)), Some((new.clone(), 1 << 40)));
        let mut damaged = encode(&new, 1 << 40);
        damaged[LENGTH_AT] = 3;
        assert_eq!(decode(&damaged), None, "there is more than it says");
        damaged[LENGTH_AT + 1] = 0xFF;
        assert_eq!(decode(&damaged), None, "it leaves the block");
    }
}
