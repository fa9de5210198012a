//! Volumes in a bucket: the real server and its commands against a real S3 protocol, over the loss
//! of disks, hosts and the bucket itself.
//!
//! `KRAIT_S3_LOSSES`, `KRAIT_S3_TAKEOVERS`, `KRAIT_S3_RACES` and `KRAIT_S3_FAULTY` set how often,
//! `KRAIT_S3_OUTAGE` the seconds of the outage, `KRAIT_SEED` what is done.
#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

#[path = "../kill/client.rs"]
mod client;
#[path = "../kill/crew.rs"]
mod crew;
#[path = "../kill/server.rs"]
mod server;

mod attach;
mod cached;
mod cost;
mod faulty;
mod host;
mod loss;
mod mapped;
mod named;
mod outage;
mod start;
mod two_hosts;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tests of this target take the machine for themselves: they measure it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}={text}"));
    std::env::var(name).map_or(otherwise, parse)
}

/// What a run depends on; printed, so that it can be done again.
fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("KRAIT_SEED", clock.expect("after 1970").as_micros() as u64 % 1_000_000_007);
    eprintln!("KRAIT_SEED={seed}");
    seed
}
