//! The scheduler of a simulated world: every task of every core of every process on this thread,
//! the next one chosen by the seed.
//!
//! Time is virtual. A step (one poll of one task) takes [`STEP_NANOS`]; when no task is runnable,
//! time jumps to the next event. A world in which nothing is runnable and nothing is awaited, or
//! which uses up its [`Budget`], is stuck, and says so.
//!
//! Tasks belong to processes. [`Executor::kill`] drops all tasks and timers of one process between
//! two steps, as a `kill -9` or a power cut does; what its devices had under way is for the
//! devices to settle.

mod events;
mod reply;
mod stuck;
mod task;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub use events::EventKey;
use events::{Action, Events};
pub use reply::Reply;
use stuck::Why;
pub use stuck::{Stuck, TaskReport};
use task::Tasks;

use super::limits::STEP_NANOS;
use super::random::Random;
use super::runtime::SimRuntime;
use super::trace::Trace;
use crate::engine::mesh::CoreId;

/// One run of a server from its start to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProcessId(u32);

/// How much a run may take before it counts as stuck.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Polls of tasks.
    pub steps: u64,
    /// Virtual time.
    pub span: Duration,
}

#[derive(Clone, Copy)]
struct Process {
    alive: bool,
    started: u64,
}

struct Inner {
    now: Cell<u64>,
    steps: Cell<u64>,
    order: RefCell<Random>,
    names: RefCell<Random>,
    tasks: RefCell<Tasks>,
    events: RefCell<Events>,
    processes: RefCell<Vec<Process>>,
    trace: RefCell<Trace>,
}

/// The scheduler. A handle is cheap to clone.
#[derive(Clone)]
pub struct Executor {
    inner: Rc<Inner>,
}

impl Executor {
    /// An empty world; with `keep_log`, the last lines of its trace are kept as text.
    #[must_use]
    pub fn new(seed: u64, keep_log: bool) -> Self {
        let inner = Inner {
            now: Cell::new(0),
            steps: Cell::new(0),
            order: RefCell::new(Random::stream(seed, "order")),
            names: RefCell::new(Random::stream(seed, "names")),
            tasks: RefCell::new(Tasks::default()),
            events: RefCell::new(Events::default()),
            processes: RefCell::new(Vec::new()),
            trace: RefCell::new(Trace::new(keep_log)),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Starts a process without tasks.
    #[must_use]
    pub fn start_process(&self) -> ProcessId {
        let mut processes = self.inner.processes.borrow_mut();
        processes.push(Process { alive: true, started: self.inner.now.get() });
        ProcessId(processes.len() as u32 - 1)
    }

    /// The runtime of one core of a process.
    #[must_use]
    pub fn runtime(&self, process: ProcessId, core: CoreId) -> SimRuntime {
        SimRuntime::new(self.clone(), process, core)
    }

    /// Starts a task on a core; does nothing for a process that was killed.
    pub fn spawn<F>(&self, process: ProcessId, core: CoreId, future: F)
    where
        F: Future<Output = ()> + 'static,
    {
        if self.is_alive(process) {
            self.inner.tasks.borrow_mut().add(process, core, future);
        }
    }

    /// Whether a process was not yet killed.
    #[must_use]
    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.inner.processes.borrow()[process.0 as usize].alive
    }

    /// Ends a process here and now: its tasks are dropped, its timers and device replies too.
    pub fn kill(&self, process: ProcessId) {
        self.inner.processes.borrow_mut()[process.0 as usize].alive = false;
        self.note(&[0xDEAD, u64::from(process.0)], || format!("kill process {}", process.0));
        // Dropped after the borrows end: destructors may call back into this executor.
        let events = self.inner.events.borrow_mut().remove_owned_by(process);
        let tasks = self.inner.tasks.borrow_mut().remove_owned_by(process);
        drop((events, tasks));
    }

    /// Lets one process stand still, as a host that is suspended does, until another one or none
    /// is named. What its devices have under way goes on.
    pub fn pause(&self, process: Option<ProcessId>) {
        self.inner.tasks.borrow_mut().pause(process);
        let number = process.map_or(u64::MAX, |process| u64::from(process.0));
        self.note(&[0x9A05E, number], || format!("standing still: {process:?}"));
    }

    /// Drops everything: no process lives on. A world that is not cleared keeps itself in memory,
    /// because its tasks hold handles of it.
    pub fn clear(&self) {
        let all = self.inner.processes.borrow().len() as u32;
        (0..all).map(ProcessId).for_each(|process| self.kill(process));
        let events = std::mem::take(&mut *self.inner.events.borrow_mut());
        drop(events);
    }

    /// Runs until `done`, which is asked before every step.
    ///
    /// # Errors
    /// If nothing can run any more, or the budget is used up.
    pub fn run(&self, budget: Budget, mut done: impl FnMut() -> bool) -> Result<(), Stuck> {
        let last_step = self.steps() + budget.steps;
        let last_moment = self.inner.now.get() + budget.span.as_nanos() as u64;
        while !done() {
            if self.steps() >= last_step {
                return Err(self.stuck(Why::Steps));
            }
            if self.inner.now.get() >= last_moment {
                return Err(self.stuck(Why::Time));
            }
            if !self.step() {
                return Err(self.stuck(Why::Idle));
            }
        }
        Ok(())
    }

    /// Polls one runnable task, after moving time to the next event if there is none. Returns
    /// whether anything happened.
    fn step(&self) -> bool {
        self.fire_due();
        loop {
            let chosen = self.inner.tasks.borrow_mut().take_runnable(&self.inner.order);
            if let Some((id, mut running)) = chosen {
                self.inner.trace.borrow_mut().fold(id);
                self.inner.steps.set(self.inner.steps.get() + 1);
                self.inner.now.set(self.inner.now.get() + STEP_NANOS);
                match running.poll() {
                    Poll::Pending => self.inner.tasks.borrow_mut().put_back(id, running),
                    Poll::Ready(()) => self.inner.tasks.borrow_mut().forget(id),
                }
                return true;
            }
            let Some(next) = self.inner.events.borrow().next_time() else { return false };
            self.inner.now.set(self.inner.now.get().max(next));
            self.fire_due();
        }
    }

    fn fire_due(&self) {
        loop {
            let due = self.inner.events.borrow_mut().take_due(self.inner.now.get());
            match due {
                None => return,
                Some(Action::Wake(waker)) => waker.wake(),
                Some(Action::Call(call)) => call(),
            }
        }
    }

    /// Does something `delay` from now. With an owner, only if that process still lives.
    pub fn after(
        &self,
        owner: Option<ProcessId>,
        delay: Duration,
        call: impl FnOnce() + 'static,
    ) -> EventKey {
        self.schedule(owner, delay, Action::Call(Box::new(call)))
    }

    /// Wakes a task of `owner` `delay` from now.
    pub(super) fn wake_after(&self, owner: ProcessId, delay: Duration, waker: Waker) -> EventKey {
        self.schedule(Some(owner), delay, Action::Wake(waker))
    }

    fn schedule(&self, owner: Option<ProcessId>, delay: Duration, action: Action) -> EventKey {
        let at = self.inner.now.get() + delay.as_nanos() as u64;
        self.inner.events.borrow_mut().add(at, owner, action)
    }

    pub(super) fn cancel(&self, key: EventKey) {
        let removed = self.inner.events.borrow_mut().remove(key);
        drop(removed);
    }

    /// A device at work: `call` happens `delay` from now, whether or not somebody still waits for
    /// the reply, unless `process` is killed before.
    pub fn device<T: 'static>(
        &self,
        process: ProcessId,
        delay: Duration,
        call: impl FnOnce() -> T + 'static,
    ) -> Reply<T> {
        let (reply, answer) = Reply::new();
        self.after(Some(process), delay, move || answer.give(call()));
        reply
    }

    /// Runs a future as a task of `process` until it ends.
    ///
    /// # Errors
    /// If the world is stuck before that.
    pub fn block_on<T: 'static>(
        &self,
        process: ProcessId,
        budget: Budget,
        future: impl Future<Output = T> + 'static,
    ) -> Result<T, Stuck> {
        let result = Rc::new(RefCell::new(None));
        let place = Rc::clone(&result);
        self.spawn(process, CoreId(0), async move {
            let value = future.await;
            *place.borrow_mut() = Some(value);
        });
        self.run(budget, || result.borrow().is_some())?;
        Ok(result.take().expect("the run ended because the result is there"))
    }

    /// Virtual time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.inner.now.get())
    }

    /// Virtual time since a process began.
    #[must_use]
    pub fn age(&self, process: ProcessId) -> Duration {
        let started = self.inner.processes.borrow()[process.0 as usize].started;
        Duration::from_nanos(self.inner.now.get() - started)
    }

    /// Steps taken so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.inner.steps.get()
    }

    /// 64 bits for unique names, different in every draw of this world.
    #[must_use]
    pub fn random_name(&self) -> u64 {
        self.inner.names.borrow_mut().bits()
    }

    /// Records something that happened: numbers for the hash, text for the log.
    pub fn note(&self, words: &[u64], text: impl FnOnce() -> String) {
        let now = self.inner.now.get();
        let mut trace = self.inner.trace.borrow_mut();
        trace.fold(now);
        words.iter().for_each(|&word| trace.fold(word));
        trace.say(|| format!("{:>12.3} ms  {}", now as f64 / 1e6, text()));
    }

    /// The hash of all that happened so far.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.inner.trace.borrow().hash()
    }

    /// The last lines of the log, if it is kept.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.inner.trace.borrow().lines()
    }

    fn stuck(&self, why: Why) -> Stuck {
        let tasks = self.inner.tasks.borrow().report();
        Stuck { why, steps: self.steps(), now: self.now(), tasks }
    }
}

#[cfg(test)]
mod tests;
