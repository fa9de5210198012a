//! The task of a log that appends and syncs; [`super::refill`] keeps spare segments ready.
//!
//! What a power cut leaves after each step of an append:
//! 1. a write is copied into the open buffer and acknowledged: gone, as from a disk's volatile
//!    cache; no flush has covered it.
//! 2. the buffer is handed to the disk, as may be a few behind it: any subset of their sectors;
//!    recovery takes records up to the first one that is not whole.
//! 3. the write has ended: the same, it is not synced.
//! 4. the sync has ended: all of it. Only now `durable` rises and flushes are answered.
//!
//! A small append that somebody waits for, after which and before which there is nothing, is written
//! and synced by one request (steps 2 to 4 at once): it saves a lone client a fifth of a flush. Where
//! several clients flush what they write, the open buffer waits for the first flush, so that they
//! share one request; step 1 lasts that much longer, and no longer than [`UNSYNCED_AGE`].
//!
//! A sync covers all segments written since the last one, oldest first, before `durable` rises: a
//! durable record never follows a hole. A write or sync that fails stops the volume: nothing is
//! tried again. Only a write that finds the disk full waits for space: no sync has begun that
//! covers it, and the same bytes go to the same place.
//!
//! A record is vouched for by the next one, which says what was durable before it. So when
//! nothing follows for a while, a record without entries does: without it, damage to the newest
//! record that was synced could not be told from a torn tail.

use std::rc::Rc;

use wal::BLOCK_BYTES;
use wal::Lsn;
use wal::disk::DiskFile;
use wal::planted::{self, Bug};

use super::Env;
use super::error::VolumeError;
use super::limits::{
    APPENDS_UNDER_WAY, BATCHES_WAITING, SPACE_PAUSE, UNSYNCED_AGE, UNSYNCED_BYTES,
};
use super::log::Log;
use super::log_state::{Filled, Handle, Stage, State};
use wal::runtime::Runtime;

/// What the appender does next.
enum Step<E: Env> {
    /// Write this buffer.
    Append(Filled<E>),
    /// Write this buffer, with nothing before it that is not durable, and sync it.
    AppendDurably(Filled<E>),
    /// Sync all that was written.
    Sync,
    /// Nothing yet, but see to it that what was logged does not wait for ever.
    Watch,
    /// Everything is done and the log is closing.
    End,
}

impl<E: Env> Log<E> {
    /// Appends and syncs until the log is closed or the volume stops.
    pub async fn run_appender(self: Rc<Self>, runtime: E::Runtime) {
        loop {
            let step = self.work.until(|| self.next_step()).await;
            match step {
                Step::Append(batch) => {
                    let (log, clock) = (self.clone(), runtime.clone());
                    runtime.spawn(async move {
                        let appended = log.append(&batch, false, &clock).await;
                        log.ended(appended);
                    });
                    self.begin_watch(&runtime);
                }
                Step::AppendDurably(batch) => {
                    let (log, clock) = (self.clone(), runtime.clone());
                    runtime.spawn(async move {
                        let appended = log.append(&batch, true, &clock).await;
                        let synced = appended.and_then(|()| log.note_durable(batch.last_lsn));
                        log.state.borrow_mut().syncing = false;
                        log.ended(synced);
                    });
                    self.begin_watch(&runtime);
                }
                Step::Sync => {
                    let log = self.clone();
                    runtime.spawn(async move {
                        let synced = log.sync_files().await;
                        log.state.borrow_mut().syncing = false;
                        log.ended(synced);
                    });
                }
                Step::Watch => self.begin_watch(&runtime),
                Step::End => break,
            }
        }
    }

    fn begin_watch(self: &Rc<Self>, runtime: &E::Runtime) {
        if !std::mem::replace(&mut self.state.borrow_mut().aging, true) {
            runtime.spawn(self.clone().watch_age(runtime.clone()));
        }
    }

    /// An append or a sync has ended: there may be more to do, and somebody may have waited.
    pub(super) fn ended(&self, outcome: Result<(), VolumeError>) {
        if let Err(cause) = outcome {
            self.shared.poison(cause);
        }
        self.work.notify();
        self.progress.notify();
    }

    /// Looks at the log from time to time, from an append on until it is idle: asks for a sync of
    /// what is unsynced for too long, and puts a mark behind what is synced.
    async fn watch_age(self: Rc<Self>, clock: E::Runtime) {
        let mut newest = Some(self.last_lsn());
        while let Some(before) = newest {
            clock.sleep(UNSYNCED_AGE).await;
            newest = self.look_at_age(before);
            self.work.notify();
        }
    }

    /// One look; `before` is what was the newest record at the one before. The newest record now,
    /// or none if the log is idle and need not be looked at until the next append.
    fn look_at_age(&self, before: Lsn) -> Option<Lsn> {
        let newest = self.last_lsn();
        let state = &mut *self.state.borrow_mut();
        if state.closing || self.shared.alive().is_err() {
            return None;
        }
        if state.unsynced_bytes > 0 || state.open.as_ref().is_some_and(|open| !open.is_empty()) {
            state.wanted.insert(newest);
        } else if newest == before && newest == state.durable {
            let is_mark = self.shared.newest_entry(self.identity.shard) < newest;
            let needs_none = is_mark || state.covered >= Some(newest);
            if needs_none || planted::is(Bug::NoMark) {
                state.aging = false;
                return None;
            }
            self.push_mark(state);
        }
        Some(newest)
    }

    /// Logs a record without entries, and asks for its sync; not now if there is no room for it.
    fn push_mark(&self, state: &mut State<E>) {
        let epoch = self.shared.epoch();
        while !state.open.as_mut().is_some_and(|batch| batch.push_mark(epoch)) {
            if self.next_batch(state).is_err() {
                return;
            }
        }
        state.wanted.insert(state.next_lsn);
    }

    fn next_step(&self) -> Option<Step<E>> {
        let mut state = self.state.borrow_mut();
        if self.shared.alive().is_err() {
            return Some(Step::End);
        }
        // Append first what a flush waits for; as soon as one flush is covered, the sync comes
        // first, so that a stream of writes cannot hold it up.
        let covered = state.wanted.first().is_some_and(|oldest| *oldest <= state.appended);
        if !state.syncing && (covered || state.unsynced_bytes >= UNSYNCED_BYTES) {
            state.begin_sync();
            return Some(Step::Sync);
        }
        let under_way = state.filled.iter().filter(|batch| batch.stage == Stage::UnderWay).count();
        // What is not full grows on while the disk is busy: the busier, the larger the writes. Where
        // a flush will come for it, it waits for that: then all is written and synced by one request.
        if state.filled.is_empty() && !state.syncing {
            if !state.awaits_flush(self.tuning.segment_blocks) {
                self.close_batch(&mut state);
            } else if !state.aging {
                return Some(Step::Watch);
            }
        }
        if under_way < APPENDS_UNDER_WAY
            && let Some(next) = state.filled.iter_mut().find(|batch| batch.stage == Stage::Waiting)
        {
            next.stage = Stage::UnderWay;
            let next = next.share();
            if state.is_alone(&next) {
                state.begin_sync();
                return Some(Step::AppendDurably(next));
            }
            return Some(Step::Append(next));
        }
        if !state.closing || !state.filled.is_empty() || state.syncing {
            return None;
        }
        if state.unsynced.is_empty() {
            return Some(Step::End);
        }
        state.begin_sync();
        Some(Step::Sync)
    }

    async fn append(
        &self,
        batch: &Filled<E>,
        durably: bool,
        clock: &E::Runtime,
    ) -> Result<(), VolumeError> {
        let file = self.state.borrow().files[&batch.file].handle();
        let at = u64::from(batch.first_block) * BLOCK_BYTES as u64;
        let write = async || match durably {
            true => file.file().write_durably(at, batch.buf.clone()).await,
            false => file.file().write_at(at, batch.buf.clone()).await,
        };
        while let Err(error) = write().await {
            let waits = error.is_no_space() && !self.state.borrow().closing;
            if !waits || planted::is(Bug::NoSpaceIsFinal) {
                return Err(error.into());
            }
            clock.sleep(SPACE_PAUSE).await;
            self.shared.alive()?;
        }
        self.let_go(file);
        let mut state = self.state.borrow_mut();
        let at = |other: &Filled<E>| other.last_lsn == batch.last_lsn;
        let this = state.filled.iter().position(at).expect("it stays until it is appended");
        state.filled[this].stage = Stage::Written;
        // The log is appended as far as it has no gap.
        while let Some(first) = state.filled.pop_front_if(|first| first.stage == Stage::Written) {
            state.appended = first.last_lsn;
            if durably && first.last_lsn == batch.last_lsn {
                continue;
            }
            if state.unsynced.last() != Some(&first.file) {
                state.unsynced.push(first.file);
            }
            state.unsynced_bytes += u64::from(first.blocks) * BLOCK_BYTES as u64;
        }
        self.give_back(&mut state);
        Ok(())
    }

    /// Syncs every file written since its last sync, oldest first.
    async fn sync_files(&self) -> Result<(), VolumeError> {
        let (covered, files) = {
            let mut state = self.state.borrow_mut();
            let files = std::mem::take(&mut state.unsynced);
            // A file reclaimed meanwhile is covered by a manifest and needs no sync.
            let handles = files.iter().filter_map(|no| state.files.get(no)).map(|f| f.handle());
            let handles: Vec<_> = handles.collect();
            state.unsynced_bytes = 0;
            if planted::is(Bug::CleanBeforeSyncEnds) {
                state.durable = state.appended;
                self.shared.synced(self.identity.shard, state.appended);
            }
            (state.appended, handles)
        };
        for file in files {
            match file.file().sync().await {
                Err(_) if planted::is(Bug::SyncErrorIgnored) => {}
                Err(_) if planted::is(Bug::SyncRetried) => file.file().sync().await?,
                synced => synced?,
            }
            self.let_go(file);
        }
        self.note_durable(covered)
    }

    /// A sync has ended well. It counts unless one failed before, of whichever shard: what the disk
    /// says after an error proves nothing.
    fn note_durable(&self, covered: Lsn) -> Result<(), VolumeError> {
        if !planted::is(Bug::SyncBelievedAfterError) {
            self.shared.alive()?;
        }
        let mut state = self.state.borrow_mut();
        state.durable = covered;
        state.syncs += 1;
        state.wanted = state.wanted.split_off(&covered.next());
        drop(state);
        self.shared.synced(self.identity.shard, covered);
        Ok(())
    }

    /// Waits until the log is full, other than at `before`. `None` when the log has ended.
    pub async fn pressed(&self, before: Option<Pressed>) -> Option<Pressed> {
        let pressed = || {
            let newest = self.last_lsn();
            let state = self.state.borrow();
            let now = Pressed { returns: state.returns, newest };
            if state.closing || self.shared.alive().is_err() {
                return Some(None);
            }
            // What was logged since is in no cut that was asked for then.
            (state.full && before != Some(now)).then_some(Some(now))
        };
        self.progress.until(pressed).await
    }

    /// Ends the use of a segment: if it was given back meanwhile, it can be had now.
    pub(super) fn let_go(&self, segment: Handle<E>) {
        drop(segment);
        if std::mem::take(&mut self.state.borrow_mut().full) {
            self.work.notify();
        }
    }

    /// A manifest covers everything up to `position`: gives back the segments that hold nothing
    /// else, now or when what is under way to them has been written. True if the log is still
    /// full of what a further cut would cover.
    #[must_use]
    pub fn reclaim(&self, position: Lsn) -> bool {
        let mut state = self.state.borrow_mut();
        state.covered = state.covered.max(Some(position));
        self.give_back(&mut state);
        let is_full = state.full;
        drop(state);
        is_full && self.last_lsn() > position
    }

    fn give_back(&self, state: &mut State<E>) {
        let Some(covered) = state.covered else { return };
        let before = state.files.len();
        let gone = state.take_covered(covered.min(state.appended));
        if state.files.len() == before {
            return;
        }
        for segment in gone {
            self.pool.retire(segment);
        }
        state.full = false;
        state.returns += 1;
        self.work.notify();
        self.progress.notify();
    }

    /// Removes the segment files that an idle volume does not need.
    pub async fn trim(self: Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.trims += 1;
            state.spares_wanted = state.spares_wanted.min(1);
            let left = state.spares.len().min(1);
            state.spares.split_off(left).into_iter().for_each(|spare| self.pool.retire(spare));
        }
        // What stays takes space, and goes the next time.
        let _ = self.pool.trim(self.tuning.idle_segments).await;
        self.state.borrow_mut().trims -= 1;
        self.progress.notify();
        // Until a file was gone it counted, and kept a writer that came back from a new one.
        if std::mem::take(&mut self.state.borrow_mut().full) {
            self.work.notify();
        }
    }

    /// For a log that was closed and that a manifest covers as a whole: removes its files, so that
    /// this host can open the volume again after another one had it. One that stays is covered.
    pub async fn remove_files(&self) {
        self.progress.until(|| (self.state.borrow().preparing == 0).then_some(())).await;
        {
            let mut state = self.state.borrow_mut();
            let newest = Lsn(u64::MAX);
            (state.open, state.tail) = (None, None);
            let own =
                state.take_covered(newest).into_iter().chain(std::mem::take(&mut state.spares));
            own.for_each(|segment| self.pool.retire(segment));
        }
        let _ = self.pool.trim(0).await;
        self.progress.until(|| (self.state.borrow().trims == 0).then_some(())).await;
    }

    /// Lets everybody who waits look again: the volume has been stopped.
    pub fn wake_all(&self) {
        self.work.notify();
        self.progress.notify();
    }

    /// Ends the log: what is buffered is appended and synced, then the tasks end.
    pub async fn close(&self) -> Result<(), VolumeError> {
        self.state.borrow_mut().closing = true;
        self.work.notify();
        let last = self.last_lsn();
        self.sync(last).await
    }
}

/// When a log was full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressed {
    /// How often segments had been given back.
    returns: u64,
    newest: Lsn,
}

impl<E: Env> Filled<E> {
    fn share(&self) -> Self {
        Self { buf: self.buf.clone(), ..*self }
    }
}

const _: () = assert!(BATCHES_WAITING >= APPENDS_UNDER_WAY, "else they are never under way");
