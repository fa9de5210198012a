//! The power fails under a real server: its file system is shut down, what only memory knew is
//! gone, and everything starts again.
#![expect(unsafe_code, reason = "the ioctl that shuts a file system down has no safe call")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::errors::Trouble;
use super::loop_disk::{LoopDisk, run};
use super::{ALONE, End, Run, WORK, number, seed, span};

/// Power cuts, unless told otherwise.
const CUTS: u64 = 10;

/// Size of the file system: the largest log, and the store.
const DISK: u64 = 3 << 30;

/// Longest time that clients go on without power: what is answered then is lost for certain.
const DARK: Duration = Duration::from_millis(100);

/// `EXT4_IOC_SHUTDOWN`, of the kernel's `fs/ext4/ext4.h`: `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587D;

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what the journal holds in memory is lost.
pub const EXT4_GOING_FLAGS_NOLOGFLUSH: u32 = 2;

/// `EXT4_GOING_FLAGS_LOGFLUSH`: what the journal holds in memory is written first.
pub const EXT4_GOING_FLAGS_LOGFLUSH: u32 = 1;

/// Longest wait for the end of what holds a file system.
const FREE: Duration = Duration::from_secs(20);

/// Shuts a file system down: nothing is written from now on.
pub fn cut(disk: &LoopDisk, flags: u32) {
    let root = File::open(&disk.mount).expect("it is mounted");
    // SAFETY: the descriptor is open, and the kernel reads four bytes from a valid place.
    let cut = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN as _, &raw const flags) };
    assert_eq!(cut, 0, "{}", std::io::Error::last_os_error());
}

/// Switches the power on again. Nothing may use the disk.
pub fn restart(disk: &LoopDisk) {
    let begun = Instant::now();
    while let Err(reason) = run(Command::new("umount").arg(&disk.mount)) {
        assert!(begun.elapsed() < FREE, "{reason}");
        thread::sleep(Duration::from_millis(20));
    }
    disk.attach().expect("it was mounted before");
}

#[test]
fn nothing_flushed_is_lost_with_the_power() {
    let _alone = ALONE.lock();
    let Some(disk) = LoopDisk::new(DISK) else { return };
    let cuts = number("KRAIT_POWER_CUTS").unwrap_or(CUTS);
    let seed = seed();
    eprintln!("KRAIT_SEED={seed} KRAIT_POWER_CUTS={cuts}");
    let mut lives = Run::on(Some(disk), seed);
    for _ in 0..cuts {
        let after = match lives.random.below(3) {
            // What a process wrote and did not sync can be read after its end. If somebody saw
            // that, it must not go with the power.
            0 => {
                let after = span(&mut lives.random, WORK);
                lives.live(End::Kill(after));
                Duration::ZERO
            }
            _ => span(&mut lives.random, WORK),
        };
        let dark = span(&mut lives.random, DARK);
        lives.live(End::Disk(Trouble::Power, after, dark));
    }
    let mut server = lives.start();
    lives.open(&mut server).expect("everything can be read at the end");
    server.kill();
    lives.check();
    eprintln!("tried {cuts} power cuts: lost 0; {}", lives.summary());
}
