//! The memory of a cache, in slabs that are taken as it fills.

use std::rc::Rc;

use wal::BLOCK_BYTES;

use crate::engine::limits::{CACHE_SLAB_BLOCKS, CACHE_SPARE_SLABS};
use crate::engine::signal::Signal;

/// Room for a number of blocks, of which the first ones have memory.
pub struct Slabs {
    slabs: Vec<Box<[u8]>>,
    /// Slabs that wait for their use.
    spares: Vec<Box<[u8]>>,
    /// Told when a spare slab was taken.
    taken: Rc<Signal>,
    most: usize,
}

impl Slabs {
    /// Room for `capacity` blocks, none of which has memory yet.
    pub(super) fn new(capacity: u32) -> Self {
        let most = (capacity as usize).div_ceil(CACHE_SLAB_BLOCKS);
        Self { slabs: Vec::new(), spares: Vec::new(), taken: Rc::default(), most }
    }

    /// Whether another slab should be made with [`new_slab`] before it is needed.
    #[must_use]
    pub fn lacks_spare(&self) -> bool {
        let grows = !self.slabs.is_empty() && self.slabs.len() + self.spares.len() < self.most;
        grows && self.spares.len() < CACHE_SPARE_SLABS
    }

    /// Takes in a slab that was made while [`Self::lacks_spare`], if it still does.
    pub fn add_spare(&mut self, slab: Box<[u8]>) {
        if self.lacks_spare() {
            self.spares.push(slab);
        }
    }

    /// Told when [`Self::lacks_spare`] may have become true.
    #[must_use]
    pub fn taken(&self) -> Rc<Signal> {
        self.taken.clone()
    }

    /// Sees to it that a block has memory, and all before it have.
    pub(super) fn reach(&mut self, block: usize) {
        if block / CACHE_SLAB_BLOCKS == self.slabs.len() {
            self.slabs.push(self.spares.pop().unwrap_or_else(untouched_slab));
            self.taken.notify();
        }
    }

    pub(super) fn block(&self, block: usize) -> &[u8] {
        let (slab, at) = place(block);
        &self.slabs[slab][at..at + BLOCK_BYTES]
    }

    pub(super) fn block_mut(&mut self, block: usize) -> &mut [u8] {
        let (slab, at) = place(block);
        &mut self.slabs[slab][at..at + BLOCK_BYTES]
    }

    pub(super) fn parts(&self, Parts(parts): Parts) -> Vec<&[u8]> {
        parts.into_iter().map(|(slab, from, to)| &self.slabs[slab][from..to]).collect()
    }
}

/// Where some blocks are, one after the other, in parts as long as they lie in memory: slab, and bytes
/// within it.
#[derive(Default)]
pub(super) struct Parts(Vec<(usize, usize, usize)>);

impl Parts {
    pub(super) fn add(&mut self, block: usize) {
        let (slab, at) = place(block);
        match self.0.last_mut() {
            Some((same, _, end)) if (*same, *end) == (slab, at) => *end += BLOCK_BYTES,
            _ => self.0.push((slab, at, at + BLOCK_BYTES)),
        }
    }
}

fn untouched_slab() -> Box<[u8]> {
    vec![0; CACHE_SLAB_BLOCKS * BLOCK_BYTES].into_boxed_slice()
}

/// Memory for [`CACHE_SLAB_BLOCKS`] blocks, touched: where a hypervisor has to find it first, that
/// takes longer than everything else that is done with a block.
#[must_use]
pub fn new_slab() -> Box<[u8]> {
    vec![0xA5; CACHE_SLAB_BLOCKS * BLOCK_BYTES].into_boxed_slice()
}

/// Slab of a block, and byte within it.
fn place(block: usize) -> (usize, usize) {
    (block / CACHE_SLAB_BLOCKS, block % CACHE_SLAB_BLOCKS * BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_wants_slabs_in_advance_and_no_more_than_it_can_use() {
        let mut slabs = Slabs::new(3 * CACHE_SLAB_BLOCKS as u32);
        assert!(!slabs.lacks_spare(), "nothing was put into it");
        for block in 0..=2 * CACHE_SLAB_BLOCKS {
            slabs.reach(block);
            while slabs.lacks_spare() {
                slabs.add_spare(new_slab());
            }
            assert!(slabs.slabs.len() + slabs.spares.len() <= 3);
        }
        assert_eq!((slabs.slabs.len(), slabs.spares.len()), (3, 0), "spares are used first");
    }
}
