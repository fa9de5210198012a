//! The simulated mesh: bounded rings between the cores of one process, with a seeded delay.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::executor::{Executor, ProcessId};
use super::random::Random;
use crate::engine::mesh::{CoreId, Mesh};

/// Messages from one core to another.
struct Ring<M> {
    messages: VecDeque<M>,
    /// How many have arrived. An arrival always brings the oldest, so none overtakes another.
    arrived: usize,
    /// Senders that wait for room.
    waiting: Vec<Waker>,
}

struct Wiring<M> {
    executor: Executor,
    process: ProcessId,
    cores: u16,
    room: usize,
    /// Longest delay of a message, in nanoseconds.
    longest: u64,
    random: Random,
    /// From core `f` to core `t` at `f * cores + t`.
    rings: Vec<Ring<M>>,
    /// The pump of each core, while it waits.
    pumps: Vec<Option<Waker>>,
    /// The peer at which each pump looks next.
    turns: Vec<u16>,
}

impl<M> Wiring<M> {
    fn ring(&mut self, from: CoreId, to: CoreId) -> &mut Ring<M> {
        &mut self.rings[usize::from(from.0) * usize::from(self.cores) + usize::from(to.0)]
    }
}

/// One core's end of a simulated mesh.
pub struct SimMesh<M> {
    wiring: Rc<RefCell<Wiring<M>>>,
    me: CoreId,
}

impl<M> Clone for SimMesh<M> {
    fn clone(&self) -> Self {
        Self { wiring: Rc::clone(&self.wiring), me: self.me }
    }
}

impl<M: 'static> SimMesh<M> {
    /// The ends of a mesh between `cores` cores whose rings hold `room` messages each, which take
    /// up to `longest`.
    #[must_use]
    pub fn connect(
        executor: &Executor,
        process: ProcessId,
        cores: u16,
        room: usize,
        longest: Duration,
    ) -> Vec<Self> {
        assert!(cores > 0 && room > 0, "a mesh has cores, and room for a message");
        let ring = || Ring { messages: VecDeque::new(), arrived: 0, waiting: Vec::new() };
        let wiring = Rc::new(RefCell::new(Wiring {
            executor: executor.clone(),
            process,
            cores,
            room,
            longest: longest.as_nanos() as u64,
            random: Random::stream(executor.random_name(), "mesh"),
            rings: (0..usize::from(cores).pow(2)).map(|_| ring()).collect(),
            pumps: vec![None; usize::from(cores)],
            turns: vec![0; usize::from(cores)],
        }));
        let end = |core| Self { wiring: Rc::clone(&wiring), me: CoreId(core) };
        (0..cores).map(end).collect()
    }

    /// Puts a message into the ring, or gives it back if the ring is full.
    fn offer(&self, to: CoreId, message: M, waker: &Waker) -> Option<M> {
        let mut wiring = self.wiring.borrow_mut();
        let room = wiring.room;
        let longest = wiring.longest;
        let delay = Duration::from_nanos(wiring.random.scaled(200..longest));
        let (executor, process) = (wiring.executor.clone(), wiring.process);
        let ring = wiring.ring(self.me, to);
        if ring.messages.len() >= room {
            ring.waiting.push(waker.clone());
            return Some(message);
        }
        ring.messages.push_back(message);
        drop(wiring);
        let (shared, me) = (Rc::clone(&self.wiring), self.me);
        executor.after(Some(process), delay, move || {
            let mut wiring = shared.borrow_mut();
            wiring.ring(me, to).arrived += 1;
            if let Some(pump) = wiring.pumps[usize::from(to.0)].take() {
                pump.wake();
            }
        });
        None
    }

    fn take(&self) -> Option<M> {
        let mut wiring = self.wiring.borrow_mut();
        let (cores, me) = (wiring.cores, usize::from(self.me.0));
        let first = wiring.turns[me];
        for from in (0..cores).map(|step| (first + step) % cores) {
            let ring = wiring.ring(CoreId(from), self.me);
            if ring.arrived > 0 {
                ring.arrived -= 1;
                ring.waiting.drain(..).for_each(Waker::wake);
                let message = ring.messages.pop_front();
                wiring.turns[me] = (from + 1) % cores;
                return message;
            }
        }
        None
    }
}

impl<M: 'static> Mesh<M> for SimMesh<M> {
    fn me(&self) -> CoreId {
        self.me
    }

    fn cores(&self) -> u16 {
        self.wiring.borrow().cores
    }

    async fn send(&self, to: CoreId, message: M) {
        assert!(to != self.me && to.0 < self.cores(), "a message goes to another core");
        let mut message = Some(message);
        poll_fn(|context| {
            let offered = message.take().expect("polled until it is sent");
            message = self.offer(to, offered, context.waker());
            if message.is_none() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn receive(&self) -> M {
        poll_fn(|context| match self.take() {
            Some(message) => Poll::Ready(message),
            None => {
                let pump = context.waker().clone();
                self.wiring.borrow_mut().pumps[usize::from(self.me.0)] = Some(pump);
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests;
