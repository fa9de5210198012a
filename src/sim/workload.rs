//! Clients: each sends one command after the other, as its scenario mixes them, and tells the
//! judge.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wal::SECTOR_BYTES;
use wal::runtime::Runtime;

use super::disk::Drive;
use super::executor::Executor;
use super::ghost::Ghost;
use super::judge::{BLOCK_SECTORS, Command, Judge, OpId};
use super::limits::{MAX_SNAPSHOTS, READ_SPAN};
use super::random::Random;
use super::runtime::SimRuntime;
use super::scenario::Scenario;
use super::subject::{OpError, Subject, ZeroKind};
use super::world::Fault;
use crate::engine::mesh::CoreId;

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
            let deed = self.draw(runtime.core(), &mut random);
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

    /// Sends one command; returns whether the client goes on.
    pub(super) async fn perform<S: Subject>(
        &self,
        volume: &S::Volume,
        deed: Deed,
    ) -> Result<bool, Fault> {
        let Deed { command, kind } = deed;
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
                if span > READ_SPAN {
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

    fn draw(&self, core: CoreId, random: &mut Random) -> Deed {
        let mix = &self.scenario.mix;
        let mut ticket = random.below(mix.total());
        let mut is = |weight: u64| {
            let hit = ticket < weight;
            ticket = ticket.wrapping_sub(weight);
            hit
        };
        let (fua, kind) = (random.chance(6), ZeroKind::Zero);
        let (command, kind) = if is(mix.write) {
            let (first, count) = self.range(core, random);
            (Command::Write { first, count, fua: false }, kind)
        } else if is(mix.fua) {
            let (first, count) = self.range(core, random);
            (Command::Write { first, count, fua: true }, kind)
        } else if is(mix.read) {
            let (first, count) = self.range(core, random);
            (Command::Read { first, count }, kind)
        } else if is(mix.flush) {
            (Command::Flush, kind)
        } else if is(mix.discard) {
            let (first, count) = self.wide_range(core, random);
            (Command::Zero { first, count, fua }, ZeroKind::Discard)
        } else if is(mix.zero) {
            let (first, count) = self.wide_range(core, random);
            (Command::Zero { first, count, fua }, kind)
        } else if is(mix.snapshot) && self.judge.borrow().picture_count() < MAX_SNAPSHOTS {
            (Command::Snapshot, kind)
        } else {
            (Command::Cut, kind)
        };
        Deed { command, kind }
    }

    /// A range of sectors within one window.
    fn range(&self, core: CoreId, random: &mut Random) -> (u64, u64) {
        let windows = &self.scenario.windows;
        let window = match self.scenario.near && !random.chance(8) {
            true => windows[usize::from(core.0) % windows.len()].clone(),
            false => random.pick(windows).clone(),
        };
        let unit = if self.scenario.whole_blocks { BLOCK_SECTORS } else { 1 };
        let (low, high) = (window.start * BLOCK_SECTORS / unit, window.end * BLOCK_SECTORS / unit);
        let most = (self.scenario.request_sectors / unit).clamp(1, high - low);
        let count = random.scaled(1..most + 1);
        // Whole blocks are common even where they are not the rule.
        if unit == 1 && count > BLOCK_SECTORS && random.chance(2) {
            let count = count / BLOCK_SECTORS * BLOCK_SECTORS;
            let first = random.within(low..high - count + 1) / BLOCK_SECTORS * BLOCK_SECTORS;
            return (first.max(low), count);
        }
        (random.within(low..high - count + 1) * unit, count * unit)
    }

    /// A range of sectors, sometimes far beyond the windows.
    fn wide_range(&self, core: CoreId, random: &mut Random) -> (u64, u64) {
        let (first, count) = self.range(core, random);
        if !self.scenario.wide_zeroes || random.chance(2) {
            return (first, count);
        }
        let end = self.scenario.volume_blocks * BLOCK_SECTORS;
        let first = first - random.below(2) * random.below(first + 1);
        (first, random.within(1..end - first + 1))
    }
}

/// Reads all tracked sectors, from any core, and lets the judge see them; returns whether every
/// read succeeded.
pub(super) async fn read_all<S: Subject>(
    shift: Rc<Shift>,
    volumes: Vec<S::Volume>,
    mut random: Random,
) -> Result<bool, Fault> {
    let mut complete = true;
    for window in shift.scenario.sectors() {
        let mut first = window.start;
        while first < window.end {
            let count = random.within(1..129).min(window.end - first);
            let command = Command::Read { first, count };
            let volume = random.pick(&volumes);
            let op = shift.judge.borrow_mut().invoke(command);
            let (offset, bytes) = (first * SECTOR_BYTES as u64, count as usize * SECTOR_BYTES);
            match S::read(volume, offset, bytes).await {
                Ok(bytes) => shift.judge.borrow_mut().read_done(op, &bytes)?,
                Err(error) => {
                    shift.refused(op, command, shift.executor.now(), error)?;
                    complete = false;
                }
            }
            first += count;
        }
    }
    Ok(complete)
}
