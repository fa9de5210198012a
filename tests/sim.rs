//! Simulated power loss: whole worlds from seeds, judged after every crash.
//!
//! `KRAIT_SIM_SEEDS` sets how many seeds run, `KRAIT_SIM_FIRST` the first of them, and
//! `KRAIT_SIM_SEED` replays one with its log; `KRAIT_SIM_STORE_SEEDS` how many run over a bad store,
//! and `KRAIT_SIM_TWICE` how many run twice. Seeds that failed once stand in `sim-seeds.txt` and
//! run always.

#[path = "sim/cases.rs"]
mod cases;

use std::env;
use std::fmt::Write;

use krait::sim::Scenario;
use krait::sim::engine::Engine;
use krait::sim::world::{Report, run, run_scenario};

/// What the worlds test.
type Tested = Engine;

/// Seeds of a run that asks for no number.
const DEFAULT_SEEDS: u64 = if cfg!(debug_assertions) { 150 } else { 2000 };

/// Seeds over a store that fails and lies, of a run that asks for no number.
const STORE_SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 500 };

/// One in so many seeds runs as a world of snapshots as well.
const COPIED_ONE_IN: u64 = 5;

/// Seeds that run twice.
const TWICE: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Seeds of worlds that failed once.
fn known_seeds() -> Vec<u64> {
    let lines = include_str!("sim-seeds.txt").lines().map(|line| line.split('#').next());
    let seeds = lines.filter_map(|text| text.map(str::trim).filter(|text| !text.is_empty()));
    seeds.map(|text| text.parse().expect("a seed is a number")).collect()
}

/// Runs a seed; a failure is run again for its log.
fn pass(seed: u64) -> Report {
    run::<Tested>(seed, false).unwrap_or_else(|first| {
        let mut report = String::new();
        match run::<Tested>(seed, true) {
            Err(failure) => write!(report, "{failure}").expect("strings take everything"),
            Ok(_) => write!(report, "{first}\nand not again: the simulation is not deterministic")
                .expect("strings take everything"),
        }
        panic!("{report}\nreplay: KRAIT_SIM_SEED={seed} cargo test --test sim");
    })
}

#[test]
fn nothing_is_lost_in_any_world() {
    if let Some(seed) = number("KRAIT_SIM_SEED") {
        println!("seed {seed}: {:?}", pass(seed));
        return;
    }
    let first = number("KRAIT_SIM_FIRST").unwrap_or(0);
    let seeds = first..first + number("KRAIT_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let mut total = Report::default();
    for seed in known_seeds().into_iter().chain(seeds.clone()) {
        let report = pass(seed);
        total.cycles += report.cycles;
        total.commands += report.commands;
        total.steps += report.steps;
    }
    let Report { cycles, commands, steps, .. } = total;
    let worlds = seeds.end - seeds.start;
    println!(
        "tried {worlds} worlds: {cycles} recoveries judged, {commands} commands, {steps} steps"
    );
    assert!(cycles > 0, "nothing was judged");
}

/// Runs worlds drawn for something; `replay` tells what runs one of them again. Returns the recoveries.
fn pass_all(count: u64, world: impl Fn(u64) -> Scenario, replay: &str) -> u64 {
    let first = number("KRAIT_SIM_FIRST").unwrap_or(0);
    let run = |seed| {
        let lived = run_scenario::<Tested>(world(seed), false);
        let failed = |failure| panic!("{failure}\nreplay: KRAIT_SIM_FIRST={seed} {replay}");
        lived.unwrap_or_else(failed).cycles
    };
    (first..first + count).map(run).sum()
}

/// Many snapshots, and clones of them, in each.
#[test]
fn nothing_is_lost_in_worlds_of_snapshots() {
    let count = number("KRAIT_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS) / COPIED_ONE_IN;
    let one = format!("KRAIT_SIM_SEEDS={COPIED_ONE_IN}");
    let replay = format!("{one} cargo test --test sim worlds_of_snapshots -- --nocapture");
    let cycles = pass_all(count, |seed| Scenario::draw(seed).copied(), &replay);
    println!("tried {count} worlds of snapshots: {cycles} recoveries judged");
}

/// From one in a hundred requests to a third fails, done or not; as many reads are answered wrongly.
#[test]
fn nothing_is_lost_over_a_store_that_fails_and_lies() {
    let count = number("KRAIT_SIM_STORE_SEEDS").unwrap_or(STORE_SEEDS);
    let lying = |seed| {
        let mut scenario = Scenario::draw(seed).lying();
        scenario.store.error_one_in = 3 + seed % 98;
        scenario.store.lie_one_in = 3 + seed / 98 % 98;
        scenario
    };
    let replay = "KRAIT_SIM_STORE_SEEDS=1 cargo test --test sim over_a_store -- --nocapture";
    let cycles = pass_all(count, lying, replay);
    println!("tried {count} worlds over a bad store: {cycles} recoveries judged");
}

#[test]
fn a_seed_run_twice_gives_the_same_trace() {
    let mut traces = Vec::new();
    let twice = number("KRAIT_SIM_TWICE").unwrap_or(TWICE);
    for seed in 0..twice {
        let (first, second) = (pass(seed), pass(seed));
        assert_eq!(first, second, "seed {seed}");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len() as u64, twice, "each seed is a world of its own");
    println!("tried {twice} worlds twice: all traces equal");
}

#[test]
fn every_case_holds() {
    let failed = |(name, case): &cases::Case| case().err().map(|found| format!("{name}: {found}"));
    let failed: Vec<_> = cases::ALL.iter().filter_map(failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
