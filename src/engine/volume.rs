//! An open volume as one core sees it: requests are cut at stripes, sent to the owners, joined.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use chunk::Durability;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Extent, HoleKind, Lba, ShardId};

use super::Env;
use super::cache::VolumeNo;
use super::core::Core;
use super::error::VolumeError;
use super::limits::READS_AHEAD;
use super::mesh::CoreId;
use super::message::{Answer, Ask, ShardAsk, ShardBytes};
use super::peers::Call;
use super::shard::Shard;
use super::shared::{Shared, Unsynced};

/// An open volume on one core. A handle is cheap to clone; any core's handle serves any request.
pub struct Volume<E: Env> {
    core: Rc<Core<E>>,
    number: VolumeNo,
    shared: Arc<Shared>,
    own: Rc<Shard<E>>,
}

impl<E: Env> Clone for Volume<E> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            number: self.number,
            shared: self.shared.clone(),
            own: self.own.clone(),
        }
    }
}

/// A part of a request that one shard answers.
struct Part {
    shard: ShardId,
    bytes: ShardBytes,
    /// First byte of the part within the request.
    from: usize,
}

impl<E: Env> Volume<E> {
    /// The handle of this core for a volume that is open on all of them.
    ///
    /// # Errors
    /// [`VolumeError::Closed`] if it is not.
    pub fn attach(
        core: Rc<Core<E>>,
        number: VolumeNo,
        shared: Arc<Shared>,
    ) -> Result<Self, VolumeError> {
        let own = core.shard(number)?;
        Ok(Self { core, number, shared, own })
    }

    /// Whether it is a snapshot, which must not be written to.
    pub fn is_view(&self) -> bool {
        self.shared.is_view
    }

    /// Bytes that a client sees which connects now.
    pub fn size_bytes(&self) -> u64 {
        self.shared.size_bytes()
    }

    /// What the cores share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Number of the volume in this process.
    pub fn number(&self) -> VolumeNo {
        self.number
    }

    /// Reads `len` bytes at `offset`, any alignment.
    ///
    /// # Errors
    /// The disk or the store failed, or what they hold is damaged; wrong bytes are never
    /// returned.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, VolumeError> {
        self.assert_inside(offset, len as u64);
        let mut parts = self.parts(offset, len);
        if parts.len() == 1 {
            let part = parts.remove(0);
            return self.read_part(&part).await;
        }
        let mut out = vec![0; len];
        let mut calls = VecDeque::with_capacity(READS_AHEAD);
        for part in &parts {
            let place = part.from..part.from + part.bytes.len;
            if self.is_own(part.shard) {
                out[place].copy_from_slice(&self.own.read(part.bytes).await?);
                continue;
            }
            if calls.len() == READS_AHEAD {
                take_oldest(&mut calls, &mut out).await?;
            }
            calls.push_back((place, self.start(part.shard, ShardAsk::Read(part.bytes)).await));
        }
        while !calls.is_empty() {
            take_oldest(&mut calls, &mut out).await?;
        }
        Ok(out)
    }

    async fn read_part(&self, part: &Part) -> Result<Vec<u8>, VolumeError> {
        if self.is_own(part.shard) {
            return self.own.read(part.bytes).await;
        }
        let call = self.start(part.shard, ShardAsk::Read(part.bytes)).await;
        Ok(data(call.await?))
    }

    /// Writes `data` at `offset`, any alignment. Acknowledged when this returns, durable after a
    /// flush, or at once where the volume promises that.
    ///
    /// # Errors
    /// The volume is stopped or the local disk is full. Some of the blocks may be written.
    pub async fn write(&self, offset: u64, data: Bytes) -> Result<(), VolumeError> {
        self.assert_writable();
        self.assert_inside(offset, data.len() as u64);
        let parts = self.parts(offset, data.len());
        let mut calls = Vec::new();
        for part in parts.iter().filter(|part| !self.is_own(part.shard)) {
            let data = data.slice(part.from..part.from + part.bytes.len);
            let ask = ShardAsk::Write { at: part.bytes.at, data };
            calls.push(self.start(part.shard, ask).await);
        }
        let mut result = Ok(());
        for part in parts.iter().filter(|part| self.is_own(part.shard)) {
            let data = &data[part.from..part.from + part.bytes.len];
            result = result.and(self.own.write(part.bytes.at, data).await);
        }
        // Every part has ended when the request ends, also when one failed.
        for call in calls {
            result = result.and(call.await.map(drop));
        }
        result?;
        self.settle().await
    }

    /// Whether an acknowledged write must be durable.
    pub(super) fn is_strict(&self) -> bool {
        self.shared.durability != Durability::Writeback
    }

    /// Makes durable what is about to be acknowledged, if it must be.
    async fn settle(&self) -> Result<(), VolumeError> {
        if !self.is_strict() || planted::is(Bug::AnswersBeforeLog) {
            return Ok(());
        }
        self.sync().await?;
        self.core.hold_lease(&self.shared, self.number).await
    }

    /// Makes `len` bytes at `offset` read as zeros, any alignment: whole blocks by one record per
    /// shard, the rest by writing zeros.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn punch(&self, offset: u64, len: u64, kind: HoleKind) -> Result<(), VolumeError> {
        self.assert_writable();
        self.assert_inside(offset, len);
        let block = BLOCK_BYTES as u64;
        let end = offset + len;
        let (first, last) = (offset.next_multiple_of(block), end / block * block);
        if first >= last {
            return self.write_zeros(offset, end).await;
        }
        self.write_zeros(offset, first).await?;
        self.write_zeros(last, end).await?;
        let extent = Extent::new(Lba(first / block), (last - first) / block).expect("not empty");
        self.punch_blocks(extent, kind).await?;
        self.settle().await
    }

    /// Makes whole blocks read as zeros, by one record per shard.
    pub(super) async fn punch_blocks(
        &self,
        extent: Extent,
        kind: HoleKind,
    ) -> Result<(), VolumeError> {
        let mut calls = Vec::new();
        let mut own = None;
        for shard in (0..self.shared.layout.shards()).map(ShardId) {
            match self.shared.layout.owned(shard, extent) {
                Some(run) if self.is_own(shard) => own = Some(run),
                Some(run) => calls.push(self.start(shard, ShardAsk::Punch { run, kind }).await),
                None => {}
            }
        }
        let mut result = Ok(());
        if let Some(run) = own {
            result = self.own.punch(run, kind).await;
        }
        for call in calls {
            result = result.and(call.await.map(drop));
        }
        result
    }

    /// Writes zeros over less than two blocks.
    async fn write_zeros(&self, from: u64, to: u64) -> Result<(), VolumeError> {
        if from == to {
            return Ok(());
        }
        self.write(from, Bytes::from(vec![0; (to - from) as usize])).await
    }

    /// Makes durable every write that was acknowledged before the call, on any core, in the way
    /// that the volume promises.
    ///
    /// # Errors
    /// The volume is stopped: what was asked for may be lost.
    pub async fn flush(&self) -> Result<(), VolumeError> {
        self.shared.note_flush(self.core.runtime.now());
        self.sync().await?;
        if self.shared.durability == Durability::Remote && !planted::is(Bug::FlushStaysLocal) {
            self.core.drain(self.number).await?;
        }
        self.core.hold_lease(&self.shared, self.number).await
    }

    /// Makes durable in the local log every write that was acknowledged before the call.
    ///
    /// # Errors
    /// The volume is stopped: what was acknowledged may be lost.
    pub async fn sync(&self) -> Result<(), VolumeError> {
        self.shared.alive()?;
        let mut calls = Vec::new();
        let mut own: Option<Unsynced> = None;
        for shard in (0..self.shared.layout.shards()).map(ShardId) {
            let Some(unsynced) = self.shared.unsynced(shard) else { continue };
            if planted::is(Bug::FlushOneShard) && !self.is_own(shard) {
                continue;
            }
            if self.is_own(shard) {
                own = Some(unsynced);
            } else {
                calls.push(self.start(shard, ShardAsk::Sync(unsynced)).await);
            }
        }
        let mut result = Ok(());
        if let Some(unsynced) = own {
            result = self.own.sync(unsynced).await;
        }
        for call in calls {
            result = result.and(call.await.map(drop));
        }
        result
    }

    /// Asks the volume's coordinator for something.
    pub(super) async fn ask_home(
        &self,
        ask: impl FnOnce(VolumeNo) -> Ask,
    ) -> Result<(), VolumeError> {
        self.core.ask(self.core.home(self.number), ask(self.number)).await.map(drop)
    }

    fn parts(&self, offset: u64, len: usize) -> Vec<Part> {
        let layout = self.shared.layout;
        let stripe = layout.stripe_blocks() * BLOCK_BYTES as u64;
        let end = offset + len as u64;
        let mut parts = Vec::with_capacity(1);
        let mut at = offset;
        while at < end {
            let next = (at / stripe + 1) * stripe;
            let lba = Lba(at / BLOCK_BYTES as u64);
            let within = at % BLOCK_BYTES as u64;
            let byte = layout.to_shard(lba).0 * BLOCK_BYTES as u64 + within;
            let bytes = ShardBytes { at: byte, len: (next.min(end) - at) as usize };
            parts.push(Part { shard: layout.owner(lba), bytes, from: (at - offset) as usize });
            at = next;
        }
        parts
    }

    pub(super) fn is_own(&self, shard: ShardId) -> bool {
        shard.0 == self.core.id().0
    }

    pub(super) fn own(&self) -> &Rc<Shard<E>> {
        &self.own
    }

    pub(super) async fn start(&self, shard: ShardId, ask: ShardAsk) -> Call {
        self.core.peers.start(CoreId(shard.0), Ask::Shard(self.number, ask)).await
    }

    pub(super) fn assert_writable(&self) {
        assert!(!self.shared.is_view, "the export of a snapshot refuses writes");
    }

    pub(super) fn assert_inside(&self, offset: u64, len: u64) {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.shared.size_bytes()), "requests are validated");
    }
}

/// Waits for the read that was asked for first, and puts it in its place.
async fn take_oldest(
    calls: &mut VecDeque<(Range<usize>, Call)>,
    out: &mut [u8],
) -> Result<(), VolumeError> {
    let (place, call) = calls.pop_front().expect("a read is under way");
    out[place].copy_from_slice(&data(call.await?));
    Ok(())
}

fn data(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Data(data) => data,
        _ => unreachable!("a read is answered by data"),
    }
}
