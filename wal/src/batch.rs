//! Consecutive records built in one aligned buffer, which one write appends.
//!
//! Nothing is allocated: an entry goes straight to its place in the header block and its payload
//! to the end of the buffer, checksummed while it is still in the cache.

use std::ops::Range;

use crate::disk::DiskBuf;
use crate::limits::{ENTRIES_PER_RECORD, ENTRY_MAX_BLOCKS, SEGMENT_MAX_BLOCKS};
use crate::record::encode::{self, Head};
use crate::record::{Body, DataPlace, Entry, HoleKind, LogIdentity};
use crate::record::{address_crc, fits_shard, name_extent};
use crate::units::{BLOCK_BYTES, Epoch, Extent, Lba, Lsn, SegmentId};

/// Records in the making.
pub struct Batch<B> {
    buf: B,
    identity: LogIdentity,
    segment: SegmentId,
    first_block: u32,
    first_lsn: Lsn,
    /// Blocks of the buffer in use.
    used: u32,
    /// The record that takes the next entry; none before the first push.
    open: Option<Head>,
}

/// A batch that is ready to be appended.
pub struct Finished<B> {
    /// The bytes, cut to what is used.
    pub buf: B,
    /// Where they go, in blocks from the start of the segment file.
    pub first_block: u32,
    /// How many blocks they are.
    pub blocks: u32,
    /// The first record in it.
    pub first_lsn: Lsn,
    /// The last record in it.
    pub last_lsn: Lsn,
    /// The epoch of that record.
    pub last_epoch: Epoch,
}

/// The bytes that blocks `[block, block + count)` of a segment file have within a buffer that
/// starts at `first_block`, while it is built and while it is being written.
///
/// # Panics
/// If `block` is before the buffer.
#[must_use]
pub fn payload_range(first_block: u32, block: u32, count: u32) -> Range<usize> {
    assert!(block >= first_block, "block {block} is before the batch at {first_block}");
    let start = (block - first_block) as usize * BLOCK_BYTES;
    start..start + count as usize * BLOCK_BYTES
}

impl<B: DiskBuf> Batch<B> {
    /// Starts a batch that will be written at `first_block` of the segment; the length of `buf`
    /// bounds it, so the caller makes `buf` no longer than the room that the segment has.
    ///
    /// # Panics
    /// If `buf` is not whole blocks, at least 2 of them, or leaves the largest segment, or
    /// `first_lsn` is 0.
    pub fn begin(
        buf: B,
        identity: LogIdentity,
        segment: SegmentId,
        first_block: u32,
        first_lsn: Lsn,
    ) -> Self {
        let blocks = buf.len() / BLOCK_BYTES;
        assert!(
            buf.len().is_multiple_of(BLOCK_BYTES) && blocks >= 2,
            "a batch of {} bytes",
            buf.len()
        );
        let end = u64::from(first_block) + blocks as u64;
        assert!(end <= u64::from(SEGMENT_MAX_BLOCKS), "the batch ends at block {end}");
        assert!(first_lsn > Lsn(0), "records count from 1");
        Self { buf, identity, segment, first_block, first_lsn, used: 0, open: None }
    }

    /// Adds data for the blocks from `lba` on; copies and checksums it. Returns where it will
    /// stand, or `None` if it does not fit: then the batch is unchanged.
    ///
    /// # Panics
    /// If `bytes` is not 1 to [`ENTRY_MAX_BLOCKS`] whole blocks, all of this shard, or `epoch` is
    /// below that of an earlier push.
    pub fn push_data(&mut self, epoch: Epoch, lba: Lba, bytes: &[u8]) -> Option<DataPlace> {
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "an entry of {} bytes", bytes.len());
        self.push_blocks(epoch, epoch, lba, bytes.chunks_exact(BLOCK_BYTES))
    }

    /// As [`Self::push_data`], of blocks that lie apart in memory, as they were when the epoch `of`
    /// ended.
    ///
    /// # Panics
    /// As [`Self::push_data`], or if that epoch is yet to come.
    pub fn push_older(
        &mut self,
        epoch: Epoch,
        of: Epoch,
        lba: Lba,
        blocks: &[&[u8]],
    ) -> Option<DataPlace> {
        self.push_blocks(epoch, of, lba, blocks.iter().copied())
    }

    fn push_blocks<'b>(
        &mut self,
        epoch: Epoch,
        of: Epoch,
        lba: Lba,
        blocks: impl ExactSizeIterator<Item = &'b [u8]>,
    ) -> Option<DataPlace> {
        let count = blocks.len();
        let fits = (1..=ENTRY_MAX_BLOCKS as usize).contains(&count);
        assert!(fits, "an entry of {count} blocks");
        let extent = Extent::new(lba, count as u64).expect("an extent of the volume");
        assert!(fits_shard(&self.identity, extent, true), "{extent} is not this shard's");
        self.push_payload(epoch, of, (extent, Body::Data), blocks)
    }

    /// Adds the name of the cut of the epoch `of`, which has ended. Returns whether it fits.
    ///
    /// # Panics
    /// If `name` is not one block, or the epoch has not ended.
    pub fn push_name(&mut self, epoch: Epoch, of: Epoch, name: &[u8]) -> bool {
        assert!(name.len() == BLOCK_BYTES && of < epoch, "a name of {} bytes", name.len());
        self.push_payload(epoch, of, (name_extent(), Body::Name), std::iter::once(name)).is_some()
    }

    fn push_payload<'b>(
        &mut self,
        epoch: Epoch,
        of: Epoch,
        (extent, body): (Extent, fn(DataPlace) -> Body),
        blocks: impl ExactSizeIterator<Item = &'b [u8]>,
    ) -> Option<DataPlace> {
        let count = blocks.len() as u32;
        let age = u32::try_from(epoch.0 - of.0).expect("epochs end one after the other");
        if !self.make_room(epoch, count) {
            return None;
        }
        let start = self.used as usize * BLOCK_BYTES;
        let payload = &mut self.buf[start..start + count as usize * BLOCK_BYTES];
        let mut crc = address_crc(extent);
        for (to, from) in payload.chunks_exact_mut(BLOCK_BYTES).zip(blocks) {
            to.copy_from_slice(from);
            crc = crc32c::crc32c_append(crc, to);
        }
        let place = DataPlace { block: self.first_block + self.used, crc };
        self.put_entry(&Entry { extent, body: body(place), age }, count);
        Some(place)
    }

    /// Adds an extent that becomes zeros or nothing, as far as this shard owns it. Returns
    /// whether it fits; otherwise the batch is unchanged.
    ///
    /// # Panics
    /// If the shard owns no block of it, or `epoch` is below that of an earlier push.
    pub fn push_hole(&mut self, epoch: Epoch, kind: HoleKind, extent: Extent) -> bool {
        assert!(fits_shard(&self.identity, extent, false), "{extent} is not this shard's");
        if !self.make_room(epoch, 0) {
            return false;
        }
        self.put_entry(&Entry { extent, body: Body::Hole(kind), age: 0 }, 0);
        true
    }

    /// Makes sure that the batch has a record, if need be one without entries: it tells recovery
    /// what was durable before it, which otherwise the next write would. Returns whether it fits.
    ///
    /// # Panics
    /// If `epoch` is below that of an earlier push.
    pub fn push_mark(&mut self, epoch: Epoch) -> bool {
        self.make_room(epoch, 0)
    }

    /// Reads back blocks of payload by their place in the segment file.
    ///
    /// # Panics
    /// If they are not in this batch.
    #[must_use]
    pub fn payload(&self, block: u32, count: u32) -> &[u8] {
        let range = payload_range(self.first_block, block, count);
        assert!(range.end <= self.used as usize * BLOCK_BYTES, "block {block} is after the batch");
        &self.buf[range]
    }

    /// Whether there is nothing to append.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Where the batch starts, in blocks from the start of the segment file.
    #[must_use]
    pub fn first_block(&self) -> u32 {
        self.first_block
    }

    /// Blocks in use.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.used
    }

    /// Blocks of the buffer that are still free; a push may need one of them for a header.
    #[must_use]
    pub fn room_blocks(&self) -> u32 {
        self.capacity() - self.used
    }

    /// The number that the next record will get: that of the first record of the next batch once
    /// this one is finished.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.open.map_or(self.first_lsn, |head| head.lsn.next())
    }

    /// The record that holds the last push; none if the batch is empty.
    #[must_use]
    pub fn last_lsn(&self) -> Option<Lsn> {
        self.open.map(|head| head.lsn)
    }

    /// Gives the buffer back unwritten.
    pub fn into_buf(self) -> B {
        self.buf
    }

    /// Completes every header: `durable` is the highest record known to be synced.
    ///
    /// # Panics
    /// If the batch is empty, or `durable` is not before its first record.
    pub fn finish(mut self, durable: Lsn) -> Finished<B> {
        assert!(durable < self.first_lsn, "{durable} is durable before it is written");
        self.close_record();
        let last = self.open.expect("a batch without records is not appended");
        let mut at = 0;
        while at < self.used {
            let header = &mut self.buf[at as usize * BLOCK_BYTES..][..BLOCK_BYTES];
            encode::seal(header, durable);
            at += 1 + encode::payload_blocks(header);
        }
        assert_eq!(at, self.used, "the records fill the batch");
        self.buf.truncate(self.used as usize * BLOCK_BYTES);
        Finished {
            buf: self.buf,
            first_block: self.first_block,
            blocks: self.used,
            first_lsn: self.first_lsn,
            last_lsn: last.lsn,
            last_epoch: last.epoch,
        }
    }

    fn capacity(&self) -> u32 {
        (self.buf.len() / BLOCK_BYTES) as u32
    }

    /// Sees to it that the open record can take an entry of this epoch, with its payload.
    fn make_room(&mut self, epoch: Epoch, payload_blocks: u32) -> bool {
        if let Some(head) = self.open {
            assert!(epoch >= head.epoch, "epoch {epoch} after {}", head.epoch);
            if epoch == head.epoch && usize::from(head.entries) < ENTRIES_PER_RECORD {
                return payload_blocks <= self.room_blocks();
            }
        }
        if 1 + payload_blocks > self.room_blocks() {
            return false;
        }
        self.close_record();
        let head = Head {
            at_block: self.first_block + self.used,
            lsn: self.next_lsn(),
            epoch,
            entries: 0,
            payload_blocks: 0,
        };
        self.open = Some(head);
        self.header_mut(head.at_block).fill(0);
        self.used += 1;
        true
    }

    fn put_entry(&mut self, entry: &Entry, payload_blocks: u32) {
        let head = self.open.expect("room was made");
        encode::put_entry(
            self.header_mut(head.at_block),
            usize::from(head.entries),
            head.at_block,
            entry,
        );
        self.open = Some(Head {
            entries: head.entries + 1,
            payload_blocks: head.payload_blocks + payload_blocks,
            ..head
        });
        self.used += payload_blocks;
    }

    fn close_record(&mut self) {
        if let Some(head) = self.open {
            let (identity, segment) = (self.identity, self.segment);
            encode::put_head(self.header_mut(head.at_block), &identity, segment, &head);
        }
    }

    fn header_mut(&mut self, at_block: u32) -> &mut [u8] {
        let range = payload_range(self.first_block, at_block, 1);
        &mut self.buf[range]
    }
}

impl<B: DiskBuf> Finished<B> {
    /// Reads back blocks of payload by their place in the segment file.
    ///
    /// # Panics
    /// If they are not in this batch.
    #[must_use]
    pub fn payload(&self, block: u32, count: u32) -> &[u8] {
        &self.buf[payload_range(self.first_block, block, count)]
    }
}

#[cfg(test)]
mod tests;
