//! The operations in flight: what each slot waits for, and what its reply leads to.

use std::io;

use nbd::wire::{NBD_CMD_FLAG_FUA, NBD_CMD_FLUSH, NBD_CMD_READ, NBD_CMD_WRITE};
use thiserror::Error;

use crate::codec::{ReplySink, WireError, request};
use crate::connection::{Body, ConnectError, Outbox};
use crate::limits::{PATTERN_BYTES, SILENCE_SECONDS};
use crate::payload::Payload;
use crate::plan::{Places, Plan, PlanError, Stop};
use crate::recorder::{Kind, Recorder};

/// Why a load failed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The scenario does not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A socket or system call failed.
    #[error("the connection or the system failed under load")]
    Io(#[from] io::Error),
    /// The server breaks the protocol.
    #[error("the server breaks the protocol")]
    Wire(#[from] WireError),
    /// The server closed the connection with requests in flight.
    #[error("the server closed the connection with requests in flight")]
    Closed,
    /// A reply to a request that has not left the client completely.
    #[error("the server acknowledged a write before it had received it")]
    Early,
    /// The server hangs.
    #[error("the server did not answer for {SILENCE_SECONDS} s")]
    Silent,
    /// The user stopped the run.
    #[error("stopped by a signal")]
    Interrupted,
    /// The server reports an error.
    #[error("{command} at offset {offset} failed with NBD error {error}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Where.
        offset: u64,
        /// NBD error number.
        error: u32,
    },
    /// A read returned too few or foreign bytes.
    #[error("read at offset {offset} returned data for offset {at}, {length} bytes")]
    Stray {
        /// Where the read was.
        offset: u64,
        /// What came.
        at: u64,
        /// How much of it.
        length: u64,
    },
    /// A read returned other bytes than were written.
    #[error("wrong data at offset {offset}: not the bytes of write number {version} to this block")]
    Mismatch {
        /// First byte of the block.
        offset: u64,
        /// Number of the write that should be seen; 1 is the prefill.
        version: u32,
    },
    /// The histogram could not be made.
    #[error("cannot make a histogram")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// What a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Transfer(Kind),
    Flush,
}

/// One operation in flight.
#[derive(Clone, Debug)]
pub struct Slot {
    phase: Phase,
    cookie: u64,
    offset: u64,
    started: u64,
    received: u64,
    error: u32,
}

/// `count` idle slots.
#[must_use]
pub fn idle_slots(count: u32) -> Vec<Slot> {
    let idle = Slot { phase: Phase::Idle, cookie: 0, offset: 0, started: 0, received: 0, error: 0 };
    vec![idle; count as usize]
}

/// The state that all connections share.
#[derive(Debug)]
pub struct Work<'p> {
    /// What to do.
    pub plan: &'p Plan,
    /// Bytes to write.
    pub payload: &'p mut Payload,
    /// Last write to each pattern block, where reads are verified.
    pub versions: &'p mut Vec<u32>,
    /// Results.
    pub recorder: Recorder,
    /// Operations without a final reply.
    pub in_flight: u64,
    /// No new operations are started.
    pub stopping: bool,
    /// Start of the timed part, once it has begun and until it is over.
    pub timed_since: Option<u64>,
    places: Places,
    started: u64,
}

impl<'p> Work<'p> {
    /// Nothing in flight yet.
    pub fn new(
        plan: &'p Plan,
        payload: &'p mut Payload,
        versions: &'p mut Vec<u32>,
    ) -> Result<Self, LoadError> {
        let recorder = Recorder::new(u64::from(plan.block))?;
        let places = Places::new(plan);
        Ok(Self {
            plan,
            payload,
            versions,
            recorder,
            in_flight: 0,
            stopping: false,
            timed_since: None,
            places,
            started: 0,
        })
    }

    /// Puts the next operation into a slot that is idle, unless the load is ending.
    pub fn start(&mut self, place: (u32, u32), slot: &mut Slot, outbox: &mut Outbox, now: u64) {
        if let Stop::Operations(limit) = self.plan.stop
            && self.started == limit
        {
            self.stopping = true;
        }
        if self.stopping {
            slot.phase = Phase::Idle;
            return;
        }
        self.started += 1;
        self.in_flight += 1;
        let read = self.places.read_next(self.plan);
        slot.offset = self.places.next(self.plan, place.0, place.1);
        slot.started = now;
        slot.received = 0;
        slot.cookie = next_cookie(slot.cookie, place.1);
        let length = self.plan.block;
        if read {
            slot.phase = Phase::Transfer(Kind::Read);
            outbox.push(request(0, NBD_CMD_READ, slot.cookie, slot.offset, length), Body::Empty);
        } else {
            slot.phase = Phase::Transfer(Kind::Write);
            let flags = if self.plan.fua { NBD_CMD_FLAG_FUA } else { 0 };
            let header = request(flags, NBD_CMD_WRITE, slot.cookie, slot.offset, length);
            let body = self.body(slot.offset);
            outbox.push(header, body);
        }
    }

    /// Operations started so far.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    fn body(&mut self, offset: u64) -> Body {
        let length = self.plan.block as usize;
        if !self.plan.verify {
            return Body::Window(self.payload.take(length));
        }
        let mut bytes = Vec::with_capacity(length);
        let first = offset / PATTERN_BYTES;
        for block in first..first + u64::from(self.plan.block) / PATTERN_BYTES {
            let version = &mut self.versions[block as usize];
            *version = version.wrapping_add(1);
            bytes.extend_from_slice(self.payload.pattern(block, *version));
        }
        Body::Owned(bytes.into_boxed_slice())
    }

    /// Compares the part of a read that starts at byte `at` of the volume.
    fn compare(&self, mut at: u64, mut bytes: &[u8]) -> Result<(), LoadError> {
        while !bytes.is_empty() {
            let (block, inside) = (at / PATTERN_BYTES, (at % PATTERN_BYTES) as usize);
            let version = self.versions[block as usize];
            let expected = &self.payload.pattern(block, version)[inside..];
            let length = expected.len().min(bytes.len());
            if bytes[..length] != expected[..length] {
                return Err(LoadError::Mismatch { offset: block * PATTERN_BYTES, version });
            }
            bytes = &bytes[length..];
            at += length as u64;
        }
        Ok(())
    }
}

/// The replies of one receive on one connection.
pub struct Turn<'t, 'p> {
    /// Shared state.
    pub work: &'t mut Work<'p>,
    /// This connection's slots.
    pub slots: &'t mut [Slot],
    /// Where follow-up requests go.
    pub outbox: &'t mut Outbox,
    /// This connection's number.
    pub connection: u32,
    /// Time of the receive.
    pub now: u64,
}

impl Turn<'_, '_> {
    fn find(&mut self, cookie: u64) -> Result<&mut Slot, LoadError> {
        self.slots
            .get_mut(slot_number(cookie) as usize)
            .filter(|slot| slot.phase != Phase::Idle && slot.cookie == cookie)
            .ok_or(LoadError::Wire(WireError::Cookie(cookie)))
    }

    /// Takes in `length` bytes of a read at byte `at` of the volume.
    fn accept(&mut self, cookie: u64, at: u64, length: u64) -> Result<(), LoadError> {
        let block = u64::from(self.work.plan.block);
        let slot = self.find(cookie)?;
        slot.received += length;
        let inside = at >= slot.offset && at.saturating_add(length) <= slot.offset + block;
        if inside && slot.received <= block && slot.phase == Phase::Transfer(Kind::Read) {
            Ok(())
        } else {
            Err(LoadError::Stray { offset: slot.offset, at, length })
        }
    }
}

impl ReplySink for Turn<'_, '_> {
    type Error = LoadError;

    fn simple_payload(&mut self, cookie: u64) -> Result<u32, LoadError> {
        let block = self.work.plan.block;
        let slot = self.find(cookie)?;
        Ok(if slot.phase == Phase::Transfer(Kind::Read) { block } else { 0 })
    }

    fn data(
        &mut self,
        cookie: u64,
        chunk_offset: Option<u64>,
        skip: u32,
        bytes: &[u8],
    ) -> Result<(), LoadError> {
        let start = match chunk_offset {
            Some(offset) => offset,
            None => self.find(cookie)?.offset,
        };
        let at = start.saturating_add(u64::from(skip));
        self.accept(cookie, at, bytes.len() as u64)?;
        if self.work.plan.verify { self.work.compare(at, bytes) } else { Ok(()) }
    }

    fn hole(&mut self, cookie: u64, offset: u64, length: u32) -> Result<(), LoadError> {
        self.accept(cookie, offset, u64::from(length))?;
        if self.work.plan.verify {
            // Patterns are random, so zeros are always wrong.
            self.work.compare(offset, &[0; 8][..(length as usize).min(8)])?;
        }
        Ok(())
    }

    fn fail(&mut self, cookie: u64, error: u32) -> Result<(), LoadError> {
        self.find(cookie)?.error = error;
        Ok(())
    }

    fn done(&mut self, cookie: u64) -> Result<(), LoadError> {
        let number = slot_number(cookie);
        let now = self.now;
        let slot = self.find(cookie)?;
        let (kind, command) = match slot.phase {
            Phase::Transfer(Kind::Read) => (Kind::Read, "READ"),
            Phase::Transfer(Kind::Write) => (Kind::Write, "WRITE"),
            Phase::Flush | Phase::Idle => (Kind::Write, "FLUSH"),
        };
        if slot.error != 0 {
            return Err(LoadError::Refused { command, offset: slot.offset, error: slot.error });
        }
        let slot = &mut self.slots[number as usize];
        let block = u64::from(self.work.plan.block);
        if kind == Kind::Read && slot.received != block {
            let (offset, length) = (slot.offset, slot.received);
            return Err(LoadError::Stray { offset, at: offset, length });
        }
        if self.work.plan.flush && slot.phase == Phase::Transfer(Kind::Write) {
            slot.phase = Phase::Flush;
            slot.cookie = next_cookie(slot.cookie, number);
            self.outbox.push(request(0, NBD_CMD_FLUSH, slot.cookie, 0, 0), Body::Empty);
            return Ok(());
        }
        if let Some(since) = self.work.timed_since {
            self.work.recorder.record(kind, now - slot.started, now - since);
        }
        self.work.in_flight -= 1;
        self.work.start((self.connection, number), slot, self.outbox, now);
        Ok(())
    }
}

/// Low half: slot number. High half: counts up, so that a late or doubled reply shows.
const fn next_cookie(last: u64, slot: u32) -> u64 {
    ((last >> 32).wrapping_add(1) << 32) | slot as u64
}

const fn slot_number(cookie: u64) -> u32 {
    (cookie & 0xffff_ffff) as u32
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
