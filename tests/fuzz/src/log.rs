//! The write-ahead log: a header block, and a whole segment as recovery sees it.

use futures_lite::future::block_on;
use wal::{
    BLOCK_BYTES, Body, Epoch, Floor, Incarnation, Layout, Lsn, MemoryDisk, RawRecord, Record,
    ShardId, VolumeId, limits, scan,
};

use super::seal;

/// Most blocks of a segment that is looked at.
const SEGMENT_BLOCKS: usize = 64;

/// One header block; what is missing of it is zero.
pub fn record(bytes: &[u8]) {
    let mut block = bytes.to_vec();
    block.resize(BLOCK_BYTES, 0);
    let _ = checked(&block);
    seal::checksum(&mut block);
    if let Some(record) = checked(&block) {
        assert!(!record.to_string().is_empty());
        assert_eq!(checked(&block), Some(record), "read twice, it says the same");
    }
}

/// A record that passed keeps all limits.
fn checked(block: &[u8]) -> Option<Record> {
    let record = RawRecord::parse(block).ok()?.check().ok()?;
    let id = &record.identity;
    assert!(id.shard.0 < id.layout.shards() && record.durable_lsn < record.lsn);
    assert!(record.entries.len() <= limits::ENTRIES_PER_RECORD);
    assert!(record.blocks() <= limits::RECORD_MAX_BLOCKS);
    let mut next = record.at_block + 1;
    for entry in &record.entries {
        assert!(entry.extent.end().0 <= limits::VOLUME_MAX_BLOCKS);
        let owned = id.layout.owned(id.shard, entry.extent).expect("the shard has a part of it");
        if let Body::Data(place) = entry.body {
            assert_eq!((place.block, owned.count), (next, entry.extent.count()));
            next += entry.extent.count() as u32;
        }
    }
    assert_eq!(next, record.at_block + record.blocks(), "payload without gaps");
    Some(record)
}

/// A segment file, whose header blocks are sealed where they look like ones. What recovery finds
/// lies within the file, in order, each payload with its checksum.
pub fn segment(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    file.truncate(SEGMENT_BLOCKS * BLOCK_BYTES);
    file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
    for block in file.chunks_exact_mut(BLOCK_BYTES) {
        if block.starts_with(b"KraitWAL") {
            seal::checksum(block);
        }
    }
    let first = file.chunks_exact(BLOCK_BYTES).find_map(|block| RawRecord::parse(block).ok());
    let first = first.and_then(|raw| raw.check().ok());
    let Some(first) = first else {
        return recover(&file, VolumeId([7; 16]), Incarnation(1), Vec::new());
    };
    let id = first.identity;
    let floors = [
        Vec::new(),
        vec![(id.shard, Lsn(first.lsn.0.saturating_sub(1)))],
        vec![(ShardId(0), first.lsn)],
    ];
    for lsns in floors {
        recover(&file, id.volume, id.incarnation, lsns);
    }
    let layout = Layout::new(id.layout.stripe_shift(), id.layout.shards());
    assert_eq!(layout, Some(id.layout), "a layout that can be made");
}

fn recover(file: &[u8], volume: VolumeId, newest: Incarnation, lsns: Vec<(ShardId, Lsn)>) {
    let disk = MemoryDisk::new();
    disk.put("wal/1.wal", file.to_vec());
    let floor = Floor { incarnation: newest, lsns, epoch: Epoch(0), newest };
    let Ok(found) = block_on(scan(&disk, "wal", "", volume, &floor)) else { return };
    let mut before = None;
    for found in &found.records {
        let record = &found.record;
        let order = (record.identity.incarnation, record.identity.shard, record.lsn);
        assert!(before < Some(order), "records come in order, and once each");
        before = Some(order);
        assert_eq!(record.identity.volume, volume);
        for entry in &record.entries {
            let Body::Data(place) = entry.body else { continue };
            let at = place.block as usize * BLOCK_BYTES;
            let bytes = entry.extent.count() as usize * BLOCK_BYTES;
            let payload = file.get(at..at + bytes).expect("payload lies within the file");
            assert!(entry.matches(payload), "payload that nobody wrote is replayed");
        }
    }
    assert_eq!(disk.bytes("wal/1.wal").as_deref(), Some(file), "recovery changes nothing");
}
