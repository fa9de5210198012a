//! The reply of a device, as a future.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct Slot<T> {
    value: Option<T>,
    waiting: Option<Waker>,
}

/// Waits for what a device answers. Dropping it does not stop the device.
pub struct Reply<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

/// The device's end of a [`Reply`].
pub(super) struct Answer<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

impl<T> Reply<T> {
    pub(super) fn new() -> (Self, Answer<T>) {
        let slot = Rc::new(RefCell::new(Slot { value: None, waiting: None }));
        (Self { slot: Rc::clone(&slot) }, Answer { slot })
    }
}

impl<T> Answer<T> {
    pub(super) fn give(self, value: T) {
        let mut slot = self.slot.borrow_mut();
        slot.value = Some(value);
        if let Some(waker) = slot.waiting.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waiting = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
