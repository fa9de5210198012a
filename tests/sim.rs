//! Simulated power loss: whole worlds from seeds, judged after every crash.
//!
//! `KRAIT_SIM_SEEDS` sets how many seeds run, `KRAIT_SIM_FIRST` the first of them, and
//! `KRAIT_SIM_SEED` replays one with its log. Seeds that failed once stand in `sim-seeds.txt` and
//! run always.

use std::env;
use std::fmt::Write;

use krait::sim::engine::Engine;
use krait::sim::world::{Report, run};

/// What the worlds test.
type Tested = Engine;

/// Seeds of a run that asks for no number.
const DEFAULT_SEEDS: u64 = if cfg!(debug_assertions) { 150 } else { 2000 };

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
    for seed in known_seeds().into_iter().chain(seeds) {
        let report = pass(seed);
        total.cycles += report.cycles;
        total.commands += report.commands;
        total.steps += report.steps;
    }
    let Report { cycles, commands, steps, .. } = total;
    println!("{cycles} recoveries judged, {commands} commands, {steps} steps");
    assert!(cycles > 0, "nothing was judged");
}

#[test]
fn a_seed_run_twice_gives_the_same_trace() {
    let mut traces = Vec::new();
    for seed in 0..TWICE {
        let (first, second) = (pass(seed), pass(seed));
        assert_eq!(first, second, "seed {seed}");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len() as u64, TWICE, "each seed is a world of its own");
}
