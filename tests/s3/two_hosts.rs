//! Two hosts and one volume: the one that has it is stopped, the other takes it over, the first one
//! goes on.

use std::thread;
use std::time::{Duration, Instant};

use chunk::{ChunkId, ManifestSeq};
use krait::sim::random::Random;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, Errno, ReplyMode};
use rustix::process::{Signal, kill_process};
use s3_test_server::{Change, TestServer};

use crate::client::Client;
use crate::crew::Work;
use crate::host::{BUCKET, Host, PATIENCE, RPO, SMALL, UPLOAD, bucket, connect, load, read_back};
use crate::loss::work;
use crate::server::Server;
use crate::{alone, number, seed};

const CLIENTS: usize = 2;

/// A block that no judge looks at.
const OWN_BLOCK: ByteRange = ByteRange { offset: 100 << 20, length: 4096 };

/// How a host that lost the volume is kept from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Contact,
    Lease,
}

impl Mode {
    /// What makes the volume.
    fn create(self) -> &'static str {
        match self {
            Self::Contact => "volume create vm --size 1G",
            Self::Lease => "volume create vm --size 1G --fencing lease --lease-seconds 5",
        }
    }

    /// What takes it over from a host that stands still.
    fn attach(self) -> &'static str {
        match self {
            Self::Contact => "volume attach vm --force",
            Self::Lease => "volume attach vm",
        }
    }
}

/// Writes and flushes until the server refuses; returns the error and how long that took. Without
/// a lease not a single flush succeeds.
fn write_until_refused(client: &mut Client, mode: Mode) -> (Errno, Duration) {
    let begun = Instant::now();
    loop {
        let body = [7; OWN_BLOCK.length as usize];
        for (request, body) in [(Request::Write(OWN_BLOCK), &body[..]), (Request::Flush, &[])] {
            match client.call(request, Flags::NONE, body).expect("the connection stays") {
                Ok(_) => {}
                Err(errno) => return (errno, begun.elapsed()),
            }
        }
        assert!(mode == Mode::Contact, "a flush was answered without a lease");
        assert!(begun.elapsed() < PATIENCE, "it still writes");
        thread::sleep(Duration::from_millis(20));
    }
}

fn last_part(path: &str) -> &str {
    let path = path.split('?').next().expect("a path");
    path.rsplit('/').next().expect("a name")
}

/// The newest manifest.
fn newest(bucket: &TestServer) -> ManifestSeq {
    let keys = bucket.keys(BUCKET);
    let manifests = keys.iter().filter(|key| key.contains("/manifests/"));
    manifests.filter_map(|key| ManifestSeq::parse(last_part(key))).max().expect("a manifest")
}

/// What a host that had lost the volume changed: nothing but garbage may be among it. That is an
/// upload under a name of its own opening, or a manifest with a number that the winner had used and
/// pruned before, so that it never is the newest one. Or it goes on with removing a manifest that was
/// too old when it was stopped.
fn judge_changes(changes: &[Change], incarnation: u64, winner: &[Change], newest: ManifestSeq) {
    for Change { method, path, .. } in changes {
        let name = last_part(path);
        let garbage = match ManifestSeq::parse(name) {
            Some(seq) if path.contains("/manifests/") && method == "DELETE" => seq.0 + 2 < newest.0,
            Some(seq) if path.contains("/manifests/") => {
                seq < newest && winner.iter().any(|used| used.method == "PUT" && used.path == *path)
            }
            _ => {
                let own = ChunkId::parse(name).is_some_and(|id| id.incarnation().0 == incarnation);
                own && (path.contains("/chunks/") || path.contains("/maps/"))
            }
        };
        assert!(
            (method == "PUT" || path.contains("/manifests/")) && garbage,
            "the loser changed the bucket: {method} {path}"
        );
    }
}

struct Rivals {
    mode: Mode,
    bucket: TestServer,
    hosts: [Host; 2],
    servers: Vec<Server>,
    work: Work,
    random: Random,
    /// Of the host that has the volume.
    clients: Vec<Client>,
    slowest: Duration,
    garbage: usize,
    aside: u64,
}

impl Rivals {
    fn new(mode: Mode) -> Self {
        let bucket = bucket();
        let hosts = [Host::new(&bucket), Host::new(&bucket)];
        hosts[0].run(mode.create());
        let mut servers: Vec<_> = hosts.iter().map(|host| host.place.serve(SMALL)).collect();
        let work = work();
        let mut clients = connect(&mut servers[0], CLIENTS);
        read_back(&work, &mut clients[0]);
        let random = Random::stream(seed(), "take-overs");
        let (slowest, garbage, aside) = (Duration::ZERO, 0, 0);
        Self { mode, bucket, hosts, servers, work, random, clients, slowest, garbage, aside }
    }

    /// The host that has the volume is stopped in the midst of its work.
    fn stop(&mut self, loser: usize) {
        let clients = std::mem::take(&mut self.clients);
        let pid = self.servers[loser].pid();
        let span = Duration::from_millis(self.random.within(50..1500));
        load(&self.work, clients, self.random.bits(), || {
            thread::sleep(span);
            kill_process(pid, Signal::STOP).expect("it runs");
        });
        let mut judge = self.work.judge();
        judge.publish_by_age(RPO + UPLOAD);
        judge.crash(true);
    }

    /// The other one gets the volume by force, and only so; or when the lease has run out.
    fn take_over(&mut self, winner: usize) {
        let host = &self.hosts[winner];
        if self.mode == Mode::Contact {
            let (code, said) = host.fail("volume attach vm");
            assert!(code == Some(10) && said.contains("--force"), "{said}");
        }
        let refused = self.servers[winner].connect("vm", ReplyMode::Extended).err();
        let refused = refused.expect("another host has it").to_string();
        assert!(refused.contains("volume vm") && refused.contains("has it since"), "{refused}");
        host.run(self.mode.attach());
        self.clients = connect(&mut self.servers[winner], CLIENTS);
        read_back(&self.work, &mut self.clients[0]);
    }

    /// The first one goes on beside the clients of the winner, and finds out.
    fn go_on(&mut self, loser: usize, mut guest: Client, incarnation: u64) {
        let door = &self.hosts[loser].door;
        let changed = door.changes().len();
        let clients = std::mem::take(&mut self.clients);
        let pid = self.servers[loser].pid();
        let (errno, took) = load(&self.work, clients, self.random.bits(), || {
            kill_process(pid, Signal::CONT).expect("it runs");
            let refused = write_until_refused(&mut guest, self.mode);
            thread::sleep(Duration::from_millis(300));
            refused
        });
        assert_eq!(errno, Errno::Shutdown);
        assert!(took < RPO + UPLOAD, "it took {took:?}");
        self.slowest = self.slowest.max(took);
        let changes = &door.changes()[changed..];
        let winner = self.hosts[1 - loser].door.changes();
        judge_changes(changes, incarnation, &winner, newest(&self.bucket));
        self.garbage += changes.len();
    }

    /// Both hosts say what happened.
    fn tell(&mut self, loser: usize, winner: usize) {
        let lost = self.hosts[loser].status();
        let state = lost["state"].as_str().expect("a word");
        assert!(["fenced", "elsewhere"].contains(&state), "{lost:#}");
        assert_eq!(lost["is_own"], false, "{lost:#}");
        let text = self.hosts[loser].run("volume status vm");
        assert!(text.contains("another host has taken it over"), "{text}");
        let kept = lost["kept_aside_bytes"].as_u64().expect("a number");
        assert!(kept > 0 && text.contains("kept aside"), "{text}");
        self.aside = self.aside.max(kept);
        let won = self.hosts[winner].status();
        assert_eq!((&won["is_own"], &won["state"]), (&true.into(), &"serving".into()), "{won:#}");
        let refused = self.servers[loser].connect("vm", ReplyMode::Extended).err();
        let refused = refused.expect("it is lost").to_string();
        assert!(refused.contains("are kept in"), "{refused}");
    }

    /// Nothing of the winner's is lost, by a kill on top of it.
    fn kill(&mut self, winner: usize) {
        self.servers.remove(winner).kill();
        self.work.judge().crash(false);
        self.servers.insert(winner, self.hosts[winner].place.serve(SMALL));
        self.clients = connect(&mut self.servers[winner], CLIENTS);
        read_back(&self.work, &mut self.clients[0]);
    }
}

#[test]
fn the_host_that_lost_a_volume_changes_nothing_and_says_what_happened() {
    take_overs(Mode::Contact);
}

#[test]
fn a_host_without_a_lease_answers_no_flush() {
    take_overs(Mode::Lease);
}

#[test]
fn a_host_that_renews_its_lease_keeps_its_volume() {
    let _alone = alone();
    let mut rivals = Rivals::new(Mode::Lease);
    let clients = std::mem::take(&mut rivals.clients);
    let (code, said) =
        load(&rivals.work, clients, seed(), || rivals.hosts[1].fail("volume attach vm"));
    assert!(code == Some(10) && said.contains("has it since"), "{said}");
    let status = rivals.hosts[0].status();
    assert_eq!((&status["is_own"], &status["state"]), (&true.into(), &"serving".into()));
}

fn take_overs(mode: Mode) {
    let _alone = alone();
    // Each host loses once at least.
    let rounds = number("KRAIT_S3_TAKEOVERS", 10).max(2);
    let mut rivals = Rivals::new(mode);
    for round in 0..rounds as usize {
        let [loser, winner] = [round % 2, (round + 1) % 2];
        let incarnation = rivals.hosts[loser].status()["incarnation"].as_u64().expect("a number");
        let guest = connect(&mut rivals.servers[loser], 1).remove(0);
        rivals.stop(loser);
        rivals.take_over(winner);
        rivals.go_on(loser, guest, incarnation);
        rivals.tell(loser, winner);
        rivals.kill(winner);
    }
    rivals.clients.clear();
    for host in &rivals.hosts {
        host.run("volume drop-log vm --yes");
        let status = host.status();
        assert_eq!(status["kept_aside_bytes"], 0, "{status:#}");
        let (code, said) = host.fail("volume drop-log vm --yes");
        assert!(code == Some(3) && said.contains("nothing is kept aside"), "{said}");
    }
    assert!(rivals.hosts[0].run("volume check vm").contains("vm"));
    let Rivals { slowest, garbage, aside, .. } = rivals;
    eprintln!(
        "tried {rounds} take-overs: the loser's clients were refused after {slowest:?} at most; it uploaded \
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
        let opened: Vec<_> = thread::scope(|scope| {
            let open = |server: &'_ mut Server| server.connect("vm", ReplyMode::Extended);
            let racers: Vec<_> =
                servers.iter_mut().map(|server| scope.spawn(move || open(server))).collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        assert_eq!(opened.iter().filter(|client| client.is_ok()).count(), 1, "one wins");
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
    eprintln!("tried {rounds} races: won {} and {}", wins[0], wins[1]);
}
