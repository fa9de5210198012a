//! Two hosts and one volume: the one that has it is stopped, the other takes it over, the first one
//! goes on.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use chunk::ChunkId;
use krait::sim::random::Random;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, Errno, ReplyMode};
use rustix::process::{Signal, kill_process};
use s3_test_server::{Change, TestServer};

use crate::client::Client;
use crate::host::{Host, PATIENCE, RPO, SMALL, UPLOAD, bucket, connect, load, read_back};
use crate::loss::work;
use crate::server::Server;
use crate::{alone, number, seed};

const CLIENTS: usize = 2;

/// A block that no judge looks at.
const OWN_BLOCK: ByteRange = ByteRange { offset: 100 << 20, length: 4096 };

/// Writes and flushes until the server refuses; returns the error and how long that took.
fn write_until_refused(client: &mut Client) -> (Errno, Duration) {
    let begun = Instant::now();
    loop {
        let body = [7; OWN_BLOCK.length as usize];
        for request in [Request::Write(OWN_BLOCK), Request::Flush] {
            let body = if request == Request::Flush { &body[..0] } else { &body[..] };
            match client.call(request, Flags::NONE, body).expect("the connection stays") {
                Ok(_) => {}
                Err(errno) => return (errno, begun.elapsed()),
            }
        }
        assert!(begun.elapsed() < PATIENCE, "it still writes");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a host that had lost the volume changed: nothing but garbage, uploaded under names of its own
/// opening, may be among it.
fn judge_changes(changes: &[Change], incarnation: u64) {
    for Change { method, path, .. } in changes {
        let path = path.split('?').next().expect("a path");
        let id = path.rsplit('/').next().and_then(ChunkId::parse);
        let own = id.is_some_and(|id| id.incarnation().0 == incarnation);
        assert!(method == "PUT" && own, "the loser changed the bucket: {method} {path}");
        assert!(path.contains("/chunks/") || path.contains("/maps/"), "{path}");
    }
}

fn manifests(bucket: &TestServer) -> Vec<String> {
    let keys = bucket.keys(crate::host::BUCKET);
    keys.into_iter().filter(|key| key.contains("/manifests/")).collect()
}

#[test]
fn the_host_that_lost_a_volume_changes_nothing_and_says_what_happened() {
    let _alone = alone();
    let mut random = Random::stream(seed(), "take-overs");
    let rounds = number("KRAIT_S3_TAKEOVERS", 10);
    let bucket = bucket();
    let work = work();
    let hosts = [Host::new(&bucket), Host::new(&bucket)];
    hosts[0].run("volume create vm --size 1G");
    let mut servers: Vec<Server> = hosts.iter().map(|host| host.place.serve(SMALL)).collect();
    let mut clients = connect(&mut servers[0], CLIENTS);
    read_back(&work, &mut clients[0]);
    let (mut slowest, mut garbage, mut aside) = (Duration::ZERO, 0, 0);
    for round in 0..rounds as usize {
        let [loser, winner] = [round % 2, (round + 1) % 2];
        let incarnation = hosts[loser].status()["incarnation"].as_u64().expect("a number");
        let mut guest = connect(&mut servers[loser], 1).remove(0);
        let pid = servers[loser].pid();
        let streams = clients.iter().map(|client| client.stream.try_clone().expect("a socket"));
        let streams: Vec<_> = streams.collect();
        let span = Duration::from_millis(random.within(50..1500));
        load(&work, clients, random.bits(), || {
            thread::sleep(span);
            kill_process(pid, Signal::STOP).expect("it runs");
            streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        });
        let mut judge = work.judge();
        judge.publish_by_age(RPO + UPLOAD);
        judge.crash(true);
        drop(judge);

        // Without force the winner says who has it.
        let (code, said) = hosts[winner].fail("volume attach vm");
        assert!(code == Some(10) && said.contains("--force"), "{said}");
        let refused = servers[winner].connect("vm", ReplyMode::Extended).err();
        let refused = refused.expect("another host has it").to_string();
        assert!(refused.contains("volume vm") && refused.contains("has it since"), "{refused}");
        hosts[winner].run("volume attach vm --force");
        let mut opened = connect(&mut servers[winner], CLIENTS);
        read_back(&work, &mut opened[0]);

        // The first one goes on beside the winner's clients.
        let changed = hosts[loser].door.changes().len();
        let stop = opened.iter().map(|client| client.stream.try_clone().expect("a socket"));
        let stop: Vec<_> = stop.collect();
        let (errno, took) = load(&work, opened, random.bits(), || {
            kill_process(pid, Signal::CONT).expect("it runs");
            let refused = write_until_refused(&mut guest);
            thread::sleep(Duration::from_millis(300));
            stop.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            refused
        });
        assert_eq!(errno, Errno::Shutdown);
        assert!(took < RPO + UPLOAD, "it took {took:?}");
        slowest = slowest.max(took);
        let changes = &hosts[loser].door.changes()[changed..];
        judge_changes(changes, incarnation);
        garbage += changes.len();

        // What happened, on either host.
        let lost = hosts[loser].status();
        assert!(
            ["fenced", "elsewhere"].contains(&lost["state"].as_str().expect("a word")),
            "{lost}"
        );
        assert_eq!(lost["is_own"], false, "{lost}");
        let text = hosts[loser].run("volume status vm");
        assert!(text.contains("another host has taken it over"), "{text}");
        let kept = lost["kept_aside_bytes"].as_u64().expect("a number");
        assert!(kept > 0 && text.contains("kept aside"), "{text}");
        aside = aside.max(kept);
        let won = hosts[winner].status();
        assert_eq!((&won["is_own"], &won["state"]), (&true.into(), &"serving".into()), "{won}");
        let refused = servers[loser].connect("vm", ReplyMode::Extended).err();
        assert!(refused.expect("it is lost").to_string().contains("kept in"), "with the place");

        // Nothing of the winner's is lost, by a kill on top of it.
        servers.remove(winner).kill();
        work.judge().crash(false);
        servers.insert(winner, hosts[winner].place.serve(SMALL));
        clients = connect(&mut servers[winner], CLIENTS);
        read_back(&work, &mut clients[0]);
    }
    drop(clients);
    for host in &hosts {
        let status = host.status();
        let live =
            status["wal_bytes"].as_u64().unwrap() - status["kept_aside_bytes"].as_u64().unwrap();
        host.run("volume drop-log vm --yes");
        let status = host.status();
        assert_eq!(status["kept_aside_bytes"], 0, "{status}");
        assert!(status["wal_bytes"].as_u64().unwrap() <= live + (16 << 20), "{status}");
        let (code, said) = host.fail("volume drop-log vm --yes");
        assert!(code == Some(3) && said.contains("nothing is kept aside"), "{said}");
    }
    assert!(hosts[0].run("volume check vm").contains("vm"));
    eprintln!(
        "take-overs {rounds}: the loser's clients were refused after {slowest:?} at most; it uploaded \
         {garbage} objects that nobody names, and kept {} MiB aside at most",
        aside >> 20
    );
}

#[test]
fn of_two_hosts_that_open_a_volume_at_once_one_gets_it() {
    let _alone = alone();
    let rounds = number("KRAIT_S3_RACES", 10);
    let bucket = bucket();
    let hosts = [Host::new(&bucket), Host::new(&bucket)];
    hosts[0].run("volume create vm --size 1G");
    let mut servers: Vec<Server> = hosts.iter().map(|host| host.place.serve(SMALL)).collect();
    // Both are up before anybody races.
    for host in &hosts {
        let begun = Instant::now();
        while !host.place.run("volume status vm").status.success() {
            assert!(begun.elapsed() < PATIENCE);
        }
    }
    let mut wins = [0, 0];
    for round in 0..rounds {
        let before = manifests(&bucket);
        let opened: Vec<_> = thread::scope(|scope| {
            let open = |server: &'_ mut Server| server.connect("vm", ReplyMode::Extended);
            let racers: Vec<_> =
                servers.iter_mut().map(|server| scope.spawn(move || open(server))).collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        assert_eq!(opened.iter().filter(|client| client.is_ok()).count(), 1, "one wins");
        assert_ne!(manifests(&bucket), before);
        for (at, client) in opened.into_iter().enumerate() {
            match client {
                Ok(mut client) => {
                    wins[at] += 1;
                    let body = [round as u8 + 1; OWN_BLOCK.length as usize];
                    let written = client.call(Request::Write(OWN_BLOCK), Flags::FUA, &body);
                    assert!(written.expect("a connection").is_ok());
                }
                Err(error) => assert!(error.to_string().contains("has it since"), "{error}"),
            }
        }
        let winner = usize::from(hosts[1].status()["is_own"] == true);
        hosts[winner].run_when_free("volume detach vm");
    }
    eprintln!("races {rounds}, won {} and {}", wins[0], wins[1]);
}
