//! The local disk is lost under load, again and again.

use std::fs;
use std::thread;
use std::time::Duration;

use krait::sim::random::Random;
use nbd::ByteRange;
use nbd::client::{Flags, Request};

use crate::crew::Work;
use crate::host::{Host, MIB, RPO, SMALL, UPLOAD, bucket, connect, load, read_back};
use crate::{alone, number, seed};

/// Connections.
const CLIENTS: usize = 4;

/// Longest time of work before a loss.
const WORK: Duration = Duration::from_millis(3000);

/// One life in so many rests before its end, so that only age can have uploaded the last writes.
const REST: u64 = 4;

pub fn work() -> Work {
    let mib = MIB / 512;
    let size = 1024 * mib;
    Work::new(vec![0..2 * mib, 509 * mib..513 * mib, size - 2 * mib..size])
}

/// A cut is made because of the flush, or not at all.
const NEVER: &str = "--cores=2 --memory=256M --wal-segment=1M --wal-cap=64M --rpo-seconds=3600";

#[test]
fn what_a_flush_of_a_remote_volume_covers_outlives_the_disk() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 1G --durability remote");
    let mut server = host.place.serve(NEVER);
    let mut client = connect(&mut server, 1).remove(0);
    let block = |n: u64| ByteRange { offset: n << 20, length: 4096 };
    for n in 0..8 {
        let (flags, body) = (Flags::NONE, [n as u8 + 1; 4096]);
        client.call(Request::Write(block(n)), flags, &body).expect("a reply").expect("no error");
    }
    client.call(Request::Flush, Flags::NONE, &[]).expect("a reply").expect("no error");
    let fua = client.call(Request::Write(block(8)), Flags::FUA, &[9; 4096]);
    fua.expect("a reply").expect("no error");
    server.kill();
    let other = Host::new(&bucket);
    other.run("volume attach vm --force");
    let mut server = other.place.serve(NEVER);
    let mut client = connect(&mut server, 1).remove(0);
    for n in 0..9 {
        let read = client.call(Request::Read(block(n)), Flags::NONE, &[]).expect("a reply");
        assert_eq!(read.expect("no error"), [n as u8 + 1; 4096], "block {n}");
    }
}

#[test]
fn a_volume_whose_disk_was_lost_opens_elsewhere_at_a_prefix_no_older_than_promised() {
    let _alone = alone();
    let mut random = Random::stream(seed(), "losses");
    let losses = number("KRAIT_S3_LOSSES", 10);
    let bucket = bucket();
    let work = work();
    let mut host = Host::new(&bucket);
    host.run("volume create vm --size 1G");
    let mut firsts = Vec::new();
    for life in 0..=losses {
        // Beside a server, or for the next one.
        let beside = random.chance(2);
        if life > 0 && !beside {
            host.run("volume attach vm --force");
        }
        let mut server = host.place.serve(SMALL);
        if life > 0 && beside {
            while !host.place.run("volume attach vm --force").status.success() {
                assert!(server.started.elapsed() < UPLOAD, "it can be attached");
            }
        }
        let mut clients = connect(&mut server, CLIENTS);
        firsts.push(server.started.elapsed());
        read_back(&work, &mut clients[0]);
        if life == losses {
            break;
        }
        let span = Duration::from_millis(random.within(100..WORK.as_millis() as u64));
        if life % REST == 1 {
            // All that was answered is old enough to be elsewhere.
            load(&work, clients, random.bits(), || thread::sleep(span));
            thread::sleep(RPO + UPLOAD);
            server.kill();
        } else {
            load(&work, clients, random.bits(), || {
                thread::sleep(span);
                server.kill();
            });
        }
        let mut judge = work.judge();
        judge.publish_by_age(RPO + UPLOAD);
        judge.crash(true);
        drop(judge);
        fs::remove_dir_all(&host.place.data).expect("a directory");
        host = Host::new(&bucket);
    }
    assert!(host.run("volume check vm").contains("vm"));
    firsts.sort();
    let slowest = firsts[firsts.len() - 1].as_millis();
    eprintln!("tried {losses} losses: prefix held; connected after {slowest} ms at most");
}
