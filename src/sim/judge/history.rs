//! All that was ever written to one sector, and what it may hold.

use super::log::{Command, Log, Moment, Op, OpId};
use super::verdict::Verdict;

/// What a sector may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// Zeros: never written, trimmed, or zeroed.
    Zero,
    /// What one write command wrote.
    Written(OpId),
}

/// A read, as far as a sector is concerned.
#[derive(Clone, Copy)]
pub(super) struct Observer {
    pub(super) life: u32,
    invoked: Moment,
    ended: Moment,
}

impl Observer {
    pub(super) fn of(op: &Op) -> Self {
        Self { life: op.life, invoked: op.invoked, ended: op.ended }
    }

    /// The same, who is known to have looked after a command was sent.
    pub(super) fn after(self, op: &Op) -> Self {
        Self { invoked: self.invoked.max(op.invoked), ..self }
    }
}

/// One write to the sector.
#[derive(Clone)]
struct Entry {
    op: OpId,
    /// When the first read that returned it was answered.
    seen: Moment,
    /// The later lives that read it.
    shown: Vec<u32>,
    /// A later life found that it was lost.
    lost: bool,
}

/// What a life first read from the lives before it; before any read, the zeros of a new volume.
#[derive(Clone, Copy)]
pub(super) struct Floor {
    pub(super) value: Value,
    /// The life that read it.
    pub(super) life: u32,
    /// The command that wrote it, if it is known.
    pub(super) origin: Option<OpId>,
    /// When that command had ended.
    pub(super) origin_ended: Moment,
}

/// A way in which the sector can have got a value.
#[derive(Clone, Copy)]
struct Candidate {
    /// Index of the entry; `None` for the floor.
    entry: Option<usize>,
    ended: Moment,
}

/// All writes to one sector, in the order they were sent.
#[derive(Clone)]
pub(super) struct History {
    entries: Vec<Entry>,
    /// Entries before this are older than the floor.
    start: usize,
    floor: Floor,
}

impl Default for History {
    fn default() -> Self {
        let (value, origin_ended) = (Value::Zero, Moment::START);
        let floor = Floor { value, life: 0, origin: None, origin_ended };
        Self { entries: Vec::new(), start: 0, floor }
    }
}

impl History {
    pub(super) fn add(&mut self, op: OpId) {
        self.entries.push(Entry { op, seen: Moment::NEVER, shown: Vec::new(), lost: false });
    }

    pub(super) fn floor(&self) -> &Floor {
        &self.floor
    }

    fn ended(&self, log: &Log, entry: usize) -> Moment {
        self.entries[entry].seen.min(log.op(self.entries[entry].op).ended)
    }

    fn value(&self, log: &Log, entry: usize) -> Value {
        let op = self.entries[entry].op;
        match log.op(op).command {
            Command::Zero { .. } => Value::Zero,
            Command::Write { .. }
            | Command::Read { .. }
            | Command::Flush
            | Command::Cut
            | Command::Snapshot => Value::Written(op),
        }
    }

    /// Whether an observer knows for certain that the entry took effect before it looked.
    fn is_certain(&self, log: &Log, entry: usize, observer: Observer) -> bool {
        let op = log.op(self.entries[entry].op);
        if op.life == observer.life {
            let answered = op.acknowledged && op.ended < observer.invoked;
            return answered || self.entries[entry].seen < observer.invoked;
        }
        let shown = &self.entries[entry].shown;
        log.survives(op) || shown.iter().any(|&life| log.outlasts(life))
    }

    /// Index of the first entry that matters: the loss of the disk may bring older ones back.
    fn first(&self, log: &Log) -> usize {
        if log.outlasts(self.floor.life) { self.start } else { 0 }
    }

    /// The entry that forbids a value which ended at `ended`: it came wholly after that.
    fn superseding(&self, log: &Log, ended: Moment, observer: Observer) -> Option<usize> {
        let later = |entry: &usize| log.op(self.entries[*entry].op).invoked > ended;
        let from_newest = (self.first(log)..self.entries.len()).rev().take_while(later);
        let mut standing = from_newest.filter(|&entry| !self.entries[entry].lost);
        standing.find(|&entry| self.is_certain(log, entry, observer))
    }

    /// Every way in which the sector can have got a value, were nothing superseded.
    fn candidates(&self, log: &Log, value: Value) -> Vec<Candidate> {
        let undone = !log.outlasts(self.floor.life);
        let first = self.first(log);
        let entry = |entry| Candidate { entry: Some(entry), ended: self.ended(log, entry) };
        let mut found: Vec<_> = (first..self.entries.len())
            .filter(|&n| !self.entries[n].lost && self.value(log, n) == value)
            .map(entry)
            .collect();
        if self.floor.value == value {
            // Nothing of the entries since the floor can have ended before it.
            found.push(Candidate { entry: None, ended: self.floor_ended(log) });
        }
        if undone && value == Value::Zero {
            found.push(Candidate { entry: None, ended: Moment::START });
        }
        found
    }

    fn floor_ended(&self, log: &Log) -> Moment {
        log.life_began(self.floor.life)
    }

    /// Judges a value that was read.
    pub(super) fn observe(
        &mut self,
        log: &Log,
        value: Value,
        observer: Observer,
    ) -> Result<(), Verdict> {
        let candidates = self.candidates(log, value);
        let mut superseding = None;
        let mut legal = Vec::new();
        for candidate in &candidates {
            match self.superseding(log, candidate.ended, observer) {
                None => legal.push(*candidate),
                Some(entry) => superseding = Some(entry),
            }
        }
        let Some(newest) = legal.iter().max_by_key(|candidate| candidate.ended).copied() else {
            return Err(self.illegal(log, value, superseding, observer));
        };
        let of_this_life = |candidate: &Candidate| {
            let op = candidate.entry.map(|entry| log.op(self.entries[entry].op));
            op.is_some_and(|op| op.life == observer.life)
        };
        match (legal.iter().any(of_this_life), newest.entry) {
            (true, Some(entry)) if legal.len() == 1 => {
                let seen = &mut self.entries[entry].seen;
                *seen = observer.ended.min(*seen);
            }
            // Which of several writes of zeros it was cannot be known.
            (true, _) => {}
            (false, _) if self.floor.life < observer.life => {
                self.raise_floor(log, value, newest, observer);
            }
            (false, _) => {}
        }
        Ok(())
    }

    fn illegal(
        &self,
        log: &Log,
        value: Value,
        superseding: Option<usize>,
        observer: Observer,
    ) -> Verdict {
        if value == Value::Zero {
            return Verdict::SilentZeros;
        }
        match superseding {
            None => Verdict::Unseen,
            Some(entry) if log.op(self.entries[entry].op).life == observer.life => {
                Verdict::StaleRead
            }
            Some(_) => Verdict::LostWrite,
        }
    }

    /// What an observer read from earlier lives is what counts from now on.
    fn raise_floor(&mut self, log: &Log, value: Value, from: Candidate, observer: Observer) {
        let undone = !log.outlasts(self.floor.life);
        if let Some(entry) = from.entry {
            self.entries[entry].shown.push(observer.life);
        }
        let (origin, origin_ended) = match from.entry {
            Some(entry) => (Some(self.entries[entry].op), from.ended),
            None if from.ended == Moment::START => (None, Moment::START),
            None => (self.floor.origin, self.floor.origin_ended),
        };
        self.floor = Floor { value, life: observer.life, origin, origin_ended };
        let earlier = |entry: &Entry| log.op(entry.op).life < observer.life;
        self.start = self.entries.partition_point(earlier);
        if !undone {
            self.bury_lost(log);
        }
    }

    /// Marks what is older than the floor's life, and was not overwritten by it, as lost.
    pub(super) fn bury_lost(&mut self, log: &Log) {
        let floor = self.floor;
        for entry in &mut self.entries[..self.start] {
            entry.lost |= log.op(entry.op).invoked > floor.origin_ended;
        }
    }

    /// Drops the writes that are older than the floor.
    pub(super) fn forget_buried(&mut self) {
        self.entries.drain(..self.start);
        self.start = 0;
    }

    /// A write that must be there if `survivor` is, but neither is nor was overwritten: it was
    /// acknowledged before the survivor was sent, and no crash can have lost it alone.
    pub(super) fn missing_before(&self, log: &Log, survivor: &Op) -> Option<OpId> {
        let was_there = |entry: &Entry, op: &Op| {
            let kept_from =
                |life| life <= survivor.life && !log.disk_lost_between(life, survivor.life);
            let covered = log.is_covered(op) && kept_from(op.life);
            // A crash that leaves the disk may take one of them, if neither is covered.
            let together = op.life == survivor.life && log.next_loss(op.life) == Some(op.life + 1);
            together || covered || entry.shown.iter().any(|&life| kept_from(life))
        };
        let missing = |entry: &&Entry| {
            let op = log.op(entry.op);
            let before = op.acknowledged && op.ended < survivor.invoked;
            let overwritten = op.invoked <= self.floor.origin_ended;
            before && !overwritten && !entry.lost && was_there(entry, op)
        };
        self.entries[..self.start].iter().find(missing).map(|entry| entry.op)
    }

    /// What the sector should have held, for a report.
    pub(super) fn expectation(&self, log: &Log, observer: Observer) -> String {
        let newest = self.superseding(log, Moment::START, observer);
        let floor = match self.floor.value {
            Value::Zero => "zeros".to_owned(),
            Value::Written(op) => log.describe_op(op),
        };
        match newest {
            Some(entry) => {
                format!("may not be older than {}", log.describe_op(self.entries[entry].op))
            }
            None => format!("the floor, read in life {}, is {floor}", self.floor.life),
        }
    }
}
