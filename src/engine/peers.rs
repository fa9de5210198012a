//! Calls from core to core over the mesh.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::error::VolumeError;
use super::mesh::{CoreId, Mesh};
use super::message::{Answer, Ask, ShardAsk, Wire};
use super::signal::Signal;

/// What a call may have to wait for. Each class has calls of its own to give out, so that no
/// call can hold up the one that it waits for: a write waits for log space, which comes from the
/// calls that make a cut, which a drain of the whole volume waits for. Reads and flushes wait for
/// none of these, and must not stand behind writes that an outage of the store holds up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// Waits for log space, which [`Class::Cut`] gives back.
    Write,
    /// Waits for the disk, or as long for the store as a read may.
    Read,
    /// Waits for disk and store only.
    Cut,
    /// Waits for [`Class::Cut`].
    Volume,
}

impl Class {
    const COUNT: usize = 4;

    fn of(ask: &Ask) -> Self {
        match ask {
            Ask::Shard(_, ask) => match ask {
                ShardAsk::Write { .. } | ShardAsk::Punch { .. } => Self::Write,
                ShardAsk::Read(_)
                | ShardAsk::Sync(_)
                | ShardAsk::LogCut(_)
                | ShardAsk::Status(_) => Self::Read,
                ShardAsk::Seal(_)
                | ShardAsk::Published(..)
                | ShardAsk::Compact(..)
                | ShardAsk::Inherited(..)
                | ShardAsk::Fold
                | ShardAsk::Folded
                | ShardAsk::Count
                | ShardAsk::Stopped
                | ShardAsk::Close => Self::Cut,
            },
            Ask::OpenShard(_) | Ask::Keep(_) | Ask::Dirty { .. } => Self::Cut,
            Ask::Open(..)
            | Ask::OpenAs(..)
            | Ask::View(_)
            | Ask::ViewAs(..)
            | Ask::Drain(_)
            | Ask::Snapshot(..)
            | Ask::Resize(..)
            | Ask::Coming(_)
            | Ask::SettleVolume(_)
            | Ask::Settle(_)
            | Ask::Hold(..)
            | Ask::NameCut(..)
            | Ask::LetGo(_)
            | Ask::TakeBack(..)
            | Ask::Renew(_)
            | Ask::Confirm(_)
            | Ask::Collect(_)
            | Ask::Flatten(_)
            | Ask::Flattening(_)
            | Ask::Count(_)
            | Ask::Close(_) => Self::Volume,
        }
    }
}

/// Calls that a core may have under way at another one, of each class; with their answers they
/// fit into a ring.
#[derive(Clone, Copy)]
struct Most([usize; Class::COUNT]);

/// Reads and flushes that a core may have under way at another one over a ring of so many messages.
#[must_use]
pub fn reads_at_once(messages: usize) -> usize {
    (messages / 8).max(1)
}

impl Most {
    fn of_ring(messages: usize) -> Self {
        let (reads, few) = (reads_at_once(messages), (messages / 16).max(1));
        let writes = (messages / 2).saturating_sub(reads + 2 * few).max(1);
        let most = Self([writes, reads, few, few]);
        assert!(2 * most.0.iter().sum::<usize>() <= messages, "a ring of {messages} is too short");
        most
    }
}

/// Result of a call.
pub type Outcome = Result<Answer, VolumeError>;

enum Slot {
    Free,
    Waiting(Option<Waker>),
    Arrived(Outcome),
    /// Nobody waits for the answer any more.
    Abandoned,
}

#[derive(Default)]
struct Calls {
    slots: Vec<(Slot, CoreId, Class)>,
    free: Vec<u32>,
    under_way: Vec<[usize; Class::COUNT]>,
}

/// One core's calls to the others.
pub struct Peers<X> {
    mesh: X,
    most: Most,
    calls: Rc<RefCell<Calls>>,
    room: Rc<Signal>,
}

impl<X: Mesh<Wire>> Peers<X> {
    /// Calls over this end of a mesh whose rings hold `ring_messages`.
    pub fn new(mesh: X, ring_messages: usize) -> Self {
        let most = Most::of_ring(ring_messages);
        let under_way = vec![[0; Class::COUNT]; usize::from(mesh.cores())];
        let calls = Calls { under_way, ..Calls::default() };
        Self { mesh, most, calls: Rc::new(RefCell::new(calls)), room: Rc::default() }
    }

    /// The core that this end belongs to.
    pub fn me(&self) -> CoreId {
        self.mesh.me()
    }

    /// Number of cores.
    pub fn cores(&self) -> u16 {
        self.mesh.cores()
    }

    /// Sends a question to another core; waits while too many are under way there. The answer is
    /// what the returned call gives.
    pub async fn start(&self, to: CoreId, ask: Ask) -> Call {
        assert_ne!(to, self.me(), "a core does not call itself");
        let class = Class::of(&ask);
        let most = self.most.0[class as usize];
        let token = self.room.until(|| self.calls.borrow_mut().begin(to, class, most)).await;
        let call = Call { token, calls: self.calls.clone(), one_thread: PhantomData };
        self.mesh.send(to, Wire::Ask { from: self.me(), token, ask }).await;
        call
    }

    /// Sends an answer. Never waits for long: the limit on calls keeps room in the ring.
    pub async fn answer(&self, to: CoreId, token: u32, answer: Outcome) {
        self.mesh.send(to, Wire::Answer { token, answer }).await;
    }

    /// Takes the next question, having delivered the answers that came before it.
    pub async fn next_ask(&self) -> (CoreId, u32, Ask) {
        loop {
            match self.mesh.receive().await {
                Wire::Ask { from, token, ask } => return (from, token, ask),
                Wire::Answer { token, answer } => {
                    self.calls.borrow_mut().arrive(token, answer);
                    self.room.notify();
                }
            }
        }
    }
}

impl Calls {
    fn begin(&mut self, to: CoreId, class: Class, most: usize) -> Option<u32> {
        let count = &mut self.under_way[usize::from(to.0)][class as usize];
        if *count == most {
            return None;
        }
        *count += 1;
        let waiting = (Slot::Waiting(None), to, class);
        Some(match self.free.pop() {
            Some(token) => {
                self.slots[token as usize] = waiting;
                token
            }
            None => {
                self.slots.push(waiting);
                self.slots.len() as u32 - 1
            }
        })
    }

    fn arrive(&mut self, token: u32, answer: Outcome) {
        let (slot, to, class) = &mut self.slots[token as usize];
        self.under_way[usize::from(to.0)][*class as usize] -= 1;
        match std::mem::replace(slot, Slot::Arrived(answer)) {
            Slot::Waiting(waker) => waker.into_iter().for_each(Waker::wake),
            Slot::Abandoned => self.release(token),
            Slot::Free | Slot::Arrived(_) => unreachable!("each question is answered once"),
        }
    }

    fn release(&mut self, token: u32) {
        self.slots[token as usize].0 = Slot::Free;
        self.free.push(token);
    }
}

/// A question under way; gives its answer. Dropping it forgets the answer, not the deed.
pub struct Call {
    token: u32,
    calls: Rc<RefCell<Calls>>,
    one_thread: PhantomData<*const ()>,
}

impl Future for Call {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut calls = self.calls.borrow_mut();
        let slot = &mut calls.slots[self.token as usize].0;
        match slot {
            Slot::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Slot::Arrived(_) => match std::mem::replace(slot, Slot::Abandoned) {
                Slot::Arrived(outcome) => Poll::Ready(outcome),
                _ => unreachable!("it was just looked at"),
            },
            Slot::Free | Slot::Abandoned => panic!("a call is polled until it is ready, not on"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.calls.borrow_mut();
        match &mut calls.slots[self.token as usize].0 {
            slot @ Slot::Waiting(_) => *slot = Slot::Abandoned,
            // Taken by `poll`, or arrived and not wanted.
            Slot::Abandoned | Slot::Arrived(_) => calls.release(self.token),
            Slot::Free => unreachable!("a call releases its slot once"),
        }
    }
}
