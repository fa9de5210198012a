//! Bytes of a chunk's header and index, and what they must obey.

use wal::{BLOCK_BYTES, Epoch, Extent, Layout, Lba, ShardId, VolumeId};

use super::frames::Frames;
use super::{ChunkInfo, Content, Entry};
use crate::error::FormatError;
use crate::ids::{ChunkId, PayloadBlock};
use crate::limits::{
    CHUNK_ENTRY_BYTES, CHUNK_HEADER_BYTES, MAX_CHUNK_ENTRIES, MAX_FRAMES, MAX_PAYLOAD_BLOCKS,
    MAX_VOLUME_BLOCKS,
};
use crate::sealed::{Reader, Sealed, frame_features};

/// The payload is in frames, some of them compressed; the header has their lengths.
const FRAMES: u64 = 1;

/// Where the lengths of the frames stand.
pub(super) const FRAMES_AT: usize = 128;

pub(super) const HEADER: Sealed =
    Sealed { what: "chunk header", magic: *b"KRTCHUNK", version: 1, features: FRAMES };

/// LZ4 blocks, the one way of compression there is.
const LZ4: u16 = 1;

pub(super) const INDEX: &str = "chunk index";

/// Filter of an entry that means its whole extent.
const NO_FILTER: u16 = 0xffff;

const BLOCK_SHIFT: u8 = BLOCK_BYTES.trailing_zeros() as u8;

const KIND_DATA: u8 = 1;
const KIND_ZERO: u8 = 2;
const KIND_DISCARD: u8 = 3;

/// The fields of a header, not checked against each other.
pub(super) struct RawHeader {
    features: u64,
    volume: [u8; 16],
    id: u64,
    epoch: u64,
    shards: u16,
    stripe_shift: u8,
    block_shift: u8,
    payload_blocks: u32,
    index_offset: u32,
    index_bytes: u32,
    index_crc: u32,
    entries: u32,
    compression: u16,
    reserved: u16,
    key_id: u32,
    content_hash: [u8; 32],
    frames: [u32; MAX_FRAMES],
}

/// A header whose fields agree.
pub(super) struct Header {
    pub info: ChunkInfo,
    pub frames: Frames,
    pub entries: u32,
    pub index_crc: u32,
}

impl RawHeader {
    pub(super) fn of(info: &ChunkInfo, entries: usize, frames: &Frames, index: &[u8]) -> Self {
        let mut lengths = [0; MAX_FRAMES];
        lengths.iter_mut().zip(frames.lengths()).for_each(|(to, length)| *to = length);
        Self {
            features: if frames.is_framed() { FRAMES } else { 0 },
            volume: info.volume.0,
            id: info.id.raw(),
            epoch: info.epoch.0,
            shards: info.layout.shards(),
            stripe_shift: info.layout.stripe_shift(),
            block_shift: BLOCK_SHIFT,
            payload_blocks: frames.payload_blocks(),
            index_offset: index_offset(frames),
            index_bytes: index.len() as u32,
            index_crc: crc32c::crc32c(index),
            entries: entries as u32,
            compression: if frames.is_framed() { LZ4 } else { 0 },
            reserved: 0,
            key_id: 0,
            content_hash: [0; 32],
            frames: lengths,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = HEADER.begin_with(self.features, CHUNK_HEADER_BYTES);
        out.bytes(&self.volume);
        out.u64(self.id);
        out.u64(self.epoch);
        out.u16(self.shards);
        out.u8(self.stripe_shift);
        out.u8(self.block_shift);
        out.u32(self.payload_blocks);
        out.u32(self.index_offset);
        out.u32(self.index_bytes);
        out.u32(self.index_crc);
        out.u32(self.entries);
        out.u16(self.compression);
        out.u16(self.reserved);
        out.u32(self.key_id);
        out.bytes(&self.content_hash);
        self.frames.iter().for_each(|length| out.u32(*length));
        out.seal_padded(CHUNK_HEADER_BYTES)
    }

    /// Reads a header block.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut fields, _) = HEADER.open(bytes)?;
        let mut raw = Self {
            features: frame_features(bytes),
            volume: fields.array()?,
            id: fields.u64()?,
            epoch: fields.u64()?,
            shards: fields.u16()?,
            stripe_shift: fields.u8()?,
            block_shift: fields.u8()?,
            payload_blocks: fields.u32()?,
            index_offset: fields.u32()?,
            index_bytes: fields.u32()?,
            index_crc: fields.u32()?,
            entries: fields.u32()?,
            compression: fields.u16()?,
            reserved: fields.u16()?,
            key_id: fields.u32()?,
            content_hash: fields.array()?,
            frames: [0; MAX_FRAMES],
        };
        for length in &mut raw.frames {
            *length = fields.u32()?;
        }
        fields.finish_padded()?;
        Ok(raw)
    }

    pub(super) fn check(self) -> Result<Header, FormatError> {
        let must = |holds: bool, field: &'static str, value: u64| {
            let error = FormatError::Field { what: HEADER.what, field, value };
            if holds { Ok(()) } else { Err(error) }
        };
        let id = ChunkId::from_raw(self.id);
        must(id.is_some(), "chunk id", self.id)?;
        must(self.shards > 0, "shards", 0)?;
        let layout = Layout::new(self.stripe_shift, self.shards);
        must(layout.is_some(), "stripe shift", self.stripe_shift.into())?;
        must(self.block_shift == BLOCK_SHIFT, "block shift", self.block_shift.into())?;
        let payload = self.payload_blocks;
        must(payload <= MAX_PAYLOAD_BLOCKS, "payload blocks", payload.into())?;
        let has_frames = self.features & FRAMES != 0;
        let compression = if has_frames { LZ4 } else { 0 };
        must(self.compression == compression, "compression", self.compression.into())?;
        let unused = self.frames.iter().find(|length| **length != 0).filter(|_| !has_frames);
        must(unused.is_none(), "reserved", unused.copied().unwrap_or(0).into())?;
        let frames = match has_frames {
            true => Frames::stored(payload, &self.frames)?,
            false => Frames::plain(payload),
        };
        let at = self.index_offset;
        must(at == index_offset(&frames), "index offset", at.into())?;
        let entries = self.entries;
        must((1..=MAX_CHUNK_ENTRIES).contains(&entries), "entries", entries.into())?;
        let bytes = self.index_bytes;
        must(bytes == index_bytes(entries, payload), "index length", bytes.into())?;
        must(self.reserved == 0, "reserved", self.reserved.into())?;
        must(self.key_id == 0, "key id", self.key_id.into())?;
        must(self.content_hash == [0; 32], "content hash", self.content_hash[0].into())?;
        let (Some(id), Some(layout)) = (id, layout) else { unreachable!("checked above") };
        let (volume, epoch) = (VolumeId(self.volume), Epoch(self.epoch));
        let info = ChunkInfo { volume, id, layout, epoch };
        Ok(Header { info, frames, entries, index_crc: self.index_crc })
    }
}

impl Header {
    /// Byte where the index starts.
    pub(super) fn index_offset(&self) -> u32 {
        index_offset(&self.frames)
    }

    /// Bytes of the index.
    pub(super) fn index_bytes(&self) -> u32 {
        index_bytes(self.entries, self.frames.payload_blocks())
    }
}

fn index_offset(frames: &Frames) -> u32 {
    CHUNK_HEADER_BYTES as u32 + frames.stored_bytes()
}

fn index_bytes(entries: u32, payload_blocks: u32) -> u32 {
    entries * CHUNK_ENTRY_BYTES as u32 + payload_blocks * 4
}

pub(super) fn encode_index(entries: &[Entry], crcs: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(index_bytes(entries.len() as u32, crcs.len() as u32) as usize);
    for entry in entries {
        let (kind, payload) = match entry.content {
            Content::Data(first) => (KIND_DATA, first.0),
            Content::Zero => (KIND_ZERO, 0),
            Content::Discard => (KIND_DISCARD, 0),
        };
        let filter = entry.filter.map_or(NO_FILTER, |shard| shard.0);
        out.extend_from_slice(&entry.extent.lba().0.to_le_bytes());
        out.extend_from_slice(&entry.extent.count().to_le_bytes());
        out.extend_from_slice(&payload.to_le_bytes());
        out.extend_from_slice(&[kind, 0]);
        out.extend_from_slice(&filter.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
    }
    out.extend(crcs.iter().flat_map(|crc| crc.to_le_bytes()));
    out
}

/// Reads the index that `header` announces.
pub(super) fn decode_index(
    header: &Header,
    bytes: &[u8],
) -> Result<(Vec<Entry>, Vec<u32>), FormatError> {
    let (need, have) = (u64::from(header.index_bytes()), bytes.len() as u64);
    if need != have {
        return Err(FormatError::Length { what: INDEX, need, have });
    }
    if crc32c::crc32c(bytes) != header.index_crc {
        return Err(FormatError::Checksum { what: INDEX });
    }
    let mut fields = Reader::bare(INDEX, bytes);
    let mut entries = Vec::with_capacity(header.entries as usize);
    let mut payload = 0;
    for _ in 0..header.entries {
        let entry = decode_entry(&mut fields, header, payload)?;
        if matches!(entry.content, Content::Data(_)) {
            payload += entry.extent.count();
        }
        entries.push(entry);
    }
    if payload != u64::from(header.frames.payload_blocks()) {
        return Err(fields.field("number of data blocks", payload));
    }
    let mut crcs = Vec::with_capacity(header.frames.payload_blocks() as usize);
    for _ in 0..header.frames.payload_blocks() {
        crcs.push(fields.u32()?);
    }
    fields.finish()?;
    Ok((entries, crcs))
}

/// Reads one entry; `payload` is the number of data blocks of the entries before it.
fn decode_entry(
    fields: &mut Reader<'_>,
    header: &Header,
    payload: u64,
) -> Result<Entry, FormatError> {
    let (lba, count) = (fields.u64()?, fields.u64()?);
    let first = fields.u32()?;
    let (kind, zero) = (fields.u8()?, fields.u8()?);
    let filter = fields.u16()?;
    let tail = fields.u64()?;
    fields.must_be_zero("reserved", u64::from(zero) | tail)?;
    let extent = Extent::new(Lba(lba), count).ok_or_else(|| fields.field("block count", count))?;
    // Every stripe of a hole may have to be looked at.
    if extent.end().0 > MAX_VOLUME_BLOCKS {
        return Err(fields.field("last block", extent.end().0 - 1));
    }
    let content = match kind {
        KIND_DATA => Content::Data(PayloadBlock(first)),
        KIND_ZERO => Content::Zero,
        KIND_DISCARD => Content::Discard,
        _ => return Err(fields.field("kind", kind.into())),
    };
    let expected = match content {
        Content::Data(_) => payload,
        Content::Zero | Content::Discard => 0,
    };
    if u64::from(first) != expected {
        return Err(fields.field("payload block", first.into()));
    }
    let filter = if filter == NO_FILTER {
        None
    } else if kind != KIND_DATA && filter < header.info.layout.shards() {
        Some(ShardId(filter))
    } else {
        return Err(fields.field("filter", filter.into()));
    };
    if kind == KIND_DATA && count > u64::from(header.frames.payload_blocks()) - payload {
        return Err(fields.field("number of data blocks", count));
    }
    Ok(Entry { extent, content, filter })
}
