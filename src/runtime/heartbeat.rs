//! The heartbeat of a core, and what tells it how fast to beat.
//!
//! A glommio executor asks "must I yield?" before it runs its first task. When the preemption timer
//! fired by then, because the thread was descheduled that long, it runs nothing, finds no new
//! event, and parks in the kernel with runnable tasks until something else completes. A timer that
//! is always pending is that something: it bounds the stall to its period.
//!
//! One timer is not enough. The turn of the executor that it causes can meet the same fate, and
//! then the timer is spent and the heartbeat itself is one of the runnable tasks. So each beat sets
//! a ladder of timers, each rung twice as far away as the one before. The first is the beat; when
//! the beat runs it replaces them all, and when it does not, the next rung tries again.

use super::limits::{HEARTBEAT_BUSY, HEARTBEAT_IDLE, HEARTBEAT_QUIET_BEATS, HEARTBEAT_RUNGS};
use glommio::timer::Timer;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

struct Pulse {
    in_flight: Cell<u32>,
    touched: Cell<bool>,
    slow: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
}

thread_local! {
    // One executor per thread, so this is the state of a core.
    static PULSE: Pulse = const {
        Pulse {
            in_flight: Cell::new(0),
            touched: Cell::new(false),
            slow: Cell::new(false),
            sleeper: RefCell::new(None),
        }
    };
}

/// Notes that this core just did something for a client or a peer, so more is likely to follow.
pub fn touch() {
    PULSE.with(|pulse| {
        pulse.touched.set(true);
        if pulse.slow.replace(false)
            && let Some(waker) = pulse.sleeper.borrow_mut().take()
        {
            waker.wake();
        }
    });
}

/// Something this core waits for that must not be held up: a disk operation, a request under way.
/// The heart beats at [`HEARTBEAT_BUSY`] while one of these exists.
#[must_use = "it counts only while it is held"]
pub struct InFlight {
    // Counted per thread, so it must not leave it.
    stays: PhantomData<*const ()>,
}

impl InFlight {
    /// Starts to count.
    #[expect(clippy::new_without_default, reason = "it has an effect, so it is not a value")]
    pub fn new() -> Self {
        PULSE.with(|pulse| pulse.in_flight.set(pulse.in_flight.get() + 1));
        touch();
        Self { stays: PhantomData }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        PULSE.with(|pulse| pulse.in_flight.set(pulse.in_flight.get() - 1));
    }
}

/// The running heartbeat of one core.
#[must_use = "dropping it stops the heartbeat"]
pub struct Heartbeat {
    task: glommio::Task<()>,
}

impl Heartbeat {
    /// Starts the heartbeat of the executor that this is called on.
    #[expect(clippy::disallowed_methods, reason = "a part of the runtime itself")]
    pub fn start() -> Self {
        Self { task: glommio::spawn_local(beat()) }
    }

    /// Stops it and waits until its task is gone, so that an executor can end without it.
    pub async fn stop(self) {
        self.task.cancel().await;
    }
}

async fn beat() {
    let mut quiet = 0;
    loop {
        let active = PULSE.with(|pulse| pulse.touched.replace(false) || pulse.in_flight.get() > 0);
        quiet = if active { 0 } else { quiet + 1 };
        let idle = quiet >= HEARTBEAT_QUIET_BEATS;
        PULSE.with(|pulse| pulse.slow.set(idle));
        climb(if idle { HEARTBEAT_IDLE } else { HEARTBEAT_BUSY }, idle).await;
    }
}

/// Waits for the first rung of a ladder of timers or, when `idle`, for the next [`touch`].
async fn climb(first: Duration, idle: bool) {
    let mut rungs: [Timer; HEARTBEAT_RUNGS] =
        std::array::from_fn(|rung| Timer::new(first * (1 << rung)));
    poll_fn(|cx| {
        if idle {
            let touched = PULSE.with(|pulse| {
                *pulse.sleeper.borrow_mut() = Some(cx.waker().clone());
                !pulse.slow.get()
            });
            if touched {
                return Poll::Ready(());
            }
        }
        // Polls all of them, which is what puts them into the reactor.
        let ready = rungs.iter_mut().filter_map(|rung| match Pin::new(rung).poll(cx) {
            Poll::Ready(_) => Some(()),
            Poll::Pending => None,
        });
        if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
