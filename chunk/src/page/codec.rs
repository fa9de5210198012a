//! Bytes of a map page.

use wal::VolumeId;

use super::{MapPage, PageIndex, PageRun, Run};
use crate::error::FormatError;
use crate::ids::ChunkId;
use crate::limits::{MAX_PAGE_BYTES, MAX_PAYLOAD_BLOCKS, PAGE_BLOCKS};
use crate::sealed::{Reader, Sealed};

const PAGE: Sealed = Sealed { what: "map page", magic: *b"KRTPAGE\0", version: 1, features: 0 };

/// Which page of which volume some bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageIdentity {
    /// The volume.
    pub volume: VolumeId,
    /// The page.
    pub index: PageIndex,
}

/// A run as it stands in the bytes.
struct RawRun {
    first: u16,
    count: u16,
    block: u32,
    chunk: u64,
}

impl RawRun {
    fn read(fields: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (first, count) = (fields.u16()?, fields.u16()?);
        Ok(Self { first, count, block: fields.u32()?, chunk: fields.u64()? })
    }

    /// Checks the run, which must start at `from` or later.
    fn check(&self, fields: &Reader<'_>, from: u16) -> Result<Run, FormatError> {
        let Some(at) = PageRun::new(self.first, self.count) else {
            return Err(fields.field("block count", self.count.into()));
        };
        if self.first < from {
            return Err(fields.field("first block", self.first.into()));
        }
        let chunk = ChunkId::from_raw(self.chunk);
        if chunk.is_none() && self.chunk != 0 {
            return Err(fields.field("chunk id", self.chunk));
        }
        let end = u64::from(self.block) + u64::from(self.count);
        let block_fits = match chunk {
            Some(_) => end <= u64::from(MAX_PAYLOAD_BLOCKS),
            None => self.block == 0,
        };
        if !block_fits {
            return Err(fields.field("payload block", self.block.into()));
        }
        Ok(Run { at, block: self.block, chunk })
    }
}

impl MapPage {
    /// The page's bytes and their checksum.
    #[must_use]
    pub fn encode(&self, identity: PageIdentity) -> (Vec<u8>, u32) {
        self.self_check();
        let mut out = PAGE.begin(64 + self.runs.len() * 16 + self.crcs.len() * 4);
        out.bytes(&identity.volume.0);
        out.u64(identity.index.0);
        out.u16(self.runs.len() as u16);
        out.u16(0);
        out.u32(self.crcs.len() as u32);
        for run in &self.runs {
            out.u16(run.at.first());
            out.u16(run.at.count());
            out.u32(run.block);
            out.u64(run.chunk.map_or(0, ChunkId::raw));
        }
        for &crc in &self.crcs {
            out.u32(crc);
        }
        let (bytes, crc) = out.seal();
        assert!(bytes.len() <= MAX_PAGE_BYTES);
        (bytes, crc)
    }

    /// Reads a page, and which one it is.
    ///
    /// # Errors
    /// If the bytes are not exactly one sound page.
    pub fn decode(bytes: &[u8]) -> Result<(PageIdentity, Self), FormatError> {
        let (mut fields, _) = PAGE.open(bytes)?;
        let volume = VolumeId(fields.array()?);
        let identity = PageIdentity { volume, index: PageIndex(fields.u64()?) };
        let count = fields.u16()?;
        let zero = fields.u16()?;
        let crc_count = fields.u32()?;
        if count > PAGE_BLOCKS {
            return Err(fields.field("number of runs", count.into()));
        }
        fields.must_be_zero("reserved", zero.into())?;
        let mut runs = Vec::with_capacity(count.into());
        let (mut end, mut data) = (0, 0);
        for _ in 0..count {
            let run = RawRun::read(&mut fields)?.check(&fields, end)?;
            end = run.at.end();
            data += run.data_blocks();
            runs.push(run);
        }
        if data as u64 != u64::from(crc_count) {
            return Err(fields.field("number of checksums", crc_count.into()));
        }
        let mut crcs = Vec::with_capacity(data);
        for _ in 0..data {
            crcs.push(fields.u32()?);
        }
        fields.finish()?;
        Ok((identity, Self { runs, crcs }))
    }

    /// As [`Self::decode`], for the bytes that should be this page.
    ///
    /// # Errors
    /// As [`Self::decode`], and if it is another page.
    pub fn decode_as(bytes: &[u8], identity: PageIdentity) -> Result<Self, FormatError> {
        let (found, page) = Self::decode(bytes)?;
        let what = PAGE.what;
        if found.volume != identity.volume {
            return Err(FormatError::Identity { what, field: "volume" });
        }
        if found.index != identity.index {
            return Err(FormatError::Identity { what, field: "page" });
        }
        Ok(page)
    }
}
