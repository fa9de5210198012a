//! Claims of recovery, one by one. What holds for all logs is in the modules below.

mod faults;
mod log;
mod order;
mod random;

use super::*;
use crate::layout::Layout;
use crate::record::{HoleKind, Reject};
use crate::units::{Extent, Lba};
use log::{Log, VOLUME, block, floor, lsns, scan_at, scan_now};

#[test]
fn an_empty_directory_has_nothing_to_say() {
    let scan = scan_now(&Log::new(1, 0).disk, &floor(1)).unwrap();
    assert_eq!((scan.records.len(), scan.files.len(), scan.torn.len()), (0, 0, 0));
    assert_eq!(scan.newest_epoch, Epoch(0));
}

#[test]
fn records_come_in_the_order_of_incarnation_shard_and_lsn() {
    let mut second = Log::new(2, 0);
    second.segment("c.wal", 64);
    second.write(9, &[(0, 1), (1, 1)]);
    let mut other = second.sibling(1, 1);
    other.segment("b.wal", 64);
    other.write(3, &[(1024, 2)]);
    let mut first = second.sibling(1, 0);
    first.segment("a.wal", 64);
    first.write(2, &[(5, 1)]);
    first.write(4, &[(6, 1)]);
    let scan = scan_now(&second.disk, &floor(2)).unwrap();
    assert_eq!(lsns(&scan), [(1, 0, 1), (1, 0, 2), (1, 1, 1), (2, 0, 1)]);
    assert_eq!(scan.files, ["a.wal", "b.wal", "c.wal"]);
    let files: Vec<_> = scan.records.iter().map(|found| found.file).collect();
    assert_eq!(files, [0, 0, 1, 2]);
    assert_eq!((scan.newest_epoch, scan.torn.len()), (Epoch(9), 0));
}

#[test]
fn what_the_cut_covers_is_left_out() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    for epoch in 1..=6 {
        log.write(epoch, &[(epoch, 1)]);
    }
    let mut next = log.sibling(2, 0);
    next.segment("2.wal", 64);
    next.write(7, &[(1, 1)]);
    let cut = |incarnation, lsn, epoch| Floor {
        incarnation: Incarnation(incarnation),
        lsns: vec![(ShardId(0), Lsn(lsn))],
        epoch: Epoch(epoch),
        newest: Incarnation(2),
    };
    let kept = |floor: &Floor| lsns(&scan_now(&log.disk, floor).unwrap());
    assert_eq!(kept(&cut(1, 4, 4)), [(1, 0, 5), (1, 0, 6), (2, 0, 1)]);
    assert_eq!(kept(&cut(1, 6, 6)), [(2, 0, 1)]);
    assert_eq!(kept(&cut(2, 0, 6)), [(2, 0, 1)]);
    assert_eq!(kept(&cut(2, 1, 7)), []);
    assert_eq!(kept(&cut(1, 4, 5)), [(1, 0, 6), (2, 0, 1)], "the epoch covers it, too");
}

#[test]
fn a_reclaimed_start_is_no_gap_but_a_lost_one_is() {
    let mut log = Log::new(1, 0);
    log.lsn = Lsn(5);
    log.segment("1.wal", 64);
    log.write(5, &[(0, 1)]);
    log.write(5, &[(1, 1)]);
    let mut cut = floor(1);
    cut.lsns.push((ShardId(0), Lsn(4)));
    assert_eq!(lsns(&scan_now(&log.disk, &cut).unwrap()), [(1, 0, 5), (1, 0, 6)]);
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    assert!(matches!(error, ScanError::LostRecord { lsn: Lsn(1), .. }), "{error}");
}

#[test]
fn old_records_in_a_recycled_file_stay_dead() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    for i in 0..10 {
        log.write(1, &[(i, 3)]);
    }
    log.reuse("1.wal");
    log.write(2, &[(50, 1)]);
    let mut cut = floor(1);
    cut.lsns.push((ShardId(0), Lsn(10)));
    cut.epoch = Epoch(1);
    let scan = scan_now(&log.disk, &cut).unwrap();
    assert_eq!((lsns(&scan), scan.torn.len()), (vec![(1, 0, 11)], 0));
    let mut next = log.sibling(2, 0);
    next.reuse("1.wal");
    next.write(3, &[(0, 1)]);
    cut = Floor { incarnation: Incarnation(2), lsns: vec![], epoch: Epoch(2), ..floor(2) };
    assert_eq!(lsns(&scan_now(&log.disk, &cut).unwrap()), [(2, 0, 1)]);
}

#[test]
fn records_of_other_volumes_are_not_ours() {
    let mut log = Log::new(1, 0);
    log.identity.volume = VolumeId([1; 16]);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    assert_eq!(lsns(&scan_now(&log.disk, &floor(1)).unwrap()), []);
}

#[test]
fn a_record_above_the_manifest_is_refused_by_name() {
    let mut log = Log::new(5, 0);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    let error = scan_now(&log.disk, &floor(4)).unwrap_err();
    assert!(matches!(error, ScanError::NewerIncarnation { found: Incarnation(5), .. }), "{error}");
}

#[test]
fn two_openings_under_one_incarnation_are_refused() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    let mut twin = log.sibling(1, 0);
    twin.identity.salt ^= 1;
    twin.lsn = Lsn(2);
    twin.segment("2.wal", 64);
    twin.write(1, &[(0, 1)]);
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    assert!(matches!(error, ScanError::IdentityClash { .. }), "{error}");
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    log.disk.put("wal/copy.wal", log.disk.bytes("wal/1.wal").unwrap());
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    assert!(matches!(error, ScanError::DuplicateRecord { lsn: Lsn(1), .. }), "{error}");
    assert!(error.to_string().contains("copy.wal, block 0"), "{error}");
}

#[test]
fn an_epoch_that_falls_is_refused() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.write(5, &[(0, 1)]);
    log.write(4, &[(0, 1)]);
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    assert!(matches!(error, ScanError::EpochFell { lsn: Lsn(2), .. }), "{error}");
}

#[test]
fn a_sealed_record_without_meaning_is_refused_if_it_is_ours() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    let mut bytes = log.disk.bytes("wal/1.wal").unwrap();
    bytes[33] = 1;
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes[..BLOCK_BYTES]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    log.disk.put("wal/1.wal", bytes);
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    assert!(
        matches!(error, ScanError::Refused { source: Reject::Features { unknown: 256 }, .. }),
        "{error}"
    );
    let other = scan_at(&log.disk, VolumeId([1; 16]), &floor(1)).unwrap();
    assert_eq!(other.records.len(), 0, "another volume's is not our matter");
}

#[test]
fn the_image_of_a_record_elsewhere_is_not_a_record() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    let mut bytes = log.disk.bytes("wal/1.wal").unwrap();
    bytes.copy_within(..2 * BLOCK_BYTES, 9 * BLOCK_BYTES);
    log.disk.put("wal/1.wal", bytes);
    let scan = scan_now(&log.disk, &floor(1)).unwrap();
    assert_eq!((lsns(&scan), scan.torn.len()), (vec![(1, 0, 1)], 0));
}

#[test]
fn a_record_within_payload_is_payload() {
    let mut inner = Log::new(1, 0);
    inner.segment("1.wal", 64);
    inner.at = 1;
    inner.lsn = Lsn(2);
    inner.write(1, &[(7, 1)]);
    let image = inner.disk.bytes("wal/1.wal").unwrap()[BLOCK_BYTES..3 * BLOCK_BYTES].to_vec();
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.append(|batch| assert!(batch.push_data(Epoch(1), Lba(0), &image).is_some()));
    assert_eq!(lsns(&scan_now(&log.disk, &floor(1)).unwrap()), [(1, 0, 1)]);
}

#[test]
fn the_longest_record_is_found_over_several_pieces() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 3000);
    let payload: Vec<u8> = (0..16).flat_map(block).collect();
    for _ in 0..2 {
        log.append(|batch| {
            for i in 0..80 {
                assert!(batch.push_data(Epoch(1), Lba(i % 64 * 16), &payload).is_some());
            }
        });
    }
    let scan = scan_now(&log.disk, &floor(1)).unwrap();
    assert_eq!(lsns(&scan), [(1, 0, 1), (1, 0, 2)]);
    assert_eq!(scan.records[1].record.at_block, 1281);
}

#[test]
fn holes_and_marks_are_records_too() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    let extent = Extent::new(Lba(0), 1 << 40).unwrap();
    log.append(|batch| assert!(batch.push_hole(Epoch(1), HoleKind::Discard, extent)));
    log.append(|batch| assert!(batch.push_mark(Epoch(1))));
    let scan = scan_now(&log.disk, &floor(1)).unwrap();
    assert_eq!(lsns(&scan), [(1, 0, 1), (1, 0, 2)]);
    assert_eq!(scan.records[0].record.entries[0].extent, extent);
    assert_eq!(scan.records[1].record.durable_lsn, Lsn(1));
}

#[test]
fn other_files_are_not_read() {
    let log = Log::new(1, 0);
    log.disk.put("wal/notes.txt", vec![1, 2, 3]);
    log.disk.put("wal/short.wal", vec![1, 2, 3]);
    let scan = scan_now(&log.disk, &floor(1)).unwrap();
    assert_eq!(scan.files, ["short.wal"]);
    assert_eq!(VOLUME, log.identity.volume);
    assert_eq!(log.identity.layout, Layout::new(10, 2).unwrap());
}

#[test]
fn a_named_cut_is_found_with_what_it_covers_until_a_manifest_has_it() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 64);
    log.write(1, &[(0, 1)]);
    log.write(2, &[(1, 1)]);
    let mut other = log.sibling(1, 1);
    other.segment("2.wal", 64);
    other.write(1, &[(1024, 1)]);
    log.append(|batch| {
        batch.push_older(Epoch(3), Epoch(1), Lba(2), &[&block(9)]).unwrap();
        assert!(batch.push_name(Epoch(3), Epoch(1), &block(7)));
        batch.push_data(Epoch(3), Lba(3), &block(8)).unwrap();
    });
    let entries =
        |scan: &Scan| scan.records.iter().map(|found| found.record.entries.len()).sum::<usize>();
    let scan = scan_now(&log.disk, &floor(1)).unwrap();
    let positions = vec![(ShardId(0), Lsn(1)), (ShardId(1), Lsn(1))];
    let (incarnation, epoch, name) = (Incarnation(1), Epoch(1), block(7).to_vec());
    assert_eq!(scan.named, [NamedCut { incarnation, epoch, positions: positions.clone(), name }]);
    assert_eq!(entries(&scan), 6);
    // As its manifest says.
    let cut = Floor { incarnation, lsns: positions, epoch, newest: Incarnation(2) };
    let scan = scan_now(&log.disk, &cut).unwrap();
    assert_eq!((scan.named.len(), lsns(&scan)), (0, vec![(1, 0, 2), (1, 0, 3)]));
    assert_eq!(entries(&scan), 2, "what was logged late for the cut is in it");
}
