//! Every command of a world, with the moments at which it was sent and answered.

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
}

/// One command and its fate.
pub(super) struct Op {
    pub(super) command: Command,
    pub(super) life: u32,
    pub(super) invoked: Moment,
    /// Its reply, or the crash; [`Moment::NEVER`] while it may still take effect.
    pub(super) ended: Moment,
    pub(super) acknowledged: bool,
}

/// One run of the process.
struct Life {
    began: Moment,
    /// Writes acknowledged before this are covered by a flush.
    covered: Moment,
    disk_lost: bool,
}

/// All commands.
pub(super) struct Log {
    clock: u64,
    ops: Vec<Op>,
    lives: Vec<Life>,
    acks_are_durable: bool,
}

impl Log {
    pub(super) fn new(acks_are_durable: bool) -> Self {
        let life = Life { began: Moment::START, covered: Moment::START, disk_lost: false };
        Self { clock: 0, ops: Vec::new(), lives: vec![life], acks_are_durable }
    }

    fn tick(&mut self) -> Moment {
        self.clock += 1;
        Moment(self.clock)
    }

    pub(super) fn invoke(&mut self, command: Command) -> OpId {
        let (invoked, life) = (self.tick(), self.life());
        let op = Op { command, life, invoked, ended: Moment::NEVER, acknowledged: false };
        self.ops.push(op);
        OpId(self.ops.len() as u32 - 1)
    }

    pub(super) fn succeed(&mut self, op: OpId) {
        let now = self.tick();
        let life = self.lives.last_mut().expect("there is always a life");
        let op = &mut self.ops[op.0 as usize];
        assert_eq!(op.ended, Moment::NEVER, "one reply to each command");
        (op.ended, op.acknowledged) = (now, true);
        if op.command == Command::Flush {
            life.covered = life.covered.max(op.invoked);
        }
    }

    /// An error leaves the command open until the crash: it may still take effect.
    pub(super) fn fail(&mut self, op: OpId) {
        assert_eq!(self.ops[op.0 as usize].ended, Moment::NEVER, "one reply to each command");
        self.tick();
    }

    pub(super) fn crash(&mut self, disk_lost: bool) {
        let now = self.tick();
        let open = self.ops.iter_mut().filter(|op| op.ended == Moment::NEVER);
        open.for_each(|op| op.ended = now);
        self.lives.push(Life { began: now, covered: Moment::START, disk_lost });
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
        let fua = match op.command {
            Command::Write { fua, .. } | Command::Zero { fua, .. } => fua,
            Command::Read { .. } | Command::Flush => false,
        };
        let flushed = op.ended < self.lives[op.life as usize].covered;
        op.acknowledged && (fua || flushed || self.acks_are_durable)
    }

    pub(super) fn life(&self) -> u32 {
        self.lives.len() as u32 - 1
    }

    pub(super) fn life_began(&self, life: u32) -> Moment {
        self.lives[life as usize].began
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
