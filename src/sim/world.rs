//! One world: a disk, a store, a judge, and a subject that lives and dies several times.

mod copies;
mod count;
mod life;
mod resize;
mod rival;
mod rot;
mod script;
mod trigger;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use chunk::Durability;

use super::disk::Drive;
use super::executor::{Executor, Stuck};
use super::judge::{BLOCK_SECTORS, Command, Judge, Violation};
use super::random::Random;
use super::scenario::Scenario;
use super::store::Bucket;
use super::subject::Subject;
pub use rot::{Damage, Outcome, Specimen};
pub use script::{Calls, Script, run_script};

/// What a world found wrong.
#[derive(Debug)]
pub enum Fault {
    /// A sector holds what it may not hold.
    Violation(Violation),
    /// A command was refused without a reason.
    Refused {
        /// The command.
        command: Command,
        /// The subject's error.
        error: String,
    },
    /// The volume did not open though nothing was wrong with disk and store.
    Unopened(String),
    /// The volume did not close though nothing was wrong with disk and store.
    Unclosed(String),
    /// The check of an open volume found something.
    Unclean(String),
    /// The local disk holds more than its cap.
    Overfull {
        /// Bytes in files.
        used: u64,
        /// Bytes that there may be.
        most: u64,
    },
    /// A host that lost its volume did what it must not.
    Trespass(String),
    /// A read took longer than it may.
    Late {
        /// The command.
        command: Command,
        /// Virtual time that it took.
        span: Duration,
    },
    /// A command was acknowledged after a write or sync of the log had failed.
    Acknowledged {
        /// The command.
        command: Command,
    },
    /// An opening that refuses what is damaged does not say where.
    Unnamed {
        /// What is damaged.
        damaged: String,
        /// The subject's error.
        error: String,
    },
    /// Memory is over its cap.
    Greedy(String),
    /// No progress.
    Stuck(Stuck),
    /// The subject or the simulation panicked.
    Panic(String),
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Stuck> for Fault {
    fn from(stuck: Stuck) -> Self {
        Self::Stuck(stuck)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Refused { command, error } => {
                write!(f, "refused without a reason: {command:?}: {error}")
            }
            Self::Unopened(error) => write!(f, "the volume does not open: {error}"),
            Self::Unclosed(error) => write!(f, "the volume does not close: {error}"),
            Self::Unclean(error) => write!(f, "the check failed: {error}"),
            Self::Overfull { used, most } => {
                write!(f, "{used} bytes are on the local disk, {most} at most")
            }
            Self::Trespass(deed) => write!(f, "a host that had lost its volume {deed}"),
            Self::Late { command, span } => write!(f, "{command:?} took {span:?}"),
            Self::Acknowledged { command } => {
                write!(f, "{command:?} was acknowledged after a write or sync had failed")
            }
            Self::Unnamed { damaged, error } => {
                write!(f, "{damaged} is damaged, and the refusal does not say so: {error}")
            }
            Self::Greedy(what) => write!(f, "too much memory: {what}"),
            Self::Stuck(stuck) => stuck.fmt(f),
            Self::Panic(message) => write!(f, "panic: {message}"),
        }
    }
}

/// A world that ended badly.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong.
    pub fault: Fault,
    /// The life in which it was found, from 0.
    pub life: u32,
    /// Steps taken.
    pub steps: u64,
    /// The scenario, with the seed.
    pub scenario: Scenario,
    /// The last lines of the log, if it was kept.
    pub log: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, life, steps, scenario, log } = self;
        log.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "{scenario:#?}")?;
        write!(f, "seed {} failed in life {life}, at step {steps}: {fault}", scenario.seed)
    }
}

/// A world that ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Crashes (and closings) that were recovered from and judged.
    pub cycles: u64,
    /// Commands sent.
    pub commands: u64,
    /// Steps taken.
    pub steps: u64,
    /// The hash of all that happened.
    pub trace: u64,
}

/// Runs the world of a seed; with `keep_log`, a failure brings the last lines of its log.
///
/// # Errors
/// If a promise was broken.
pub fn run<S: Subject>(seed: u64, keep_log: bool) -> Result<Report, Box<Failure>> {
    run_scenario::<S>(Scenario::draw(seed), keep_log)
}

/// Runs the world of a scenario, drawn or made by hand.
///
/// # Errors
/// If a promise was broken.
pub fn run_scenario<S: Subject>(
    scenario: Scenario,
    keep_log: bool,
) -> Result<Report, Box<Failure>> {
    let mut world = World::<S>::new(scenario, keep_log);
    match world.attempt(World::run) {
        Ok(()) => Ok(Report {
            cycles: world.cycles,
            commands: world.judge.borrow().commands(),
            steps: world.executor.steps(),
            trace: world.executor.trace_hash(),
        }),
        Err(failure) => {
            // Destructors of a subject that panicked may panic again.
            if matches!(failure.fault, Fault::Panic(_)) {
                std::mem::forget(world);
            }
            Err(failure)
        }
    }
}
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref().copied()).unwrap_or("without a message").to_owned()
}

struct World<S: Subject> {
    scenario: Rc<Scenario>,
    executor: Executor,
    drive: Drive,
    bucket: Bucket,
    judge: Rc<RefCell<Judge>>,
    random: Random,
    /// Draws what rots.
    decay: Random,
    life: u32,
    cycles: u64,
    /// Whether the volume was open once.
    created: bool,
    copies: Rc<RefCell<copies::Copies>>,
    /// The host that another one replaced, until it comes back.
    replaced: Option<rival::Replaced>,
    /// Whether nothing slows down the cuts of this life.
    healthy: bool,
    subject: std::marker::PhantomData<S>,
}

impl<S: Subject> World<S> {
    fn new(scenario: Scenario, keep_log: bool) -> Self {
        let seed = scenario.seed;
        let executor = Executor::new(seed, keep_log);
        let durability = match S::PROMISES {
            true => scenario.tuning.promises.durability,
            false => Durability::Writeback,
        };
        let blocks = scenario.volume_blocks;
        let judge = Judge::new(seed, &scenario.sectors(), durability);
        let judge = judge.of_size(blocks * BLOCK_SECTORS);
        Self {
            drive: Drive::new(&executor, seed),
            bucket: Bucket::new(&executor, seed),
            judge: Rc::new(RefCell::new(judge)),
            random: Random::stream(seed, "world"),
            decay: Random::stream(seed, "decay"),
            scenario: Rc::new(scenario),
            executor,
            life: 0,
            cycles: 0,
            created: false,
            copies: Rc::default(),
            replaced: None,
            healthy: false,
            subject: std::marker::PhantomData,
        }
    }

    /// Does something that may find a fault, or panic.
    fn attempt<T>(
        &mut self,
        deed: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Box<Failure>> {
        let ended = catch_unwind(AssertUnwindSafe(|| deed(self)));
        let fault = match ended {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(fault)) => fault,
            Err(payload) => Fault::Panic(message_of(&*payload)),
        };
        Err(Box::new(Failure {
            fault,
            life: self.life,
            steps: self.executor.steps(),
            scenario: Scenario::clone(&self.scenario),
            log: self.executor.log(),
        }))
    }

    fn run(&mut self) -> Result<(), Fault> {
        for _ in 0..self.scenario.crashes {
            self.live(life::End::Crash)?;
        }
        self.live(life::End::Close)?;
        self.live(life::End::Verify)
    }
}

impl<S: Subject> Drop for World<S> {
    fn drop(&mut self) {
        self.executor.clear();
    }
}
