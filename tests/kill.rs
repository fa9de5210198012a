//! `kill -9` of the real server, again and again: nothing that was flushed is lost, nothing that
//! was seen is un-seen, and the volume opens within its time.
//!
//! `KRAIT_KILLS` sets how often, `KRAIT_POWER_CUTS` how often the power fails, `KRAIT_LONG_LOGS` how
//! many long logs are replayed, `KRAIT_SEED` what is done; the seed of a run is printed.
#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

#[path = "kill/client.rs"]
mod client;
#[path = "kill/crew.rs"]
mod crew;
#[path = "kill/errors.rs"]
mod errors;
#[path = "kill/loop_disk.rs"]
mod loop_disk;
#[path = "kill/power.rs"]
mod power;
#[path = "kill/restart.rs"]
mod restart;
#[path = "kill/server.rs"]
mod server;

use std::env;
use std::io::{self, ErrorKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use krait::sim::judge::Command;
use krait::sim::random::Random;
use nbd::ReplyMode;
use rustix::process::{Signal, kill_process};

use client::Client;
use crew::Work;
use errors::Trouble;
use loop_disk::LoopDisk;
use server::{Place, Server};

/// Kills of a run, unless told otherwise.
const KILLS: u64 = 60;

/// Connections.
const CLIENTS: u64 = 8;

/// Longest time that clients work before a kill.
const WORK: Duration = Duration::from_millis(2000);

/// Longest time from the start to a kill that does not wait for what the server is at.
const EARLY: Duration = Duration::from_millis(200);

/// Longest time from the start to the first read: the log is short here.
const RESTART: Duration = Duration::from_secs(2);

/// The tests of this file take the machine for themselves.
static ALONE: Mutex<()> = Mutex::new(());

/// Sizes of the log: small ones are cut and recycled all the time.
const LOGS: [&str; 4] = [
    "--wal-segment=1M --wal-cap=16M --rpo-bytes=4M --rpo-seconds=1",
    "--wal-segment=1M --wal-cap=64M --rpo-bytes=8M --rpo-seconds=1",
    "--wal-segment=4M --wal-cap=256M --rpo-bytes=64M --rpo-seconds=2",
    "",
];

/// How one life of the server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A kill so long after the start, wherever the server and its clients are then.
    Early(Duration),
    /// A kill after so much work.
    Kill(Duration),
    /// SIGTERM after so much work.
    Stop(Duration),
    /// Something happens to the disk after so much work, and a kill after so much more.
    Disk(Trouble, Duration, Duration),
}

/// One run: a volume, and its server's many lives.
struct Run {
    /// What the power is cut of.
    disk: Option<LoopDisk>,
    place: Place,
    work: Work,
    random: Random,
    restarts: Vec<Duration>,
    read_back: u64,
    checks: u64,
    stops: u64,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn span(random: &mut Random, longest: Duration) -> Duration {
    Duration::from_micros(random.below(longest.as_micros() as u64))
}

impl Run {
    /// With its data on a disk of its own, if there is one.
    fn on(disk: Option<LoopDisk>, seed: u64) -> Self {
        // The start, the border of two stripes, and an end that is not a whole block.
        let mib = 2048;
        let size = 1024 * mib - 3;
        let windows = vec![0..4 * mib, 508 * mib..516 * mib, size - 4 * mib..size];
        let mut place = Place::new(Vec::new());
        if let Some(disk) = &disk {
            place.data = disk.mount.join("data");
        }
        let made = place.run(&format!("volume create vm --size {}", size * 512));
        assert!(made.status.success(), "{made:?}");
        Self {
            disk,
            place,
            work: Work::new(windows),
            random: Random::stream(seed, "kills"),
            restarts: Vec::new(),
            read_back: 0,
            checks: 0,
            stops: 0,
        }
    }

    fn start(&mut self) -> Server {
        let cores = self.random.within(1..4);
        let log = self.random.pick(&LOGS);
        self.place.serve(&format!("--cores={cores} --memory=256M {log}"))
    }

    /// A kill mostly, now and then SIGTERM.
    fn draw_end(&mut self) -> End {
        match self.random.below(15) {
            0 => End::Stop(span(&mut self.random, WORK)),
            1..=4 => End::Early(span(&mut self.random, EARLY)),
            _ => End::Kill(span(&mut self.random, WORK)),
        }
    }

    /// One life of the server.
    fn live(&mut self, end: End) {
        let server = self.start();
        let pid = server.pid();
        thread::scope(|scope| {
            if let End::Early(after) = end {
                scope.spawn(move || {
                    thread::sleep(after);
                    kill_process(pid, Signal::KILL).expect("nobody else ends the server");
                });
            }
            self.work_until(server, end);
        });
        self.work.judge().crash(false);
        if let (End::Disk(..), Some(disk)) = (end, &self.disk) {
            power::restart(disk);
        }
        if self.random.chance(3) {
            self.check();
        }
    }

    fn work_until(&mut self, mut server: Server, end: End) {
        match self.open(&mut server) {
            Ok(clients) => self.load(clients, server, end),
            Err(error) => {
                let early = matches!(end, End::Early(_)) && error.kind() != ErrorKind::InvalidData;
                assert!(early, "life {}: {error}", self.work.judge().life());
                server.wait();
            }
        }
    }

    /// Connects everybody, and reads everything back.
    fn open(&mut self, server: &mut Server) -> io::Result<Vec<Client>> {
        let connect = |_| server.connect("vm", ReplyMode::Extended);
        let mut clients = (0..CLIENTS).map(connect).collect::<io::Result<Vec<_>>>()?;
        self.work.read_back(&mut clients[0], 0, u64::MAX)?;
        self.restarts.push(server.started.elapsed());
        let work = &self.work;
        thread::scope(|scope| {
            let readers = (0..).zip(&mut clients);
            let readers: Vec<_> = readers
                .map(|(keep, client)| scope.spawn(move || work.read_back(client, keep, CLIENTS)))
                .collect();
            readers.into_iter().try_for_each(|reader| reader.join().expect("no reader panics"))
        })?;
        let mut judge = work.judge();
        if let Err(violation) = judge.judge_image() {
            panic!("{violation}");
        }
        judge.forget_buried();
        self.read_back += 1;
        Ok(clients)
    }

    /// All clients work until the end.
    fn load(&mut self, clients: Vec<Client>, mut server: Server, end: End) {
        let work = &self.work;
        let own = server.connect("vm", ReplyMode::Extended);
        let ended = thread::scope(|scope| {
            let labour = |mut client| {
                let mut random = Random::stream(self.random.bits(), "client");
                scope.spawn(move || work.labour(&mut client, &mut random, u64::MAX))
            };
            let workers: Vec<_> = clients.into_iter().map(labour).collect();
            match end {
                End::Early(_) => drop(server.wait()),
                End::Kill(after) => {
                    thread::sleep(after);
                    server.kill();
                }
                End::Stop(after) => {
                    thread::sleep(after);
                    let status = server.stop();
                    assert!(status.success(), "the server ended with {status}");
                }
                End::Disk(trouble, after, on) => {
                    thread::sleep(after);
                    let disk = self.disk.as_ref().expect("a disk of its own");
                    let mut own = own.expect("the server accepts");
                    trouble.befall(disk, server.pid(), &mut own, on);
                    server.kill();
                }
            }
            let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join();
            workers.into_iter().map(join).collect::<Vec<_>>()
        });
        for ended in ended {
            let ended: io::Result<()> = ended.expect("no client panics");
            let error = ended.expect_err("they work on until the server is gone");
            assert!(error.kind() != ErrorKind::InvalidData, "{error}");
        }
        if let End::Stop(_) = end {
            // All that was acknowledged before the end is durable.
            let mut judge = self.work.judge();
            let flush = judge.invoke(Command::Flush);
            judge.done(flush);
            self.stops += 1;
        }
    }

    /// What was done, and how long restarts took.
    fn summary(&mut self) -> String {
        self.restarts.sort();
        let [median, slowest] = [self.restarts.len() / 2, self.restarts.len() - 1];
        let [median, slowest] = [median, slowest].map(|at| self.restarts[at].as_millis());
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let work = &self.work;
        format!(
            "stops {}, read back {}, checks {}; writes {}, flushes {}, refused {}; first read after \
             {median} ms, {slowest} ms at most",
            self.stops,
            self.read_back,
            self.checks,
            count(&work.written),
            count(&work.flushed),
            count(&work.refused),
        )
    }

    fn check(&mut self) {
        let checked = self.place.run("volume check vm");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        self.checks += 1;
    }
}

/// What is done depends on it.
fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    number("KRAIT_SEED").unwrap_or_else(|| clock() as u64 % 1_000_000_007)
}

#[test]
fn nothing_flushed_is_lost_by_any_kill() {
    let _alone = ALONE.lock();
    let seed = seed();
    let kills = number("KRAIT_KILLS").unwrap_or(KILLS);
    eprintln!("KRAIT_SEED={seed} KRAIT_KILLS={kills}");
    let mut run = Run::on(None, seed);
    while u64::from(run.work.judge().life()) < kills + run.stops {
        let end = run.draw_end();
        run.live(end);
    }
    let mut server = run.start();
    run.open(&mut server).expect("everything can be read at the end");
    server.kill();
    run.check();
    eprintln!("tried {kills} kills: lost 0; {}", run.summary());
    assert_eq!(run.work.refused.load(Ordering::Relaxed), 0, "no command may fail here");
    let slowest = run.restarts.iter().max().expect("restarts");
    assert!(*slowest <= RESTART, "the slowest restart took {slowest:?}");
}
