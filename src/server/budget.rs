//! Payload memory: who wants some takes a permit first, and waits if there is none.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::limits::{CONNECTION_PAYLOAD, CONNECTION_RESERVE, KEPT_PAYLOAD};
use crate::engine::signal::Signal;

/// Bytes that may be in use at a time.
pub(super) struct Budget {
    capacity: usize,
    used: Cell<usize>,
    waiting: Cell<usize>,
    returned: Signal,
}

impl Budget {
    pub(super) fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Self {
            capacity,
            used: Cell::new(0),
            waiting: Cell::new(0),
            returned: Signal::default(),
        })
    }

    /// Whether somebody waits for what others use.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Room for more than the capacity is there when nothing else is in use.
    fn has_room(&self, bytes: usize) -> bool {
        self.used.get() == 0 || self.used.get() + bytes <= self.capacity
    }

    fn put_back(&self, bytes: usize) {
        self.used.set(self.used.get() - bytes);
        self.returned.notify();
    }
}

/// The payload memory of one connection: a part of that of its core.
pub(super) struct ConnectionBudget {
    core: Rc<Budget>,
    own: Rc<Budget>,
}

impl ConnectionBudget {
    pub(super) fn new(core: Rc<Budget>) -> Self {
        Self { core, own: Budget::new(CONNECTION_PAYLOAD) }
    }

    /// A permit, if there is room now. A little is there for each connection whatever the others
    /// do, so that clients who take no replies hold up no small requests.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Permit> {
        let reserved = self.own.used.get() + bytes <= CONNECTION_RESERVE;
        let shared = self.own.has_room(bytes) && self.core.has_room(bytes);
        if !reserved && !shared {
            return None;
        }
        for budget in [&self.own, &self.core] {
            budget.used.set(budget.used.get() + bytes);
        }
        Some(Permit { own: self.own.clone(), core: self.core.clone(), bytes })
    }

    /// A permit, as soon as there is room.
    pub(super) async fn take(&self, bytes: usize) -> Permit {
        let waiting = &self.core.waiting;
        waiting.set(waiting.get() + 1);
        // What a connection gives back is given back to the core as well.
        let permit = self.core.returned.until(|| self.try_take(bytes)).await;
        waiting.set(waiting.get() - 1);
        permit
    }
}

/// The right to hold some bytes of payload, until it is dropped.
pub(super) struct Permit {
    own: Rc<Budget>,
    core: Rc<Budget>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.own.put_back(self.bytes);
        self.core.put_back(self.bytes);
    }
}

/// Buffers for large payloads, kept so that their pages need not be mapped and cleared for each
/// request. What is kept is bounded, and not counted as payload under way.
#[derive(Default)]
pub(super) struct Buffers {
    kept: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
}

impl Buffers {
    /// A buffer of at least `len` bytes, of any content.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let size = len.next_power_of_two();
        let mut kept = self.kept.borrow_mut();
        match kept.iter().position(|buffer| buffer.len() == size) {
            Some(found) => {
                self.bytes.set(self.bytes.get() - size);
                kept.swap_remove(found)
            }
            None => vec![0; size],
        }
    }

    /// Keeps a buffer that [`Self::take`] gave for the next one who asks.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let bytes = self.bytes.get() + buffer.len();
        if buffer.len().is_power_of_two() && bytes <= KEPT_PAYLOAD {
            self.bytes.set(bytes);
            self.kept.borrow_mut().push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_by_core_and_connection_and_come_back() {
        let core = Budget::new(CONNECTION_PAYLOAD + 10);
        let (one, two) = (ConnectionBudget::new(core.clone()), ConnectionBudget::new(core.clone()));
        let all = one.try_take(CONNECTION_PAYLOAD).unwrap();
        assert!(one.try_take(1).is_none(), "the connection's bound");
        let reserve = two.try_take(CONNECTION_RESERVE).unwrap();
        assert!(two.try_take(1).is_none(), "the core's bound");
        drop((all, reserve));
        assert_eq!(core.used.get(), 0);
        assert!(one.try_take(1).is_some());
    }

    #[test]
    fn a_request_larger_than_all_memory_is_served_alone() {
        const LARGE: usize = 2 * CONNECTION_RESERVE;
        let budget = ConnectionBudget::new(Budget::new(10));
        let small = budget.try_take(1).unwrap();
        assert!(budget.try_take(LARGE).is_none());
        drop(small);
        let large = budget.try_take(LARGE).unwrap();
        assert!(budget.try_take(1).is_none());
        drop(large);
    }

    #[test]
    fn buffers_are_reused_and_bounded() {
        let buffers = Buffers::default();
        let buffer = buffers.take(100_000);
        assert_eq!(buffer.len(), 131_072);
        let at = buffer.as_ptr();
        buffers.give_back(buffer);
        let again = buffers.take(131_072);
        assert_eq!(again.as_ptr(), at);
        buffers.give_back(vec![0; 2 * KEPT_PAYLOAD]);
        assert!(buffers.kept.borrow().is_empty());
    }
}
