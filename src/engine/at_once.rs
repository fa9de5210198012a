//! What a core can do of a request without waiting: memory has it all, and the core owns it all.

use wal::{BLOCK_BYTES, Lba, ShardBlock, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::limits::COPY_QUANTUM_BYTES;
use super::volume::Volume;

impl<E: Env> Volume<E> {
    /// Appends what a read returns to `out`, if this core has all of it in memory.
    pub fn read_now(
        &self,
        offset: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), VolumeError>> {
        let before = out.len();
        out.resize(before + len, 0);
        let read = self.read_into(offset, &mut out[before..]);
        if !matches!(read, Some(Ok(()))) {
            out.truncate(before);
        }
        read
    }

    /// Fills `out` with what a read of its length returns, if this core has all of it in memory;
    /// otherwise `out` holds nothing of use.
    pub fn read_into(&self, offset: u64, out: &mut [u8]) -> Option<Result<(), VolumeError>> {
        let start = self.own_blocks(offset, out.len())?;
        match self.own().try_read(start, out) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(stopped) => Some(Err(stopped)),
        }
    }

    /// Hands `take` the content of a range, in parts, if this core has all of it in its memory cache.
    /// What `take` does must not touch the volume.
    pub fn with_cached<T>(
        &self,
        offset: u64,
        len: usize,
        take: impl FnOnce(&[&[u8]]) -> T,
    ) -> Option<Result<T, VolumeError>> {
        let start = self.own_blocks(offset, len)?;
        let run = ShardRun { start, count: (len / BLOCK_BYTES) as u64 };
        self.own().with_cached(run, take).transpose()
    }

    /// Writes as much of `data` from its start on as needs no waiting: nothing if another core owns
    /// any of it. Returns the bytes written; [`Self::write`] does the rest.
    ///
    /// # Errors
    /// The volume is stopped.
    pub fn write_now(&self, offset: u64, data: &[u8]) -> Result<usize, VolumeError> {
        self.assert_writable();
        match self.own_blocks(offset, data.len()) {
            Some(start) if !self.is_strict() && !self.own().is_tight() => {
                self.own().try_write(start, data)
            }
            _ => Ok(0),
        }
    }

    /// First block of a request of whole blocks within one stripe of this core.
    fn own_blocks(&self, offset: u64, len: usize) -> Option<ShardBlock> {
        self.assert_inside(offset, len as u64);
        let (block, blocks) = (BLOCK_BYTES as u64, (len / BLOCK_BYTES) as u64);
        let layout = self.shared().layout;
        let lba = Lba(offset / block);
        let whole = offset.is_multiple_of(block) && len.is_multiple_of(BLOCK_BYTES) && len > 0;
        let within = (lba.0 & (layout.stripe_blocks() - 1)) + blocks <= layout.stripe_blocks();
        let fits = whole && within && len <= COPY_QUANTUM_BYTES;
        (fits && self.is_own(layout.owner(lba))).then(|| layout.to_shard(lba))
    }
}
