//! Which reads a request becomes.

use super::*;
use wal::Incarnation;

fn chunk(number: u64) -> ChunkId {
    ChunkId::new(Incarnation(1), number).unwrap()
}

/// `count` blocks from payload block `first` on, at the same place of the volume.
fn wanted(number: u64, first: u32, count: u32) -> Wanted {
    let run = ShardRun { start: ShardBlock(u64::from(first)), count: u64::from(count) };
    let sums = (first..first + count).collect();
    Wanted { run, chunk: chunk(number), first: PayloadBlock(first), sums }
}

fn all_in_store(_: ChunkId, _: u32) -> (Spot, u32) {
    (Spot::Store, u32::MAX)
}

/// Reads of the store begin and end at multiples of so many blocks.
fn by(granule: u32) -> impl Fn(ChunkId, Range<u32>) -> Range<u32> {
    move |_, blocks| rounded(&blocks, granule)
}

fn ranges(jobs: &[ChunkJob]) -> Vec<Range<u32>> {
    jobs.iter().map(|job| job.blocks.clone()).collect()
}

/// Each block that was wanted is in one job, with its own checksum, within the job's range.
fn assert_complete(jobs: &[ChunkJob], wanted: &[Wanted]) {
    let blocks = |parts: &mut dyn Iterator<Item = &Wanted>| {
        let mut all = Vec::new();
        for part in parts {
            assert_eq!(part.sums.len() as u64, part.run.count);
            for (n, sum) in (0..).zip(&part.sums) {
                assert_eq!(part.first.0 + n, *sum, "each block has its checksum");
                all.push((part.chunk, part.first.0 + n, part.run.start.0 + u64::from(n)));
            }
        }
        all.sort_unstable();
        all
    };
    let planned = blocks(&mut jobs.iter().flat_map(|job| &job.parts));
    assert_eq!(planned, blocks(&mut wanted.iter()));
    for job in jobs {
        let wanted = job.wanted();
        assert!(job.blocks.start <= wanted.start && wanted.end <= job.blocks.end, "{wanted:?}");
        assert!(job.blocks.len() <= FETCH_BLOCKS as usize, "{:?}", job.blocks);
    }
}

#[test]
fn neighbours_in_a_chunk_are_one_read_and_far_ones_are_not() {
    let near = FETCH_GAP_BLOCKS + 8;
    let parts = vec![wanted(1, 0, 4), wanted(1, 4, 4), wanted(1, near, 1), wanted(1, 500, 2)];
    let jobs = plan(parts.clone(), by(1), all_in_store);
    assert_eq!(ranges(&jobs), [0..near + 1, 500..502]);
    assert_complete(&jobs, &parts);
    let parts = vec![wanted(1, 0, 8), wanted(1, near + 1, 1), wanted(2, 0, 1)];
    let jobs = plan(parts.clone(), by(1), all_in_store);
    assert_eq!(ranges(&jobs), [0..8, near + 1..near + 2, 0..1], "too far, or another chunk");
    assert_complete(&jobs, &parts);
}

#[test]
fn no_read_is_longer_than_it_may_be() {
    let parts = vec![wanted(1, 3, 1000)];
    let jobs = plan(parts.clone(), by(1), all_in_store);
    assert_eq!(ranges(&jobs), [3..259, 259..515, 515..771, 771..1003]);
    assert_complete(&jobs, &parts);
}

#[test]
fn reads_of_the_store_are_whole_slots_where_there_is_a_cache() {
    let parts = vec![wanted(1, 5, 1), wanted(1, 70, 3), wanted(1, 1001, 2)];
    let jobs = plan(parts.clone(), by(SLOT_BLOCKS), all_in_store);
    assert_eq!(ranges(&jobs), [0..32, 64..96, 992..1008], "up to the longest payload");
    assert_complete(&jobs, &parts);
    let parts = vec![wanted(1, 5, 300)];
    let jobs = plan(parts.clone(), by(SLOT_BLOCKS), all_in_store);
    assert_eq!(ranges(&jobs), [0..256, 256..320]);
    assert_complete(&jobs, &parts);
}

#[test]
fn what_is_cached_or_on_its_way_is_not_asked_for_again() {
    let flight = RangeFlight::new(40..50);
    let look = |_: ChunkId, block: u32| match block {
        0..40 => (Spot::Store, 40 - block),
        40..50 => (Spot::Flying(flight.clone()), 50 - block),
        50..64 => (Spot::Store, 64 - block),
        64..128 => (Spot::Cached, 32 - block % 32),
        _ => (Spot::Store, u32::MAX),
    };
    let parts = vec![wanted(1, 30, 12), wanted(1, 44, 200)];
    let jobs = plan(parts.clone(), by(1), look);
    let kinds: Vec<_> = jobs
        .iter()
        .map(|job| match job.spot {
            Spot::Flying(_) => 'f',
            Spot::Cached => 'c',
            Spot::Store => 's',
        })
        .collect();
    assert_eq!(kinds, ['s', 'f', 's', 'c', 'c', 's']);
    assert_eq!(ranges(&jobs), [30..40, 40..50, 50..64, 64..96, 96..128, 128..244]);
    assert_complete(&jobs, &parts);
}

#[test]
fn any_request_is_planned_whole() {
    let mut number: u64 = 7;
    let mut draw = |below: u32| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) as u32 % below
    };
    for _ in 0..500 {
        let mut parts = Vec::new();
        for _ in 0..1 + draw(12) {
            let first = draw(1000);
            let count = 1 + draw(MAX_PAYLOAD_BLOCKS - first).min(draw(400));
            parts.push(wanted(u64::from(draw(2)), first, count));
        }
        let granule = [1, SLOT_BLOCKS][draw(2) as usize];
        let look = |_: ChunkId, block: u32| match block / 8 % 3 {
            0 => (Spot::Cached, 8 - block % 8),
            _ => (Spot::Store, 8 - block % 8),
        };
        assert_complete(&plan(parts.clone(), by(granule), look), &parts);
        assert_complete(&plan(parts.clone(), by(granule), all_in_store), &parts);
    }
}
