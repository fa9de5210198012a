//! Memory under load, idleness, and fairness.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode};

use crate::client::Client;
use crate::process::{busy, peak};
use crate::server::{Place, Server};
use crate::{ALONE, GIB, KIB, MIB, flush, noise, read, succeed, write};

/// What is written under the smallest memory cap; `KRAIT_WRITE_GIB` sets more.
const WRITTEN_GIB: u64 = 2;

/// What is written to one volume, which is deleted then: any disk has room for it.
const OF_A_VOLUME_GIB: u64 = 8;

/// How long a volume may be in use after its clients went.
const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest memory cap.
const MEMORY: u64 = 256 * MIB;

/// How long an idle server is looked at.
const IDLE: Duration = Duration::from_secs(3);

/// Longest that small requests take beside huge ones: the median, and all but one in a hundred.
const BESIDE_HUGE: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// Sequential writes from `offset` on, several at a time.
fn pour(client: &mut Client, offset: u64, length: u64, piece: u64) {
    let body = noise(offset ^ piece, piece);
    for at in (offset..offset + length).step_by(piece as usize) {
        let range = ByteRange::new(at, piece);
        client.send(Request::Write(range), Flags::NONE, &body).expect("a request");
        if client.under_way() >= 8 {
            succeed(client.receive().map(|(_, answer)| answer));
        }
    }
    while client.under_way() > 0 {
        succeed(client.receive().map(|(_, answer)| answer));
    }
}

#[test]
fn memory_stays_under_its_cap_at_full_speed() {
    let _alone = ALONE.lock();
    let text = std::env::var("KRAIT_WRITE_GIB").ok();
    let gib = text.map_or(WRITTEN_GIB, |text| text.parse().expect("a number of GiB"));
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=first=1M --memory=256M --cores=2");
    drop(server.connect("first", ReplyMode::Extended).expect("a server"));
    let (mut left, mut took) = (gib, Duration::ZERO);
    while left > 0 {
        let now = left.min(OF_A_VOLUME_GIB);
        left -= now;
        took += fill_and_read(&place, &mut server, now * GIB / 4);
    }
    let [most, cap] = [peak(&server), MEMORY + MEMORY / 10].map(|bytes| bytes >> 20);
    eprintln!("tried {gib} GiB: written in {took:?}, {most} MiB of memory at most");
    assert!(most <= cap, "{most} MiB of memory, {cap} MiB at most");
    assert!(server.stop().success());
}

/// Four clients write so many bytes each to a volume of their own, read, and leave; the time that
/// the writes took.
fn fill_and_read(place: &Place, server: &mut Server, each: u64) -> Duration {
    let run = |words: &str| place.run(words).status.success();
    assert!(run("volume create vm --size 64G"));
    let mut clients: Vec<_> =
        (0..4).map(|_| server.connect("vm", ReplyMode::Extended).expect("a server")).collect();
    let started = Instant::now();
    thread::scope(|scope| {
        for (number, client) in (0..).zip(&mut clients) {
            let piece = [64 * KIB, MIB, 4 * MIB, 32 * MIB][number as usize];
            scope.spawn(move || pour(client, number * 16 * GIB, each, piece));
        }
    });
    let took = started.elapsed();
    // Now all of them read, from the store.
    thread::scope(|scope| {
        for (number, client) in (0..).zip(&mut clients) {
            scope.spawn(move || {
                for at in (0..GIB / 16).step_by((4 * MIB) as usize) {
                    read(client, number * 16 * GIB + at, 4 * MIB);
                }
            });
        }
    });
    drop(clients);
    let gone = Instant::now();
    while !run("volume delete vm --yes") {
        assert!(gone.elapsed() < PATIENCE, "it can be deleted once its clients are gone");
        thread::sleep(Duration::from_millis(100));
    }
    took
}

#[test]
fn an_idle_server_does_nothing() {
    let _alone = ALONE.lock();
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=vm=1G --cores=2 --rpo-seconds=1");
    let mut client = server.connect("vm", ReplyMode::Extended).expect("a server");
    write(&mut client, 0, &noise(1, MIB));
    flush(&mut client);
    // What was written is uploaded first.
    thread::sleep(Duration::from_secs(4));
    let before = busy(&server);
    thread::sleep(IDLE);
    let used = busy(&server) - before;
    eprintln!("idle for {IDLE:?} with a client connected: {used:?} of processor time");
    assert!(used < IDLE / 100, "{used:?} of processor time in {IDLE:?}");
    assert!(server.stop().success());
}

/// Times of writes and reads of 4 KiB, sorted.
fn small_requests(client: &mut Client, count: usize) -> Vec<Duration> {
    let body = noise(7, 4 * KIB);
    let mut times = Vec::new();
    for number in 0..count as u64 {
        let at = number % 64 * 4 * KIB;
        let started = Instant::now();
        if number.is_multiple_of(2) {
            write(client, at, &body);
        } else {
            read(client, at, 4 * KIB);
        }
        times.push(started.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    times.sort();
    times
}

#[test]
fn requests_of_32_mebibytes_do_not_hold_up_small_ones_of_others() {
    let _alone = ALONE.lock();
    for cores in [1, 2] {
        let place = Place::new(Vec::new());
        let mut server = place.serve(&format!("--create=vm=8G --memory=512M --cores={cores}"));
        let mut small = server.connect("vm", ReplyMode::Extended).expect("a server");
        let mut large = server.connect("vm", ReplyMode::Extended).expect("a server");
        let alone = small_requests(&mut small, 200);
        let (stop, mut moved) = (AtomicBool::new(false), 0);
        let beside = thread::scope(|scope| {
            let (stop, moved) = (&stop, &mut moved);
            scope.spawn(move || {
                let body = noise(3, 32 * MIB);
                while !stop.load(Ordering::Relaxed) {
                    let at = GIB + *moved % GIB;
                    write(&mut large, at, &body);
                    read(&mut large, at, 32 * MIB);
                    *moved += 32 * MIB;
                }
            });
            let times = small_requests(&mut small, 600);
            stop.store(true, Ordering::Relaxed);
            times
        });
        let of = |times: &[Duration]| [times[times.len() / 2], times[times.len() * 99 / 100]];
        eprintln!(
            "{cores} cores: 4 KiB take {:?} (median, 99 %), {:?} beside {} requests of 32 MiB",
            of(&alone),
            of(&beside),
            2 * moved / (32 * MIB),
        );
        assert!(moved >= 64 * MIB, "the large requests went on");
        for (time, bound) in of(&beside).into_iter().zip(BESIDE_HUGE) {
            assert!(time <= bound, "{time:?}, {bound:?} at most");
        }
        server.kill();
    }
}
