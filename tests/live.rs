//! The real server under clients that overlap each other, come and go, and break the protocol:
//! every reply fits one order of all commands.
//!
//! `KRAIT_LIVE_OPS` sets how many operations, `KRAIT_GRAMMAR_SECONDS` how long the protocol is
//! broken, `KRAIT_SEED` what is done.
#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

#[path = "kill/client.rs"]
mod client;
#[path = "kill/crew.rs"]
mod crew;
#[path = "live/grammar.rs"]
mod grammar;
#[path = "decoders/mutate.rs"]
mod mutate;
#[path = "live/overlap.rs"]
mod overlap;
#[path = "kill/server.rs"]
mod server;

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// The tests of this file take the machine for themselves.
static ALONE: Mutex<()> = Mutex::new(());

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// What is done depends on it; it is printed.
fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let seed = number("KRAIT_SEED").unwrap_or_else(|| clock() as u64 % 1_000_000_007);
    eprintln!("KRAIT_SEED={seed}");
    seed
}
