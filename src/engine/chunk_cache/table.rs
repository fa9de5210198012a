//! Table entries: what a slot holds, as it stands on the disk.

use chunk::ChunkId;
use wal::{BLOCK_BYTES, VolumeId};

use super::slots::SlotKey;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 64;

/// Entries of one block of the table.
pub(super) const BLOCK_ENTRIES: u32 = (BLOCK_BYTES / ENTRY_BYTES) as u32;

const MAGIC: [u8; 4] = *b"KCSL";
const VERSION: u16 = 1;

/// Writes the entry of a slot; zeros for an empty one.
pub(super) fn encode(held: Option<(SlotKey, u32)>) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let Some((key, present)) = held.filter(|(_, present)| *present != 0) else { return entry };
    entry[..4].copy_from_slice(&MAGIC);
    entry[4..6].copy_from_slice(&VERSION.to_le_bytes());
    entry[6..8].copy_from_slice(&key.part.to_le_bytes());
    entry[8..24].copy_from_slice(&key.volume.0);
    entry[24..32].copy_from_slice(&key.chunk.raw().to_le_bytes());
    entry[32..36].copy_from_slice(&present.to_le_bytes());
    let crc = crc32c::crc32c(&entry[..60]);
    entry[60..].copy_from_slice(&crc.to_le_bytes());
    entry
}

/// Reads an entry; whatever is not one is an empty slot.
pub(super) fn decode(entry: &[u8]) -> Option<(SlotKey, u32)> {
    let entry: &[u8; ENTRY_BYTES] = entry.try_into().ok()?;
    let number =
        |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
    if entry[..4] != MAGIC || number(60) != crc32c::crc32c(&entry[..60]) {
        return None;
    }
    let [.., part_low, part_high] = entry[..8] else { return None };
    if entry[4..6] != VERSION.to_le_bytes() || entry[36..60] != [0; 24] {
        return None;
    }
    let volume = VolumeId(entry[8..24].try_into().ok()?);
    let chunk = ChunkId::from_raw(u64::from_le_bytes(entry[24..32].try_into().ok()?))?;
    let key = SlotKey { volume, chunk, part: u16::from_le_bytes([part_low, part_high]) };
    let present = number(32);
    (present != 0).then_some((key, present))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::Incarnation;

    fn held() -> (SlotKey, u32) {
        let chunk = ChunkId::new(Incarnation(3), 0x1234).unwrap();
        (SlotKey { volume: VolumeId(*b"0123456789abcdef"), chunk, part: 31 }, 0x8000_0fff)
    }

    fn example() -> Vec<u8> {
        let document = include_str!("FORMAT.md");
        let example = document.split("```hex").nth(1).and_then(|rest| rest.split("```").next());
        let digits = |line: &str| line.split('|').next().unwrap_or_default().to_owned();
        let text: String =
            example.expect("an example").lines().map(|line| digits(line) + " ").collect();
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
    }

    #[test]
    fn the_document_and_the_encoder_agree() {
        assert_eq!(encode(Some(held())).to_vec(), example());
        assert_eq!(decode(&example()), Some(held()));
    }

    #[test]
    fn an_empty_slot_is_zeros() {
        assert_eq!(encode(None), [0; ENTRY_BYTES]);
        assert_eq!(decode(&[0; ENTRY_BYTES]), None);
        assert_eq!(encode(Some((held().0, 0))), [0; ENTRY_BYTES]);
    }

    #[test]
    fn an_entry_with_any_byte_changed_is_an_empty_slot() {
        let good = encode(Some(held()));
        for at in 0..ENTRY_BYTES {
            let mut bad = good;
            bad[at] ^= 0x40;
            assert_eq!(decode(&bad), None, "byte {at}");
        }
        assert_eq!(decode(&good[..63]), None);
    }

    /// Whatever the checksum covers is checked on its own, too.
    #[test]
    fn an_entry_of_another_version_or_with_more_in_it_is_an_empty_slot() {
        for (at, value) in [(4, 2), (36, 1), (59, 1), (31, 0)] {
            let mut other = encode(Some(held()));
            other[at] = value;
            if at == 31 {
                other[24..32].fill(0);
            }
            let crc = crc32c::crc32c(&other[..60]);
            other[60..].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(decode(&other), None, "byte {at}");
        }
    }
}
