//! A log that tests write: one shard of one opening, on a disk in memory.

use std::rc::Rc;

use futures_lite::future::block_on;

use crate::batch::Batch;
use crate::disk::{Disk, DiskFile};
use crate::layout::Layout;
use crate::memory::MemoryDisk;
use crate::record::LogIdentity;
use crate::scan::{Floor, Scan, ScanError, scan};
use crate::units::{BLOCK_BYTES, Epoch, Incarnation, Lba, Lsn, SegmentId, ShardId, VolumeId};

pub(super) const VOLUME: VolumeId = VolumeId(*b"volume-of-a-test");

pub(super) struct Log {
    pub disk: MemoryDisk,
    pub identity: LogIdentity,
    pub path: String,
    pub blocks: u32,
    pub segment: SegmentId,
    /// Where the next batch goes.
    pub at: u32,
    /// The next record.
    pub lsn: Lsn,
    /// What the next batch says is durable, if not all before it.
    pub durable: Option<Lsn>,
}

impl Log {
    /// Shard `shard` of two.
    pub fn new(incarnation: u64, shard: u16) -> Self {
        let identity = LogIdentity {
            volume: VOLUME,
            incarnation: Incarnation(incarnation),
            salt: 1000 + incarnation,
            shard: ShardId(shard),
            layout: Layout::new(10, 2).unwrap(),
        };
        Self {
            disk: MemoryDisk::new(),
            identity,
            path: String::new(),
            blocks: 0,
            segment: SegmentId(0),
            at: 0,
            lsn: Lsn(1),
            durable: None,
        }
    }

    /// Another log on the same disk.
    pub fn sibling(&self, incarnation: u64, shard: u16) -> Self {
        Self { disk: self.disk.clone(), ..Self::new(incarnation, shard) }
    }

    /// Goes on in a new file.
    pub fn segment(&mut self, name: &str, blocks: u32) {
        self.disk.put(&format!("wal/{name}"), vec![0; blocks as usize * BLOCK_BYTES]);
        self.reuse(name);
    }

    /// Goes on at the start of a file that is there.
    pub fn reuse(&mut self, name: &str) {
        self.path = format!("wal/{name}");
        self.blocks = (self.disk.bytes(&self.path).unwrap().len() / BLOCK_BYTES) as u32;
        (self.segment, self.at) = (self.segment.next(), 0);
    }

    /// Appends what `fill` pushes as one batch.
    pub fn append(&mut self, fill: impl FnOnce(&mut Batch<Vec<u8>>)) {
        let file = block_on(self.disk.open(&self.path)).unwrap();
        let buf = file.alloc((self.blocks - self.at) as usize * BLOCK_BYTES);
        let mut batch = Batch::begin(buf, self.identity, self.segment, self.at, self.lsn);
        fill(&mut batch);
        let done = batch.finish(self.durable.unwrap_or(Lsn(self.lsn.0 - 1)));
        let at = u64::from(self.at) * BLOCK_BYTES as u64;
        block_on(file.write_at(at, Rc::new(done.buf))).unwrap();
        (self.at, self.lsn) = (self.at + done.blocks, done.last_lsn.next());
    }

    /// Appends one batch of data entries `(lba, blocks)`.
    pub fn write(&mut self, epoch: u64, entries: &[(u64, u64)]) {
        let lsn = self.lsn.0;
        self.append(|batch| {
            for &(lba, count) in entries {
                let data: Vec<u8> = (lba..lba + count).flat_map(|l| block(l + 7 * lsn)).collect();
                assert!(batch.push_data(Epoch(epoch), Lba(lba), &data).is_some());
            }
        });
    }
}

/// A block that differs from that of any other seed.
pub(super) fn block(seed: u64) -> Vec<u8> {
    let words = (0..BLOCK_BYTES as u64 / 8).map(|i| (seed << 16 | i).wrapping_mul(0x9e37_79b9));
    words.flat_map(u64::to_le_bytes).collect()
}

/// A manifest of `newest` that covers nothing.
pub(super) fn floor(newest: u64) -> Floor {
    let incarnation = Incarnation(newest.min(1));
    Floor { incarnation, lsns: vec![], epoch: Epoch(0), newest: Incarnation(newest) }
}

pub(super) fn scan_at(
    disk: &MemoryDisk,
    volume: VolumeId,
    floor: &Floor,
) -> Result<Scan, ScanError> {
    block_on(scan(disk, "wal", "", volume, floor))
}

pub(super) fn scan_now(disk: &MemoryDisk, floor: &Floor) -> Result<Scan, ScanError> {
    scan_at(disk, VOLUME, floor)
}

/// (incarnation, shard, lsn) of each record to be replayed.
pub(super) fn lsns(scan: &Scan) -> Vec<(u64, u16, u64)> {
    let place = |id: &LogIdentity, lsn: Lsn| (id.incarnation.0, id.shard.0, lsn.0);
    scan.records.iter().map(|found| place(&found.record.identity, found.record.lsn)).collect()
}
