//! Filling: what goes to slots that lie side by side in a file goes there with one write.

use std::ops::Range;
use std::rc::Rc;

use wal::BLOCK_BYTES;
use wal::disk::{Disk, DiskFile};

use super::slots::SlotKey;
use super::table::BLOCK_ENTRIES;
use super::{ChunkCache, ChunkKey, Pin, SLOT_BLOCKS, mask};
use crate::engine::limits::{FILL_SLOTS, FILLS_UNDER_WAY};

/// What is to be written to one slot.
struct Part<'c> {
    key: SlotKey,
    pin: Pin<'c>,
    /// Blocks of the slot.
    within: Range<u32>,
    /// The same, of the bytes that are to be kept.
    bytes: Range<usize>,
}

impl<D: Disk> ChunkCache<D> {
    /// Keeps payload of a chunk, from block `first` on; what is here already stays. Gives up where
    /// the disk is not fast enough, is full or fails: then there is one copy less.
    pub async fn fill(&self, disk: &D, chunk: ChunkKey, first: u32, bytes: &[u8]) {
        if self.is_on() && self.fills.get() < FILLS_UNDER_WAY {
            self.fills.set(self.fills.get() + 1);
            self.keep(disk, chunk, first, bytes).await;
            self.fills.set(self.fills.get() - 1);
        }
    }

    /// As [`Self::fill`], however many are under way.
    pub async fn keep(&self, disk: &D, chunk: ChunkKey, first: u32, bytes: &[u8]) {
        if !self.is_on() || !self.is_open.get() {
            return;
        }
        let mut written = Vec::new();
        // Whatever was written is told of, also if the rest failed.
        let _ = self.keep_all(disk, chunk, first, bytes, &mut written).await;
        written.dedup_by_key(|slot| self.table_block(*slot));
        for slot in written {
            if self.write_table(slot).await.is_none() {
                return;
            }
        }
    }

    /// The block of the tables that tells of a slot.
    pub(super) fn table_block(&self, slot: u32) -> (u32, u32) {
        (slot / self.size.slab_slots, slot % self.size.slab_slots / BLOCK_ENTRIES)
    }

    /// Writes the payload, and notes the slots in the order in which they were written. The tables
    /// are written after them, but the disk may do as it likes: a table that speaks of payload
    /// which is not there is found out by checksums.
    async fn keep_all(
        &self,
        disk: &D,
        (volume, chunk): ChunkKey,
        first: u32,
        bytes: &[u8],
        written: &mut Vec<u32>,
    ) -> Option<()> {
        let end = first + (bytes.len() / BLOCK_BYTES) as u32;
        let (mut at, mut run) = (first, Vec::new());
        while at < end {
            let (key, within) = SlotKey::of(volume, chunk, at);
            let within = within..SLOT_BLOCKS.min(within + end - at);
            let from = (at - first) as usize * BLOCK_BYTES;
            let part = from..from + within.len() * BLOCK_BYTES;
            at += within.len() as u32;
            let Some(pin) = self.take(disk, key).await else { break };
            let wanted = mask(within.clone());
            if self.slots.borrow().present(pin.slot) & wanted == wanted {
                continue;
            }
            let part = Part { key, pin, within, bytes: part };
            if !self.joins(&run, &part) {
                self.write(std::mem::take(&mut run), bytes, written).await?;
            }
            run.push(part);
        }
        self.write(run, bytes, written).await
    }

    /// The slot of a part of a chunk, or one that is free for it. `None` if all slots are in use at
    /// this very moment.
    async fn take(&self, disk: &D, key: SlotKey) -> Option<Pin<'_>> {
        loop {
            let can_grow = self.can_grow();
            let taken = self.slots.borrow_mut().take(key, !can_grow);
            match taken {
                Some(slot) => return Some(Pin { slots: &self.slots, slot }),
                None if can_grow => self.grow(disk).await,
                None => return None,
            }
        }
    }

    /// Whether a part lies right behind those of a run, here and in its chunk.
    fn joins(&self, run: &[Part<'_>], part: &Part<'_>) -> bool {
        run.last().is_some_and(|last| {
            let is_next = part.pin.slot == last.pin.slot + 1 && part.bytes.start == last.bytes.end;
            let is_whole = last.within.end == SLOT_BLOCKS && part.within.start == 0;
            let same_file = !part.pin.slot.is_multiple_of(self.size.slab_slots);
            is_next && is_whole && same_file && run.len() < FILL_SLOTS
        })
    }

    /// Writes what lies side by side; `None` if the disk failed.
    async fn write(&self, run: Vec<Part<'_>>, bytes: &[u8], written: &mut Vec<u32>) -> Option<()> {
        let (Some(head), Some(last)) = (run.first(), run.last()) else { return Some(()) };
        let bytes = &bytes[head.bytes.start..last.bytes.end];
        let (file, at) = self.place(head.pin.slot);
        let mut buf = file.alloc(bytes.len());
        buf.copy_from_slice(bytes);
        let at = at + u64::from(head.within.start) * BLOCK_BYTES as u64;
        let outcome = file.write_at(at, Rc::new(buf)).await;
        let mut slots = self.slots.borrow_mut();
        for part in &run {
            match &outcome {
                Ok(()) => slots.add(part.pin.slot, part.key, mask(part.within.clone())),
                Err(_) => slots.forget(part.key),
            }
        }
        drop(slots);
        outcome.ok()?;
        self.count(|counts| counts.filled += run.len() as u64);
        written.extend(run.iter().map(|part| part.pin.slot));
        Some(())
    }
}
