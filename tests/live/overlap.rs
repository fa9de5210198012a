//! Eight connections whose requests of 512 bytes to 1 MiB overlap, that end in order or not, with
//! snapshots beside them.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use krait::sim::Random;
use krait::sim::judge::Command;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode};
use wal::SECTOR_BYTES;

use super::client::Client;
use super::crew::Work;
use super::server::Place;
use super::{ALONE, number, seed};

/// Operations, unless told otherwise.
const OPERATIONS: u64 = 60_000;

/// Operations on one volume: the judge remembers all of them.
const OF_A_VOLUME: u64 = 20_000;

/// Connections.
const CLIENTS: u64 = 8;

/// Operations of one connection, at most.
const OF_A_CONNECTION: u64 = 1000;

/// Between two connections that may be cut off, and two looks at a snapshot.
const PAUSE: Duration = Duration::from_millis(150);

/// Largest requests, in sectors: few are of up to 1 MiB.
const LARGEST: [u64; 5] = [2, 16, 16, 64, 2048];

/// The settings of a server that cuts often, and does not wait for its disk all the time.
const SETTINGS: &str =
    "--memory=512M --wal-segment=4M --wal-cap=512M --rpo-bytes=32M --rpo-seconds=2";

/// One volume, and what is done to it.
struct Round<'p> {
    place: &'p Place,
    volume: String,
    work: Work,
    /// Connections that somebody may cut off.
    streams: Mutex<Vec<UnixStream>>,
    over: AtomicBool,
    snapshots: AtomicU64,
    cut_off: AtomicU64,
}

impl Round<'_> {
    fn socket(&self) -> std::path::PathBuf {
        self.place.socket()
    }

    /// One client after the other, until so many operations are done.
    fn client(&self, mut operations: u64, random: &mut Random) {
        while operations > 0 {
            let some = random.within(1..OF_A_CONNECTION + 1).min(operations);
            let mut client = connect(&self.socket(), &self.volume);
            let stream = client.stream.try_clone().expect("a socket");
            self.streams.lock().expect("no panic").push(stream);
            match self.work.labour(&mut client, random, some) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => panic!("{error}"),
                // Somebody cut it off.
                Err(_) => {}
            }
            operations -= some;
        }
    }

    /// Cuts off a connection now and then, with requests under way.
    fn cut(&self, random: &mut Random) {
        while !self.over.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
            let mut streams = self.streams.lock().expect("no panic");
            let from = streams.len().saturating_sub(CLIENTS as usize);
            streams.drain(..from);
            if random.chance(3) && !streams.is_empty() {
                // Fails if it has ended by itself.
                if random.pick(&streams).shutdown(Shutdown::Both).is_ok() {
                    self.cut_off.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn run(&self, words: &str) {
        let output = self.place.run(words);
        assert!(output.status.success(), "{words}: {output:?}");
    }

    /// Makes snapshots, reads each of them twice, and deletes it.
    fn snapshots(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let op = self.work.judge().invoke(Command::Snapshot);
            let name = format!("{} of{}", self.volume, op.number());
            self.run(&format!("snapshot create {name}"));
            self.work.judge().done(op);
            for _ in 0..2 {
                let export = name.replace(' ', "@");
                let image = self.read(&mut connect(&self.socket(), &export));
                let verdict = self.work.judge().judge_picture(op, &image);
                verdict.unwrap_or_else(|violation| panic!("{violation}"));
                thread::sleep(PAUSE);
            }
            self.work.judge().forget_picture(op);
            self.run(&format!("snapshot delete {name}"));
            self.snapshots.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All windows of a volume or a snapshot.
    fn read(&self, client: &mut Client) -> Vec<u8> {
        let mut image = Vec::new();
        for window in &self.work.windows {
            let bytes = |sectors: u64| sectors * SECTOR_BYTES as u64;
            let range = ByteRange::new(bytes(window.start), bytes(window.end - window.start));
            let read = client.call(Request::Read(range), Flags::NONE, &[]).expect("a reply");
            image.append(&mut read.expect("no error"));
        }
        image
    }
}

fn connect(socket: &Path, export: &str) -> Client {
    Client::connect(socket, export, ReplyMode::Extended).expect("the server accepts")
}

#[test]
fn every_reply_fits_one_order_of_all_commands() {
    let _alone = ALONE.lock();
    let operations = number("KRAIT_LIVE_OPS").unwrap_or(OPERATIONS);
    let mut random = Random::stream(seed(), "live");
    let place = Place::new(Vec::new());
    let [mut snapshots, mut cut_off] = [0, 0];
    let rounds = operations.div_ceil(OF_A_VOLUME);
    for number in 0..rounds {
        let cores = random.within(1..4);
        let mut server = place.serve(&format!("--cores={cores} --create=first=1M {SETTINGS}"));
        drop(server.connect("first", ReplyMode::Simple).expect("a server"));
        // Around the edge of two stripes, and at the start.
        let (stripe, mib) = (8192, 2048);
        let mut work = Work::new(vec![0..mib, stripe - mib / 2..stripe + mib]);
        work.largest = LARGEST.to_vec();
        let round = Round {
            place: &place,
            volume: format!("v{number}"),
            work,
            streams: Mutex::default(),
            over: AtomicBool::new(false),
            snapshots: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
        };
        round.run(&format!("volume create {} --size 64M", round.volume));
        let each = OF_A_VOLUME.min(operations) / CLIENTS;
        thread::scope(|scope| {
            let round = &round;
            let mut stream = |of: &str| Random::stream(random.bits(), of);
            let workers: Vec<_> = (0..CLIENTS)
                .map(|_| (stream("client"), each))
                .map(|(mut random, each)| scope.spawn(move || round.client(each, &mut random)))
                .collect();
            let mut cutter = stream("cutter");
            scope.spawn(move || round.cut(&mut cutter));
            scope.spawn(move || round.snapshots());
            let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            round.over.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|ended| ended.expect("every reply fits"));
        });
        let mut client = connect(&place.socket(), &round.volume);
        round.work.read_back(&mut client, 0, 1).expect("all can be read");
        assert_eq!(round.work.refused.load(Ordering::Relaxed), 0, "no command may fail here");
        // And once more, by what the log and the store have of it.
        drop(client);
        server.kill();
        round.work.judge().crash(false);
        let mut server = place.serve(SETTINGS);
        let mut client = server.connect(&round.volume, ReplyMode::Extended).expect("a server");
        round.work.read_back(&mut client, 0, 1).expect("all can be read");
        if let Err(violation) = round.work.judge().judge_image() {
            panic!("{violation}");
        }
        drop(client);
        snapshots += round.snapshots.load(Ordering::Relaxed);
        cut_off += round.cut_off.load(Ordering::Relaxed);
        assert!(server.stop().success());
        round.run(&format!("volume delete {} --yes", round.volume));
    }
    eprintln!(
        "tried {operations} operations: on {rounds} volumes, {snapshots} snapshots, {cut_off} \
         connections cut off"
    );
}
