//! Every rejection of the decoder has its test here.

use super::fields as f;
use super::*;
use crate::batch::Batch;
use crate::limits::{ENTRIES_PER_RECORD, SEGMENT_MAX_BLOCKS};
use crate::units::Lba;

fn identity() -> LogIdentity {
    LogIdentity {
        volume: VolumeId(*b"volume-id-000001"),
        incarnation: Incarnation(3),
        salt: 0x5a17,
        shard: ShardId(1),
        layout: Layout::new(10, 2).unwrap(),
    }
}

/// A record at block 5 with a data entry of two blocks and two holes.
fn sample() -> Vec<u8> {
    let mut batch = Batch::begin(vec![0xa5; 8 * BLOCK_BYTES], identity(), SegmentId(9), 5, Lsn(7));
    batch.push_data(Epoch(4), Lba(1024), &[1; 2 * BLOCK_BYTES]).unwrap();
    assert!(batch.push_hole(Epoch(4), HoleKind::Zero, Extent::new(Lba(0), 5000).unwrap()));
    assert!(batch.push_hole(Epoch(4), HoleKind::Discard, Extent::new(Lba(3100), 9).unwrap()));
    batch.finish(Lsn(6)).buf
}

/// The header block of the sample after `change`, sealed again.
fn changed(change: impl FnOnce(&mut [u8])) -> Result<Record, Reject> {
    let mut header = sample()[..BLOCK_BYTES].to_vec();
    change(&mut header);
    let crc = encode::block_crc(&header);
    f::put(&mut header, f::CRC_AT, &crc.to_le_bytes());
    RawRecord::parse(&header)?.check()
}

fn entry_reject(index: usize, change: impl FnOnce(&mut [u8])) -> EntryReject {
    match changed(|header| change(&mut header[f::entry_range(index)])) {
        Err(Reject::Entry { index: found, source }) if found == index => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_says_what_was_pushed() {
    let bytes = sample();
    let record = changed(|_| ()).unwrap();
    assert_eq!(record.identity, identity());
    assert_eq!((record.segment, record.at_block), (SegmentId(9), 5));
    assert_eq!((record.lsn, record.durable_lsn, record.epoch), (Lsn(7), Lsn(6), Epoch(4)));
    assert_eq!((record.payload_blocks, record.blocks()), (2, 3));
    let holes: Vec<_> = record.entries[1..].iter().map(|e| (e.extent, e.body)).collect();
    assert_eq!(
        holes,
        [
            (Extent::new(Lba(0), 5000).unwrap(), Body::Hole(HoleKind::Zero)),
            (Extent::new(Lba(3100), 9).unwrap(), Body::Hole(HoleKind::Discard)),
        ]
    );
    let Body::Data(place) = record.entries[0].body else { panic!("{record}") };
    assert_eq!(place.block, 6);
    assert!(record.entries[0].matches(&bytes[BLOCK_BYTES..]));
    assert!(!record.entries[0].matches(&bytes[2 * BLOCK_BYTES..]), "short payload");
    assert!(!record.entries[1].matches(&[]), "holes have no payload");
}

#[test]
fn payload_of_another_address_does_not_match() {
    let payload = [7; BLOCK_BYTES];
    let here = payload_crc(Extent::new(Lba(1), 1).unwrap(), &payload);
    assert_ne!(here, payload_crc(Extent::new(Lba(2), 1).unwrap(), &payload));
}

#[test]
fn a_record_prints_itself_and_its_entries() {
    let text = changed(|_| ()).unwrap().to_string();
    assert!(text.starts_with("block 5: record lsn 7 epoch 4 durable 6 shard 1/2"), "{text}");
    assert!(text.contains("\n  data [1024, 1026) at block 6, crc "), "{text}");
    assert!(text.ends_with("\n  discard [3100, 3109)"), "{text}");
}

#[test]
fn other_lengths_are_refused() {
    let bytes = sample();
    let reject = RawRecord::parse(&bytes[..100]).unwrap_err();
    assert_eq!(reject, Reject::Length { bytes: 100 });
}

#[test]
fn other_magic_is_refused() {
    assert_eq!(changed(|h| h[f::MAGIC_AT] ^= 1), Err(Reject::Magic));
}

#[test]
fn a_flip_of_any_bit_of_the_header_block_is_seen() {
    let good = sample()[..BLOCK_BYTES].to_vec();
    for at in 0..BLOCK_BYTES {
        let mut header = good.clone();
        header[at] ^= 1 << (at % 8);
        let reject = RawRecord::parse(&header).unwrap_err();
        assert!(matches!(reject, Reject::Magic | Reject::Crc { .. }), "byte {at}: {reject}");
    }
}

#[test]
fn other_versions_are_refused_but_name_their_volume() {
    assert_eq!(changed(|h| h[f::VERSION_AT] = 2), Err(Reject::Version { version: 2 }));
    let bytes = sample();
    let raw = RawRecord::parse(&bytes[..BLOCK_BYTES]).unwrap();
    assert_eq!((raw.version(), raw.volume()), (1, identity().volume));
}

#[test]
fn unknown_features_are_refused_by_name() {
    let reject = changed(|h| h[f::FEATURES_AT + 1] = 0x10).unwrap_err();
    assert_eq!(reject, Reject::Features { unknown: 0x1000 });
    assert!(reject.to_string().contains("0x1000"));
}

#[test]
fn reserved_bytes_are_zero() {
    for at in f::RESERVED_PREAMBLE.chain(f::RESERVED_BYTE).chain(f::RESERVED_TAIL) {
        assert_eq!(changed(|h| h[at] = 1), Err(Reject::Reserved { at }));
    }
    let unused = f::entry_range(3).start;
    for at in [unused, unused + 100, BLOCK_BYTES - 1] {
        assert_eq!(changed(|h| h[at] = 1), Err(Reject::Reserved { at }));
    }
}

#[test]
fn a_key_without_its_feature_is_refused() {
    assert_eq!(changed(|h| h[f::KEY_ID_AT] = 1), Err(Reject::KeyId { key: 1 }));
}

#[test]
fn odd_layouts_and_shards_are_refused() {
    let layout = |shards, stripe_shift| Err(Reject::Layout { shards, stripe_shift });
    assert_eq!(changed(|h| h[f::SHARDS_AT] = 0), layout(0, 10));
    assert_eq!(changed(|h| h[f::STRIPE_SHIFT_AT] = 3), layout(2, 3));
    assert_eq!(changed(|h| h[f::SHARD_AT] = 2), Err(Reject::Shard { shard: 2, shards: 2 }));
}

#[test]
fn a_record_is_never_durable_before_itself_and_never_the_last() {
    assert_eq!(changed(|h| h[f::DURABLE_AT] = 7), Err(Reject::Lsn { lsn: 7, durable: 7 }));
    assert_eq!(changed(|h| h[f::LSN_AT] = 0), Err(Reject::Lsn { lsn: 0, durable: 6 }));
    let last = changed(|h| f::put(h, f::LSN_AT, &u64::MAX.to_le_bytes()));
    assert_eq!(last, Err(Reject::Lsn { lsn: u64::MAX, durable: 6 }), "none could follow it");
    let last = changed(|h| f::put(h, f::EPOCH_AT, &u64::MAX.to_le_bytes()));
    assert_eq!(last, Err(Reject::Epoch { epoch: u64::MAX }));
}

#[test]
fn counts_are_bounded_and_agree() {
    let entries = ENTRIES_PER_RECORD as u16 + 1;
    assert_eq!(changed(|h| h[f::ENTRIES_AT] = entries as u8), Err(Reject::Entries { entries }));
    assert_eq!(changed(|h| h[f::PAYLOAD_BLOCKS_AT] = 3), Err(Reject::Payload { said: 3, sum: 2 }));
    let at_block = SEGMENT_MAX_BLOCKS - 2;
    assert_eq!(
        changed(|h| f::put(h, f::AT_BLOCK_AT, &at_block.to_le_bytes())),
        Err(Reject::Position { at_block, payload_blocks: 2 })
    );
    let at_block = u32::MAX;
    assert_eq!(
        changed(|h| f::put(h, f::AT_BLOCK_AT, &at_block.to_le_bytes())),
        Err(Reject::Position { at_block, payload_blocks: 2 })
    );
}

#[test]
fn entries_of_unknown_kind_or_encoding_are_refused() {
    assert_eq!(entry_reject(0, |e| e[f::ENTRY_KIND_AT] = 5), EntryReject::Kind(5));
    assert_eq!(entry_reject(1, |e| e[f::ENTRY_KIND_AT] = 0), EntryReject::Kind(0));
    assert_eq!(entry_reject(2, |e| e[f::ENTRY_ENCODING_AT] = 9), EntryReject::Encoding(9));
}

#[test]
fn reserved_bytes_of_entries_are_zero() {
    for at in f::ENTRY_RESERVED_A.chain(f::ENTRY_RESERVED_B) {
        assert_eq!(entry_reject(1, |e| e[at] = 1), EntryReject::Reserved(at));
    }
}

#[test]
fn extents_are_real_and_the_shards() {
    let put = |at, value: u64| move |e: &mut [u8]| f::put(e, at, &value.to_le_bytes());
    let reject = entry_reject(0, put(f::ENTRY_COUNT_AT, 0));
    assert_eq!(reject, EntryReject::Extent { lba: 1024, count: 0 });
    let reject = entry_reject(1, put(f::ENTRY_LBA_AT, u64::MAX));
    assert_eq!(reject, EntryReject::Extent { lba: u64::MAX, count: 5000 });
    assert_eq!(entry_reject(0, put(f::ENTRY_COUNT_AT, 17)), EntryReject::TooLong(17));
    for (index, lba, count) in [(0, 1023, 2), (0, 0, 2), (1, 0, 1024), (2, 1 << 52, 2048)] {
        let reject = entry_reject(index, |e| {
            put(f::ENTRY_LBA_AT, lba)(e);
            put(f::ENTRY_COUNT_AT, count)(e);
        });
        assert_eq!(reject, EntryReject::NotOwned(Extent::new(Lba(lba), count).unwrap()));
    }
}

#[test]
fn payload_stands_where_the_entries_say() {
    let reject = entry_reject(0, |e| e[f::ENTRY_BLOCK_AT] = 2);
    assert_eq!(reject, EntryReject::Block { said: 2, expected: 1 });
    assert_eq!(entry_reject(1, |e| e[f::ENTRY_BLOCK_AT] = 1), EntryReject::HolePayload);
    assert_eq!(entry_reject(2, |e| e[f::ENTRY_CRC_AT] = 1), EntryReject::HolePayload);
}

/// A record with the name of the cut of epoch 3, and a block that is as old.
fn older() -> Vec<u8> {
    let mut batch = Batch::begin(vec![0xa5; 4 * BLOCK_BYTES], identity(), SegmentId(9), 5, Lsn(7));
    assert!(batch.push_name(Epoch(5), Epoch(3), &[b'n'; BLOCK_BYTES]));
    batch.push_older(Epoch(5), Epoch(3), Lba(1024), &[&[1; BLOCK_BYTES]]).unwrap();
    batch.push_data(Epoch(5), Lba(1025), &[2; BLOCK_BYTES]).unwrap();
    batch.finish(Lsn(6)).buf
}

#[test]
fn what_is_older_than_its_record_says_so() {
    let bytes = older();
    let record = RawRecord::parse(&bytes[..BLOCK_BYTES]).unwrap().check().unwrap();
    let epochs = record.entries.iter().map(|entry| record.epoch_of(entry).0);
    assert_eq!(epochs.collect::<Vec<_>>(), [3, 3, 5]);
    let Body::Name(place) = record.entries[0].body else { panic!("{record}") };
    assert_eq!((place.block, record.payload_blocks), (6, 3));
    assert!(record.entries[0].matches(&[b'n'; BLOCK_BYTES]));
    assert!(!record.entries[0].matches(&[b'm'; BLOCK_BYTES]));
    assert!(record.to_string().contains("name of a cut at block 6, crc "), "{record}");
    assert!(record.to_string().ends_with(", crc cf26a54b"), "{record}");
}

#[test]
fn nothing_is_older_than_all_epochs_and_names_are_of_cuts_that_ended() {
    let reject = |index: usize, at: usize, value: u64| {
        let mut header = older()[..BLOCK_BYTES].to_vec();
        f::put(&mut header[f::entry_range(index)], at, &value.to_le_bytes()[..4]);
        let crc = encode::block_crc(&header);
        f::put(&mut header, f::CRC_AT, &crc.to_le_bytes());
        match RawRecord::parse(&header).unwrap().check() {
            Err(Reject::Entry { index: found, source }) if found == index => source,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reject(1, f::ENTRY_AGE_AT, 6), EntryReject::Age { age: 6, epoch: 5 });
    let (extent, moved) = (name_extent(), Extent::new(Lba(9), 1).unwrap());
    assert_eq!(reject(0, f::ENTRY_AGE_AT, 0), EntryReject::Name { extent, age: 0 });
    assert_eq!(reject(0, f::ENTRY_LBA_AT, 9), EntryReject::Name { extent: moved, age: 2 });
}
