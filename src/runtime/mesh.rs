//! The rings between cores: one bounded single-producer single-consumer ring per ordered pair, and
//! one bell per core.
//!
//! Waking a core costs its peer a system call, and glommio allows only few tasks to hold wakers of
//! other threads. So each core has a single task, the bell task, that peers ever wake; it wakes
//! whoever waits on its own core. A peer rings only when that core said that it is about to wait.
//!
//! # Why no wake is lost
//!
//! A receiver that found all rings empty (1) stores `hungry = true`, (2) executes a sequentially
//! consistent fence, (3) looks into all rings again, and only then waits. A sender (a) pushes,
//! (b) executes such a fence, (c) reads `hungry`, and rings the bell if it is true. All such fences
//! have one total order. If (2) comes before (b), then (c) sees the store of (1) and the sender
//! rings. If (b) comes before (2), then (3) sees the push of (a) and the receiver does not wait.
//! Of several senders that see `hungry`, the one whose swap returns true rings.
//!
//! A ring may come late, for a message that the receiver has found by itself. It took `hungry` back
//! all the same, while the receiver may wait again. So the bell task wakes whoever waits, messages
//! or not, and they store their flag again.
//!
//! Space is the same with roles exchanged: a sender that found its ring full stores
//! `starved = true`, fences, and tries once more before it waits; the receiver pops, fences, and
//! reads `starved`. It does so not after each pop but when the ring is empty and each
//! [`MESH_SPACE_STEP`] pops. A sender starves only on a full ring, from which at least one such
//! moment lies ahead.
//!
//! A ring of the bell itself is an [`AtomicWaker`]: either the ringing sees the bell task's waker,
//! or the registering that comes later sees what was done before the ringing, and the bell task
//! looks at the rings after registering.

use super::heartbeat::touch;
use super::limits::{MESH_RECEIVE_BURST, MESH_RING_SLOTS, MESH_SPACE_STEP};
use crate::engine::mesh::{CoreId, Mesh};
use atomic_waker::AtomicWaker;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll, Waker};
use wal::runtime::Runtime;

/// How peers get the attention of one core.
#[derive(Debug, Default)]
struct Bell {
    /// The core is about to wait for messages.
    hungry: AtomicBool,
    /// The bell task of the core.
    task: AtomicWaker,
}

impl Bell {
    /// Wakes the core if it waits for messages. Call after a push.
    fn ring_if_hungry(&self) {
        fence(Ordering::SeqCst);
        if self.hungry.load(Ordering::Relaxed) && self.hungry.swap(false, Ordering::Relaxed) {
            self.task.wake();
        }
    }
}

/// The sending side of a ring.
struct Outlet<M> {
    ring: RefCell<Producer<M>>,
    starved: Arc<AtomicBool>,
    /// The receiver's.
    bell: Arc<Bell>,
    /// Tasks of this core that wait for space.
    waiting: RefCell<Vec<Waker>>,
}

impl<M> Outlet<M> {
    /// Puts the message into the ring if there is room; a core that has ended takes everything.
    fn try_send(&self, message: &mut Option<M>) -> bool {
        let mut ring = self.ring.borrow_mut();
        match ring.push(message.take().expect("a send is polled until it is done")) {
            Ok(()) => true,
            Err(PushError::Full(_)) if ring.is_abandoned() => true,
            Err(PushError::Full(back)) => {
                *message = Some(back);
                false
            }
        }
    }

    fn poll_send(&self, message: &mut Option<M>, cx: &Context<'_>) -> Poll<()> {
        if !self.try_send(message) {
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            self.starved.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if !self.try_send(message) {
                return Poll::Pending;
            }
        }
        self.bell.ring_if_hungry();
        Poll::Ready(())
    }
}

/// The receiving side of a ring.
struct Inlet<M> {
    ring: RefCell<Consumer<M>>,
    starved: Arc<AtomicBool>,
    /// The sender's.
    bell: Arc<Bell>,
    /// Messages taken since the last look for a starved sender.
    taken: Cell<u32>,
}

impl<M> Inlet<M> {
    fn pop(&self) -> Option<M> {
        let mut ring = self.ring.borrow_mut();
        let message = ring.pop().ok()?;
        self.taken.set(self.taken.get() + 1);
        if self.taken.get() >= MESH_SPACE_STEP || ring.is_empty() {
            self.taken.set(0);
            self.feed_starved();
        }
        Some(message)
    }

    /// Wakes the sender if it waits for space. Call after a pop.
    fn feed_starved(&self) {
        fence(Ordering::SeqCst);
        if self.starved.load(Ordering::Relaxed) && self.starved.swap(false, Ordering::Relaxed) {
            self.bell.task.wake();
        }
    }
}

/// One side of a ring that has not found its core yet.
struct Loose<R> {
    ring: R,
    /// The sender waits for space.
    starved: Arc<AtomicBool>,
    /// The other side's.
    bell: Arc<Bell>,
}

/// One core's end of the mesh before it has arrived there.
pub struct MeshEnd<M> {
    me: CoreId,
    bell: Arc<Bell>,
    outlets: Vec<Option<Loose<Producer<M>>>>,
    inlets: Vec<Option<Loose<Consumer<M>>>>,
}

impl<M: Send + 'static> MeshEnd<M> {
    /// Takes the end into use on the core that this is called on: starts its bell task, which
    /// ends with the last handle.
    pub fn bind(self, runtime: &impl Runtime) -> RingMesh<M> {
        let outlet = |end: Loose<_>| Outlet {
            ring: RefCell::new(end.ring),
            starved: end.starved,
            bell: end.bell,
            waiting: RefCell::default(),
        };
        let inlet = |end: Loose<_>| Inlet {
            ring: RefCell::new(end.ring),
            starved: end.starved,
            bell: end.bell,
            taken: Cell::new(0),
        };
        let core = Rc::new(Core {
            me: self.me,
            outlets: self.outlets.into_iter().map(|end| end.map(outlet)).collect(),
            inlets: self.inlets.into_iter().map(|end| end.map(inlet)).collect(),
            next: Cell::new(0),
            burst: Cell::new(0),
            receiver: RefCell::new(None),
            bell: self.bell,
        });
        runtime.spawn(answer_bell(Arc::clone(&core.bell), Rc::downgrade(&core)));
        RingMesh { core }
    }
}

impl<M> fmt::Debug for MeshEnd<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshEnd").field("me", &self.me).finish_non_exhaustive()
    }
}

/// What all handles on one core share.
struct Core<M> {
    me: CoreId,
    /// By receiving core; none to ourselves.
    outlets: Vec<Option<Outlet<M>>>,
    /// By sending core.
    inlets: Vec<Option<Inlet<M>>>,
    /// The inlet whose turn it is.
    next: Cell<usize>,
    /// Messages taken without a pause.
    burst: Cell<u32>,
    /// The task that waits for messages.
    receiver: RefCell<Option<Waker>>,
    bell: Arc<Bell>,
}

impl<M> Core<M> {
    /// One message, from the peers in turn.
    fn pop(&self) -> Option<M> {
        let count = self.inlets.len();
        let first = self.next.get();
        (0..count).map(|step| (first + step) % count).find_map(|index| {
            let message = self.inlets[index].as_ref()?.pop()?;
            self.next.set((index + 1) % count);
            Some(message)
        })
    }

    fn poll_receive(&self, cx: &Context<'_>) -> Poll<M> {
        if self.burst.get() >= MESH_RECEIVE_BURST {
            // A pump that never waits would starve the other tasks of its core.
            self.burst.set(0);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(message) = self.pop() {
            self.burst.set(self.burst.get() + 1);
            touch();
            return Poll::Ready(message);
        }
        self.burst.set(0);
        *self.receiver.borrow_mut() = Some(cx.waker().clone());
        self.bell.hungry.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let Some(message) = self.pop() else { return Poll::Pending };
        self.bell.hungry.store(false, Ordering::Relaxed);
        *self.receiver.borrow_mut() = None;
        touch();
        Poll::Ready(message)
    }

    /// Wakes all tasks of this core that wait. Whoever finds that the wait is not over says again
    /// that it waits: the ring that brought us here took that back.
    fn wake_waiting(&self) {
        if let Some(waker) = self.receiver.borrow_mut().take() {
            waker.wake();
        }
        for outlet in self.outlets.iter().flatten() {
            outlet.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        }
    }
}

impl<M> Drop for Core<M> {
    fn drop(&mut self) {
        // Whoever waits for space in our inlets learns that nobody will read them.
        for inlet in std::mem::take(&mut self.inlets).into_iter().flatten() {
            drop(inlet.ring);
            inlet.bell.task.wake();
        }
        self.bell.task.wake();
    }
}

/// The bell task: the only one of its core that other threads wake.
async fn answer_bell<M>(bell: Arc<Bell>, core: Weak<Core<M>>) {
    poll_fn(|cx| {
        bell.task.register(cx.waker());
        match core.upgrade() {
            Some(core) => {
                core.wake_waiting();
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    })
    .await;
    // Not to leave a waker of an executor that may end with the peers.
    drop(bell.task.take());
}

/// One core's end of the mesh in use: a [`Mesh`] of rings. A message to a core that has ended is
/// dropped.
pub struct RingMesh<M> {
    core: Rc<Core<M>>,
}

impl<M> Clone for RingMesh<M> {
    fn clone(&self) -> Self {
        Self { core: Rc::clone(&self.core) }
    }
}

impl<M> fmt::Debug for RingMesh<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingMesh").field("me", &self.core.me).finish_non_exhaustive()
    }
}

impl<M: Send + 'static> RingMesh<M> {
    /// The ends of a mesh of `cores` cores, in core order, each to be moved to its executor.
    ///
    /// # Panics
    /// Without any core.
    #[must_use]
    pub fn build(cores: u16) -> Vec<MeshEnd<M>> {
        Self::build_with_slots(cores, MESH_RING_SLOTS)
    }

    /// As [`Self::build`], with rings of `slots` messages.
    #[must_use]
    pub fn build_with_slots(cores: u16, slots: usize) -> Vec<MeshEnd<M>> {
        assert!(cores > 0 && slots > 0, "{cores} cores, {slots} slots");
        let end = |me| MeshEnd {
            me: CoreId(me),
            bell: Arc::default(),
            outlets: (0..cores).map(|_| None).collect(),
            inlets: (0..cores).map(|_| None).collect(),
        };
        let mut ends: Vec<_> = (0..cores).map(end).collect();
        let count = usize::from(cores);
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            if from != to {
                let (ring, read) = RingBuffer::new(slots);
                let starved = Arc::new(AtomicBool::new(false));
                let bell = Arc::clone(&ends[from].bell);
                let inlet = Loose { ring: read, starved: Arc::clone(&starved), bell };
                let bell = Arc::clone(&ends[to].bell);
                ends[from].outlets[to] = Some(Loose { ring, starved, bell });
                ends[to].inlets[from] = Some(inlet);
            }
        }
        ends
    }
}

impl<M: Send + 'static> Mesh<M> for RingMesh<M> {
    fn me(&self) -> CoreId {
        self.core.me
    }

    fn cores(&self) -> u16 {
        u16::try_from(self.core.outlets.len()).expect("built from a u16")
    }

    async fn send(&self, to: CoreId, message: M) {
        let outlet = self.core.outlets[usize::from(to.0)].as_ref();
        let outlet = outlet.expect("a core does not send to itself");
        let mut message = Some(message);
        poll_fn(|cx| outlet.poll_send(&mut message, cx)).await;
    }

    async fn receive(&self) -> M {
        poll_fn(|cx| self.core.poll_receive(cx)).await
    }
}

#[cfg(test)]
mod tests;
