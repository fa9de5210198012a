//! Damage of every kind: what was synced is never lost in silence, nothing wrong is accepted, and
//! a torn tail is just a shorter log.

use super::log::{Log, floor, lsns, scan_now};
use crate::memory::MemoryDisk;
use crate::record::Body;
use crate::scan::{Loss, Scan, ScanError};
use crate::units::{BLOCK_BYTES, Lsn};

/// Five batches; the last one is two records of which nobody says that they were synced.
fn log_of_five() -> Log {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 40);
    log.write(1, &[(0, 1)]);
    log.write(1, &[(1, 1), (2, 3)]);
    log.write(2, &[(9, 1)]);
    log.write(3, &[(1, 2)]);
    log.append(|batch| {
        let data = [3; 2 * BLOCK_BYTES];
        assert!(batch.push_data(crate::Epoch(3), crate::Lba(4), &data).is_some());
        assert!(batch.push_data(crate::Epoch(4), crate::Lba(4), &data).is_some());
    });
    log
}

/// Every accepted payload must be what the undamaged file has at its place.
fn assert_true(scan: &Scan, disk: &MemoryDisk, good: &[u8], good_scan: &Scan) {
    for (found, original) in scan.records.iter().zip(&good_scan.records) {
        assert_eq!(found, original);
        for entry in &found.record.entries {
            let Body::Data(place) = entry.body else { continue };
            let bytes = place.block as usize * BLOCK_BYTES;
            let range = bytes..bytes + entry.extent.count() as usize * BLOCK_BYTES;
            assert_eq!(disk.bytes("wal/1.wal").unwrap()[range.clone()], good[range]);
        }
    }
}

#[test]
fn a_flip_anywhere_is_found() {
    let log = log_of_five();
    let good = log.disk.bytes("wal/1.wal").unwrap();
    let good_scan = scan_now(&log.disk, &floor(1)).unwrap();
    assert_eq!(good_scan.records.len(), 6);
    let synced_end = good_scan.records[4].record.at_block as usize * BLOCK_BYTES;
    let used_end = log.at as usize * BLOCK_BYTES;
    for at in (0..used_end).step_by(37).chain((0..512).map(|at| at * 11 % used_end)) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        log.disk.put("wal/1.wal", bytes);
        match scan_now(&log.disk, &floor(1)) {
            Ok(scan) => {
                assert!(at >= synced_end, "byte {at} was synced");
                assert!(scan.records.len() < 6, "byte {at} has a checksum");
                assert_true(&scan, &log.disk, &good, &good_scan);
            }
            Err(ScanError::LostRecord { .. }) => assert!(at < synced_end, "byte {at}"),
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn a_wiped_or_misplaced_block_is_found() {
    let log = log_of_five();
    let good = log.disk.bytes("wal/1.wal").unwrap();
    let good_scan = scan_now(&log.disk, &floor(1)).unwrap();
    let synced_end = good_scan.records[4].record.at_block as usize;
    for block in 0..log.at as usize {
        for source in 0..=log.at as usize {
            if good[block * BLOCK_BYTES..][..BLOCK_BYTES]
                == good[source * BLOCK_BYTES..][..BLOCK_BYTES]
            {
                continue;
            }
            let mut bytes = good.clone();
            let from = source * BLOCK_BYTES;
            bytes.copy_within(from..from + BLOCK_BYTES, block * BLOCK_BYTES);
            log.disk.put("wal/1.wal", bytes);
            match scan_now(&log.disk, &floor(1)) {
                Ok(scan) => {
                    assert!(block >= synced_end, "block {block} from {source}");
                    assert!(scan.records.len() < 6);
                    assert_true(&scan, &log.disk, &good, &good_scan);
                }
                Err(ScanError::LostRecord { .. }) => assert!(block < synced_end),
                Err(other) => panic!("block {block} from {source}: {other}"),
            }
        }
    }
}

#[test]
fn a_lost_record_is_named_with_its_place_or_its_witness() {
    let log = log_of_five();
    let good = log.disk.bytes("wal/1.wal").unwrap();
    let mut bytes = good.clone();
    bytes[3 * BLOCK_BYTES] ^= 1;
    log.disk.put("wal/1.wal", bytes);
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    let ScanError::LostRecord { lsn, durable, loss: Loss::Damaged(place), .. } = error else {
        panic!("{error}");
    };
    assert_eq!((lsn, durable, place.at_block), (Lsn(2), Lsn(4), 2));

    let mut bytes = good.clone();
    bytes[2 * BLOCK_BYTES] ^= 1;
    log.disk.put("wal/1.wal", bytes);
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    let ScanError::LostRecord { lsn, loss: Loss::Missing { witness }, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((lsn, witness.file.as_str()), (Lsn(2), "1.wal"));
}

#[test]
fn a_missing_file_in_the_middle_is_named() {
    let mut log = Log::new(1, 0);
    for name in ["1.wal", "2.wal", "3.wal"] {
        log.segment(name, 8);
        log.write(1, &[(0, 1)]);
        log.write(1, &[(1, 1)]);
    }
    futures_lite::future::block_on(crate::disk::Disk::remove(&log.disk, "wal/2.wal")).unwrap();
    let error = scan_now(&log.disk, &floor(1)).unwrap_err();
    assert!(matches!(error, ScanError::LostRecord { lsn: Lsn(3), .. }), "{error}");
}

#[test]
fn a_file_cut_short_is_a_torn_tail_or_a_loss() {
    let log = log_of_five();
    let good = log.disk.bytes("wal/1.wal").unwrap();
    let records = scan_now(&log.disk, &floor(1)).unwrap().records;
    for blocks in 0..log.at {
        log.disk.put("wal/1.wal", good[..blocks as usize * BLOCK_BYTES + 100].to_vec());
        let ends = records.iter().map(|found| found.record.at_block + found.record.blocks());
        let whole = ends.filter(|&end| end <= blocks).count();
        let headers = records.iter().filter(|found| found.record.at_block < blocks).count();
        let scan = scan_now(&log.disk, &floor(1)).unwrap();
        assert_eq!(lsns(&scan).len(), whole, "{blocks} blocks");
        assert_eq!(scan.torn.len(), headers - whole, "{blocks} blocks");
    }
}

/// Writes a last batch of four records over `base`, lets every subset of its blocks reach the
/// disk, and compares with the records that are whole up to the first that is not.
fn tear_last_batch(base: impl Fn(&mut Log), covered: u64) {
    let mut log = Log::new(1, 0);
    base(&mut log);
    log.write(5, &[(0, 1)]);
    let before = log.disk.bytes(&log.path).unwrap();
    let (start, first) = (log.at as usize, log.lsn.0);
    log.append(|batch| {
        for (epoch, blocks) in [(6, 2), (7, 1), (8, 0), (9, 2)] {
            let data = vec![epoch as u8; blocks * BLOCK_BYTES];
            let epoch = crate::Epoch(epoch);
            let fits = match blocks {
                0 => batch.push_mark(epoch),
                _ => batch.push_data(epoch, crate::Lba(blocks as u64), &data).is_some(),
            };
            assert!(fits);
        }
    });
    let after = log.disk.bytes(&log.path).unwrap();
    let count = log.at as usize - start;
    let mut cut = floor(1);
    cut.lsns.push((log.identity.shard, Lsn(covered)));
    for subset in 0u32..1 << count {
        let mut bytes = before.clone();
        for block in (0..count).filter(|block| subset >> block & 1 == 1) {
            let at = (start + block) * BLOCK_BYTES;
            bytes[at..at + BLOCK_BYTES].copy_from_slice(&after[at..at + BLOCK_BYTES]);
        }
        log.disk.put(&log.path, bytes);
        let scan = scan_now(&log.disk, &cut).unwrap();
        let whole = [0b111, 0b11000, 0b10_0000, 0b1_1100_0000];
        let expected = whole.iter().take_while(|&&blocks| subset & blocks == blocks).count();
        let accepted = lsns(&scan).len() - 1;
        assert_eq!(accepted, expected, "blocks {subset:b}");
        let headers = [0, 3, 5, 6].iter().skip(expected);
        let dropped = headers.filter(|&&header| subset >> header & 1 == 1).count();
        let torn: Vec<_> = scan.torn.iter().map(|tail| (tail.lsn.0, tail.dropped)).collect();
        let lsn = first + expected as u64;
        assert_eq!(torn, if dropped > 0 { vec![(lsn, dropped)] } else { vec![] });
    }
}

#[test]
fn any_subset_of_the_last_batch_is_a_torn_tail() {
    tear_last_batch(|log| log.segment("1.wal", 20), 0);
}

#[test]
fn any_subset_of_the_last_batch_is_a_torn_tail_in_a_recycled_file() {
    let recycled = |log: &mut Log| {
        log.segment("1.wal", 20);
        for blocks in [3, 1, 2, 4, 1] {
            log.write(1, &[(0, blocks)]);
        }
        log.reuse("1.wal");
    };
    tear_last_batch(recycled, 5);
}

#[test]
fn a_torn_record_of_one_file_hides_no_other_file() {
    let mut log = Log::new(1, 0);
    log.segment("1.wal", 8);
    log.write(1, &[(0, 1)]);
    let end = log.at as usize * BLOCK_BYTES;
    log.write(1, &[(1, 1)]);
    let mut bytes = log.disk.bytes("wal/1.wal").unwrap();
    bytes[end + BLOCK_BYTES] ^= 1;
    let mut other = log.sibling(1, 1);
    other.segment("2.wal", 8);
    other.write(1, &[(1024, 1)]);
    let mut later = log.sibling(2, 0);
    later.segment("3.wal", 8);
    later.write(2, &[(0, 1)]);
    log.disk.put("wal/1.wal", bytes);
    let scan = scan_now(&log.disk, &floor(2)).unwrap();
    assert_eq!(lsns(&scan), [(1, 0, 1), (1, 1, 1), (2, 0, 1)]);
    assert_eq!(scan.torn.len(), 1, "{:?}", scan.torn);
}
