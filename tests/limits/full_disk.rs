//! A file system that is full: errors or patience, but no loss, and work goes on once there is
//! space again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nbd::client::{Flags, Request};
use nbd::{ByteRange, Errno, ReplyMode};

use crate::client::Client;
use crate::loop_disk::LoopDisk;
use crate::server::{Place, Server};
use crate::{ALONE, KIB, MIB, noise, read};

/// Size of the file system.
const DISK: u64 = 320 * MIB;

/// What is taken away from it first, and given back later.
const BALLAST: u64 = 128 * MIB;

/// Bytes of one write.
const PIECE: u64 = 256 * KIB;

/// Writes between two flushes.
const FLUSH_EVERY: u64 = 8;

/// A reply that takes longer means that the server waits for space.
const WAITS: Duration = Duration::from_secs(15);

/// When there is space again, writes go on within this time.
const RESUMES: Duration = Duration::from_secs(30);

/// A small disk that is filled in part: by what is taken away later.
fn small_disk() -> Option<LoopDisk> {
    let disk = LoopDisk::new(DISK)?;
    let mut ballast = File::create(ballast(&disk)).expect("a file");
    let bytes = noise(0, MIB);
    (0..BALLAST / MIB).for_each(|_| ballast.write_all(&bytes).expect("there is space"));
    ballast.sync_all().expect("there is space");
    Some(disk)
}

fn ballast(disk: &LoopDisk) -> PathBuf {
    disk.mount.join("ballast")
}

/// How writing ended.
#[derive(Debug, PartialEq, Eq)]
enum Full {
    /// With an error.
    Refused(Errno),
    /// With no reply.
    Waits,
    /// It did not: all of it was written.
    Not,
}

/// Pieces are written once each, in order.
struct Writer {
    /// Pieces of which a flush came back.
    flushed: u64,
    /// Pieces that were sent.
    sent: u64,
}

impl Writer {
    fn piece(number: u64) -> ByteRange {
        ByteRange::new(number * PIECE, PIECE)
    }

    /// Writes and flushes until `count` more pieces are there, or the server cannot.
    fn write(&mut self, client: &mut Client, count: u64) -> Full {
        client.stream.set_read_timeout(Some(WAITS)).expect("a timeout");
        client.stream.set_write_timeout(Some(WAITS)).expect("a timeout");
        let end = self.sent + count;
        while self.sent < end {
            let request = Request::Write(Self::piece(self.sent));
            let body = noise(self.sent, PIECE);
            self.sent += 1;
            if let Some(full) = outcome(client, request, &body) {
                return full;
            }
            if self.sent.is_multiple_of(FLUSH_EVERY) || self.sent == end {
                if let Some(full) = outcome(client, Request::Flush, &[]) {
                    return full;
                }
                self.flushed = self.sent;
            }
        }
        Full::Not
    }

    /// Everything that was flushed is there.
    fn check(&self, client: &mut Client, skipped: &[u64]) {
        client.stream.set_read_timeout(Some(RESUMES)).expect("a timeout");
        for number in (0..self.flushed).filter(|number| !skipped.contains(number)) {
            let found = read(client, number * PIECE, PIECE);
            assert!(found == noise(number, PIECE), "piece {number} of {}", self.flushed);
        }
    }
}

fn outcome(client: &mut Client, request: Request, body: &[u8]) -> Option<Full> {
    match client.call(request, Flags::NONE, body) {
        Ok(Ok(_)) => None,
        Ok(Err(errno)) => Some(Full::Refused(errno)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(Full::Waits)
        }
        Err(error) => panic!("the connection broke: {error}"),
    }
}

fn connect(server: &mut Server) -> Client {
    server.connect("vm", ReplyMode::Extended).expect("the volume opens")
}

/// Fills the disk, kills the server if wanted, makes space, and looks at everything.
fn fill(options: &str, store: Option<&Path>, kill: bool) -> Option<()> {
    let disk = small_disk()?;
    let mut place = Place::new(Vec::new());
    place.data = disk.mount.join("data");
    let store = store.map(|path| format!("--store=file://{}", path.display()));
    let store = store.unwrap_or_default();
    let made = place.run(&format!("volume create vm --size=4G {store}"));
    assert!(made.status.success(), "{made:?}");
    let words = format!("--memory=256M {store} {options}");
    let mut server = place.serve(&words);
    let mut writer = Writer { flushed: 0, sent: 0 };
    let full = writer.write(&mut connect(&mut server), 2 * DISK / PIECE);
    // A store that is elsewhere takes what the log has no room for.
    let fine = match full {
        Full::Waits | Full::Refused(Errno::NoSpace) => true,
        Full::Not => !store.is_empty(),
        Full::Refused(_) => false,
    };
    assert!(fine, "the disk is full, and the server says {full:?}");
    // What was under way may be there or not, and is not written again.
    let mut skipped: Vec<_> = (writer.flushed..writer.sent).collect();
    eprintln!("{words}: {} MiB were flushed before {full:?}", writer.flushed * PIECE / MIB);
    writer.check(&mut connect(&mut server), &skipped);
    if kill {
        server.kill();
        server = place.serve(&words);
        writer.check(&mut connect(&mut server), &skipped);
    }
    fs::remove_file(ballast(&disk)).expect("the ballast is there");
    let freed = Instant::now();
    loop {
        let first = writer.sent;
        let full = writer.write(&mut connect(&mut server), FLUSH_EVERY);
        if full == Full::Not {
            break;
        }
        skipped.extend(first..writer.sent);
        assert!(freed.elapsed() < RESUMES, "there is space again, and the server says {full:?}");
        thread::sleep(Duration::from_millis(200));
    }
    eprintln!("writes went on {:?} after there was space again", freed.elapsed());
    assert_eq!(writer.write(&mut connect(&mut server), 32 * MIB / PIECE), Full::Not);
    writer.check(&mut connect(&mut server), &skipped);
    server.kill();
    let mut server = place.serve(&words);
    writer.check(&mut connect(&mut server), &skipped);
    assert!(server.stop().success());
    let checked = place.run(&format!("volume check vm {store}"));
    assert!(checked.status.success(), "{checked:?}");
    Some(())
}

/// Fills of each test; `KRAIT_FILLS` sets another number for both together.
const FILLS: u64 = 2;

fn fills() -> u64 {
    let text = std::env::var("KRAIT_FILLS").ok();
    text.map_or(FILLS, |text| text.parse::<u64>().expect("a number of fills").div_ceil(2))
}

#[test]
fn a_full_disk_of_log_and_store_loses_nothing_and_work_goes_on_with_space() {
    let _alone = ALONE.lock();
    let log = "--wal-segment=1M --wal-cap=64M --rpo-bytes=8M --rpo-seconds=1";
    for round in 0..fills() {
        let (cores, kill) = [(2, false), (1, true)][round as usize % 2];
        if fill(&format!("--cores={cores} {log}"), None, kill).is_none() {
            return;
        }
    }
}

#[test]
fn a_full_disk_of_the_log_alone_loses_nothing_and_work_goes_on_with_space() {
    let _alone = ALONE.lock();
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let log = "--wal-segment=4M --wal-cap=1G --rpo-bytes=512M --rpo-seconds=3600";
    for round in 0..fills() {
        let (cores, kill) = [(2, true), (1, false)][round as usize % 2];
        let store = elsewhere.path().join(round.to_string());
        if fill(&format!("--cores={cores} {log}"), Some(&store), kill).is_none() {
            return;
        }
        fs::remove_dir_all(&store).expect("a store");
    }
    // The other test makes the other half.
    eprintln!("tried {} fills: lost 0, writes went on without a restart", 2 * fills());
}
