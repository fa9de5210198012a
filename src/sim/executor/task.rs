//! The tasks of a world, and which of them can run.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::stuck::TaskReport;
use super::{ProcessId, Random};
use crate::engine::mesh::CoreId;

type Body = Pin<Box<dyn Future<Output = ()>>>;

/// Numbers of the tasks that were woken, in the order of their waking.
type Queue = Arc<Mutex<Vec<u64>>>;

/// Wakers must be `Send` by the language's rules, so the queue is locked, by one thread only.
struct Alarm {
    id: u64,
    queued: AtomicBool,
    queue: Queue,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}

struct Task {
    process: ProcessId,
    core: CoreId,
    what: &'static str,
    polls: u64,
    body: Option<Body>,
    alarm: Arc<Alarm>,
    waker: Waker,
}

/// A task taken out for one poll.
pub(super) struct Running {
    body: Body,
    waker: Waker,
}

impl Running {
    pub(super) fn poll(&mut self) -> Poll<()> {
        self.body.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

/// All tasks, by number.
#[derive(Default)]
pub(super) struct Tasks {
    all: BTreeMap<u64, Task>,
    started: u64,
    queue: Queue,
    /// The process that stands still, and its tasks that were woken meanwhile.
    paused: Option<ProcessId>,
    held: Vec<u64>,
}

impl Tasks {
    pub(super) fn add<F>(&mut self, process: ProcessId, core: CoreId, future: F)
    where
        F: Future<Output = ()> + 'static,
    {
        self.started += 1;
        let id = self.started;
        let queue = Arc::clone(&self.queue);
        let alarm = Arc::new(Alarm { id, queued: AtomicBool::new(false), queue });
        alarm.wake_by_ref();
        let waker = Waker::from(Arc::clone(&alarm));
        let (what, body) = (type_name::<F>(), Some(Box::pin(future) as Body));
        self.all.insert(id, Task { process, core, what, polls: 0, body, alarm, waker });
    }

    /// Takes one of the runnable tasks out, any of them with equal chance.
    pub(super) fn take_runnable(&mut self, order: &RefCell<Random>) -> Option<(u64, Running)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !queue.is_empty() {
            let index = order.borrow_mut().below(queue.len() as u64) as usize;
            let id = queue.swap_remove(index);
            // Wakers outlive their tasks: a number without a task is no news.
            let Some(task) = self.all.get_mut(&id) else { continue };
            if self.paused == Some(task.process) {
                self.held.push(id);
                continue;
            }
            task.alarm.queued.store(false, Ordering::Relaxed);
            task.polls += 1;
            let body = task.body.take().expect("one poll at a time");
            return Some((id, Running { body, waker: task.waker.clone() }));
        }
        None
    }

    /// Lets one process stand still, or none.
    pub(super) fn pause(&mut self, process: Option<ProcessId>) {
        self.paused = process;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.append(&mut self.held);
    }

    pub(super) fn put_back(&mut self, id: u64, running: Running) {
        self.all.get_mut(&id).expect("tasks end only between steps").body = Some(running.body);
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.all.remove(&id);
    }

    pub(super) fn remove_owned_by(&mut self, process: ProcessId) -> Vec<Body> {
        let owned = self.all.extract_if(.., |_, task| task.process == process);
        owned.filter_map(|(_, task)| task.body).collect()
    }

    pub(super) fn report(&self) -> Vec<TaskReport> {
        let of = |task: &Task| TaskReport {
            process: task.process,
            core: task.core,
            what: task.what,
            polls: task.polls,
        };
        self.all.values().map(of).collect()
    }
}
