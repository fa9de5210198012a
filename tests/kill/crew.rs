//! Clients of one life of the server: each has several commands under way, and tells the judge.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use krait::sim::content;
use krait::sim::judge::{Command, Judge, OpId};
use krait::sim::random::Random;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, Cookie};
use wal::SECTOR_BYTES;

use super::client::{Answer, Client};

/// What the volume's sectors say they are of.
pub const VOLUME: u64 = 0x6B69_6C6C;

/// Largest request, in sectors: 256 KiB, unless told otherwise.
const MAX_SECTORS: u64 = 512;

/// Commands under way on one connection.
const DEPTH: u64 = 6;

/// What all clients share over all lives.
pub struct Work {
    judge: Mutex<Judge>,
    began: Instant,
    /// Where is written and read, in sectors.
    pub windows: Vec<Range<u64>>,
    /// Largest requests, in sectors; each request is drawn up to one of them.
    pub largest: Vec<u64>,
    /// Replies to writes, trims and zeroes.
    pub written: AtomicU64,
    /// Replies to flushes, and to writes with FUA.
    pub flushed: AtomicU64,
    /// Errors that the server replied.
    pub refused: AtomicU64,
}

/// A command under way.
type Open = HashMap<Cookie, (OpId, Command)>;

fn bytes(first: u64, count: u64) -> ByteRange {
    ByteRange::new(first * SECTOR_BYTES as u64, count * SECTOR_BYTES as u64)
}

impl Work {
    /// A new volume, of which only `windows` will be written.
    pub fn new(windows: Vec<Range<u64>>) -> Self {
        let judge = Mutex::new(Judge::new(VOLUME, &windows, chunk::Durability::Writeback));
        let [written, flushed, refused] = [const { AtomicU64::new(0) }; 3];
        let largest = vec![MAX_SECTORS];
        Self { judge, began: Instant::now(), windows, largest, written, flushed, refused }
    }

    /// The judge; its order of locking is the one clock of all clients.
    pub fn judge(&self) -> MutexGuard<'_, Judge> {
        let mut judge = self.judge.lock().expect("no client panicked");
        judge.set_time(self.began.elapsed());
        judge
    }

    /// A range within a window: small ones as likely as large ones, on a block's border or not.
    fn range(&self, random: &mut Random) -> (u64, u64) {
        let window = random.pick(&self.windows).clone();
        let most = (*random.pick(&self.largest)).min(window.end - window.start);
        let mut count = random.scaled(1..most + 1);
        let mut first = random.within(window.start..window.end - count + 1);
        if random.chance(2) {
            first = window.start.next_multiple_of(8).max(first - first % 8);
            count = count.next_multiple_of(8);
        }
        // Most work is in a small part, so that data are overwritten while they are uploaded.
        if random.chance(2) {
            first = window.start.next_multiple_of(8) + (first - window.start) % 1024 / 8 * 8;
        }
        (first, count.min(window.end - first))
    }

    fn draw(&self, random: &mut Random) -> (Command, Request, Flags) {
        let (first, count) = self.range(random);
        let fua = random.chance(12);
        let flags = if fua { Flags::FUA } else { Flags::NONE };
        match random.below(100) {
            0..=54 => {
                (Command::Write { first, count, fua }, Request::Write(bytes(first, count)), flags)
            }
            55..=59 => {
                (Command::Zero { first, count, fua }, Request::Trim(bytes(first, count)), flags)
            }
            60..=64 => (
                Command::Zero { first, count, fua },
                Request::WriteZeroes(bytes(first, count)),
                flags,
            ),
            65..=89 => {
                (Command::Read { first, count }, Request::Read(bytes(first, count)), Flags::NONE)
            }
            _ => (Command::Flush, Request::Flush, Flags::NONE),
        }
    }

    fn send(
        &self,
        client: &mut Client,
        open: &mut Open,
        (command, request, flags): (Command, Request, Flags),
    ) -> io::Result<()> {
        let op = self.judge().invoke(command);
        let mut body = Vec::new();
        if let Command::Write { first, count, .. } = command {
            body.resize(count as usize * SECTOR_BYTES, 0);
            for (index, sector) in (0..).zip(body.chunks_exact_mut(SECTOR_BYTES)) {
                content::fill(sector, VOLUME, first + u64::from(index), op.version(), index);
            }
        }
        let cookie = client.send(request, flags, &body)?;
        open.insert(cookie, (op, command));
        Ok(())
    }

    fn receive(&self, client: &mut Client, open: &mut Open) -> io::Result<()> {
        let (cookie, answer): (Cookie, Answer) = client.receive()?;
        let (op, command) = open.remove(&cookie).expect("each reply comes once");
        let mut judge = self.judge();
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                judge.failed(op);
                return Ok(());
            }
        };
        let count = match command {
            Command::Read { .. } => {
                return judge.read_done(op, &bytes).map_err(|violation| {
                    io::Error::new(ErrorKind::InvalidData, violation.to_string())
                });
            }
            Command::Flush | Command::Cut | Command::Snapshot => &self.flushed,
            Command::Write { fua, .. } | Command::Zero { fua, .. } => {
                if fua {
                    &self.flushed
                } else {
                    &self.written
                }
            }
        };
        judge.done(op);
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends and receives until the server goes away, or so many commands are answered.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] for what the server did wrong, anything else if it went away.
    pub fn labour(
        &self,
        client: &mut Client,
        random: &mut Random,
        commands: u64,
    ) -> io::Result<()> {
        let (mut open, mut sent) = (Open::new(), 0);
        while sent < commands || client.under_way() > 0 {
            if sent < commands && client.under_way() < 1 + random.below(DEPTH) as usize {
                sent += 1;
                self.send(client, &mut open, self.draw(random))?;
            } else {
                self.receive(client, &mut open)?;
            }
        }
        Ok(())
    }

    /// Reads the part of all windows that `keep` of `of` clients has to look at.
    ///
    /// # Errors
    /// As for [`Self::labour`].
    pub fn read_back(&self, client: &mut Client, keep: u64, of: u64) -> io::Result<()> {
        let mut open = Open::new();
        let pieces = self.windows.iter().flat_map(|window| {
            let starts = window.clone().step_by(MAX_SECTORS as usize);
            starts.map(|first| (first, MAX_SECTORS.min(window.end - first)))
        });
        for (_, (first, count)) in (0..).zip(pieces).filter(|(number, _)| number % of == keep) {
            let read = Command::Read { first, count };
            self.send(client, &mut open, (read, Request::Read(bytes(first, count)), Flags::NONE))?;
            while client.under_way() >= 4 {
                self.receive(client, &mut open)?;
            }
        }
        while client.under_way() > 0 {
            self.receive(client, &mut open)?;
        }
        Ok(())
    }
}
