//! Errors of the real disk: what was not made durable is not acknowledged, then or later, and a
//! restart on a good disk has all that was.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::client::Client;
use super::loop_disk::{self, LoopDisk};
use super::power::{EXT4_GOING_FLAGS_LOGFLUSH, EXT4_GOING_FLAGS_NOLOGFLUSH, cut};
use super::{ALONE, End, Run, WORK, number, seed, span};

/// Rounds, each of all kinds of errors, unless told otherwise.
const ROUNDS: u64 = 3;

/// Size of the file system.
const DISK: u64 = 3 << 30;

/// A block that no judge looks at.
const OWN_BLOCK: ByteRange = ByteRange { offset: 100 << 20, length: 4096 };

/// Longest time until somebody who flushes knows.
const KNOWN: Duration = Duration::from_secs(10);

/// Longest time that clients go on: what is answered then is lost for certain.
const ON: Duration = Duration::from_millis(100);

/// What happens to a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The power fails.
    Power,
    /// Every write, sync and open fails from now on.
    Dead,
    /// The file system found an error and lets nobody write any more.
    ReadOnly,
    /// No file can be opened for a while, as too many are.
    NoFiles,
}

impl Trouble {
    /// Makes it happen to a server, and lets its clients find out.
    pub fn befall(self, disk: &LoopDisk, server: Pid, own: &mut Client, on: Duration) {
        match self {
            Self::Power => cut(disk, EXT4_GOING_FLAGS_NOLOGFLUSH),
            Self::Dead => cut(disk, EXT4_GOING_FLAGS_LOGFLUSH),
            Self::ReadOnly => {
                let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", device(disk));
                fs::write(trigger, "of a test").expect("ext4 can be told to fail");
            }
            Self::NoFiles => {
                // The server has the hard limit from here.
                let maximum = getrlimit(Resource::Nofile).maximum;
                let none = Rlimit { current: Some(0), maximum };
                let before = prlimit(Some(server), Resource::Nofile, none).expect("it runs");
                thread::sleep(Duration::from_millis(300) + on);
                prlimit(Some(server), Resource::Nofile, before).expect("it runs");
                return;
            }
        }
        // Somebody else's flush may have failed before, or nothing have been written since.
        let begun = Instant::now();
        while is_durable(own) {
            assert!(begun.elapsed() < KNOWN, "{self:?}: flushes still succeed");
        }
        thread::sleep(on);
        for _ in 0..20 {
            assert!(!is_durable(own), "{self:?}: a flush succeeds after one that failed");
        }
    }
}

/// The name of the device that a file system is mounted from.
fn device(disk: &LoopDisk) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("what is mounted");
    let place = disk.mount.to_string_lossy();
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&*place));
    let device = line.and_then(|line| line.split(' ').next()).expect("it is mounted");
    device.trim_start_matches("/dev/").to_owned()
}

/// Whether a write and a flush succeed.
fn is_durable(client: &mut Client) -> bool {
    let body = [7; OWN_BLOCK.length as usize];
    let written = client.call(Request::Write(OWN_BLOCK), Flags::NONE, &body);
    let written = written.expect("the connection stays").is_ok();
    let flushed = client.call(Request::Flush, Flags::NONE, &[]).expect("the connection stays");
    written && flushed.is_ok()
}

#[test]
fn an_error_of_the_disk_is_told_and_nothing_durable_is_lost() {
    let _alone = ALONE.lock();
    let Some(disk) = LoopDisk::new(DISK) else { return };
    let rounds = number("KRAIT_DISK_ERRORS").unwrap_or(ROUNDS);
    let seed = seed();
    eprintln!("KRAIT_SEED={seed} KRAIT_DISK_ERRORS={rounds}");
    let mut lives = Run::on(Some(disk), seed);
    for _ in 0..rounds {
        for trouble in [Trouble::NoFiles, Trouble::Dead, Trouble::ReadOnly] {
            let (after, on) = (span(&mut lives.random, WORK), span(&mut lives.random, ON));
            lives.live(End::Disk(trouble, after, on));
        }
    }
    let mut server = lives.start();
    lives.open(&mut server).expect("everything can be read at the end");
    server.kill();
    lives.check();
    eprintln!("tried {rounds} rounds of errors: lost 0; {}", lives.summary());
}

#[test]
fn who_waits_for_room_in_a_log_learns_that_the_disk_is_dead() {
    let _alone = ALONE.lock();
    let Some(disk) = LoopDisk::new(DISK) else { return };
    let run = Run::on(Some(disk), 1);
    let disk = run.disk.as_ref().expect("it has one");
    let log = "--wal-segment=1M --wal-cap=16M --rpo-bytes=4M --rpo-seconds=1";
    let mut server = run.place.serve(&format!("--cores=1 --memory=256M {log}"));
    let mut client = server.connect("vm", ReplyMode::Extended).expect("the server accepts");
    // The store takes nothing more, and nothing is wrong with the disk.
    let store = run.place.data.join("store/volumes");
    let volume = fs::read_dir(store).expect("a store").next().expect("a volume").expect("a name");
    for objects in ["chunks", "manifests"] {
        let path = volume.path().join(objects);
        fs::create_dir_all(&path).expect("a directory");
        loop_disk::run(Command::new("chattr").arg("+i").arg(path)).expect("ext4 has this flag");
    }
    let patience = Duration::from_secs(3);
    client.stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    let body = vec![7; 256 << 10];
    let waits = (0..64).any(|n| {
        let at = ByteRange { offset: n << 18, length: 256 << 10 };
        let fua = client.call(Request::Write(at), Flags::FUA, &body);
        matches!(fua, Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    assert!(waits, "16 MiB of log take 16 MiB");
    client.stream.set_read_timeout(Some(KNOWN)).expect("a timeout can be set");
    cut(disk, EXT4_GOING_FLAGS_LOGFLUSH);
    let (_, answer) = client.receive().expect("an answer comes");
    assert!(answer.is_err(), "what waits for a dead disk is not done");
    server.kill();
}
