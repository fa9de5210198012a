//! The judge: what may be read, sector by sector, after any mixture of commands and crashes.
//!
//! A world tells the judge when each command is sent and when its reply comes, on one clock, and
//! when the process dies. The judge says of each sector that was read whether it may hold that.
//!
//! 1. Register: a read may return version `v` if `v` was sent before the read returned, and no
//!    write lies wholly between `v` and the read. A version that some read returned counts as
//!    completed by then (so reads never go back in time).
//! 2. Floors: a successful FLUSH covers every write whose reply came before the flush was sent;
//!    FUA covers itself. After a crash a sector may hold `v` only if no covered write came wholly
//!    after `v`. What was under way at the crash may be there or not.
//! 3. No un-seeing: what a life of the volume read from the lives before it is the new floor, and
//!    what it found lost stays lost.
//! 4. After the loss of the disk: any older version that no cut covers, but a prefix (see
//!    [`Judge::judge_image`]). A cut that succeeded covers what was answered before it was sent,
//!    and so does age, where the world says so.
//! 5. Zeros where a version was expected are a verdict of their own.
//! 6. A snapshot is one instant between its sending and its reply (see [`Judge::judge_picture`]), and
//!    stays that.
//! 7. The size is what the volume was last given; a change that was not answered happened or not. What
//!    was behind the end reads as zeros when the volume grows again.
//!
//! TRIM and WRITE_ZEROES write the value zero. A write whose reply was an error may be there or
//! not, from then on until the crash.

mod history;
mod image;
mod log;
mod picture;
mod sizes;
mod verdict;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use chunk::Durability;
use wal::SECTOR_BYTES;

use super::content::{self, Content};
use history::{History, Observer, Value};
use log::Log;
pub use log::{Command, OpId};
use picture::Picture;
use sizes::Sizes;
pub use verdict::{Verdict, Violation};

/// Sectors of one block.
pub const BLOCK_SECTORS: u64 = (wal::BLOCK_BYTES / SECTOR_BYTES) as u64;

/// Knows every command of one volume, and what each tracked sector may hold.
#[derive(Clone)]
pub struct Judge {
    volume: u64,
    log: Log,
    sectors: BTreeMap<u64, History>,
    pictures: Vec<Picture>,
    sizes: Sizes,
    /// Whether what only the loss of the disk can bring back was forgotten.
    forgetful: bool,
}

impl Judge {
    /// The judge of an empty volume (all zeros). Only `tracked` sectors may be written, but may
    /// lie within larger zeroes. With any other durability than `writeback` every acknowledged
    /// write counts as covered; with `remote` a flush covers as a cut does, and FUA itself.
    #[must_use]
    pub fn new(volume: u64, tracked: &[Range<u64>], durability: Durability) -> Self {
        let sectors = tracked.iter().cloned().flatten();
        let sectors = sectors.map(|sector| (sector, History::default())).collect();
        let (log, pictures) = (Log::new(durability), Vec::new());
        let sizes = Sizes::of(tracked.iter().map(|window| window.end).max().unwrap_or(0));
        Self { volume, log, sectors, pictures, sizes, forgetful: false }
    }

    /// The judge of a volume of this size, in sectors, that is not just as large as what is tracked.
    #[must_use]
    pub fn of_size(self, sectors: u64) -> Self {
        Self { sizes: Sizes::of(sectors), ..self }
    }

    /// Tells the world's time, for promises that depend on age.
    pub fn set_time(&mut self, now: Duration) {
        self.log.set_time(now);
    }

    /// By now, everything acknowledged `age` ago or earlier must outlive the local disk.
    pub fn publish_by_age(&mut self, age: Duration) {
        self.log.publish_by_age(age);
        self.store_pictures();
    }

    /// A command is being sent.
    pub fn invoke(&mut self, command: Command) -> OpId {
        let op = self.log.invoke(command);
        match command {
            Command::Read { .. } | Command::Flush | Command::Cut => {}
            Command::Snapshot => self.sizes.note_snapshot(op),
            Command::Write { first, count, .. } => {
                let tracked = self.sectors.range_mut(first..first + count);
                assert_eq!(tracked.map(|(_, h)| h.add(op)).count() as u64, count, "untracked");
            }
            Command::Zero { first, count, .. } => {
                self.sectors.range_mut(first..first + count).for_each(|(_, h)| h.add(op));
            }
        }
        op
    }

    /// The bytes that a write command carries.
    #[must_use]
    pub fn payload(&self, op: OpId) -> Vec<u8> {
        let Command::Write { first, count, .. } = self.log.op(op).command else {
            panic!("only writes carry bytes")
        };
        let mut bytes = vec![0; count as usize * SECTOR_BYTES];
        for (index, sector) in (0..).zip(bytes.chunks_exact_mut(SECTOR_BYTES)) {
            content::fill(sector, self.volume, first + u64::from(index), op.version(), index);
        }
        bytes
    }

    /// A write, zero, flush or cut succeeded.
    pub fn done(&mut self, op: OpId) {
        assert!(!matches!(self.log.op(op).command, Command::Read { .. }), "reads bring bytes");
        self.log.succeed(op);
        self.store_pictures();
        if self.log.op(op).command == Command::Snapshot {
            self.sizes.note_snapshot(op);
            self.pictures.push(Picture::new(op, &self.log, &self.sectors));
        }
    }

    /// A command failed with an error.
    pub fn failed(&mut self, op: OpId) {
        self.log.fail(op);
    }

    /// A read returned these bytes.
    ///
    /// # Errors
    /// If some sector may not hold what it returned.
    pub fn read_done(&mut self, op: OpId, bytes: &[u8]) -> Result<(), Violation> {
        let Command::Read { first, count } = self.log.op(op).command else {
            panic!("only reads bring bytes")
        };
        assert_eq!(bytes.len(), count as usize * SECTOR_BYTES, "short read");
        self.log.succeed(op);
        let observer = Observer::of(self.log.op(op));
        for (&sector, history) in self.sectors.range_mut(first..first + count) {
            let from = (sector - first) as usize * SECTOR_BYTES;
            let found = content::parse(&bytes[from..from + SECTOR_BYTES], self.volume, sector);
            let verdict = match Self::value_of(&self.log, sector, found) {
                Ok(value) => history.observe(&self.log, value, observer),
                Err(verdict) => Err(verdict),
            };
            verdict.map_err(|verdict| Violation {
                verdict,
                sector,
                life: observer.life,
                found: self.log.describe(found),
                expected: history.expectation(&self.log, observer),
            })?;
        }
        Ok(())
    }

    /// The value that a content stands for, if it was ever written to this sector.
    fn value_of(log: &Log, sector: u64, found: Content) -> Result<Value, Verdict> {
        match found {
            Content::Zero => Ok(Value::Zero),
            Content::Torn => Err(Verdict::Torn),
            Content::Foreign => Err(Verdict::Foreign),
            Content::Version { version, index } => match log.find(version) {
                Some((op, Command::Write { first, count, .. }))
                    if (first..first + count).contains(&sector)
                        && sector - first == u64::from(index) =>
                {
                    Ok(Value::Written(op))
                }
                _ => Err(Verdict::Foreign),
            },
        }
    }

    /// The process died, and everything under way with it. With `disk_lost`, its local disk too.
    ///
    /// # Panics
    /// If the disk is lost after [`Self::forget_buried`].
    pub fn crash(&mut self, disk_lost: bool) {
        assert!(!(disk_lost && self.forgetful), "what a lost disk brings back was forgotten");
        if disk_lost {
            self.lose_pictures();
        }
        self.log.crash(disk_lost);
    }

    /// Forgets the writes that only the loss of the disk could bring back: those of earlier lives
    /// to sectors that this life has read. Long runs stay small so, and no verdict changes.
    pub fn forget_buried(&mut self) {
        self.forgetful = true;
        self.sectors.values_mut().for_each(History::forget_buried);
    }

    /// Number of the current life of the volume, from 0.
    #[must_use]
    pub fn life(&self) -> u32 {
        self.log.life()
    }

    /// Commands sent so far.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.log.commands()
    }

    /// Every tracked sector, read in this life before anything was written, taken together:
    ///
    /// * an uncovered write is all-old or all-new per block;
    /// * after the loss of the disk, if write `w` survived and `u` was acknowledged before `w` was
    ///   sent, `u` survived too, or was overwritten.
    ///
    /// # Errors
    /// If one of these is broken.
    ///
    /// # Panics
    /// If a sector was not yet read in this life.
    pub fn judge_image(&mut self) -> Result<(), Violation> {
        let life = self.log.life();
        let unread = self.sectors.iter().find(|(_, history)| history.floor().life != life);
        assert!(unread.is_none(), "sector {:?} was not read in life {life}", unread.map(|u| u.0));
        image::judge_blocks(&self.log, &self.sectors)?;
        if self.log.disk_lost_since(life.saturating_sub(1)) {
            image::judge_prefix(&self.log, &self.sectors)?;
        }
        self.sectors.values_mut().for_each(|history| history.bury_lost(&self.log));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
