//! The task of a log that keeps spare segments ready.

use std::rc::Rc;

use wal::PoolError;
use wal::disk::DiskFile;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::error::VolumeError;
use super::limits::{LIFE_PAUSE, SPACE_PAUSE, TELL_FULL};
use super::log::Log;

impl<E: Env> Log<E> {
    /// Keeps spare segments ready, until the log is closed: one ahead of the tail, and more when
    /// writers came to wait for one. To make a file durable takes the file system some
    /// milliseconds, which several files share.
    pub async fn run_refill(self: Rc<Self>, runtime: E::Runtime) {
        while self.work.until(|| self.next_refill()).await {
            let log = self.clone();
            let clock = runtime.clone();
            runtime.spawn(async move { log.refill(clock).await });
        }
    }

    async fn refill(self: Rc<Self>, clock: E::Runtime) {
        let is_flushed = self.state.borrow().is_flushed(self.tuning.segment_blocks);
        let acquired = self.pool.acquire(is_flushed).await;
        let mut state = self.state.borrow_mut();
        state.preparing -= 1;
        state.crowded = false;
        match acquired {
            Ok(segment) => state.spares.push(segment),
            Err(PoolError::Disk(cause)) => state.starved = Some(cause.into()),
            // Only the segment being filled is in use: no cut will give one back.
            Err(PoolError::NoSpace(cause)) if state.files.len() + state.spares.len() <= 1 => {
                state.starved = Some(cause.into());
            }
            // Full of segments that are being made, which may fail: let them.
            Err(PoolError::Full { .. }) if state.preparing > 0 => state.crowded = true,
            Err(PoolError::Full { .. }) => {
                state.full = true;
                if !std::mem::replace(&mut state.probing, true) {
                    let log = self.clone();
                    clock.clone().spawn(async move { log.look_for_life(clock).await });
                }
            }
            Err(PoolError::NoSpace(cause)) => {
                state.full = true;
                let now = clock.now();
                if state.told_full.is_none_or(|at| now - at >= TELL_FULL) {
                    state.told_full = Some(now);
                    let volume = self.identity.volume;
                    log::warn!(
                        "volume {volume}: its log waits for space on the local disk: {cause}"
                    );
                }
                if !std::mem::replace(&mut state.looking, true) {
                    let log = self.clone();
                    clock.clone().spawn(async move { log.look_for_space(clock).await });
                }
            }
        }
        drop(state);
        self.work.notify();
        self.progress.notify();
    }

    /// Space can return from elsewhere than a cut: tries again after a while.
    async fn look_for_space(self: Rc<Self>, clock: E::Runtime) {
        clock.sleep(SPACE_PAUSE).await;
        if planted::is(Bug::SpaceNotLookedFor) {
            return;
        }
        self.state.borrow_mut().looking = false;
        if std::mem::take(&mut self.state.borrow_mut().full) {
            self.wake_all();
        }
    }

    /// A full log touches its disk no more, so nobody would learn that the disk is dead: whoever waits
    /// for a cut would wait for a store that may be on the same one. So as long as it is full the log
    /// syncs what it wrote last, from time to time. A sync that fails is final, as any.
    async fn look_for_life(self: Rc<Self>, clock: E::Runtime) {
        loop {
            clock.sleep(LIFE_PAUSE).await;
            let file = {
                let mut state = self.state.borrow_mut();
                let is_stuck = state.full && !state.closing && self.shared.alive().is_ok();
                let tail = state.tail_file().filter(|_| is_stuck);
                let Some(tail) = tail else {
                    state.probing = false;
                    return;
                };
                state.files[&tail].handle()
            };
            let synced = file.file().sync().await;
            self.let_go(file);
            self.ended(synced.map_err(VolumeError::from));
        }
    }

    /// Whether to prepare a spare segment now; `false` when the log has ended.
    fn next_refill(&self) -> Option<bool> {
        let mut state = self.state.borrow_mut();
        if state.closing || self.shared.alive().is_err() {
            return Some(false);
        }
        if state.tail.is_some() {
            state.spares_wanted = state.spares_wanted.max(1);
        }
        let few = state.spares.len() + state.preparing < state.spares_wanted;
        if !few || state.crowded || state.full || state.starved.is_some() {
            return None;
        }
        state.preparing += 1;
        Some(true)
    }
}
