//! The content of the whole device.

use std::collections::BTreeMap;

use wal::BLOCK_BYTES;

use super::record::Record;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Blocks that are not all zeros, by number.
#[derive(Default)]
pub(super) struct Image {
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Image {
    /// Applies a record.
    pub(super) fn apply(&mut self, record: &Record) {
        match &record.payload {
            None => self.zero(record.offset, record.bytes),
            Some(payload) => self.write(record.offset, payload),
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let within = (at % BLOCK) as usize;
            let (part, tail) = rest.split_at(rest.len().min(BLOCK_BYTES - within));
            let empty = || vec![0; BLOCK_BYTES].into_boxed_slice();
            let block = self.blocks.entry(at / BLOCK).or_insert_with(empty);
            block[within..within + part.len()].copy_from_slice(part);
            at += part.len() as u64;
            rest = tail;
        }
    }

    fn zero(&mut self, offset: u64, bytes: u64) {
        let end = offset + bytes;
        for (number, block) in self.blocks.range_mut(offset / BLOCK..end.div_ceil(BLOCK)) {
            let start = number * BLOCK;
            let from = offset.saturating_sub(start) as usize;
            block[from..(end - start).min(BLOCK) as usize].fill(0);
        }
    }

    pub(super) fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let end = offset + bytes as u64;
        let mut content = vec![0; bytes];
        for (number, block) in self.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let start = number * BLOCK;
            let (from, to) = (start.max(offset), (start + BLOCK).min(end));
            let part = &block[(from - start) as usize..(to - start) as usize];
            content[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
        }
        content
    }

    /// All of it but the block of the lowest number.
    pub(super) fn without_first_block(&self) -> Self {
        let blocks = self.blocks.iter().skip(1).map(|(number, block)| (*number, block.clone()));
        Self { blocks: blocks.collect() }
    }

    /// A token, the blocks with their numbers, and a checksum.
    pub(super) fn encode(&self, token: u64) -> Vec<u8> {
        let mut body = token.to_le_bytes().to_vec();
        for (number, block) in &self.blocks {
            body.extend(number.to_le_bytes());
            body.extend_from_slice(block);
        }
        let sum = crc32c::crc32c(&body);
        body.extend(sum.to_le_bytes());
        body
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (content, sum) = body.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != crc32c::crc32c(content) {
            return None;
        }
        let entries = content.get(8..)?.chunks_exact(8 + BLOCK_BYTES);
        let block = |entry: &[u8]| {
            let (number, block) = entry.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*number), block.into()))
        };
        Some(Self { blocks: entries.map(block).collect::<Option<_>>()? })
    }
}
