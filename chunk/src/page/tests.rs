use proptest::prelude::*;
use wal::{Incarnation, VolumeId};

use super::*;
use crate::error::FormatError;
use crate::limits::{MAX_PAGE_BYTES, MAX_PAYLOAD_BLOCKS};
use crate::sealed;

const ME: PageIdentity = PageIdentity { volume: VolumeId([7; 16]), index: PageIndex(9) };

fn chunk(n: u64) -> ChunkId {
    ChunkId::new(Incarnation(1), n).unwrap()
}

fn run(first: u16, count: u16) -> PageRun {
    PageRun::new(first, count).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Data(u16, u16, u64, u32),
    Zero(u16, u16),
    Discard(u16, u16),
}

fn op() -> impl Strategy<Value = Op> {
    let place = prop_oneof![
        4 => (0u16..40, 1u16..12),
        1 => (1000u16..1024, 1u16..1000).prop_map(|(f, n)| (f, n.min(1024 - f))),
        1 => (0u16..1024, 1u16..1025).prop_map(|(f, n)| (f, n.min(1024 - f).min(1000))),
    ];
    prop_oneof![
        // Payload blocks that follow the address now and then, so that runs join.
        4 => (place.clone(), 0u64..2, 0u32..2)
            .prop_map(|((f, n), c, at)| Op::Data(f, n, c, (u32::from(f) + at).min(1008 - u32::from(n)))),
        1 => place.clone().prop_map(|(f, n)| Op::Zero(f, n)),
        1 => place.prop_map(|(f, n)| Op::Discard(f, n)),
    ]
}

type Slot = Option<(PageValue, Option<u32>)>;

fn compare(page: &MapPage, oracle: &[Slot]) {
    page.self_check();
    let mut seen: Vec<Slot> = vec![None; 1024];
    for (at, value, crcs) in page.iter() {
        for n in 0..at.count() {
            let value = match value {
                PageValue::Data { chunk, block } => {
                    PageValue::Data { chunk, block: PayloadBlock(block.0 + u32::from(n)) }
                }
                PageValue::Zero => PageValue::Zero,
            };
            seen[usize::from(at.first() + n)] = Some((value, crcs.get(usize::from(n)).copied()));
        }
    }
    assert_eq!(seen, oracle);
    let mut at = 0;
    while at < 1024 {
        let (count, value, crcs) = page.get(at);
        assert_eq!(value.map(|v| (v, crcs.first().copied())), oracle[usize::from(at)]);
        assert!(crcs.is_empty() || crcs.len() == usize::from(count));
        // Every block of a short part, the ends of a long one.
        at += if count > 20 { count - 1 } else { 1 };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn agrees_with_one_entry_per_block(ops in prop::collection::vec(op(), 1..30)) {
        let mut page = MapPage::new();
        let mut oracle: Vec<Slot> = vec![None; 1024];
        for (step, op) in ops.into_iter().enumerate() {
            let (first, count) = match op {
                Op::Data(f, n, ..) | Op::Zero(f, n) | Op::Discard(f, n) => (f, n),
            };
            let slots = &mut oracle[usize::from(first)..usize::from(first + count)];
            match op {
                Op::Data(_, _, id, block) => {
                    let crcs: Vec<_> = (0..u32::from(count)).map(|n| step as u32 * 2000 + n).collect();
                    page.put_data(first, chunk(id), PayloadBlock(block), &crcs);
                    for (n, (slot, crc)) in slots.iter_mut().zip(crcs).enumerate() {
                        let block = PayloadBlock(block + n as u32);
                        *slot = Some((PageValue::Data { chunk: chunk(id), block }, Some(crc)));
                    }
                }
                Op::Zero(..) => {
                    page.put_zero(run(first, count));
                    slots.fill(Some((PageValue::Zero, None)));
                }
                Op::Discard(..) => {
                    page.discard(run(first, count));
                    slots.fill(None);
                }
            }
            compare(&page, &oracle);
        }
        let (bytes, _) = page.encode(ME);
        prop_assert_eq!(MapPage::decode_as(&bytes, ME).unwrap(), page);
    }
}

#[test]
fn neighbours_join() {
    let mut page = MapPage::new();
    page.put_data(0, chunk(1), PayloadBlock(10), &[1]);
    page.put_data(2, chunk(1), PayloadBlock(12), &[3]);
    assert_eq!(page.len(), 2);
    page.put_data(1, chunk(1), PayloadBlock(11), &[2]);
    assert_eq!(page.len(), 1);
    assert_eq!(page.get(0).2, [1, 2, 3]);
    page.put_zero(run(3, 1));
    page.put_zero(run(4, 5));
    assert_eq!(page.len(), 2);
}

#[test]
fn the_fullest_page_fits_and_a_sequential_one_is_small() {
    let mut page = MapPage::new();
    for n in 0..PAGE_BLOCKS {
        page.put_data(n, chunk(n.into()), PayloadBlock(0), &[7]);
    }
    assert_eq!(page.encode(ME).0.len(), MAX_PAGE_BYTES);
    let mut page = MapPage::new();
    page.put_data(0, chunk(1), PayloadBlock(0), &[7; 1008]);
    page.put_data(1008, chunk(2), PayloadBlock(0), &[7; 16]);
    page.shrink();
    assert!(page.memory_bytes() < 4300, "{}", page.memory_bytes());
}

fn sample() -> Vec<u8> {
    let mut page = MapPage::new();
    page.put_data(3, chunk(1), PayloadBlock(5), &[1, 2]);
    page.put_zero(run(10, 4));
    page.encode(ME).0
}

#[test]
fn every_bad_field_is_refused_by_name() {
    let cases: [(usize, &[u8], &str); 10] = [
        (56, &[1, 4], "number of runs"),
        (58, &[1], "reserved"),
        (60, &[3], "number of checksums"),
        (66, &[0, 0], "block count"),
        (64, &[0xff, 3], "block count"),
        (80, &[4], "first block"),
        (72, &[1, 0, 0, 0, 0, 0, 0, 0], "chunk id"),
        (68, &[0xef, 3], "payload block"),
        (84, &[1], "payload block"),
        (88, &[0, 0, 0, 0, 0, 1], "number of checksums"),
    ];
    for (at, value, name) in cases {
        let mut bytes = sample();
        bytes[at..at + value.len()].copy_from_slice(value);
        sealed::seal(&mut bytes);
        match MapPage::decode(&bytes).unwrap_err() {
            FormatError::Field { what: "map page", field, .. } => assert_eq!(field, name),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn wrong_frames_lengths_and_identities_are_refused() {
    let what = "map page";
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sample();
        change(&mut bytes);
        MapPage::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(&|b| b[0] = 0), FormatError::Magic { what });
    assert_eq!(with(&|b| b[8] = 9), FormatError::Version { what, found: 9, known: 1 });
    assert_eq!(with(&|b| b[70] ^= 1), FormatError::Checksum { what });
    let resealed = |b: &mut Vec<u8>, length| {
        b.resize(length, 0);
        sealed::seal(b);
    };
    let length = sample().len();
    let long = with(&|b| resealed(b, length + 1));
    assert_eq!(long, FormatError::Length { what, need: 0, have: 1 });
    let short = with(&|b| resealed(b, length - 1));
    assert_eq!(short, FormatError::Length { what, need: 4, have: 3 });
    let other = PageIdentity { volume: VolumeId([8; 16]), ..ME };
    let error = MapPage::decode_as(&sample(), other).unwrap_err();
    assert_eq!(error, FormatError::Identity { what, field: "volume" });
    let other = PageIdentity { index: PageIndex(10), ..ME };
    let error = MapPage::decode_as(&sample(), other).unwrap_err();
    assert_eq!(error, FormatError::Identity { what, field: "page" });
}

#[test]
fn payloads_end_where_chunks_end() {
    let mut page = MapPage::new();
    page.put_data(0, chunk(1), PayloadBlock(MAX_PAYLOAD_BLOCKS - 1), &[1]);
    assert!(MapPage::decode(&page.encode(ME).0).is_ok());
}
