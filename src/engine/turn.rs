//! One at a time, among the tasks of a core.

use std::cell::Cell;

use super::signal::Signal;

/// What only one task may do at a time.
#[derive(Default)]
pub struct Turn {
    taken: Cell<bool>,
    ended: Signal,
}

/// It is somebody's turn as long as this lives.
pub struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits until it is nobody's turn, and takes it.
    pub async fn take(&self) -> Taken<'_> {
        self.ended.until(|| (!self.taken.replace(true)).then(|| Taken(self))).await
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        self.0.ended.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use std::pin::pin;

    #[test]
    fn a_turn_ends_when_it_is_dropped() {
        let turn = Turn::default();
        block_on(async {
            let first = turn.take().await;
            let mut second = pin!(turn.take());
            // Asking in vain ends nobody's turn.
            assert!(poll_once(second.as_mut()).await.is_none());
            assert!(poll_once(second.as_mut()).await.is_none());
            drop(first);
            assert!(poll_once(second.as_mut()).await.is_some());
        });
    }
}
