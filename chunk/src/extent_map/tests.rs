use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A value whose block `n` is `.1 + n` of source `.0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct At(u8, u64);

impl Piece for At {
    fn skip(&self, blocks: u64) -> Self {
        Self(self.0, self.1 + blocks)
    }

    fn joins(&self, blocks: u64, next: &Self) -> bool {
        self.0 == next.0 && self.1 + blocks == next.1
    }
}

fn run(start: u64, count: u64) -> ShardRun {
    ShardRun { start: ShardBlock(start), count }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64, At),
    Remove(u64, u64),
    Look(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let place = (0u64..64, 1u64..24);
    prop_oneof![
        5 => (place.clone(), 0u8..3, 0u64..8)
            .prop_map(|((s, n), v, at)| Op::Insert(s, n, At(v, at + s))),
        2 => place.clone().prop_map(|(s, n)| Op::Remove(s, n)),
        2 => place.prop_map(|(s, n)| Op::Look(s, n)),
    ]
}

fn compare(map: &ExtentMap<At>, oracle: &BTreeMap<u64, At>) {
    map.self_check();
    let mut blocks = BTreeMap::new();
    for (held, value) in map.iter() {
        for n in 0..held.count {
            assert_eq!(blocks.insert(held.start.0 + n, value.skip(n)), None);
        }
    }
    assert_eq!(&blocks, oracle);
    assert_eq!(map.blocks(), oracle.len() as u64);
    assert_eq!(map.iter().count(), map.len());
    for block in 0..90 {
        let got = map.get(ShardBlock(block));
        assert_eq!(got.map(|(_, value)| value), oracle.get(&block).copied());
        if let Some((rest, _)) = got {
            let own = map.iter().find(|(held, _)| held.end() == rest.end());
            assert!(own.is_some_and(|(held, _)| held.start.0 <= block), "rest of a run");
            assert_eq!(rest.start, ShardBlock(block));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn agrees_with_one_entry_per_block(ops in prop::collection::vec(op(), 1..100)) {
        let mut map = ExtentMap::new();
        let mut oracle = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(start, count, value) => {
                    let held = (start..start + count).filter(|b| oracle.contains_key(b)).count();
                    prop_assert_eq!(map.insert(run(start, count), value), held as u64);
                    oracle.extend((0..count).map(|n| (start + n, value.skip(n))));
                }
                Op::Remove(start, count) => {
                    let held = (start..start + count).filter_map(|b| oracle.remove(&b)).count();
                    prop_assert_eq!(map.remove(run(start, count)), held as u64);
                }
                Op::Look(start, count) => {
                    let mut next = start;
                    let first = map.iter_range(run(start, count)).next();
                    prop_assert_eq!(Some(map.first_part(run(start, count))), first);
                    for (part, value) in map.iter_range(run(start, count)) {
                        prop_assert_eq!(part.start.0, next);
                        prop_assert!(part.count > 0);
                        next = part.end().0;
                        for n in 0..part.count {
                            let expected = oracle.get(&(part.start.0 + n)).copied();
                            prop_assert_eq!(value.map(|value| value.skip(n)), expected);
                        }
                    }
                    prop_assert_eq!(next, start + count);
                }
            }
            compare(&map, &oracle);
        }
        let taken = map.take();
        prop_assert!(map.is_empty() && map.blocks() == 0);
        compare(&taken, &oracle);
        let runs: Vec<_> = taken.iter().map(|(held, value)| (held, *value)).collect();
        prop_assert_eq!(taken.into_iter().collect::<Vec<_>>(), runs);
    }
}

#[test]
fn a_sequential_stream_stays_one_run() {
    let mut map = ExtentMap::new();
    for n in 0..100 {
        map.insert(run(n, 1), At(1, n));
    }
    assert_eq!((map.len(), map.blocks()), (1, 100));
    map.insert(run(50, 1), At(2, 50));
    assert_eq!((map.len(), map.blocks()), (3, 100));
    map.insert(run(50, 2), At(1, 50));
    assert_eq!((map.len(), map.blocks()), (1, 100), "joined on both sides again");
}

#[test]
fn a_walk_can_go_on_where_it_stopped() {
    let mut map = ExtentMap::new();
    map.insert(run(0, 4), At(1, 0));
    map.insert(run(8, 4), At(2, 0));
    let later: Vec<_> = map.iter_from(ShardBlock(1)).map(|(held, _)| held).collect();
    assert_eq!(later, [run(8, 4)]);
}

#[test]
fn a_huge_run_costs_one_entry() {
    let mut map = ExtentMap::new();
    map.insert(run(0, 1 << 50), At(1, 0));
    assert_eq!(map.remove(run(5, 1)), 1);
    assert_eq!((map.len(), map.blocks()), (2, (1 << 50) - 1));
}
