//! What a volume asks of its bucket.

use std::thread;
use std::time::{Duration, Instant};

use hyper::Method;
use krait::sim::random::Random;
use nbd::ByteRange;
use nbd::client::{Flags, Request};
use s3_test_server::Change;

use crate::client::Client;
use crate::host::{Host, MIB, bucket, connect};
use crate::{alone, number, seed};

const BLOCK: u64 = 4096;

/// Writes under way at a time.
const DEPTH: usize = 32;

fn puts(changes: &[Change]) -> (u64, u64) {
    let puts = changes.iter().filter(|change| change.method == Method::PUT);
    puts.fold((0, 0), |(count, bytes), put| (count + 1, bytes + put.bytes))
}

fn receive(client: &mut Client) {
    let (_, answer) = client.receive().expect("a connection");
    answer.expect("the server writes");
}

fn write_randomly(client: &mut Client, random: &mut Random, volume: u64, bytes: u64) {
    let mut body = [0; BLOCK as usize];
    for n in 0..bytes / BLOCK {
        body[..8].copy_from_slice(&n.to_le_bytes());
        let at = random.below(volume / BLOCK) * BLOCK;
        while client.under_way() >= DEPTH {
            receive(client);
        }
        let write = Request::Write(ByteRange::new(at, BLOCK));
        client.send(write, Flags::NONE, &body).expect("a connection");
    }
    while client.under_way() > 0 {
        receive(client);
    }
}

#[test]
fn random_writes_take_few_puts_and_few_bytes_more_than_were_written() {
    let _alone = alone();
    let (volume, bytes) = (10 << 30, number("KRAIT_S3_RANDOM_MIB", 640) * MIB);
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 10G");
    // As it comes, but for the size of the machine.
    let mut server = host.place.serve("--cores=2 --memory=1G --wal-cap=1G");
    let mut client = connect(&mut server, 1).remove(0);
    let before = host.door.changes().len();
    let begun = Instant::now();
    write_randomly(&mut client, &mut Random::stream(seed(), "cost"), volume, bytes);
    host.run("volume drain vm --timeout 60s");
    let (count, sent) = puts(&host.door.changes()[before..]);
    let (rate, factor) = (count as f64 / (bytes / MIB) as f64, sent as f64 / bytes as f64);
    let status = host.status();
    eprintln!(
        "{} MiB of 4 KiB writes over 10 GiB in {:?}: {count} puts, {rate:.3} per MiB; {factor:.3} bytes \
         sent per byte; status says {}",
        bytes / MIB,
        begun.elapsed(),
        status["traffic"]["puts_per_mib"]
    );
    assert!(rate <= 0.35 && factor <= 1.1, "{rate} {factor}");
    let folded = host.door.changes().iter().any(|change| change.path.contains("/maps/"));
    assert!(folded || bytes < 512 * MIB, "the map was folded at least once");
    let told = status["traffic"]["puts_per_mib"].as_f64().expect("a number");
    assert!((told - rate).abs() < 0.02, "{told}");
    assert_eq!(status["written_bytes"], bytes);
    server.kill();
}

#[test]
fn an_idle_volume_asks_nothing_and_one_of_few_writes_puts_twice_per_rpo() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 1G");
    let mut server = host.place.serve("--cores=2 --memory=256M --rpo-seconds=2");
    let mut client = connect(&mut server, 1).remove(0);
    let write = |client: &mut Client, n: u64| {
        let request = Request::Write(ByteRange::new(n * 97 % 1000 * BLOCK, BLOCK));
        let written = client.call(request, Flags::NONE, &[n as u8 + 1; BLOCK as usize]);
        assert!(written.expect("a connection").is_ok());
    };
    write(&mut client, 0);
    host.run("volume drain vm");
    thread::sleep(Duration::from_millis(500));
    let requests = host.door.requests();
    thread::sleep(Duration::from_secs(5));
    assert_eq!(host.door.requests(), requests, "an idle volume makes no requests");

    let (rounds, before) = (number("KRAIT_S3_ROUNDS", 5), host.door.changes().len());
    for n in 0..rounds * 2 {
        write(&mut client, n);
        thread::sleep(Duration::from_secs(1));
    }
    let (count, _) = puts(&host.door.changes()[before..]);
    eprintln!(
        "4 KiB/s over {rounds} rpo: {count} puts, {} requests",
        host.door.requests() - requests
    );
    assert!(count <= 2 * rounds, "{count} puts in {rounds} rpo");
    server.kill();
}

#[test]
fn what_is_read_is_never_uploaded() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 1G");
    let settings = "--cores=2 --memory=256M --rpo-seconds=1";
    let mut server = host.place.serve(settings);
    let mut client = connect(&mut server, 1).remove(0);
    let bytes = 16 * MIB;
    write_randomly(&mut client, &mut Random::stream(seed(), "reads"), bytes, bytes);
    host.run("volume drain vm --timeout 60s");
    server.kill();
    let mut server = host.place.serve(settings);
    let mut client = connect(&mut server, 1).remove(0);
    let before = host.door.changes().len();
    for at in (0..bytes).step_by(MIB as usize) {
        let read = client.call(Request::Read(ByteRange::new(at, MIB)), Flags::NONE, &[]);
        assert!(read.expect("a connection").is_ok());
    }
    thread::sleep(Duration::from_secs(3));
    let (count, sent) = puts(&host.door.changes()[before..]);
    assert_eq!((count, sent), (0, 0), "reads change nothing in the bucket");
    server.kill();
}
