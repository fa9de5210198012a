//! Payload memory: who wants some takes a permit first, and waits if there is none.
//!
//! A little of it belongs to each connection, whatever the others do. The rest of a core's memory
//! is shared, and goes to those who wait in the order in which they came: a large request that
//! needs all of it is not overtaken by small ones for ever.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::limits::{CONNECTION_PAYLOAD, CONNECTION_RESERVE, KEPT_PAYLOAD};
use crate::engine::signal::Signal;

/// Bytes that may be in use at a time.
#[derive(Default)]
struct Room {
    capacity: usize,
    used: Cell<usize>,
}

impl Room {
    fn new(capacity: usize) -> Self {
        Self { capacity, used: Cell::new(0) }
    }

    /// Room for more than the capacity is there when nothing else is in use.
    fn has(&self, bytes: usize) -> bool {
        self.used.get() == 0 || self.used.get() + bytes <= self.capacity
    }

    fn take(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
    }

    fn put_back(&self, bytes: usize) {
        self.used.set(self.used.get() - bytes);
    }
}

/// One who waits for shared memory.
struct Waiter {
    ticket: u64,
    own: Rc<Own>,
    bytes: usize,
}

/// The shared memory of one core.
pub(super) struct Budget {
    room: Room,
    /// In the order of arrival.
    queue: RefCell<VecDeque<Waiter>>,
    tickets: Cell<u64>,
    returned: Signal,
}

impl Budget {
    pub(super) fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Self {
            room: Room::new(capacity),
            queue: RefCell::default(),
            tickets: Cell::new(0),
            returned: Signal::default(),
        })
    }

    /// Whether somebody waits for what others use.
    pub(super) fn is_wanted(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Whether somebody has waited for longer than the holder of this ticket, and for nothing but
    /// memory of the core.
    fn is_before(&self, ticket: u64) -> bool {
        let queue = self.queue.borrow();
        let mut earlier = queue.iter().take_while(|waiter| waiter.ticket < ticket);
        earlier.any(|waiter| waiter.own.shared.has(waiter.bytes))
    }
}

/// What one connection uses.
struct Own {
    /// Of its reserve.
    reserve: Cell<usize>,
    /// Of the shared memory.
    shared: Room,
}

/// The payload memory of one connection.
pub(super) struct ConnectionBudget {
    core: Rc<Budget>,
    own: Rc<Own>,
}

impl ConnectionBudget {
    pub(super) fn new(core: Rc<Budget>) -> Self {
        let own = Own { reserve: Cell::new(0), shared: Room::new(CONNECTION_PAYLOAD) };
        Self { core, own: Rc::new(own) }
    }

    /// A permit, if there is room now and nobody waits for it. A little is there for each
    /// connection whatever the others do, so that clients who take no replies hold up no small
    /// requests.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Permit> {
        self.reserved(bytes).or_else(|| self.share(bytes, u64::MAX))
    }

    /// A permit, as soon as there is room and it is the turn of this request.
    pub(super) async fn take(&self, bytes: usize) -> Permit {
        let core = &self.core;
        let ticket = core.tickets.get();
        core.tickets.set(ticket + 1);
        core.queue.borrow_mut().push_back(Waiter { ticket, own: self.own.clone(), bytes });
        // Leaves the queue also if nobody waits any more.
        let _place = Place { core, ticket };
        // What a connection gives back of its own is told of to all that wait at the core.
        core.returned.until(|| self.reserved(bytes).or_else(|| self.share(bytes, ticket))).await
    }

    fn reserved(&self, bytes: usize) -> Option<Permit> {
        let reserved = self.own.reserve.get() + bytes;
        if reserved > CONNECTION_RESERVE {
            return None;
        }
        self.own.reserve.set(reserved);
        Some(self.permit(bytes, Kind::Reserve))
    }

    fn share(&self, bytes: usize, ticket: u64) -> Option<Permit> {
        let (core, own) = (&self.core, &self.own.shared);
        if !own.has(bytes) || !core.room.has(bytes) || core.is_before(ticket) {
            return None;
        }
        own.take(bytes);
        core.room.take(bytes);
        Some(self.permit(bytes, Kind::Shared))
    }

    fn permit(&self, bytes: usize, kind: Kind) -> Permit {
        Permit { own: self.own.clone(), core: self.core.clone(), bytes, kind }
    }
}

/// A place in the queue.
struct Place<'a> {
    core: &'a Budget,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.core.queue.borrow_mut().retain(|waiter| waiter.ticket != self.ticket);
        // There may be room for the next one, too.
        self.core.returned.notify();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Reserve,
    Shared,
}

/// The right to hold some bytes of payload, until it is dropped.
pub(super) struct Permit {
    own: Rc<Own>,
    core: Rc<Budget>,
    bytes: usize,
    kind: Kind,
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.kind {
            Kind::Reserve => self.own.reserve.set(self.own.reserve.get() - self.bytes),
            Kind::Shared => {
                self.own.shared.put_back(self.bytes);
                self.core.room.put_back(self.bytes);
            }
        }
        self.core.returned.notify();
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
    use futures_lite::future::{block_on, poll_once};
    use std::pin::pin;

    const MIB: usize = 1 << 20;

    #[test]
    fn permits_are_bounded_by_core_and_connection_and_come_back() {
        let core = Budget::new(CONNECTION_PAYLOAD + MIB);
        let (one, two) = (ConnectionBudget::new(core.clone()), ConnectionBudget::new(core.clone()));
        let all = one.try_take(CONNECTION_PAYLOAD).unwrap();
        assert!(one.try_take(MIB).is_none(), "the connection's bound");
        let rest = two.try_take(MIB).unwrap();
        assert!(two.try_take(MIB).is_none(), "the core's bound");
        let reserve = two.try_take(CONNECTION_RESERVE).unwrap();
        assert!(two.try_take(1).is_none(), "the reserve is used up");
        drop((all, rest, reserve));
        assert_eq!((core.room.used.get(), two.own.reserve.get()), (0, 0));
        assert!(one.try_take(MIB).is_some());
    }

    #[test]
    fn a_request_larger_than_all_memory_is_served_alone() {
        const LARGE: usize = 2 * CONNECTION_RESERVE;
        let budget = ConnectionBudget::new(Budget::new(10));
        let other = budget.try_take(LARGE).unwrap();
        assert!(budget.try_take(LARGE).is_none());
        drop(other);
        let large = budget.try_take(LARGE).unwrap();
        assert!(budget.try_take(LARGE).is_none());
        drop(large);
    }

    #[test]
    fn a_large_request_that_waits_is_not_overtaken_by_later_ones() {
        let core = Budget::new(8 * MIB);
        let [one, two, three] = [(); 3].map(|()| ConnectionBudget::new(core.clone()));
        let first = one.try_take(MIB).unwrap();
        let mut large = pin!(two.take(8 * MIB));
        block_on(async {
            assert!(poll_once(large.as_mut()).await.is_none() && core.is_wanted());
            assert!(three.try_take(MIB).is_none(), "it is the turn of the large one");
            let mut small = pin!(three.take(MIB));
            assert!(poll_once(small.as_mut()).await.is_none(), "also for those who wait");
            let reserve = three.try_take(CONNECTION_RESERVE).unwrap();
            drop(first);
            assert!(poll_once(small.as_mut()).await.is_none(), "the first in the queue is first");
            let granted = poll_once(large.as_mut()).await.expect("the reserve is none of its room");
            drop(granted);
            assert!(poll_once(small.as_mut()).await.is_some() && !core.is_wanted());
            drop(reserve);
        });
    }

    #[test]
    fn one_who_waits_for_its_own_connection_holds_up_no_other() {
        let core = Budget::new(2 * CONNECTION_PAYLOAD);
        let (full, other) = (ConnectionBudget::new(core.clone()), ConnectionBudget::new(core));
        let all = full.try_take(CONNECTION_PAYLOAD).unwrap();
        let mut waiting = pin!(full.take(MIB));
        block_on(async {
            assert!(poll_once(waiting.as_mut()).await.is_none());
            assert!(other.try_take(MIB).is_some());
            drop(all);
            assert!(poll_once(waiting.as_mut()).await.is_some());
        });
    }

    #[test]
    fn a_small_request_that_waits_goes_on_with_the_reserve_of_its_connection() {
        let core = Budget::new(MIB);
        let (large, one) = (ConnectionBudget::new(core.clone()), ConnectionBudget::new(core));
        let all = large.try_take(MIB).unwrap();
        let reserve = one.try_take(CONNECTION_RESERVE).unwrap();
        let mut small = pin!(one.take(4096));
        block_on(async {
            assert!(poll_once(small.as_mut()).await.is_none());
            drop(reserve);
            assert!(poll_once(small.as_mut()).await.is_some());
        });
        drop(all);
    }

    #[test]
    fn one_who_gives_up_leaves_the_queue() {
        let core = Budget::new(MIB);
        let (one, two) = (ConnectionBudget::new(core.clone()), ConnectionBudget::new(core.clone()));
        let used = one.try_take(CONNECTION_RESERVE + 1).unwrap();
        block_on(async {
            let mut waiting = Box::pin(two.take(MIB));
            assert!(poll_once(waiting.as_mut()).await.is_none());
            drop(waiting);
        });
        assert!(!core.is_wanted() && one.try_take(CONNECTION_RESERVE + 1).is_some());
        drop(used);
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
