//! A condition that tasks of one core wait for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes the tasks of this core that wait for some state to change. It holds no state itself:
/// waiters look at what they wait for, so no notification can be missed.
#[derive(Default)]
pub struct Signal {
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Lets every waiter look again; called after each change of what is waited for.
    pub fn notify(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until `ready` returns a value. It is asked at once, then after each
    /// [`Self::notify`].
    pub async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| {
            if let Some(value) = ready() {
                return Poll::Ready(value);
            }
            let mut waiting = self.waiting.borrow_mut();
            // A task that polls again for another reason must not pile up wakers.
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use std::cell::Cell;
    use std::pin::pin;

    #[test]
    fn a_waiter_sees_the_change_it_waited_for() {
        let (signal, value) = (Signal::default(), Cell::new(0));
        let mut waiter = pin!(signal.until(|| (value.get() > 1).then(|| value.get())));
        block_on(async {
            assert_eq!(poll_once(waiter.as_mut()).await, None);
            value.set(1);
            signal.notify();
            assert_eq!(poll_once(waiter.as_mut()).await, None);
            value.set(2);
            assert_eq!(poll_once(waiter.as_mut()).await, Some(2));
        });
    }

    #[test]
    fn polling_twice_leaves_one_waker() {
        let signal = Signal::default();
        let mut waiter = pin!(signal.until(|| None::<()>));
        block_on(async {
            assert_eq!(poll_once(waiter.as_mut()).await, None);
            assert_eq!(poll_once(waiter.as_mut()).await, None);
        });
        assert_eq!(signal.waiting.borrow().len(), 1);
    }
}
