//! What a batch promises while it is built.

use super::*;
use crate::layout::Layout;
use crate::record::{RawRecord, Record};
use crate::units::{Incarnation, ShardId, VolumeId};

fn identity() -> LogIdentity {
    LogIdentity {
        volume: VolumeId([7; 16]),
        incarnation: Incarnation(1),
        salt: 1,
        shard: ShardId(0),
        layout: Layout::new(10, 1).unwrap(),
    }
}

fn batch(blocks: usize) -> Batch<Vec<u8>> {
    Batch::begin(vec![0xa5; blocks * BLOCK_BYTES], identity(), SegmentId(1), 3, Lsn(10))
}

fn records(finished: &Finished<Vec<u8>>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut at = 0;
    while at < finished.blocks {
        let header = &finished.buf[at as usize * BLOCK_BYTES..][..BLOCK_BYTES];
        let record = RawRecord::parse(header).unwrap().check().unwrap();
        assert_eq!(record.at_block, finished.first_block + at);
        at += record.blocks();
        records.push(record);
    }
    records
}

#[test]
fn a_full_record_is_followed_by_the_next() {
    let mut batch = batch(400);
    for i in 0..161 {
        assert!(batch.push_data(Epoch(1), Lba(i), &[i as u8; BLOCK_BYTES]).is_some());
    }
    assert_eq!((batch.last_lsn(), batch.next_lsn()), (Some(Lsn(12)), Lsn(13)));
    assert_eq!(batch.blocks(), 164);
    let finished = batch.finish(Lsn(9));
    assert_eq!((finished.first_lsn, finished.last_lsn), (Lsn(10), Lsn(12)));
    assert_eq!(finished.buf.len(), 164 * BLOCK_BYTES);
    let records = records(&finished);
    let counts: Vec<_> = records.iter().map(|r| (r.lsn, r.entries.len())).collect();
    assert_eq!(counts, [(Lsn(10), 80), (Lsn(11), 80), (Lsn(12), 1)]);
    for entry in records.iter().flat_map(|r| &r.entries) {
        let Body::Data(place) = entry.body else { panic!("{entry}") };
        assert!(entry.matches(finished.payload(place.block, 1)));
    }
}

#[test]
fn a_record_has_one_epoch() {
    let mut batch = batch(8);
    let extent = Extent::new(Lba(0), 1 << 40).unwrap();
    assert!(batch.push_hole(Epoch(1), HoleKind::Zero, extent));
    assert!(batch.push_hole(Epoch(2), HoleKind::Discard, extent));
    assert!(batch.push_hole(Epoch(2), HoleKind::Discard, extent));
    let finished = batch.finish(Lsn(0));
    assert_eq!(finished.last_epoch, Epoch(2));
    let epochs: Vec<_> = records(&finished).iter().map(|r| (r.epoch, r.entries.len())).collect();
    assert_eq!(epochs, [(Epoch(1), 1), (Epoch(2), 2)]);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut batch = batch(4);
    assert_eq!(batch.room_blocks(), 4);
    assert!(batch.push_data(Epoch(1), Lba(0), &[1; 4 * BLOCK_BYTES]).is_none());
    assert!(batch.is_empty());
    let place = batch.push_data(Epoch(1), Lba(0), &[1; 2 * BLOCK_BYTES]).unwrap();
    assert_eq!((place.block, batch.room_blocks()), (4, 1));
    assert!(batch.push_data(Epoch(1), Lba(2), &[2; 2 * BLOCK_BYTES]).is_none());
    assert!(batch.push_data(Epoch(2), Lba(2), &[2; BLOCK_BYTES]).is_none(), "header and payload");
    assert!(batch.push_data(Epoch(1), Lba(2), &[2; BLOCK_BYTES]).is_some());
    assert!(batch.push_hole(Epoch(1), HoleKind::Zero, Extent::new(Lba(9), 1).unwrap()));
    assert!(!batch.push_hole(Epoch(2), HoleKind::Zero, Extent::new(Lba(9), 1).unwrap()));
    assert!(!batch.push_mark(Epoch(2)));
    assert_eq!(batch.payload(4, 2), [1; 2 * BLOCK_BYTES]);
    assert_eq!(batch.payload(6, 1), [2; BLOCK_BYTES]);
    assert_eq!(batch.finish(Lsn(9)).blocks, 4);
}

#[test]
fn a_mark_is_a_record_without_entries() {
    let mut batch = batch(2);
    assert!(batch.push_mark(Epoch(5)));
    let records = records(&batch.finish(Lsn(9)));
    assert_eq!((records[0].durable_lsn, records[0].entries.len()), (Lsn(9), 0));
}

#[test]
#[should_panic(expected = "epoch 1 after 2")]
fn epochs_do_not_fall() {
    let mut batch = batch(8);
    assert!(batch.push_mark(Epoch(2)));
    batch.push_mark(Epoch(1));
}

#[test]
#[should_panic(expected = "is durable before it is written")]
fn nothing_is_durable_before_it_is_written() {
    let mut batch = batch(8);
    assert!(batch.push_mark(Epoch(2)));
    batch.finish(Lsn(10));
}
