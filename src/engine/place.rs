//! Where the newest version of a block is while no manifest covers it.

use chunk::Piece;
use wal::HoleKind;

/// Number of a segment file within one shard of one opening; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FileNo(pub u32);

impl FileNo {
    /// The one after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("an opening does not use 2^32 segments"))
    }
}

/// Part of the payload of one log entry, from some block of it to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPlace {
    file: FileNo,
    block: u32,
    crc: u32,
    blocks: u8,
    skip: u8,
}

impl LogPlace {
    /// The whole of an entry of `blocks` blocks, whose payload starts at `block` of the segment.
    #[must_use]
    pub fn new(file: FileNo, block: u32, crc: u32, blocks: u8) -> Self {
        Self { file, block, crc, blocks, skip: 0 }
    }

    /// The segment file.
    #[must_use]
    pub fn file(self) -> FileNo {
        self.file
    }

    /// Where the payload of the whole entry starts, in blocks of the segment.
    #[must_use]
    pub fn block(self) -> u32 {
        self.block
    }

    /// Checksum of the whole entry.
    #[must_use]
    pub fn crc(self) -> u32 {
        self.crc
    }

    /// Blocks of the whole entry.
    #[must_use]
    pub fn blocks(self) -> u8 {
        self.blocks
    }

    /// The part that is left without the first `blocks` of this one.
    #[must_use]
    pub fn skip(self, blocks: u64) -> Self {
        let skip = u64::from(self.skip) + blocks;
        assert!(skip < u64::from(self.blocks), "a part lies within its entry");
        Self { skip: skip as u8, ..self }
    }

    /// Blocks of the entry before the part meant here.
    #[must_use]
    pub fn skipped(self) -> u8 {
        self.skip
    }
}

/// Where the newest version of a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the log.
    Log(LogPlace),
    /// In memory only, see [`super::unlogged`].
    Memory,
    /// Zeros that were written.
    Zero,
    /// Trimmed.
    Hole,
}

impl From<HoleKind> for Place {
    fn from(kind: HoleKind) -> Self {
        match kind {
            HoleKind::Zero => Self::Zero,
            HoleKind::Discard => Self::Hole,
        }
    }
}

impl Piece for Place {
    fn skip(&self, blocks: u64) -> Self {
        match *self {
            Self::Log(place) => Self::Log(place.skip(blocks)),
            Self::Memory => Self::Memory,
            Self::Zero => Self::Zero,
            Self::Hole => Self::Hole,
        }
    }

    /// Entries carry one checksum each, so they never grow together.
    fn joins(&self, _blocks: u64, next: &Self) -> bool {
        self == next && !matches!(self, Self::Log(_))
    }
}
