use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const VOLUME: VolumeNo = VolumeNo(7);
const CUT: CutTag = CutTag(NonZeroU32::MIN);

fn content(tag: u8) -> Vec<u8> {
    vec![tag; BLOCK_BYTES]
}

#[test]
fn the_newest_content_is_returned() {
    let mut cache = BlockCache::new(4);
    cache.put(VOLUME, ShardBlock(1), &content(1));
    cache.put(VOLUME, ShardBlock(1), &content(2));
    assert_eq!(cache.get(VOLUME, ShardBlock(1)), Some(&content(2)[..]));
    assert_eq!(cache.get(VolumeNo(8), ShardBlock(1)), None, "volumes do not mix");
    assert_eq!(cache.blocks(), 1);
}

#[test]
fn a_full_cache_replaces_what_was_not_looked_at() {
    let mut cache = BlockCache::new(3);
    for block in 0..3 {
        cache.put(VOLUME, ShardBlock(block), &content(block as u8));
    }
    cache.put(VOLUME, ShardBlock(3), &content(3)); // clears all marks, takes block 0
    assert!(cache.get(VOLUME, ShardBlock(1)).is_some());
    cache.put(VOLUME, ShardBlock(4), &content(4)); // block 1 was looked at, 2 was not
    assert!(cache.peek(VOLUME, ShardBlock(1)).is_some());
    assert!(cache.peek(VOLUME, ShardBlock(2)).is_none());
    assert_eq!(cache.blocks(), 3, "never over its capacity");
}

#[test]
fn forgetting_a_terabyte_costs_what_the_cache_holds() {
    let mut cache = BlockCache::new(8);
    for block in [0, 5, 1 << 30] {
        cache.put(VOLUME, ShardBlock(block), &content(1));
    }
    cache.put(VolumeNo(8), ShardBlock(5), &content(1));
    cache.forget(VOLUME, ShardBlock(1), 1 << 28);
    assert!(cache.peek(VOLUME, ShardBlock(0)).is_some());
    assert!(cache.peek(VOLUME, ShardBlock(5)).is_none());
    assert!(cache.peek(VOLUME, ShardBlock(1 << 30)).is_some());
    assert!(cache.peek(VolumeNo(8), ShardBlock(5)).is_some());
}

#[test]
fn what_a_cut_wants_outlives_the_block_that_replaced_it() {
    let mut cache = BlockCache::new(4);
    cache.put(VOLUME, ShardBlock(1), &content(1));
    assert!(cache.set_aside(VOLUME, CUT, ShardBlock(1)));
    assert_eq!(cache.get(VOLUME, ShardBlock(1)), None, "it is not the newest any more");
    cache.put(VOLUME, ShardBlock(1), &content(2));
    cache.forget(VOLUME, ShardBlock(0), 8);
    let later = CutTag::from(Epoch(8));
    cache.put(VOLUME, ShardBlock(1), &content(3));
    assert!(cache.set_aside(VOLUME, later, ShardBlock(1)));
    assert_eq!(cache.peek_aside(VOLUME, CUT, ShardBlock(1)), Some(&content(1)[..]));
    assert_eq!(cache.peek_aside(VOLUME, later, ShardBlock(1)), Some(&content(3)[..]));
    cache.drop_aside(VOLUME, CUT, ShardBlock(1));
    cache.drop_aside(VOLUME, later, ShardBlock(1));
    assert_eq!(cache.peek_aside(VOLUME, CUT, ShardBlock(1)), None);
    assert_eq!(cache.blocks(), 0);
}

#[test]
fn what_is_held_stays_whatever_comes() {
    let mut cache = BlockCache::new(4);
    cache.hold(VOLUME, ShardBlock(1), &content(1));
    cache.hold(VOLUME, ShardBlock(2), &content(2));
    for block in 10..30 {
        cache.put(VOLUME, ShardBlock(block), &content(3));
    }
    assert_eq!(cache.get(VOLUME, ShardBlock(1)), Some(&content(1)[..]));
    assert_eq!(cache.get(VOLUME, ShardBlock(2)), Some(&content(2)[..]));
    assert_eq!((cache.blocks(), cache.held()), (4, 2));
    cache.let_go(VOLUME, ShardRun { start: ShardBlock(0), count: 2 });
    cache.put(VOLUME, ShardBlock(2), &content(4));
    assert_eq!(cache.held(), 0, "let go, and replaced by what has a home");
    cache.hold(VOLUME, ShardBlock(2), &content(5));
    cache.forget(VOLUME, ShardBlock(0), 1 << 40);
    assert_eq!((cache.blocks(), cache.held()), (0, 0));
}

#[test]
fn a_run_comes_in_parts_that_lie_side_by_side() {
    let mut cache = BlockCache::new(8);
    for block in [1, 2, 3, 7, 4] {
        cache.put(VOLUME, ShardBlock(block), &content(block as u8));
    }
    let run = |start, count| ShardRun { start: ShardBlock(start), count };
    let found = cache.get_run(VOLUME, run(1, 4)).expect("all of it is here");
    let lengths: Vec<_> = found.iter().map(|part| part.len() / BLOCK_BYTES).collect();
    assert_eq!(lengths, [3, 1], "block 7 lies between");
    assert_eq!(found.concat(), [content(1), content(2), content(3), content(4)].concat());
    assert_eq!(cache.get_run(VOLUME, run(4, 2)), None, "there is no block 5");
}

#[test]
fn a_volume_that_goes_takes_what_was_set_aside_along() {
    let mut cache = BlockCache::new(8);
    cache.hold(VOLUME, ShardBlock(1), &content(1));
    assert!(cache.set_aside(VOLUME, CUT, ShardBlock(1)));
    cache.hold(VOLUME, ShardBlock(1), &content(2));
    cache.put(VolumeNo(8), ShardBlock(1), &content(3));
    cache.forget_volume(VOLUME);
    assert_eq!((cache.blocks(), cache.held()), (1, 0));
    assert!(cache.peek(VolumeNo(8), ShardBlock(1)).is_some());
}

#[test]
fn a_cache_of_nothing_stays_empty() {
    let mut cache = BlockCache::new(0);
    cache.put(VOLUME, ShardBlock(1), &content(1));
    assert_eq!(cache.get(VOLUME, ShardBlock(1)), None);
}

/// What a cache is asked to do with one of a few blocks.
#[derive(Clone, Debug)]
enum Op {
    Put(u64),
    Hold(u64),
    LetGo(u64),
    Forget(u64),
    SetAside(u64, u32),
    LetAsideGo(u64, u32),
    DropAside(u64, u32),
}

fn op() -> impl Strategy<Value = Op> {
    let (block, cut) = (0..6_u64, 1..4_u32);
    let both = (block.clone(), cut);
    prop_oneof![
        block.clone().prop_map(Op::Put),
        block.clone().prop_map(Op::Hold),
        block.clone().prop_map(Op::LetGo),
        block.prop_map(Op::Forget),
        both.clone().prop_map(|(block, cut)| Op::SetAside(block, cut)),
        both.clone().prop_map(|(block, cut)| Op::LetAsideGo(block, cut)),
        both.prop_map(|(block, cut)| Op::DropAside(block, cut)),
    ]
}

/// What was told to a cache: of each version its content, and whether it is held.
type Versions = HashMap<(u64, Option<CutTag>), (u8, bool)>;

/// What is here is what was told, and what is held is here.
fn compare(cache: &BlockCache, told: &Versions) {
    let mut here = 0;
    for (&(block, cut), &(tag, is_held)) in told {
        let block = ShardBlock(block);
        let found = match cut {
            None => cache.peek(VOLUME, block),
            Some(cut) => cache.peek_aside(VOLUME, cut, block),
        };
        assert!(found.is_some() || !is_held, "block {block:?} of {cut:?} is gone");
        assert!(found.is_none_or(|found| found == content(tag)), "block {block:?} of {cut:?}");
        here += u64::from(found.is_some());
    }
    assert_eq!(cache.blocks(), here);
    let held = told.values().filter(|(_, is_held)| *is_held).count();
    assert_eq!(cache.held() as usize, held);
}

proptest! {
    #[test]
    fn versions_come_and_go_in_any_order(ops in prop::collection::vec(op(), 1..200)) {
        let mut cache = BlockCache::new(8);
        let mut told = Versions::new();
        let tag = |cut: u32| CutTag::from(Epoch(cut.into()));
        let one = |block| ShardRun { start: ShardBlock(block), count: 1 };
        for (step, op) in ops.into_iter().enumerate() {
            let fresh = content(step as u8);
            match op {
                Op::Put(block) => {
                    cache.put(VOLUME, ShardBlock(block), &fresh);
                    told.insert((block, None), (step as u8, false));
                }
                Op::Hold(block) => {
                    let is_held = told.get(&(block, None)).is_some_and(|(_, is_held)| *is_held);
                    if !is_held && u64::from(cache.held()) == most_held(8) {
                        continue;
                    }
                    cache.hold(VOLUME, ShardBlock(block), &fresh);
                    told.insert((block, None), (step as u8, true));
                }
                Op::LetGo(block) => {
                    cache.let_go(VOLUME, one(block));
                    told.entry((block, None)).and_modify(|(_, is_held)| *is_held = false);
                }
                Op::Forget(block) => {
                    cache.forget(VOLUME, ShardBlock(block), 1);
                    told.remove(&(block, None));
                }
                Op::SetAside(block, cut) => {
                    let cut = tag(cut);
                    if cache.peek_aside(VOLUME, cut, ShardBlock(block)).is_some() {
                        continue;
                    }
                    let version = told.remove(&(block, None));
                    if cache.set_aside(VOLUME, cut, ShardBlock(block)) {
                        told.insert((block, Some(cut)), version.expect("it was told"));
                    }
                }
                Op::LetAsideGo(block, cut) => {
                    cache.let_aside_go(VOLUME, tag(cut), ShardBlock(block));
                    told.entry((block, Some(tag(cut)))).and_modify(|(_, is_held)| *is_held = false);
                }
                Op::DropAside(block, cut) => {
                    cache.drop_aside(VOLUME, tag(cut), ShardBlock(block));
                    told.remove(&(block, Some(tag(cut))));
                }
            }
            compare(&cache, &told);
            let newest_or_aside = |block, cut| match cache.peek_aside(VOLUME, cut, block) {
                Some(aside) => Some(aside),
                None => cache.peek(VOLUME, block),
            };
            for block in (0..6).map(ShardBlock) {
                let found = cache.peek_of(VOLUME, tag(1), block);
                prop_assert_eq!(found, newest_or_aside(block, tag(1)));
            }
        }
        cache.forget_volume(VOLUME);
        prop_assert_eq!((cache.blocks(), cache.held()), (0, 0));
    }
}
