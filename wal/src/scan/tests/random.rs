//! Whatever is written comes back: random pushes over shards, incarnations and segments.

use proptest::prelude::*;

use super::log::{Log, block, floor, scan_now};
use crate::memory::MemoryDisk;
use crate::record::{Body, HoleKind};
use crate::scan::Scan;
use crate::units::{BLOCK_BYTES, Epoch, Extent, Lba};

#[derive(Clone, Debug)]
enum Push {
    Data { stripe: u64, offset: u64, blocks: u64 },
    Hole { kind: HoleKind, lba: u64, count: u64 },
}

/// One batch: who writes it, whether the epoch rises before it, what it holds.
type Step = (usize, bool, Vec<Push>);

fn push() -> impl Strategy<Value = Push> {
    let kind = prop_oneof![Just(HoleKind::Zero), Just(HoleKind::Discard)];
    prop_oneof![
        3 => (0..4u64, 0..1000u64, 1..=16u64)
            .prop_map(|(stripe, offset, blocks)| Push::Data { stripe, offset, blocks }),
        1 => (kind, 0..9000u64, 1024..1u64 << 40)
            .prop_map(|(kind, lba, count)| Push::Hole { kind, lba, count }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..4usize, any::<bool>(), prop::collection::vec(push(), 1..8)), 1..30)
}

/// What one push must look like after recovery.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    log: (u64, u16),
    epoch: Epoch,
    extent: Extent,
    hole: Option<HoleKind>,
    payload: Vec<u8>,
}

fn seen(scan: &Scan, disk: &MemoryDisk) -> Vec<Seen> {
    let files: Vec<_> =
        scan.files.iter().map(|name| disk.bytes(&format!("wal/{name}")).unwrap()).collect();
    let mut all = Vec::new();
    for found in &scan.records {
        let id = &found.record.identity;
        for entry in &found.record.entries {
            let (hole, payload) = match entry.body {
                Body::Hole(kind) => (Some(kind), Vec::new()),
                Body::Data(place) | Body::Name(place) => {
                    let at = place.block as usize * BLOCK_BYTES;
                    let bytes = entry.extent.count() as usize * BLOCK_BYTES;
                    (None, files[found.file][at..at + bytes].to_vec())
                }
            };
            let log = (id.incarnation.0, id.shard.0);
            all.push(Seen { log, epoch: found.record.epoch, extent: entry.extent, hole, payload });
        }
    }
    all
}

/// Pushes a batch to a log, in a new segment if the present one has little room.
fn append(log: &mut Log, epoch: Epoch, pushes: &[Push], expected: &mut Vec<Seen>) {
    const SEGMENT: u32 = 200;
    if log.blocks < log.at + 140 {
        let id = &log.identity;
        let name = format!("{}-{}-{:04}.wal", id.incarnation, id.shard, log.segment.0);
        log.segment(&name, SEGMENT);
    }
    let identity = log.identity;
    log.append(|batch| {
        for push in pushes {
            let mut seen = Seen {
                log: (identity.incarnation.0, identity.shard.0),
                epoch,
                extent: Extent::new(Lba(0), 1).unwrap(),
                hole: None,
                payload: Vec::new(),
            };
            match *push {
                Push::Data { stripe, offset, blocks } => {
                    let stripe = 2 * stripe + u64::from(identity.shard.0);
                    let lba = (stripe << 10) + offset;
                    seen.extent = Extent::new(Lba(lba), blocks).unwrap();
                    let number = expected.len() as u64 * 16;
                    seen.payload = (0..blocks).flat_map(|i| block(number + i)).collect();
                    let place = batch.push_data(epoch, Lba(lba), &seen.payload).unwrap();
                    assert_eq!(batch.payload(place.block, blocks as u32), seen.payload);
                }
                Push::Hole { kind, lba, count } => {
                    seen.extent = Extent::new(Lba(lba), count + 1024).unwrap();
                    seen.hole = Some(kind);
                    assert!(batch.push_hole(epoch, kind, seen.extent));
                }
            }
            expected.push(seen);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_pushed_comes_back(steps in steps(), rot in any::<prop::sample::Index>()) {
        let disk = MemoryDisk::new();
        let mut logs: Vec<Log> = [(1, 0), (1, 1), (2, 0), (2, 1)]
            .map(|(incarnation, shard)| Log { disk: disk.clone(), ..Log::new(incarnation, shard) })
            .into();
        let (mut epoch, mut expected) = (Epoch(1), Vec::new());
        for (writer, rises, pushes) in &steps {
            if *rises {
                epoch = epoch.next();
            }
            append(&mut logs[*writer], epoch, pushes, &mut expected);
        }
        expected.sort_by_key(|seen| seen.log);
        let scan = scan_now(&disk, &floor(2)).unwrap();
        prop_assert!(scan.torn.is_empty());
        prop_assert_eq!(scan.newest_epoch, expected.iter().map(|s| s.epoch).max().unwrap());
        prop_assert_eq!(seen(&scan, &disk), expected.clone());

        // One rotten byte: recovery refuses, or shows what was written but for the end of a log.
        let path = format!("wal/{}", rot.get(&scan.files));
        let mut bytes = disk.bytes(&path).unwrap();
        let at = rot.index(bytes.len());
        bytes[at] ^= 1;
        disk.put(&path, bytes);
        if let Ok(rotten) = scan_now(&disk, &floor(2)) {
            for log in [(1, 0), (1, 1), (2, 0), (2, 1)] {
                let of_log = |all: Vec<Seen>| all.into_iter().filter(move |s| s.log == log);
                let all: Vec<_> = of_log(expected.clone()).collect();
                let left: Vec<_> = of_log(seen(&rotten, &disk)).collect();
                prop_assert!(all.starts_with(&left), "wrong data of {:?}", log);
            }
        }
    }
}
