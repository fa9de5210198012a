//! A bucket that fails in every way at once, under load, and the loss of the disk on top of it.

use std::thread;
use std::time::Duration;

use krait::sim::judge::Command;
use krait::sim::random::Random;
use s3_test_server::{Fault, Rule};

use crate::host::{Host, SMALL, bucket, connect, load, read_back};
use crate::loss::work;
use crate::{alone, number, seed};

const CLIENTS: usize = 4;

const WORK: Duration = Duration::from_millis(2500);

/// Two in ten requests, those that are done without an answer above all.
const FAULTS: [(Fault, u64); 7] = [
    (Fault::ResetAfter, 50),
    (Fault::StatusAfter(500), 40),
    (Fault::Status(503), 30),
    (Fault::Status(500), 30),
    (Fault::ResetBefore, 20),
    (Fault::Truncate, 20),
    (Fault::Delay(Duration::from_millis(200)), 20),
];

#[test]
fn nothing_is_lost_over_a_bucket_that_fails_and_lies_about_what_it_did() {
    let _alone = alone();
    let mut random = Random::stream(seed(), "faulty");
    let lives = number("KRAIT_S3_FAULTY", 4);
    let bucket = bucket();
    let work = work();
    let mut host = Host::new(&bucket);
    host.run("volume create vm --size 1G");
    let (mut hits, mut retries) = (0, 0);
    for life in 0..=lives {
        for (fault, per_mille) in FAULTS {
            host.door.faults().add(Rule::all(fault).at(per_mille));
        }
        if life > 0 {
            host.run("volume attach vm --force");
        }
        let mut server = host.place.serve(SMALL);
        let mut clients = connect(&mut server, CLIENTS);
        read_back(&work, &mut clients[0]);
        if life == lives {
            break;
        }
        load(&work, clients, random.bits(), || {
            thread::sleep(WORK);
            // What was answered before a drain that succeeds outlives the disk.
            let drain = work.judge().invoke(Command::Cut);
            host.run("volume drain vm --timeout 60s");
            work.judge().done(drain);
            retries += host.status()["store"]["retries"].as_u64().expect("a number");
            thread::sleep(Duration::from_millis(random.below(500)));
            server.kill();
        });
        hits += host.door.faults().hits();
        work.judge().crash(true);
        host = Host::new(&bucket);
    }
    host.door.faults().clear();
    assert!(host.run("volume check vm").contains("vm"));
    assert!(hits > 20 * lives, "only {hits} faults");
    eprintln!("tried {lives} lives: faults {hits}, requests repeated {retries}, lost 0");
}
