//! Frames: how the payload of a chunk lies in its object. Blocks are compressed a few at a time, so
//! that reading one takes that many, and not the chunk.
//!
//! What a frame gives back is believed by nobody before its blocks were compared with their
//! checksums; here it is only made sure that damaged bytes give an error or wrong blocks, never
//! more memory than the blocks take.

use std::borrow::Cow;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use wal::BLOCK_BYTES;

use super::payload_range;
use super::worth::is_worth_trying;
use crate::error::FormatError;
use crate::ids::PayloadBlock;
use crate::limits::{CHUNK_HEADER_BYTES, FRAME_BLOCKS, FRAME_GAIN, MAX_FRAMES};

const WHAT: &str = "frame";

/// Bytes of the blocks of a whole frame.
const FRAME_BYTES: usize = FRAME_BLOCKS as usize * BLOCK_BYTES;

/// How the payload of new chunks is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Compression {
    /// It is not.
    #[default]
    None,
    /// LZ4 blocks, where that is worth it.
    Lz4,
}

/// A text that names no compression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write lz4 or none, not `{text}`")]
pub struct CompressionError {
    text: String,
}

impl Compression {
    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        }
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        let found = [Self::None, Self::Lz4].into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| CompressionError { text: text.to_owned() })
    }
}

/// Where the payload blocks of a chunk are in its object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frames {
    payload_blocks: u32,
    /// End of each frame, in bytes behind the header; `None`: all blocks are stored as they are.
    ends: Option<Arc<[u32]>>,
}

impl Frames {
    /// Blocks that are stored as they are.
    pub(super) fn plain(payload_blocks: u32) -> Self {
        Self { payload_blocks, ends: None }
    }

    /// Frames of these stored lengths; those behind the last one are 0.
    pub(super) fn stored(payload_blocks: u32, lengths: &[u32]) -> Result<Self, FormatError> {
        let field =
            |value: u32| FormatError::Field { what: WHAT, field: "length", value: value.into() };
        let frames = Self { payload_blocks, ends: None };
        let count = frames.count() as usize;
        assert!(count <= lengths.len(), "the number of payload blocks was checked");
        let (mut ends, mut end) = (Vec::with_capacity(count), 0);
        for (frame, length) in (0..).zip(lengths) {
            let most = frames.blocks(frame).len() * BLOCK_BYTES;
            let fits =
                if most == 0 { *length == 0 } else { (1..=most).contains(&(*length as usize)) };
            if !fits {
                return Err(field(*length));
            }
            end += length;
            if most > 0 {
                ends.push(end);
            }
        }
        Ok(Self { payload_blocks, ends: Some(ends.into()) })
    }

    /// Whether some blocks may be compressed. If not, blocks stand where [`payload_range`] says.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.ends.is_some()
    }

    /// Blocks of payload.
    #[must_use]
    pub fn payload_blocks(&self) -> u32 {
        self.payload_blocks
    }

    /// Number of frames.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.payload_blocks.div_ceil(FRAME_BLOCKS)
    }

    /// Payload blocks of a frame; none if there is no such frame.
    #[must_use]
    pub fn blocks(&self, frame: u32) -> Range<u32> {
        let start = (frame * FRAME_BLOCKS).min(self.payload_blocks);
        start..(start + FRAME_BLOCKS).min(self.payload_blocks)
    }

    /// Bytes that the payload takes in the object.
    #[must_use]
    pub fn stored_bytes(&self) -> u32 {
        match &self.ends {
            None => self.payload_blocks * BLOCK_BYTES as u32,
            Some(ends) => ends.last().copied().unwrap_or(0),
        }
    }

    /// Where a frame is, in bytes behind the header.
    fn place(&self, frame: u32) -> Range<u32> {
        match &self.ends {
            None => {
                let blocks = self.blocks(frame);
                blocks.start * BLOCK_BYTES as u32..blocks.end * BLOCK_BYTES as u32
            }
            Some(ends) => {
                let frame = frame as usize;
                let start = if frame == 0 { 0 } else { ends[frame - 1] };
                start..ends[frame]
            }
        }
    }

    /// Whether a frame is stored compressed.
    #[must_use]
    pub fn is_compressed(&self, frame: u32) -> bool {
        self.place(frame).len() < self.blocks(frame).len() * BLOCK_BYTES
    }

    /// Bytes that the header has of each frame.
    pub(super) fn lengths(&self) -> impl Iterator<Item = u32> + '_ {
        let count = if self.is_framed() { self.count() } else { 0 };
        (0..count).map(|frame| self.place(frame).len() as u32)
    }

    /// `blocks` and those around them that cost nothing more to have, as they are read together.
    #[must_use]
    pub fn around(&self, blocks: Range<u32>) -> Range<u32> {
        let blocks = blocks.start.min(self.payload_blocks)..blocks.end.min(self.payload_blocks);
        if blocks.is_empty() {
            return blocks;
        }
        let (first, last) = (blocks.start / FRAME_BLOCKS, (blocks.end - 1) / FRAME_BLOCKS);
        let start = if self.is_compressed(first) { self.blocks(first).start } else { blocks.start };
        let end = if self.is_compressed(last) { self.blocks(last).end } else { blocks.end };
        start..end
    }

    /// Bytes of the object that hold some payload blocks.
    ///
    /// # Panics
    /// If there are no such blocks.
    #[must_use]
    pub fn range(&self, blocks: Range<u32>) -> Range<u64> {
        assert!(blocks.start < blocks.end && blocks.end <= self.payload_blocks, "{blocks:?}");
        let head = self.part(blocks.start / FRAME_BLOCKS, &blocks);
        let tail = self.part((blocks.end - 1) / FRAME_BLOCKS, &blocks);
        let header = CHUNK_HEADER_BYTES as u64;
        header + u64::from(head.start)..header + u64::from(tail.end)
    }

    /// The bytes of a frame that hold those of its blocks that are in `blocks`, behind the header.
    fn part(&self, frame: u32, blocks: &Range<u32>) -> Range<u32> {
        let (place, own) = (self.place(frame), self.blocks(frame));
        if self.is_compressed(frame) {
            return place;
        }
        let skip = |block: u32| place.start + (block - own.start) * BLOCK_BYTES as u32;
        skip(blocks.start.max(own.start))..skip(blocks.end.min(own.end))
    }

    /// What `stored`, the bytes of [`Self::range`] of these blocks, hold: frame by frame, the
    /// blocks that are wanted of it and their bytes.
    ///
    /// # Panics
    /// If there are no such blocks, or `stored` is not as long as their range.
    pub fn unpack_each<'s>(
        &'s self,
        blocks: Range<u32>,
        stored: &'s [u8],
    ) -> impl Iterator<Item = (Range<u32>, Result<Cow<'s, [u8]>, FormatError>)> + 's {
        let range = self.range(blocks.clone());
        assert_eq!(stored.len() as u64, range.end - range.start, "the bytes of these blocks");
        let mut at = 0;
        (blocks.start / FRAME_BLOCKS..=(blocks.end - 1) / FRAME_BLOCKS).map(move |frame| {
            let own = self.blocks(frame);
            let wanted = blocks.start.max(own.start)..blocks.end.min(own.end);
            let bytes = &stored[at..at + self.part(frame, &blocks).len()];
            at += bytes.len();
            if !self.is_compressed(frame) {
                return (wanted, Ok(Cow::Borrowed(bytes)));
            }
            let skip = (wanted.start - own.start) as usize * BLOCK_BYTES;
            let whole = unpack(bytes, own.len() * BLOCK_BYTES);
            let content = whole.map(|mut whole| {
                whole.truncate(skip + wanted.len() * BLOCK_BYTES);
                whole.drain(..skip);
                Cow::Owned(whole)
            });
            (wanted, content)
        })
    }

    /// The bytes of payload blocks, of `stored` as in [`Self::unpack_each`].
    ///
    /// # Errors
    /// If a frame is damaged so that it cannot be read at all. Other damage shows in the blocks'
    /// checksums only.
    ///
    /// # Panics
    /// As [`Self::unpack_each`].
    pub fn unpack(&self, blocks: Range<u32>, stored: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut payload = Vec::with_capacity(blocks.len() * BLOCK_BYTES);
        for (_, content) in self.unpack_each(blocks, stored) {
            payload.extend_from_slice(&content?);
        }
        Ok(payload)
    }

    /// The bytes of payload blocks of a whole object, as [`Self::unpack_each`].
    pub fn of_object<'s>(
        &'s self,
        blocks: Range<u32>,
        object: &'s [u8],
    ) -> impl Iterator<Item = (Range<u32>, Result<Cow<'s, [u8]>, FormatError>)> + 's {
        let range = self.range(blocks.clone());
        self.unpack_each(blocks, &object[range.start as usize..range.end as usize])
    }

    /// Compresses the payload that ends `body`, frame by frame and in its place; `body` gets
    /// shorter by what was saved.
    pub(super) fn pack(body: &mut Vec<u8>, payload_blocks: u32, compression: Compression) -> Self {
        let plain = Self::plain(payload_blocks);
        if compression == Compression::None {
            return plain;
        }
        let mut table = CompressTable::small();
        let mut packed = vec![0; get_maximum_output_size(FRAME_BYTES)];
        let (mut ends, mut end) = (Vec::new(), 0);
        for frame in 0..plain.count() {
            let blocks = plain.blocks(frame);
            let bytes = payload_range(PayloadBlock(blocks.start), blocks.len() as u32);
            let bytes = bytes.start as usize..bytes.end as usize;
            let to = CHUNK_HEADER_BYTES + end;
            match gain(&body[bytes.clone()], &mut packed, &mut table) {
                Some(length) => {
                    body[to..to + length].copy_from_slice(&packed[..length]);
                    end += length;
                }
                None => {
                    body.copy_within(bytes.clone(), to);
                    end += bytes.len();
                }
            }
            ends.push(end as u32);
        }
        if end == payload_blocks as usize * BLOCK_BYTES {
            return plain;
        }
        body.truncate(CHUNK_HEADER_BYTES + end);
        Self { payload_blocks, ends: Some(ends.into()) }
    }
}

/// Compresses a frame, unless that is not worth it; returns its length then.
fn gain(frame: &[u8], packed: &mut [u8], table: &mut CompressTable) -> Option<usize> {
    if !is_worth_trying(frame) {
        return None;
    }
    let length =
        compress_into_with_table(frame, packed, table).expect("there is room for any frame");
    (length <= frame.len() - frame.len() / FRAME_GAIN).then_some(length)
}

/// A compressed frame of so many bytes; never more, whatever stands in it.
fn unpack(packed: &[u8], bytes: usize) -> Result<Vec<u8>, FormatError> {
    let mut whole = vec![0; bytes];
    match decompress_into(packed, &mut whole) {
        Ok(have) if have == bytes => Ok(whole),
        Ok(have) => Err(FormatError::Length { what: WHAT, need: bytes as u64, have: have as u64 }),
        Err(_) => Err(FormatError::Packed { what: WHAT }),
    }
}

const _: () = assert!(MAX_FRAMES * 4 <= CHUNK_HEADER_BYTES - super::header::FRAMES_AT);

#[cfg(test)]
mod tests;
