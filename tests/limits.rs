//! The bounds that the real server keeps: time and space of huge requests, memory, idleness, what
//! a bad client can do to others, and a full disk.
#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

#[path = "limits/bad_clients.rs"]
mod bad_clients;
#[path = "kill/client.rs"]
mod client;
#[path = "limits/full_disk.rs"]
mod full_disk;
#[path = "limits/huge.rs"]
mod huge;
#[path = "kill/loop_disk.rs"]
mod loop_disk;
#[path = "limits/process.rs"]
mod process;
#[path = "limits/resources.rs"]
mod resources;
#[path = "kill/server.rs"]
mod server;

use std::io;
use std::sync::Mutex;

use nbd::ByteRange;
use nbd::client::{Flags, Request};

use client::{Answer, Client};

/// The tests of this file take the machine for themselves: they measure it.
static ALONE: Mutex<()> = Mutex::new(());

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A request that must succeed.
#[track_caller]
fn succeed(answer: io::Result<Answer>) -> Vec<u8> {
    let answer = answer.expect("the server answers");
    answer.unwrap_or_else(|errno| panic!("the server refuses: {errno}"))
}

#[track_caller]
fn write(client: &mut Client, offset: u64, body: &[u8]) {
    let range = ByteRange::new(offset, body.len() as u64);
    succeed(client.call(Request::Write(range), Flags::NONE, body));
}

#[track_caller]
fn read(client: &mut Client, offset: u64, length: u64) -> Vec<u8> {
    succeed(client.call(Request::Read(ByteRange::new(offset, length)), Flags::NONE, &[]))
}

#[track_caller]
fn flush(client: &mut Client) {
    succeed(client.call(Request::Flush, Flags::NONE, &[]));
}

/// Bytes that differ from place to place, and that no codec makes smaller.
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut random = krait::sim::Random::stream(seed, "noise");
    (0..length / 8).flat_map(|_| random.bits().to_le_bytes()).collect()
}
