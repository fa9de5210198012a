//! What the simulation writes into a sector, and what it recognizes there.
//!
//! Bytes 0..8 a magic, 8..16 the volume, 16..24 the sector's address, 24..32 the version (the
//! number of the write), 32..36 the sector's index in that write, 36..40 the CRC32C of all other
//! bytes, 40..512 a pattern of the version and the address. Little-endian.

use wal::SECTOR_BYTES;

use super::random::mix;

const MAGIC: u64 = u64::from_le_bytes(*b"krtsectr");

/// What a sector holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Zeros.
    Zero,
    /// A version of this very sector.
    Version {
        /// Number of the write.
        version: u64,
        /// Index of the sector in the write.
        index: u32,
    },
    /// Something of another volume or another address.
    Foreign,
    /// Parts of several contents, or noise.
    Torn,
}

/// Fills one sector.
pub fn fill(sector: &mut [u8], volume: u64, address: u64, version: u64, index: u32) {
    assert_eq!(sector.len(), SECTOR_BYTES);
    for (place, word) in (0..).zip(sector.chunks_exact_mut(8)) {
        let word_of: u64 = match place {
            0 => MAGIC,
            1 => volume,
            2 => address,
            3 => version,
            4 => u64::from(index),
            _ => mix(version ^ address.rotate_left(32)) ^ place,
        };
        word.copy_from_slice(&word_of.to_le_bytes());
    }
    let sum = sum_of(sector);
    sector[36..40].copy_from_slice(&sum.to_le_bytes());
}

fn sum_of(sector: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&sector[..36]), &sector[40..])
}

/// Recognizes the content of the sector at `address`.
#[must_use]
pub fn parse(sector: &[u8], volume: u64, address: u64) -> Content {
    assert_eq!(sector.len(), SECTOR_BYTES);
    let word = |place: usize| {
        u64::from_le_bytes(sector[place * 8..place * 8 + 8].try_into().expect("8 bytes"))
    };
    if word(0) == 0 && sector.iter().all(|&byte| byte == 0) {
        return Content::Zero;
    }
    let sum = (word(4) >> 32) as u32;
    if word(0) != MAGIC || sum != sum_of(sector) {
        return Content::Torn;
    }
    if (word(1), word(2)) != (volume, address) {
        return Content::Foreign;
    }
    Content::Version { version: word(3), index: word(4) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_recognized_where_it_belongs_and_only_there() {
        let mut sector = [0; SECTOR_BYTES];
        assert_eq!(parse(&sector, 1, 5), Content::Zero);
        fill(&mut sector, 1, 5, 77, 3);
        assert_eq!(parse(&sector, 1, 5), Content::Version { version: 77, index: 3 });
        assert_eq!(parse(&sector, 1, 6), Content::Foreign);
        assert_eq!(parse(&sector, 2, 5), Content::Foreign);
    }

    #[test]
    fn every_mixture_and_every_changed_byte_is_torn() {
        let (mut old, mut new) = ([0; SECTOR_BYTES], [0; SECTOR_BYTES]);
        fill(&mut old, 1, 5, 76, 0);
        fill(&mut new, 1, 5, 77, 0);
        for cut in [8, 30, 36, 40, 64, 256, 504] {
            let mixture = [&new[..cut], &old[cut..]].concat();
            let whole = mixture == new || mixture == old;
            assert!(whole || parse(&mixture, 1, 5) == Content::Torn, "cut at {cut}");
        }
        for at in 0..SECTOR_BYTES {
            let mut changed = new;
            changed[at] ^= 1;
            assert_eq!(parse(&changed, 1, 5), Content::Torn, "byte {at}");
        }
        assert_eq!(parse(&[&new[..256], &[0; 256]].concat(), 1, 5), Content::Torn);
    }
}
