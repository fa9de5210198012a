//! Clients of a host that has lost its volume to another one, and does not know it yet.

use std::cell::Cell;

use wal::SECTOR_BYTES;

use super::content;
use super::judge::Command;
use super::subject::{OpError, Subject, ZeroKind};
use super::world::Fault;

/// What they were told. Nothing that they write may ever be seen by anybody else: it carries the
/// number of a volume that is not there.
#[derive(Default)]
pub(super) struct Ghost {
    volume: u64,
    /// Whether its lease had run out before the other host took over.
    leased: bool,
    written: Cell<u64>,
    kept: Cell<bool>,
}

impl Ghost {
    pub(super) fn new(seed: u64, leased: bool) -> Self {
        Self { volume: !seed, leased, ..Self::default() }
    }

    /// A command was answered: without a lease nothing that must be durable may be.
    pub(super) fn answered(
        &self,
        command: Command,
        reply: &Result<(), OpError>,
    ) -> Result<(), Fault> {
        let durable = command.fua() || command == Command::Flush;
        match self.leased && durable && reply.is_ok() {
            true => Err(Fault::Trespass(format!("answered {command:?} without a lease"))),
            false => Ok(()),
        }
    }

    /// Whether a flush covered some of it: then the log of that host holds what no manifest does.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.get()
    }

    /// Sends one command; returns whether the client goes on.
    pub(super) async fn perform<S: Subject>(
        &self,
        volume: &S::Volume,
        command: Command,
    ) -> Result<bool, Fault> {
        let at = |sector: u64| sector * SECTOR_BYTES as u64;
        let before = self.written.get();
        let (reply, written, covered) = match command {
            Command::Read { first, count } => {
                drop(S::read(volume, at(first), at(count) as usize).await);
                return Ok(true);
            }
            Command::Write { first, count, fua } => {
                let mut bytes = vec![0; at(count) as usize];
                for (index, sector) in (0..).zip(bytes.chunks_exact_mut(SECTOR_BYTES)) {
                    content::fill(sector, self.volume, first + u64::from(index), 1, index);
                }
                let reply = S::write(volume, at(first), bytes, fua).await;
                (reply, 1, fua)
            }
            Command::Zero { first, count, fua } => {
                let reply = S::zero(volume, at(first), at(count), ZeroKind::Zero, fua).await;
                (reply, 1, fua)
            }
            Command::Flush => (S::flush(volume).await, 0, before > 0),
            Command::Cut => (S::cut(volume).await, 0, before > 0),
            Command::Snapshot => match S::snapshot(volume, u32::MAX).await {
                Ok(()) => {
                    let deed = "made a snapshot of what it had".to_owned();
                    return Err(Fault::Trespass(deed));
                }
                Err(_) => return Ok(true),
            },
        };
        self.answered(command, &reply)?;
        if reply.is_err() {
            return Ok(false);
        }
        self.written.set(self.written.get() + written);
        self.kept.set(self.kept.get() || covered);
        Ok(true)
    }
}
