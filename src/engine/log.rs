//! The log of one shard of a volume: what is being filled, what waits for the disk, what is on it.
//!
//! [`Log`] is filled by synchronous calls and emptied by two tasks, see [`super::append`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wal::disk::DiskFile;
use wal::payload_crc;
use wal::planted::{self, Bug};
use wal::{BLOCK_BYTES, Batch, Epoch, Extent, HoleKind, Lba, LogIdentity, Lsn, SegmentPool};

use super::Env;
use super::error::VolumeError;
use super::limits::{BATCH_BYTES, BATCH_MIN_BYTES, BATCHES_WAITING, ROLL_BLOCKS, SLOW_WRITE};
use super::limits::{SPARES_MOST, Tuning};
use super::log_state::{BufOf, Entry, FileOf, Filled, LogFile, Stage, State, Tail};
use super::place::{FileNo, LogPlace};
use super::shared::Shared;
use super::signal::Signal;

/// The log has no room right now; wait with [`Log::room`].
#[derive(Debug, PartialEq, Eq)]
pub struct NoRoom;

/// The log of one shard of a volume.
pub struct Log<E: Env> {
    pub(super) identity: LogIdentity,
    pub(super) shared: Arc<Shared>,
    pub(super) tuning: Tuning,
    pub(super) pool: SegmentPool<E::Disk>,
    pub(super) state: RefCell<State<E>>,
    /// There may be something to do for the tasks of [`super::append`].
    pub(super) work: Signal,
    /// There may be room, or something became durable, or the log ended.
    pub(super) progress: Signal,
}

impl<E: Env> Log<E> {
    /// A log without records. `recovered` are the files of earlier openings that this shard's
    /// map points into, numbered from 0.
    pub fn new(
        identity: LogIdentity,
        shared: Arc<Shared>,
        tuning: Tuning,
        pool: SegmentPool<E::Disk>,
        recovered: Vec<(FileNo, FileOf<E>)>,
    ) -> Self {
        let state = State::new(recovered);
        let state = RefCell::new(state);
        let (work, progress) = (Signal::default(), Signal::default());
        Self { identity, shared, tuning, pool, state, work, progress }
    }

    /// Logs 1 to [`wal::ENTRY_MAX_BLOCKS`] blocks of data and tells where they will be. Readable
    /// at once, durable after a sync.
    ///
    /// # Errors
    /// [`NoRoom`]: nothing was logged.
    pub fn push_data(&self, epoch: Epoch, lba: Lba, bytes: &[u8]) -> Result<LogPlace, NoRoom> {
        let (place, file) = self.push(|batch| batch.push_data(epoch, lba, bytes))?;
        let blocks = (bytes.len() / BLOCK_BYTES) as u8;
        Ok(LogPlace::new(file, place.block, place.crc, blocks))
    }

    /// As [`Self::push_data`], of blocks that lie apart in memory, as they were when the epoch `of`
    /// ended.
    ///
    /// # Errors
    /// [`NoRoom`]: nothing was logged.
    pub fn push_older(
        &self,
        epoch: Epoch,
        of: Epoch,
        lba: Lba,
        blocks: &[&[u8]],
    ) -> Result<LogPlace, NoRoom> {
        let (place, file) = self.push(|batch| batch.push_older(epoch, of, lba, blocks))?;
        Ok(LogPlace::new(file, place.block, place.crc, blocks.len() as u8))
    }

    /// Logs that the blocks of `extent` which this shard owns read as zeros.
    ///
    /// # Errors
    /// [`NoRoom`]: nothing was logged.
    pub fn push_hole(&self, epoch: Epoch, kind: HoleKind, extent: Extent) -> Result<(), NoRoom> {
        self.push(|batch| batch.push_hole(epoch, kind, extent).then_some(())).map(drop)
    }

    /// Logs the name of the cut of an epoch that has ended: one block.
    ///
    /// # Errors
    /// [`NoRoom`]: nothing was logged.
    pub fn push_name(&self, epoch: Epoch, of: Epoch, name: &[u8]) -> Result<(), NoRoom> {
        self.push(|batch| batch.push_name(epoch, of, name).then_some(())).map(drop)
    }

    /// Puts something into the open buffer, or into the next one if it does not fit. Tells the segment
    /// file as well.
    fn push<T>(
        &self,
        mut put: impl FnMut(&mut Batch<BufOf<E>>) -> Option<T>,
    ) -> Result<(T, FileNo), NoRoom> {
        let mut state = self.state.borrow_mut();
        loop {
            let tail = state.tail;
            if let (Some(batch), Some(tail)) = (&mut state.open, tail)
                && let Some(done) = put(batch)
            {
                self.note_push(&state);
                return Ok((done, tail.file));
            }
            self.next_batch(&mut state)?;
        }
    }

    /// Position of the newest record, appended or not.
    pub fn last_lsn(&self) -> Lsn {
        let state = self.state.borrow();
        match &state.open {
            Some(batch) if let Some(last) = batch.last_lsn() => last,
            _ => Lsn(state.next_lsn.0 - 1),
        }
    }

    /// Bytes that the disk does not have yet, and bytes of segment files.
    pub fn counts(&self) -> (u64, u64) {
        (self.state.borrow().buffered_bytes(), self.pool.usage().bytes)
    }

    /// Whether there is room now, and will be for so many blocks that come when somebody flushes,
    /// without waiting for a cut or slowing writers down. Asks for room if there is none.
    pub fn is_ready_for(&self, blocks: u64) -> bool {
        let state = &mut *self.state.borrow_mut();
        if state.closing || state.starved.is_some() || state.full {
            return false;
        }
        let in_use = self.segments_with(state, blocks);
        in_use * 4 <= u64::from(self.tuning.segments) * 3 && self.has_segment(state)
    }

    /// Whether so many blocks, for which it was ready once, fit beside what was logged since: a flush
    /// should not wait for a cut to make room for them.
    pub fn has_room_beside(&self, blocks: u64) -> bool {
        let in_use = self.segments_with(&self.state.borrow(), blocks);
        in_use * 8 < u64::from(self.tuning.segments) * 7
    }

    /// Segments in use if so many blocks were logged as well.
    fn segments_with(&self, state: &State<E>, blocks: u64) -> u64 {
        // Records have headers, and segments a rest that no record fits.
        let later = (blocks + blocks / 8) / u64::from(self.tuning.segment_blocks);
        state.files.len() as u64 + later
    }

    /// Whether writers should go slower: most of the log is waiting for a cut.
    pub fn is_tight(&self) -> bool {
        !self.pressure().is_zero()
    }

    /// How long a write waits that the log would rather not have yet: nothing up to three quarters
    /// of the cap, then the longer the less is left, so that writers come down to the pace of the
    /// uploads instead of running into the wall.
    pub fn pressure(&self) -> Duration {
        let in_use = self.state.borrow().files.len() as u32;
        let over = (in_use * 4).saturating_sub(self.tuning.segments * 3);
        SLOW_WRITE * over / self.tuning.segments.max(1)
    }

    /// Waits until a push may succeed.
    ///
    /// # Errors
    /// The volume is stopped, the log is closing, or the disk is full for good.
    pub async fn room(&self) -> Result<(), VolumeError> {
        if !planted::is(Bug::StaleNoSpace) {
            // What was wrong before anybody wanted room may have passed.
            self.state.borrow_mut().starved = None;
        }
        self.progress
            .until(|| {
                if let Err(stopped) = self.shared.alive() {
                    return Some(Err(stopped));
                }
                let mut state = self.state.borrow_mut();
                if state.closing {
                    return Some(Err(VolumeError::Closed));
                }
                let segment = self.has_segment(&mut state);
                if segment && state.filled.len() < BATCHES_WAITING {
                    return Some(Ok(()));
                }
                state.starved.take().map(Err)
            })
            .await
    }

    /// Makes everything up to `position` durable.
    ///
    /// # Errors
    /// The volume is stopped: what was asked for may be lost.
    pub async fn sync(&self, position: Lsn) -> Result<(), VolumeError> {
        {
            let mut state = self.state.borrow_mut();
            if position > state.durable {
                state.wanted.insert(position);
                state.askers += 1;
            }
        }
        self.work.notify();
        if planted::is(Bug::FlushAckBeforeAppend) {
            return Ok(());
        }
        self.progress
            .until(|| {
                let state = self.state.borrow();
                let appended = planted::is(Bug::FlushWithoutSync) && state.appended >= position;
                if state.durable >= position || appended {
                    return Some(Ok(()));
                }
                drop(state);
                self.shared.alive().err().map(Err)
            })
            .await
    }

    /// Content of the whole entry that `place` is part of, or `None` if a manifest covers it by
    /// now and its segment was given back: then the map knows a newer place.
    ///
    /// # Errors
    /// The disk failed, or returned other bytes than were logged.
    pub async fn read_entry(
        &self,
        place: LogPlace,
        entry: Extent,
    ) -> Result<Option<Entry<E>>, VolumeError> {
        let file = {
            let state = self.state.borrow();
            if let Some(found) = state.in_memory(place) {
                return Ok(Some(found));
            }
            let Some(file) = state.files.get(&place.file()) else { return Ok(None) };
            file.handle()
        };
        let at = u64::from(place.block()) * BLOCK_BYTES as u64;
        let read = file.file().read_at(at, usize::from(place.blocks()) * BLOCK_BYTES).await;
        self.let_go(file);
        let bytes = read?;
        let is_sound = payload_crc(entry, &bytes) == place.crc();
        if !is_sound && !planted::is(Bug::NoPayloadChecksum) {
            return Err(VolumeError::Corrupt {
                volume: self.shared.volume.to_string(),
                lba: entry.lba().0,
                found: format!(
                    "the log entry at block {} of its segment is damaged",
                    place.block()
                ),
            });
        }
        Ok(Some(Entry::Read(bytes)))
    }

    /// The open buffer, filled as far as it is, goes to the queue: the appender has nothing else
    /// to do.
    pub(super) fn close_batch(&self, state: &mut State<E>) -> bool {
        let Some(batch) = state.open.take_if(|batch| !batch.is_empty()) else { return false };
        let tail = state.tail.as_mut().expect("an open buffer belongs to a segment");
        let (used, offered) = (batch.blocks() as usize * BLOCK_BYTES, state.batch_bytes);
        let done = batch.finish(state.durable);
        tail.next_block = done.first_block + done.blocks;
        state.next_lsn = done.last_lsn.next();
        if used * 2 > offered {
            state.batch_bytes = (offered * 2).min(BATCH_BYTES);
        } else if used * 8 < offered {
            state.batch_bytes = (offered / 2).max(BATCH_MIN_BYTES);
        }
        match state.files.get_mut(&tail.file) {
            Some(LogFile::Own { last_lsn, .. }) => *last_lsn = done.last_lsn,
            _ => unreachable!("the tail is a file of this opening"),
        }
        state.filled.push_back(Filled {
            stage: Stage::Waiting,
            file: tail.file,
            first_block: done.first_block,
            blocks: done.blocks,
            last_lsn: done.last_lsn,
            buf: Rc::new(done.buf),
        });
        true
    }

    /// Opens the next append buffer, in the next segment if this one is full.
    pub(super) fn next_batch(&self, state: &mut State<E>) -> Result<(), NoRoom> {
        if state.open.as_ref().is_some_and(|batch| !batch.is_empty())
            && state.filled.len() >= BATCHES_WAITING
            && !planted::is(Bug::BuffersPileUp)
        {
            return Err(NoRoom);
        }
        self.close_batch(state);
        state.open = None;
        if !self.has_segment(state) {
            return Err(NoRoom);
        }
        let tail = match state.tail {
            Some(tail) if self.left(tail) >= ROLL_BLOCKS => tail,
            _ => self.roll(state),
        };
        let bytes = state.batch_bytes.min(self.left(tail) as usize * BLOCK_BYTES);
        let buf = state.files[&tail.file].handle().file().alloc(bytes);
        let (segment, first_block) = (tail.segment, tail.next_block);
        let batch = Batch::begin(buf, self.identity, segment, first_block, state.next_lsn);
        state.open = Some(batch);
        Ok(())
    }

    /// Takes the spare segment into use.
    fn roll(&self, state: &mut State<E>) -> Tail {
        let segment = state.spares.pop().expect("looked for before");
        let file = state.next_file;
        state.next_file = file.next();
        let tail = Tail { file, segment: state.next_segment, next_block: 0 };
        state.next_segment = state.next_segment.next();
        state.files.insert(file, LogFile::Own { segment, last_lsn: Lsn(0) });
        state.tail = Some(tail);
        state.syncs_before = std::mem::take(&mut state.syncs);
        self.work.notify(); // the next spare can be prepared
        tail
    }

    fn left(&self, tail: Tail) -> u32 {
        self.tuning.segment_blocks - tail.next_block
    }

    /// Whether the next buffer has a segment to go to; asks for one if not.
    fn has_segment(&self, state: &mut State<E>) -> bool {
        let open_blocks = state.open.as_ref().map_or(0, Batch::blocks);
        let tail_fits = state.tail.is_some_and(|tail| self.left(tail) >= open_blocks + ROLL_BLOCKS);
        if tail_fits || !state.spares.is_empty() {
            return true;
        }
        // As many as are wanted are being made ready, and they are used up already.
        if state.preparing >= state.spares_wanted {
            state.spares_wanted = (state.spares_wanted * 2).clamp(1, SPARES_MOST);
        }
        self.work.notify();
        false
    }

    fn note_push(&self, state: &State<E>) {
        let lsn = state.open.as_ref().and_then(Batch::last_lsn);
        self.shared.accepted(self.identity.shard, lsn.expect("something was pushed"));
        self.work.notify();
    }
}
