//! How far a reserved file was written and synced.
//!
//! The first write to a reserved block changes metadata: without them the block reads as zeros,
//! whatever is on the medium. Later writes change none, so this tells which syncs have some to make
//! durable. A log is written from its start, each time anew.

use std::cell::Cell;

/// The part of a file that was reserved and not written yet.
#[derive(Debug)]
pub(super) struct Reserved {
    /// Blocks below this byte have been written; some above it may.
    written: Cell<u64>,
    /// Blocks below this byte were written, and that is durable.
    durable: Cell<u64>,
    /// Something was written above it since the last sync.
    is_fresh: Cell<bool>,
}

impl Reserved {
    /// A file of which blocks from this byte on are only reserved.
    pub(super) fn from(byte: u64) -> Self {
        Self { written: Cell::new(byte), durable: Cell::new(byte), is_fresh: Cell::new(false) }
    }

    /// A write has ended.
    pub(super) fn note_write(&self, at: u64, bytes: u64) {
        let end = at + bytes;
        if end > self.durable.get() {
            self.is_fresh.set(true);
        }
        if at <= self.written.get() {
            self.written.set(self.written.get().max(end));
        }
    }

    /// A sync begins. Where it reaches to, if it has metadata to make durable.
    pub(super) fn begin_sync(&self) -> Option<u64> {
        self.is_fresh.take().then(|| self.written.get())
    }

    /// The sync that reaches to this byte has made them durable.
    pub(super) fn end_sync(&self, byte: u64) {
        self.durable.set(self.durable.get().max(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_write_to_a_block_makes_a_sync_special() {
        let file = Reserved::from(0);
        assert_eq!(file.begin_sync(), None);
        file.note_write(0, 100);
        assert_eq!(file.begin_sync(), Some(100));
        file.note_write(100, 50);
        file.end_sync(100);
        assert_eq!(file.begin_sync(), Some(150), "written after that sync began");
        file.end_sync(150);
        file.note_write(20, 130);
        assert_eq!(file.begin_sync(), None, "not the first time");
        file.note_write(20, 131);
        assert_eq!(file.begin_sync(), Some(151));
    }

    #[test]
    fn what_lies_behind_a_gap_is_not_taken_for_written() {
        let file = Reserved::from(0);
        file.note_write(100, 50);
        assert_eq!(file.begin_sync(), Some(0));
        file.end_sync(0);
        file.note_write(0, 100);
        assert_eq!(file.begin_sync(), Some(100));
        file.end_sync(100);
        file.note_write(100, 50);
        assert_eq!(file.begin_sync(), Some(150), "this time without one");
    }

    #[test]
    fn a_file_that_was_written_is_like_any_other() {
        let file = Reserved::from(u64::MAX);
        file.note_write(0, 100);
        assert_eq!(file.begin_sync(), None);
    }
}
