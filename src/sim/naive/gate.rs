//! One at a time, in the order of arrival.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A lock whose holder may wait for the disk.
#[derive(Default)]
pub(super) struct Gate {
    next_ticket: Cell<u64>,
    serving: Cell<u64>,
    waiting: RefCell<VecDeque<(u64, Waker)>>,
}

/// Held while the gate is closed to others.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
}

impl Gate {
    pub(super) async fn enter(&self) -> Pass<'_> {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        poll_fn(|context| {
            if self.serving.get() == ticket {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|(other, _)| *other != ticket);
            waiting.push_back((ticket, context.waker().clone()));
            Poll::Pending
        })
        .await;
        Pass { gate: self }
    }
}

impl Pass<'_> {
    /// Lets nobody in again.
    pub(super) fn keep_for_ever(&self) {
        self.gate.serving.set(u64::MAX / 2);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.serving.set(self.gate.serving.get() + 1);
        let serving = self.gate.serving.get();
        let next = self.gate.waiting.borrow().iter().position(|(ticket, _)| *ticket == serving);
        if let Some((_, waker)) = next.and_then(|n| self.gate.waiting.borrow_mut().remove(n)) {
            waker.wake();
        }
    }
}
