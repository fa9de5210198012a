//! Changes of inputs that are good.

use krait::sim::Random;

/// Most changes of one input.
const CHANGES: u64 = 8;

/// Most bytes that one change moves.
const MOVED: u64 = 64;

/// Numbers that limits and signs are made of.
const SPECIAL: [u64; 12] = [
    0,
    1,
    2,
    255,
    4095,
    4096,
    4097,
    1 << 16,
    (1 << 31) - 1,
    u32::MAX as u64,
    u64::MAX >> 1,
    u64::MAX,
];

/// One of the seeds, changed in some places.
pub fn input(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..random.scaled(1..CHANGES + 1) {
        change(&mut bytes, seeds, random);
    }
    bytes
}

/// A place, which near the front is more likely: fields are there.
fn place(bytes: usize, random: &mut Random) -> usize {
    let bytes = bytes as u64;
    let at = if random.chance(2) { random.below(bytes) } else { random.scaled(1..bytes + 1) - 1 };
    at as usize
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        bytes.extend((0..random.within(1..MOVED)).map(|_| random.bits() as u8));
        return;
    }
    let at = place(bytes.len(), random);
    let end = (at + random.within(1..MOVED) as usize).min(bytes.len());
    match random.below(10) {
        0..=1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.bits() as u8,
        3..=5 => number(&mut bytes[at..], random),
        6 => {
            bytes.drain(at..end);
        }
        7 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        8 => {
            let other = random.pick(seeds);
            let from = random.below(other.len() as u64 + 1) as usize;
            let piece = &other[from..(from + end - at).min(other.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
        _ => bytes.truncate(at),
    }
}

/// Puts a special number, or one beside it, in either order of bytes.
fn number(bytes: &mut [u8], random: &mut Random) {
    let value = random.pick(&SPECIAL).wrapping_add(random.below(3)).wrapping_sub(1);
    let width = (1usize << random.below(4)).min(bytes.len());
    let little = value.to_le_bytes();
    bytes[..width].copy_from_slice(&little[..width]);
    if random.chance(2) {
        bytes[..width].reverse();
    }
}
