//! Every command of a world, with the moments at which it was sent and answered.

use std::ops::Range;
use std::time::Duration;

use chunk::Durability;

use crate::sim::content::Content;

/// A moment on the judge's clock: commands sent, replies and crashes, counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(u64);

impl Moment {
    /// Before everything.
    pub const START: Self = Self(0);
    /// After everything: not yet.
    pub const NEVER: Self = Self(u64::MAX);
}

/// Number of a command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OpId(u32);

impl OpId {
    /// The version that a write of this number writes; never 0.
    #[must_use]
    pub fn version(self) -> u64 {
        u64::from(self.0) + 1
    }

    /// The number itself.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A command, with its range in sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Reads sectors.
    Read {
        /// First sector.
        first: u64,
        /// Number of sectors.
        count: u64,
    },
    /// Writes sectors.
    Write {
        /// First sector.
        first: u64,
        /// Number of sectors.
        count: u64,
        /// Whether the reply means that it is durable.
        fua: bool,
    },
    /// Trims or zeroes sectors.
    Zero {
        /// First sector.
        first: u64,
        /// Number of sectors.
        count: u64,
        /// Whether the reply means that it is durable.
        fua: bool,
    },
    /// Makes durable what was answered before.
    Flush,
    /// As a flush, and what it covers outlives the local disk too.
    Cut,
    /// As a cut, which is kept.
    Snapshot,
}

impl Command {
    /// Whether it is a write that asks to be durable when it is answered.
    #[must_use]
    pub fn fua(self) -> bool {
        match self {
            Self::Write { fua, .. } | Self::Zero { fua, .. } => fua,
            Self::Read { .. } | Self::Flush | Self::Cut | Self::Snapshot => false,
        }
    }
}

/// One command and its fate.
#[derive(Clone)]
pub(super) struct Op {
    pub(super) command: Command,
    pub(super) life: u32,
    pub(super) invoked: Moment,
    /// Its reply, or the crash; [`Moment::NEVER`] while it may still take effect.
    pub(super) ended: Moment,
    pub(super) acknowledged: bool,
    /// The world's time of the reply.
    answered: Duration,
}

/// One run of the process.
#[derive(Clone)]
struct Life {
    began: Moment,
    /// Writes acknowledged before this are covered by a flush.
    covered: Moment,
    /// Writes acknowledged before this are covered by a cut.
    published: Moment,
    /// It began without what the lives before it had on their disk.
    disk_lost: bool,
}

impl Life {
    fn new(began: Moment, disk_lost: bool) -> Self {
        Self { began, covered: Moment::START, published: Moment::START, disk_lost }
    }
}

/// All commands.
#[derive(Clone)]
pub(super) struct Log {
    clock: u64,
    /// The world's time.
    now: Duration,
    ops: Vec<Op>,
    lives: Vec<Life>,
    durability: Durability,
}

impl Log {
    pub(super) fn new(durability: Durability) -> Self {
        let lives = vec![Life::new(Moment::START, false)];
        Self { clock: 0, now: Duration::ZERO, ops: Vec::new(), lives, durability }
    }

    pub(super) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    fn tick(&mut self) -> Moment {
        self.clock += 1;
        Moment(self.clock)
    }

    pub(super) fn invoke(&mut self, command: Command) -> OpId {
        let (invoked, life) = (self.tick(), self.life());
        let (ended, answered) = (Moment::NEVER, Duration::MAX);
        let op = Op { command, life, invoked, ended, acknowledged: false, answered };
        self.ops.push(op);
        OpId(self.ops.len() as u32 - 1)
    }

    pub(super) fn succeed(&mut self, op: OpId) {
        let now = self.tick();
        let life = self.lives.last_mut().expect("there is always a life");
        let op = &mut self.ops[op.0 as usize];
        assert_eq!(op.ended, Moment::NEVER, "one reply to each command");
        (op.ended, op.acknowledged, op.answered) = (now, true, self.now);
        if matches!(op.command, Command::Flush | Command::Cut | Command::Snapshot) {
            life.covered = life.covered.max(op.invoked);
        }
        let is_promise = matches!(op.command, Command::Flush | Command::Snapshot);
        if op.command == Command::Cut || (is_promise && self.durability == Durability::Remote) {
            life.published = life.published.max(op.invoked);
        }
    }

    /// What was acknowledged `age` ago or earlier counts as covered by a cut.
    pub(super) fn publish_by_age(&mut self, age: Duration) {
        let Some(latest) = self.now.checked_sub(age) else { return };
        let life = self.life();
        let of_life = self.ops.iter().rev().take_while(|op| op.life == life);
        let old = of_life.filter(|op| op.acknowledged && op.answered <= latest).map(|op| op.ended);
        if let Some(newest) = old.max() {
            let life = self.lives.last_mut().expect("there is always a life");
            let after = Moment(newest.0 + 1);
            (life.published, life.covered) = (life.published.max(after), life.covered.max(after));
        }
    }

    /// Whether what a command promised must be in the store: something that was sent after its reply
    /// was published, or its own promise was that.
    pub(super) fn is_stored(&self, op: OpId) -> bool {
        let op = &self.ops[op.0 as usize];
        let published = self.lives[op.life as usize].published;
        let is_own = op.command == Command::Snapshot && self.durability == Durability::Remote;
        op.acknowledged && (is_own || published > op.ended)
    }

    /// An error leaves the command open until the crash: it may still take effect.
    pub(super) fn fail(&mut self, op: OpId) {
        assert_eq!(self.ops[op.0 as usize].ended, Moment::NEVER, "one reply to each command");
        self.tick();
    }

    /// A command that the process died with, and nothing else under way, is known to have succeeded,
    /// and to outlive the local disk, with all that was acknowledged before.
    pub(super) fn happened(&mut self, op: OpId) {
        let op = &mut self.ops[op.0 as usize];
        op.acknowledged = true;
        let (life, after) = (&mut self.lives[op.life as usize], Moment(op.ended.0 + 1));
        (life.covered, life.published) = (after, after);
    }

    pub(super) fn crash(&mut self, disk_lost: bool) {
        let now = self.tick();
        let open = self.ops.iter_mut().filter(|op| op.ended == Moment::NEVER);
        open.for_each(|op| op.ended = now);
        self.lives.push(Life::new(now, disk_lost));
    }

    pub(super) fn op(&self, op: OpId) -> &Op {
        &self.ops[op.0 as usize]
    }

    /// The command that writes a version.
    pub(super) fn find(&self, version: u64) -> Option<(OpId, Command)> {
        let number = u32::try_from(version.checked_sub(1)?).ok()?;
        Some((OpId(number), self.ops.get(number as usize)?.command))
    }

    pub(super) fn is_covered(&self, op: &Op) -> bool {
        let flushed = op.ended < self.lives[op.life as usize].covered;
        let strict = self.durability != Durability::Writeback;
        op.acknowledged && (op.command.fua() || flushed || strict)
    }

    /// Whether a write of an earlier life than the loss of the disk outlived that by itself.
    fn is_published(&self, op: &Op) -> bool {
        let published = op.ended < self.lives[op.life as usize].published;
        let remote = self.durability == Durability::Remote && op.command.fua();
        op.acknowledged && (published || remote)
    }

    pub(super) fn life(&self) -> u32 {
        self.lives.len() as u32 - 1
    }

    pub(super) fn life_began(&self, life: u32) -> Moment {
        self.lives[life as usize].began
    }

    /// The first life from `life` on, but not itself, that began without its predecessors' disk.
    pub(super) fn next_loss(&self, life: u32) -> Option<u32> {
        (life + 1..=self.life()).find(|&later| self.lives[later as usize].disk_lost)
    }

    fn has_cut(&self, lives: Range<u32>) -> bool {
        lives.into_iter().any(|life| self.lives[life as usize].published > Moment::START)
    }

    /// Whether what a life found when it began is still known for certain: a cut was made before
    /// the disk was lost, if it was.
    pub(super) fn outlasts(&self, life: u32) -> bool {
        self.next_loss(life).is_none_or(|loss| self.has_cut(life..loss))
    }

    /// Whether a write of an earlier life is known for certain to be there, or overwritten.
    pub(super) fn survives(&self, op: &Op) -> bool {
        let Some(loss) = self.next_loss(op.life) else { return self.is_covered(op) };
        self.is_published(op) || (self.is_covered(op) && self.has_cut(op.life + 1..loss))
    }

    /// Whether the disk was lost at the end of `life` or later.
    pub(super) fn disk_lost_since(&self, life: u32) -> bool {
        self.lives.iter().skip(life as usize + 1).any(|life| life.disk_lost)
    }

    /// Whether the disk was lost at the end of `from` or later, but before `to` began.
    pub(super) fn disk_lost_between(&self, from: u32, to: u32) -> bool {
        self.lives[from as usize + 1..=to as usize].iter().any(|life| life.disk_lost)
    }

    pub(super) fn commands(&self) -> u64 {
        self.ops.len() as u64
    }

    pub(super) fn describe(&self, found: Content) -> String {
        match found {
            Content::Version { version, .. } => match self.find(version) {
                Some((op, _)) => self.describe_op(op),
                None => format!("version {version}, which nobody wrote"),
            },
            Content::Zero | Content::Foreign | Content::Torn => format!("{found:?}"),
        }
    }

    pub(super) fn describe_op(&self, id: OpId) -> String {
        let op = self.op(id);
        let end = if op.ended == Moment::NEVER { "..".into() } else { op.ended.0.to_string() };
        let fate = match (op.acknowledged, self.is_covered(op)) {
            (false, _) => "not acknowledged",
            (true, false) => "acknowledged",
            (true, true) => "covered",
        };
        let (command, sent) = (op.command, op.invoked.0);
        format!("command {} {command:?} of life {}, at {sent}-{end}, {fate}", id.0, op.life)
    }
}
