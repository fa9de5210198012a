//! Finding every record of one segment file, whatever is between them. Recovery and `inspect`
//! both look through this.

use crate::disk::{DiskError, DiskFile};
use crate::limits::SCAN_PIECE_BLOCKS;
use crate::record::{Body, Entry, RawRecord, Record, Reject, address_crc, starts_record};
use crate::units::{BLOCK_BYTES, VolumeId};

/// A sealed header block that was met in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Where it stands, in blocks from the start of the file.
    pub at_block: u32,
    /// What it is.
    pub what: Sighted,
}

/// What a sealed header block turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sighted {
    /// A record whose payload is what its checksums say.
    Sound(Record),
    /// A record with payload that is not what was written.
    Damaged {
        /// The record.
        record: Record,
        /// Its first bad entry.
        entry: usize,
    },
    /// A record that says to stand elsewhere: a misdirected write, or the image of a log.
    Misplaced(Record),
    /// Something that this version has no meaning for.
    Refused {
        /// The volume.
        volume: VolumeId,
        /// Why.
        reject: Reject,
    },
}

/// Walks over the first `blocks` of a file and shows `visit` every sealed header block, in the
/// order of their places. Only a sound record is passed over whole; after anything else the walk
/// goes on with the very next block, since evidence may follow. Reads pieces of
/// [`SCAN_PIECE_BLOCKS`] and keeps one.
///
/// # Errors
/// What reading or `visit` returns.
pub async fn walk<F, E>(
    file: &F,
    blocks: u32,
    mut visit: impl FnMut(Sighting) -> Result<(), E>,
) -> Result<(), E>
where
    F: DiskFile,
    E: From<DiskError>,
{
    let mut window = Window { file, blocks, start: 0, piece: None };
    let mut at = 0;
    while at < blocks {
        let bytes = window.from(at).await?;
        let plain = bytes.chunks_exact(BLOCK_BYTES).take_while(|block| !starts_record(block));
        let plain = plain.count() as u32;
        if plain > 0 {
            at += plain;
            continue;
        }
        let mut step = 1;
        if let Some(what) = judge(&bytes[..BLOCK_BYTES], at) {
            let what = match what {
                Sighted::Sound(record) => match first_bad_entry(&mut window, &record).await? {
                    Some(entry) => Sighted::Damaged { record, entry },
                    None => {
                        step = record.blocks();
                        Sighted::Sound(record)
                    }
                },
                other => other,
            };
            visit(Sighting { at_block: at, what })?;
        }
        at += step;
    }
    Ok(())
}

/// What a header block is, its payload left aside; none if it is not sealed.
fn judge(block: &[u8], at: u32) -> Option<Sighted> {
    let raw = RawRecord::parse(block).ok()?;
    Some(match raw.check() {
        Ok(record) if record.at_block == at => Sighted::Sound(record),
        Ok(record) => Sighted::Misplaced(record),
        Err(reject) => Sighted::Refused { volume: raw.volume(), reject },
    })
}

async fn first_bad_entry<F: DiskFile>(
    window: &mut Window<'_, F>,
    record: &Record,
) -> Result<Option<usize>, DiskError> {
    for (index, entry) in record.entries.iter().enumerate() {
        if !payload_is_good(window, entry).await? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

async fn payload_is_good<F: DiskFile>(
    window: &mut Window<'_, F>,
    entry: &Entry,
) -> Result<bool, DiskError> {
    let (Body::Data(place) | Body::Name(place)) = entry.body else { return Ok(true) };
    let end = place.block + entry.extent.count() as u32;
    if end > window.blocks {
        return Ok(false);
    }
    let mut crc = address_crc(entry.extent);
    let mut at = place.block;
    while at < end {
        let bytes = window.from(at).await?;
        let here = ((end - at) as usize * BLOCK_BYTES).min(bytes.len());
        crc = crc32c::crc32c_append(crc, &bytes[..here]);
        at += (here / BLOCK_BYTES) as u32;
    }
    Ok(crc == place.crc)
}

/// The piece of a file that was read last.
struct Window<'a, F: DiskFile> {
    file: &'a F,
    blocks: u32,
    start: u32,
    piece: Option<F::Read>,
}

impl<F: DiskFile> Window<'_, F> {
    /// The bytes from block `at` to the end of the piece that has it: one block at least.
    async fn from(&mut self, at: u32) -> Result<&[u8], DiskError> {
        assert!(at < self.blocks, "block {at} of {}", self.blocks);
        let has = |piece: &F::Read| {
            let end = self.start as usize + piece.len() / BLOCK_BYTES;
            (self.start as usize..end).contains(&(at as usize))
        };
        let piece = match self.piece.take().filter(has) {
            Some(piece) => piece,
            None => {
                let bytes = SCAN_PIECE_BLOCKS.min(self.blocks - at) as usize * BLOCK_BYTES;
                self.start = at;
                self.file.read_at(u64::from(at) * BLOCK_BYTES as u64, bytes).await?
            }
        };
        let from = (at - self.start) as usize * BLOCK_BYTES;
        let piece: &F::Read = self.piece.insert(piece);
        Ok(&piece[from..])
    }
}
