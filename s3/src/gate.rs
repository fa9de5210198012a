//! How many requests are in flight: fewer when the store asks for it, then slowly more again.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::limits::SLOWDOWN_COOLDOWN;

/// Halves the number of requests in flight when the store is overloaded, and raises it by one
/// each time that as many as the limit have succeeded.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Semaphore,
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug)]
struct State {
    /// Requests that may be in flight.
    limit: usize,
    /// Requests that are in flight beyond the limit: their permits vanish when they end.
    excess: usize,
    /// Successes since the limit last changed.
    successes: usize,
    lowered: Option<Instant>,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    permit: Option<SemaphorePermit<'a>>,
}

impl Gate {
    /// # Panics
    /// If nothing may pass.
    pub(crate) fn new(most: usize) -> Self {
        assert!(most > 0, "something must pass");
        let state = State { limit: most, excess: 0, successes: 0, lowered: None };
        Self { permits: Semaphore::new(most), state: Mutex::new(state), most }
    }

    /// Waits for a turn; first come, first served.
    pub(crate) async fn pass(&self) -> Pass<'_> {
        let permit = self.permits.acquire().await.expect("nobody closes it");
        Pass { gate: self, permit: Some(permit) }
    }

    /// Requests that may be in flight now.
    pub(crate) fn limit(&self) -> usize {
        self.state().limit
    }

    /// The store asks for fewer requests.
    pub(crate) fn overloaded(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if state.lowered.is_some_and(|at| now - at < SLOWDOWN_COOLDOWN) {
            return;
        }
        let less = state.limit - (state.limit / 2).max(1);
        state.limit -= less;
        state.successes = 0;
        state.lowered = Some(now);
        state.excess += less - self.permits.forget_permits(less);
    }

    /// A request succeeded.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state();
        if state.limit == self.most {
            return;
        }
        state.successes += 1;
        if state.successes < state.limit {
            return;
        }
        state.successes = 0;
        state.limit += 1;
        match state.excess {
            0 => self.permits.add_permits(1),
            _ => state.excess -= 1,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        let permit = self.permit.take().expect("only taken here");
        if state.excess > 0 {
            state.excess -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(test);
    }

    fn room(gate: &Gate) -> usize {
        gate.permits.available_permits()
    }

    #[test]
    fn an_overload_halves_the_limit_once_per_cooldown_and_never_below_one() {
        run(async {
            let gate = Gate::new(16);
            gate.overloaded();
            gate.overloaded();
            assert_eq!((gate.limit(), room(&gate)), (8, 8));
            for _ in 0..5 {
                gate.state().lowered = None;
                gate.overloaded();
            }
            assert_eq!((gate.limit(), room(&gate)), (1, 1));
        });
    }

    #[test]
    fn permits_of_requests_in_flight_vanish_when_those_end() {
        run(async {
            let gate = Gate::new(4);
            let mut passes = Vec::new();
            for _ in 0..4 {
                passes.push(gate.pass().await);
            }
            gate.overloaded();
            assert_eq!((gate.limit(), room(&gate)), (2, 0));
            passes.pop();
            passes.pop();
            assert_eq!(room(&gate), 0);
            passes.pop();
            assert_eq!(room(&gate), 1);
            drop(passes);
            assert_eq!(room(&gate), 2);
        });
    }

    #[test]
    fn successes_raise_the_limit_back_to_the_most_and_no_further() {
        run(async {
            let gate = Gate::new(4);
            gate.overloaded();
            let _pass = gate.pass().await;
            gate.succeeded();
            assert_eq!(gate.limit(), 2);
            gate.succeeded();
            assert_eq!((gate.limit(), room(&gate)), (3, 2));
            for _ in 0..100 {
                gate.succeeded();
            }
            assert_eq!((gate.limit(), room(&gate)), (4, 3));
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }
}
