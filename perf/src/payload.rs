//! Random payloads, made before anything is timed.
//!
//! Plain writes take consecutive windows of one pool, so what is written at about the same time
//! has nothing in common; each turn around the pool starts 64 bytes further. Verified writes take
//! windows chosen by block and version, so that a read can tell which write it sees.

use crate::limits::{PATTERN_BYTES, POOL_BYTES};
use crate::rng::{Rng, mix};

/// Start positions of windows, in bytes: a cache line, so that copies stay aligned.
const ALIGN: usize = 64;

/// Random bytes and the place where the next window starts.
#[derive(Debug)]
pub struct Payload {
    pool: Box<[u8]>,
    next: usize,
    turn: usize,
    /// How much further each turn around the pool starts.
    shift: usize,
}

/// A window of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: usize,
    length: usize,
}

impl Payload {
    /// Fills a pool; the same seed gives the same bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(mix(seed ^ 0x7061_796c_6f61_6421));
        let mut pool = vec![0; POOL_BYTES + PATTERN_BYTES as usize].into_boxed_slice();
        for word in pool.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes());
        }
        Self { pool, next: 0, turn: 0, shift: ALIGN }
    }

    /// A pool of these bytes; windows are taken from their start, then from there again.
    ///
    /// # Panics
    /// If there are fewer than the longest request has.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        assert!(bytes.len() >= POOL_BYTES, "a window of any length fits");
        Self { pool: bytes.into_boxed_slice(), next: 0, turn: 0, shift: 0 }
    }

    /// The next window of `length` bytes.
    ///
    /// # Panics
    /// If `length` is larger than the pool; scenarios are checked against that.
    pub fn take(&mut self, length: usize) -> Window {
        assert!(length <= POOL_BYTES, "a window fits the pool");
        if self.next + length > self.pool.len() {
            self.turn += 1;
            self.next = self.turn * self.shift % PATTERN_BYTES as usize;
        }
        let start = self.next;
        self.next += length;
        Window { start, length }
    }

    /// Bytes of the pool.
    #[must_use]
    pub fn pool_bytes(&self) -> u64 {
        self.pool.len() as u64
    }

    /// The bytes of a window.
    #[must_use]
    pub fn bytes(&self, window: Window) -> &[u8] {
        &self.pool[window.start..window.start + window.length]
    }

    /// The pattern of one verified block, [`PATTERN_BYTES`] long. `block` counts pattern blocks
    /// from the start of the volume, `version` the writes to it.
    #[must_use]
    pub fn pattern(&self, block: u64, version: u32) -> &[u8] {
        let ticket = mix(block ^ (u64::from(version) << 40));
        let start = (ticket % (POOL_BYTES / ALIGN) as u64) as usize * ALIGN;
        &self.pool[start..start + PATTERN_BYTES as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn given_bytes_are_taken_in_order() {
        let bytes: Vec<u8> = (0..POOL_BYTES).map(|place| (place >> 12) as u8).collect();
        let mut payload = Payload::of(bytes.clone());
        let windows = [4096, 8192, 4096].map(|length| payload.take(length));
        assert!(payload.bytes(windows[1]) == &bytes[4096..12288]);
        assert!(payload.bytes(windows[2]) == &bytes[12288..16384]);
        payload.take(POOL_BYTES - 16384);
        let again = payload.take(4096);
        assert!(payload.bytes(again) == &bytes[..4096]);
    }

    #[test]
    fn payloads_differ_from_block_to_block_and_turn_to_turn() {
        let mut payload = Payload::new(1);
        let mut seen = HashSet::new();
        for _ in 0..3 * POOL_BYTES / 4096 {
            let window = payload.take(4096);
            let bytes = payload.bytes(window);
            assert_eq!(bytes.len(), 4096);
            assert!(seen.insert(bytes[..16].to_vec()), "block repeats");
        }
    }

    #[test]
    fn largest_block_fits() {
        let mut payload = Payload::new(1);
        for _ in 0..3 {
            let window = payload.take(POOL_BYTES);
            assert_eq!(payload.bytes(window).len(), POOL_BYTES);
        }
    }

    #[test]
    fn patterns_depend_on_block_and_version() {
        let payload = Payload::new(1);
        assert_eq!(payload.pattern(7, 3), payload.pattern(7, 3));
        assert_ne!(payload.pattern(7, 3), payload.pattern(8, 3));
        assert_ne!(payload.pattern(7, 3), payload.pattern(7, 4));
    }

    #[test]
    fn bytes_look_random() {
        let mut payload = Payload::new(1);
        let window = payload.take(1 << 20);
        let mut counts = [0u32; 256];
        for &byte in payload.bytes(window) {
            counts[usize::from(byte)] += 1;
        }
        assert!(counts.iter().all(|&n| (3600..4600).contains(&n)), "{counts:?}");
    }
}
