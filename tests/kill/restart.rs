//! A log of 1 GiB: the time from the start to the first read, and every byte of it.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use krait::sim::content;
use krait::sim::random::Random;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, Errno, ReplyMode};
use wal::SECTOR_BYTES;

use super::ALONE;
use super::client::{Answer, Client};
use super::server::Place;

const GIB: u64 = 1 << 30;

/// Bytes that are written: more than the log must hold, for what is replaced before a flush never
/// gets there.
const WRITTEN: u64 = GIB + GIB / 4;

/// Longest write, in blocks of 4 KiB: 1 MiB.
const MAX_BLOCKS: u64 = 256;

/// Sectors of a block.
const BLOCK: u64 = 8;

/// Longest time from the start to the first read.
const RESTART: Duration = Duration::from_secs(2);

/// A log that takes 1 GiB before anything of it is uploaded.
const SETTINGS: &str =
    "--wal-cap=6G --rpo-bytes=3G --rpo-seconds=3600 --cores=2 --create=vm=2G --memory=256M";

/// The write that each sector is of, and the sector's index in it; 0 for none.
struct Oracle {
    sectors: Vec<(u32, u32)>,
}

fn succeed(answer: io::Result<Answer>) -> Vec<u8> {
    answer.expect("the server answers").unwrap_or_else(|errno: Errno| panic!("{errno}"))
}

fn receive(client: &mut Client) {
    succeed(client.receive().map(|(_, answer)| answer));
}

impl Oracle {
    fn fill(&mut self, client: &mut Client, random: &mut Random) {
        let (mut left, mut version) = (WRITTEN, 0);
        let blocks = self.sectors.len() as u64 / BLOCK;
        while left > 0 {
            version += 1;
            let count = random.within(1..MAX_BLOCKS + 1).min(left / 4096);
            let first = random.below(blocks - count + 1) * BLOCK;
            let mut body = vec![0; (count * BLOCK) as usize * SECTOR_BYTES];
            for (index, sector) in (0..).zip(body.chunks_exact_mut(SECTOR_BYTES)) {
                let address = first + u64::from(index);
                content::fill(sector, 1, address, version.into(), index);
                self.sectors[address as usize] = (version, index);
            }
            // Two writes at a time might come in any order.
            while client.under_way() > 0 {
                receive(client);
            }
            let range = ByteRange::new(first * SECTOR_BYTES as u64, body.len() as u64);
            client.send(Request::Write(range), Flags::NONE, &body).expect("the server reads");
            left -= body.len() as u64;
        }
        receive(client);
        succeed(client.call(Request::Flush, Flags::NONE, &[]));
    }

    fn check(&self, client: &mut Client) {
        let piece = 2 * 1024;
        for (first, sectors) in (0..).step_by(piece).zip(self.sectors.chunks(piece)) {
            let length = (sectors.len() * SECTOR_BYTES) as u64;
            let range = ByteRange::new(first * SECTOR_BYTES as u64, length);
            let bytes = succeed(client.call(Request::Read(range), Flags::NONE, &[]));
            for ((address, sector), &expected) in
                (first..).zip(bytes.chunks_exact(SECTOR_BYTES)).zip(sectors)
            {
                let found = match content::parse(sector, 1, address) {
                    content::Content::Zero => (0, 0),
                    content::Content::Version { version, index } => (version as u32, index),
                    other => panic!("sector {address}: {other:?}, not {expected:?}"),
                };
                assert_eq!(found, expected, "sector {address}");
            }
        }
    }
}

#[test]
fn a_log_of_one_gibibyte_is_replayed_in_two_seconds() {
    let _alone = ALONE.lock();
    let rounds = super::number("KRAIT_LONG_LOGS").unwrap_or(1);
    let slowest = (1..=rounds).map(replay).max().expect("one at least");
    eprintln!("tried {rounds} long logs: first read after {} ms at most", slowest.as_millis());
}

/// Writes a log, and returns the time of its replay.
fn replay(seed: u64) -> Duration {
    let place = Place::new(Vec::new());
    let mut oracle = Oracle { sectors: vec![(0, 0); (2 * GIB) as usize / SECTOR_BYTES] };
    let mut server = place.serve(SETTINGS);
    let mut client = server.connect("vm", ReplyMode::Extended).expect("a server");
    let writing = Instant::now();
    oracle.fill(&mut client, &mut Random::stream(seed, "restart"));
    let writing = writing.elapsed();
    server.kill();
    let logged: u64 = fs::read_dir(place.data.join("wal"))
        .expect("a log")
        .flat_map(|volume| fs::read_dir(volume.expect("a volume").path()).expect("segments"))
        .map(|segment| segment.and_then(|segment| segment.metadata()).expect("a segment").len())
        .sum();
    assert!(logged >= GIB, "the log has only {logged} bytes: something was uploaded");
    let mut server = place.serve(SETTINGS);
    let mut client = server.connect("vm", ReplyMode::Extended).expect("a server");
    let first = Request::Read(ByteRange::new(GIB, 4096));
    succeed(client.call(first, Flags::NONE, &[]));
    let restart = server.started.elapsed();
    eprintln!("log of {} MiB, written in {writing:?}: first read after {restart:?}", logged >> 20);
    oracle.check(&mut client);
    server.kill();
    assert!(restart <= RESTART, "the first read came after {restart:?}");
    restart
}
