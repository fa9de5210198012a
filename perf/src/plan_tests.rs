//! Which places a load touches, and which exports it refuses.

use std::collections::HashMap;

use nbd::wire::{NBD_FLAG_READ_ONLY, NBD_FLAG_SEND_FLUSH, NBD_FLAG_SEND_FUA};

use super::*;

fn scenario() -> Scenario {
    Scenario::load("randwrite-4k-qd32").expect("built in")
}

fn export(size: u64, flags: u16) -> Export {
    Export { size, flags, max_block: 32 << 20, structured: true }
}

fn places_of(plan: &Plan, rounds: u64) -> Vec<(u64, u64)> {
    let mut places = Places::new(plan);
    let mut seen = Vec::new();
    for _ in 0..rounds {
        for connection in 0..plan.connections {
            for slot in 0..plan.depth {
                let walker = u64::from(connection) * u64::from(plan.depth) + u64::from(slot);
                seen.push((walker, places.next(plan, connection, slot)));
            }
        }
    }
    seen
}

#[test]
fn scenarios_that_the_export_cannot_serve_are_refused() {
    let mut scenario = scenario();
    let plan = |s: &Scenario, e: &Export| Plan::new(s, e).map(drop);
    assert_eq!(plan(&scenario, &export(1 << 20, NBD_FLAG_READ_ONLY)), Err(PlanError::ReadOnly));
    assert_eq!(plan(&scenario, &export(1 << 20, 0)), Ok(()));
    assert!(matches!(plan(&scenario, &export(31 * 4096, 0)), Err(PlanError::TooSmall { .. })));
    let small = Export { max_block: 2048, ..export(1 << 20, 0) };
    assert!(matches!(plan(&scenario, &small), Err(PlanError::Block { .. })));
    scenario.region = Some(ByteSize::new(2 << 20));
    assert!(matches!(plan(&scenario, &export(1 << 20, 0)), Err(PlanError::TooLarge { .. })));
    scenario.region = None;
    scenario.flush = FlushPolicy::AfterEachWrite;
    assert_eq!(plan(&scenario, &export(1 << 20, 0)), Err(PlanError::Lacks("FLUSH")));
    assert_eq!(plan(&scenario, &export(1 << 20, NBD_FLAG_SEND_FLUSH)), Ok(()));
    scenario.flush = FlushPolicy::Never;
    scenario.fua = true;
    assert_eq!(plan(&scenario, &export(1 << 20, 0)), Err(PlanError::Lacks("FUA")));
    assert_eq!(plan(&scenario, &export(1 << 20, NBD_FLAG_SEND_FUA)), Ok(()));
}

#[test]
fn prefill_covers_the_region_exactly_once() {
    for size in [1 << 20, 12 << 20, (1 << 20) + 4096, 513 * 512] {
        let plan = Plan::prefill(&scenario(), &export(size, 0)).expect("fits");
        let Stop::Operations(count) = plan.stop else { panic!("counts") };
        let mut places = Places::new(&plan);
        let mut next = 0;
        for _ in 0..count {
            assert_eq!(places.next(&plan, 0, 0), next);
            next += u64::from(plan.block);
        }
        assert_eq!(next, size);
    }
}

#[test]
fn random_places_stay_inside_and_reach_both_ends() {
    let plan = Plan::new(&scenario(), &export(40 * 4096 + 512, 0)).expect("fits");
    let seen = places_of(&plan, 100);
    assert_eq!(seen.iter().map(|s| s.1).min(), Some(0));
    assert_eq!(seen.iter().map(|s| s.1).max(), Some(39 * 4096));
}

#[test]
fn sequential_connections_walk_parts_of_their_own() {
    let mut scenario = scenario();
    scenario.pattern = Pattern::Sequential;
    scenario.connections = 2;
    scenario.queue_depth = 1;
    let plan = Plan::new(&scenario, &export(4 * 4096, 0)).expect("fits");
    let blocks: Vec<_> = places_of(&plan, 3).iter().map(|s| s.1 / 4096).collect();
    assert_eq!(blocks, [0, 2, 1, 3, 0, 2]);
}

#[test]
fn slots_of_a_verified_load_never_share_a_place() {
    for pattern in [Pattern::Random, Pattern::Sequential] {
        let mut scenario = scenario();
        scenario.verify = true;
        scenario.pattern = pattern;
        scenario.connections = 3;
        scenario.queue_depth = 5;
        let plan = Plan::new(&scenario, &export(100 * 4096, 0)).expect("fits");
        let mut owner = HashMap::new();
        for (walker, place) in places_of(&plan, 50) {
            assert_eq!(*owner.entry(place).or_insert(walker), walker);
        }
        assert!(owner.len() > 50, "{}", owner.len());
    }
}

#[test]
fn nine_of_ten_go_to_the_first_tenth_and_all_places_are_met() {
    let mut scenario = scenario();
    scenario.pattern = Pattern::HotCold;
    let plan = Plan::new(&scenario, &export(1000 * 4096, 0)).expect("fits");
    let places = places_of(&plan, 2000);
    let hot = places.iter().filter(|(_, offset)| *offset < 100 * 4096).count();
    let share = hot as f64 / places.len() as f64;
    assert!((0.88..0.92).contains(&share), "{share}");
    let met: std::collections::HashSet<_> = places.iter().map(|(_, offset)| offset).collect();
    assert!(met.len() > 990 && met.iter().all(|&&offset| offset < 1000 * 4096), "{}", met.len());
}
