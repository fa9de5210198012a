//! Clients: each sends one command after the other, as its scenario mixes them, and tells the
//! judge.

mod draw;
mod reads;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wal::SECTOR_BYTES;
use wal::runtime::Runtime;

use super::disk::Drive;
use super::executor::Executor;
use super::ghost::Ghost;
use super::judge::{BLOCK_SECTORS, Command, Judge, OpId};
use super::limits::READ_SPAN;
use super::random::Random;
use super::runtime::SimRuntime;
use super::scenario::Scenario;
use super::subject::{OpError, Subject, ZeroKind};
use super::world::Fault;
use crate::engine::limits::READ_TIMEOUT;
use crate::engine::peers::reads_at_once;
pub(super) use reads::{read_all, read_padded};

/// Virtual time between the first clients of a life and its last.
const LATEST_START: u64 = 300;

/// First and longest pause between two commands to a volume that is being taken over: an opening
/// elsewhere may hang for minutes.
const LOSING_PAUSE: Duration = Duration::from_millis(1);
/// See [`LOSING_PAUSE`].
const LONGEST_LOSING_PAUSE: Duration = Duration::from_millis(250);

/// Longest time that a volume takes to know of a failure of its disk.
const SHOCK_SPAN: Duration = Duration::from_millis(1);

/// What the clients of one life share.
pub(super) struct Shift {
    scenario: Rc<Scenario>,
    judge: Rc<RefCell<Judge>>,
    executor: Executor,
    drive: Drive,
    /// When the disk has space again for certain, and the volume knows.
    pub(super) full_until: Cell<Duration>,
    /// Whether a command was refused for want of space: nobody is in a hurry then either.
    starving: Cell<bool>,
    /// Whether commands may be refused with an I/O error: reads, and all of them.
    pub(super) reads_may_fail: Cell<bool>,
    pub(super) all_may_fail: Cell<bool>,
    /// Whether another host is taking the volume over: nobody is in a hurry then.
    pub(super) losing: Cell<bool>,
    stop: Cell<bool>,
    working: Cell<u64>,
    /// Set when another host has taken the volume over: what happens here from then on is judged
    /// by other rules.
    ghost: RefCell<Option<Rc<Ghost>>>,
    fault: RefCell<Option<Fault>>,
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub struct Deed {
    /// The command.
    pub command: Command,
    /// How it zeroes, if it does.
    pub kind: ZeroKind,
}

impl Shift {
    pub(super) fn new(
        scenario: &Rc<Scenario>,
        judge: &Rc<RefCell<Judge>>,
        executor: &Executor,
        drive: &Drive,
    ) -> Rc<Self> {
        let (scenario, judge) = (Rc::clone(scenario), Rc::clone(judge));
        let executor = executor.clone();
        let (stop, working, fault) = (Cell::new(false), Cell::new(0), RefCell::new(None));
        let (reads_may_fail, all_may_fail) = (Cell::new(false), Cell::new(false));
        let ghost = RefCell::default();
        let shift = Self {
            scenario,
            judge,
            executor,
            drive: drive.clone(),
            full_until: Cell::new(Duration::ZERO),
            starving: Cell::new(false),
            reads_may_fail,
            all_may_fail,
            losing: Cell::new(false),
            stop,
            working,
            ghost,
            fault,
        };
        Rc::new(shift)
    }

    /// Asks the clients to leave after the command that they wait for.
    pub(super) fn stop(&self) {
        self.stop.set(true);
    }

    /// Another host has the volume now: the clients go on, for the books of `ghost`.
    pub(super) fn haunt(&self, ghost: &Rc<Ghost>) {
        self.ghost.replace(Some(Rc::clone(ghost)));
    }

    /// Most virtual time that a read takes: those of other clients may have the ring before it.
    fn longest_read(&self) -> Duration {
        let at_once = reads_at_once(self.scenario.tuning.ring_messages) as u64;
        let before = (self.scenario.clients - 1) / at_once;
        READ_SPAN + READ_TIMEOUT * before as u32
    }

    fn ghost(&self) -> Option<Rc<Ghost>> {
        self.ghost.borrow().clone()
    }

    /// Whether no client is at work, or a promise is broken already.
    pub(super) fn is_over(&self) -> bool {
        self.working.get() == 0 || self.fault.borrow().is_some()
    }

    /// Whether no client is at work.
    pub(super) fn is_deserted(&self) -> bool {
        self.working.get() == 0
    }

    /// Whether a promise is broken already.
    pub(super) fn is_broken(&self) -> bool {
        self.fault.borrow().is_some()
    }

    /// The first fault that a client met.
    pub(super) fn verdict(&self) -> Result<(), Fault> {
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Starts a client.
    pub(super) fn hire<S: Subject>(
        self: &Rc<Self>,
        volume: &S::Volume,
        runtime: &SimRuntime,
        random: Random,
    ) {
        self.working.set(self.working.get() + 1);
        let (shift, volume, place) = (Rc::clone(self), volume.clone(), runtime.clone());
        runtime.spawn(async move { shift.work::<S>(&volume, &place, random).await });
    }

    async fn work<S: Subject>(&self, volume: &S::Volume, runtime: &SimRuntime, mut random: Random) {
        runtime.sleep(Duration::from_micros(random.below(LATEST_START))).await;
        let mut pause = LOSING_PAUSE;
        while !self.stop.get() {
            let size = match self.size::<S>(volume) {
                Ok(size) => size,
                Err(fault) => {
                    self.fault.borrow_mut().get_or_insert(fault);
                    break;
                }
            };
            self.grow::<S>(volume, size, &mut random).await;
            let deed = self.draw((runtime.core(), size), &mut random);
            let done = match self.ghost() {
                Some(ghost) => {
                    // Long enough for the cut that will tell the volume what happened.
                    runtime.sleep(pause.max(self.scenario.tuning.cut_every / 8)).await;
                    ghost.perform::<S>(volume, deed.command).await
                }
                None => self.perform::<S>(volume, deed).await,
            };
            match done {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    self.fault.borrow_mut().get_or_insert(fault);
                    break;
                }
            }
            if !self.scenario.think.is_zero() {
                let micros = random.below(self.scenario.think.as_micros() as u64 + 1);
                runtime.sleep(Duration::from_micros(micros)).await;
            }
            if self.losing.get() || self.starving.take() {
                runtime.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_LOSING_PAUSE);
            }
            // Commands that are answered at once must not keep the core for themselves.
            runtime.pause().await;
        }
        self.working.set(self.working.get() - 1);
    }

    /// Sectors of the volume, as a client is told that connects now.
    fn size<S: Subject>(&self, volume: &S::Volume) -> Result<u64, Fault> {
        let Some(bytes) = S::size(volume) else {
            return Ok(self.scenario.volume_blocks * BLOCK_SECTORS);
        };
        let size = bytes / SECTOR_BYTES as u64;
        if self.ghost().is_none() {
            self.judge.borrow_mut().size_seen(size)?;
        }
        Ok(size)
    }

    /// Sometimes makes the volume larger, while others write to it. That it fails breaks no promise.
    async fn grow<S: Subject>(&self, volume: &S::Volume, size: u64, random: &mut Random) {
        let most = self.scenario.volume_blocks * BLOCK_SECTORS;
        if !S::RESIZES || !random.chance(self.scenario.grow_one_in) || size == most {
            return;
        }
        let to = random.within(size + 1..most + 1);
        if self.ghost().is_some() || !self.judge.borrow_mut().invoke_resize(to) {
            return;
        }
        let grown = S::resize(volume, to * SECTOR_BYTES as u64).await;
        if self.ghost().is_none() {
            match grown {
                Ok(()) => self.judge.borrow_mut().resize_done(to),
                Err(_) => self.judge.borrow_mut().resize_failed(),
            }
        }
    }

    /// Sends one command; returns whether the client goes on.
    pub(super) async fn perform<S: Subject>(
        &self,
        volume: &S::Volume,
        deed: Deed,
    ) -> Result<bool, Fault> {
        let Deed { command, kind } = deed;
        let command = match command {
            Command::Snapshot if !S::COPIES => Command::Cut,
            command => command,
        };
        let sent = self.executor.now();
        let op = self.judge.borrow_mut().invoke(command);
        let at = |sector: u64| sector * SECTOR_BYTES as u64;
        let reply = match command {
            Command::Read { first, count } => {
                let read = S::read(volume, at(first), at(count) as usize).await;
                let span = self.executor.now() - sent;
                if self.ghost().is_some() {
                    return Ok(true);
                }
                if span > self.longest_read() {
                    return Err(Fault::Late { command, span });
                }
                match read {
                    Ok(bytes) => self.judge.borrow_mut().read_done(op, &bytes)?,
                    Err(error) => return self.refused(op, command, sent, error),
                }
                return Ok(true);
            }
            Command::Write { first, fua, .. } => {
                let payload = self.judge.borrow().payload(op);
                S::write(volume, at(first), payload, fua).await
            }
            Command::Zero { first, count, fua } => {
                S::zero(volume, at(first), at(count), kind, fua).await
            }
            Command::Flush => S::flush(volume).await,
            Command::Cut | Command::Snapshot => {
                let done = match command {
                    Command::Snapshot => S::snapshot(volume, op.number()).await,
                    _ => S::cut(volume).await,
                };
                match done {
                    Ok(()) => Ok(()),
                    Err(_) if self.ghost().is_some() => return Ok(true),
                    Err(_) => {
                        // A cut that fails breaks no promise: the data stays where it is.
                        self.judge.borrow_mut().failed(op);
                        return Ok(true);
                    }
                }
            }
        };
        if let Some(ghost) = self.ghost() {
            // It was under way when the volume was taken over, and counts as lost with it.
            return ghost.answered(command, &reply).map(|()| true);
        }
        self.judge.borrow_mut().set_time(self.executor.now());
        match reply {
            Ok(()) => self.judge.borrow_mut().done(op),
            Err(error) => return self.refused(op, command, sent, error),
        }
        // What failed is final: nothing is acknowledged that was sent after that.
        let failed = self.drive.failed_at().filter(|_| S::ENDURES);
        match failed {
            Some(failed) if sent > failed + SHOCK_SPAN => Err(Fault::Acknowledged { command }),
            _ => Ok(true),
        }
    }

    /// Errors are honest, where there is a reason for one.
    fn refused(
        &self,
        op: OpId,
        command: Command,
        sent: Duration,
        error: OpError,
    ) -> Result<bool, Fault> {
        self.judge.borrow_mut().failed(op);
        if matches!(error, OpError::NoSpace) && sent < self.full_until.get() {
            self.starving.set(true);
            return Ok(true);
        }
        if matches!(error, OpError::Fenced(_)) && !self.losing.get() {
            return Err(Fault::Refused { command, error: error.to_string() });
        }
        // A write of a part of a block reads the rest of it.
        let per_block = super::judge::BLOCK_SECTORS;
        let is_read = match command {
            Command::Read { .. } => true,
            Command::Write { first, count, .. } | Command::Zero { first, count, .. } => {
                !(first.is_multiple_of(per_block) && count.is_multiple_of(per_block))
            }
            Command::Flush | Command::Cut | Command::Snapshot => false,
        };
        if self.all_may_fail.get() || (is_read && self.reads_may_fail.get()) {
            // A volume that met an error of its disk stays broken until it is opened again.
            return Ok(is_read);
        }
        Err(Fault::Refused { command, error: error.to_string() })
    }
}
