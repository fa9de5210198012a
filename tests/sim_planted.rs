//! The suite must be able to fail: every bug that can be planted into the engine is found by the
//! simulation. `KRAIT_PLANT` plants the bug of one name only. Needs the feature `planted`, which no build of the product has.
#![cfg(feature = "planted")]

use krait::sim::engine::Engine;
use krait::sim::world::{Fault, run};
use wal::planted::{Bug, plant, times_asked};

/// Worlds in which a bug must show. A bug that shows in one of 400 worlds is found in these with
/// 99.9 % certainty.
const WORLDS: u64 = 3000;

/// Looks for a bug; tells in which world it showed, and how.
fn find(bug: Bug) -> Option<(u64, Fault)> {
    let _planted = plant(bug);
    (0..WORLDS)
        .find_map(|seed| run::<Engine>(seed, false).err().map(|failure| (seed, failure.fault)))
}

/// The same worlds without a bug: what is found above is the bug and nothing else.
#[test]
fn without_a_bug_nothing_is_found() {
    for seed in 0..WORLDS {
        if let Err(failure) = run::<Engine>(seed, false) {
            panic!("{failure}");
        }
    }
}

#[test]
fn every_planted_bug_is_found() {
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    let only = std::env::var("KRAIT_PLANT").ok();
    for &bug in Bug::ALL.iter().filter(|bug| only.as_ref().is_none_or(|name| name == bug.name())) {
        match find(bug) {
            Some((seed, fault)) => {
                let text = fault.to_string();
                let line = text.lines().next().unwrap_or_default();
                println!("{:<28} world {seed:>4}: {line}", bug.name());
            }
            None => {
                println!("{:<28} not found, asked {} times", bug.name(), times_asked());
                missed.push(bug.name());
            }
        }
    }
    assert!(missed.is_empty(), "the simulation misses {missed:?}");
}
