//! Every decoder against real traffic and millions of changes of it: no panic, no broken promise.
//! The same functions as the targets of cargo-fuzz in `tests/fuzz`, on every toolchain.
//!
//! `KRAIT_FUZZ_SECONDS` sets how long each target runs. `KRAIT_FUZZ_TARGET` with `KRAIT_FUZZ_ROUND`
//! repeats one round, with `KRAIT_FUZZ_FILE` one input.
#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

#[path = "kill/client.rs"]
mod client;
#[path = "fuzz/src/lib.rs"]
mod fuzz;
#[path = "decoders/mutate.rs"]
mod mutate;
#[path = "kill/server.rs"]
mod server;
#[path = "decoders/tap.rs"]
mod tap;
#[path = "decoders/traffic.rs"]
mod traffic;

use std::env;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fuzz::{TARGETS, Target};
use krait::sim::Random;

/// How long each target runs.
const SECONDS: u64 = 2;

/// Fewest rounds of each target: a slow machine must not make a test of nothing.
const LEAST_ROUNDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Where the inputs of a target lie that every run begins with.
fn seed_dir(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target)
}

/// All of them, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = seed_dir(target);
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

/// Gives an input to a target; one that it cannot take is kept, and its place told.
fn give((target, decode): Target, round: u64, input: &[u8]) {
    if catch_unwind(|| decode(input)).is_err() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-{round}"));
        fs::write(&kept, input).expect("room for an input");
        panic!(
            "{target} cannot take {} bytes\nreplay: KRAIT_FUZZ_TARGET={target} KRAIT_FUZZ_FILE={} \
             cargo test --test decoders anything",
            input.len(),
            kept.display()
        );
    }
}

fn round_of(target: &str, seeds: &[Vec<u8>], round: u64) -> Vec<u8> {
    mutate::input(seeds, &mut Random::stream(round, target))
}

#[test]
fn every_decoder_takes_anything() {
    let only = env::var("KRAIT_FUZZ_TARGET").ok();
    let span = Duration::from_secs(number("KRAIT_FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut rounds = 0;
    for &(target, decode) in TARGETS {
        if only.as_ref().is_some_and(|only| only != target) {
            continue;
        }
        if let Ok(file) = env::var("KRAIT_FUZZ_FILE") {
            return fuzz::run(target, &fs::read(file).expect("the input can be read"));
        }
        let seeds = seeds(target);
        if let Some(round) = number("KRAIT_FUZZ_ROUND") {
            decode(&round_of(target, &seeds, round));
            return;
        }
        seeds.iter().for_each(|seed| give((target, decode), 0, seed));
        let (started, mut round) = (Instant::now(), 0);
        while round < LEAST_ROUNDS || started.elapsed() < span {
            give((target, decode), round, &round_of(target, &seeds, round));
            round += 1;
        }
        rounds += round;
    }
    eprintln!("tried {rounds} inputs: {} decoders, none broke a promise", TARGETS.len());
}

/// The seeds are good for something: most are taken as they are.
#[test]
fn every_target_has_seeds() {
    let dirs = fs::read_dir(seed_dir("")).expect("seeds").count();
    assert_eq!(dirs, TARGETS.len(), "a directory for each target");
    for (target, _) in TARGETS {
        assert!(!seeds(target).is_empty(), "{target} has no seeds");
    }
}
