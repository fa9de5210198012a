//! What becomes of each command.

use std::rc::Rc;

use bytes::Bytes;
use nbd::limits::MAX_STATUS_DESCRIPTORS;
use nbd::wire::{NBD_STATE_HOLE, NBD_STATE_ZERO};
use nbd::{BlockStatus, ByteRange, Command, Last, Tag};
use wal::HoleKind;

use super::budget::Permit;
use super::connection::Connection;
use super::direct::Left;
use super::limits::{CACHE_BYTES, CACHE_PIECE, HEADER_ROOM, INLINE_REPLY};
use super::receive::{Pause, sync_then_finish};
use crate::engine::error::VolumeError;
use crate::engine::limits::{COPY_QUANTUM_BYTES, READ_AHEAD_BYTES};
use crate::engine::message::Status;
use crate::runtime::ByteStream;

/// Serves a request at once or makes it a task. If it must wait for memory first, nothing was
/// done, and it is performed again with `granted` set.
pub(super) fn perform<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    tag: Tag,
    command: Command,
    payload: &[u8],
    granted: &mut Option<Permit>,
) -> Option<Pause> {
    match command {
        Command::Read { range, .. } => return read(connection, tag, range, granted),
        Command::Write { range, fua } => {
            return write(connection, tag, range, fua, payload, granted);
        }
        Command::Flush => sync_then_finish(connection, tag, 0),
        Command::Trim { range, fua } => punch(connection, tag, range, fua, HoleKind::Discard),
        Command::WriteZeroes { range, fua, no_hole, .. } => {
            // Always fast: no data is written for whole blocks.
            let kind = if no_hole { HoleKind::Zero } else { HoleKind::Discard };
            punch(connection, tag, range, fua, kind);
        }
        Command::Cache { range } => cache(connection, tag, range),
        Command::BlockStatus { range, one } => status(connection, tag, range, one),
        Command::Nothing => connection.finish(tag, 0, Ok(())),
        Command::Disconnect => unreachable!("the reader ends there"),
    }
    None
}

/// A permit for a request, or what to wait for.
fn permit<S>(
    connection: &Connection<S>,
    bytes: usize,
    granted: &mut Option<Permit>,
) -> Result<Permit, Pause> {
    granted.take().or_else(|| connection.budget.try_take(bytes)).ok_or(Pause::Memory(bytes))
}

fn read<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    tag: Tag,
    range: ByteRange,
    granted: &mut Option<Permit>,
) -> Option<Pause> {
    let (replies, volume) = (connection.replies, &connection.volume);
    let len = range.length as usize;
    if len <= INLINE_REPLY {
        let outcome = connection.outbox.append(|out| {
            let before = out.len();
            replies.data(tag, range, Last::Yes, out);
            let outcome = volume.read_now(range.offset, len, out);
            if !matches!(outcome, Some(Ok(()))) {
                out.truncate(before);
            }
            outcome
        });
        match outcome {
            Some(Ok(())) => return None,
            Some(Err(error)) => {
                connection.fail(tag, range.length, &error);
                return None;
            }
            None => {}
        }
    }
    // The parts of a long read are in memory twice for a moment.
    let ahead = if len > COPY_QUANTUM_BYTES { len.min(READ_AHEAD_BYTES) } else { 0 };
    let permit = match permit(connection, len + ahead, granted) {
        Ok(permit) => permit,
        Err(pause) => return Some(pause),
    };
    let header = move |out: &mut Vec<u8>| replies.data(tag, range, Last::Yes, out);
    if (INLINE_REPLY + 1..=COPY_QUANTUM_BYTES).contains(&len) {
        let mut head = Vec::with_capacity(HEADER_ROOM);
        header(&mut head);
        match connection.reply_directly(&head, range.offset, len) {
            Some(Ok(None)) => return None,
            Some(Ok(Some(Left { memory, len }))) => {
                connection.outbox.push(|_| {}, memory, len, permit);
                return None;
            }
            Some(Err(error)) => {
                connection.fail(tag, range.length, &error);
                return None;
            }
            None => {}
        }
        let mut memory = connection.local.buffers.take(len);
        match volume.read_into(range.offset, &mut memory[..len]) {
            Some(Ok(())) => {
                connection.outbox.push(header, memory, len, permit);
                return None;
            }
            Some(Err(error)) => {
                connection.fail(tag, range.length, &error);
                return None;
            }
            None => connection.local.buffers.give_back(memory),
        }
    }
    let task = connection.clone();
    connection.start(async move {
        match task.volume.read(range.offset, len).await {
            Ok(data) if len <= INLINE_REPLY && !task.outbox.is_full() => {
                task.outbox.append(|out| {
                    header(out);
                    out.extend_from_slice(&data);
                });
            }
            Ok(data) => task.outbox.push(header, data, len, permit),
            Err(error) => task.fail(tag, range.length, &error),
        }
    });
    None
}

fn write<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    tag: Tag,
    range: ByteRange,
    fua: bool,
    payload: &[u8],
    granted: &mut Option<Permit>,
) -> Option<Pause> {
    match connection.volume.write_now(range.offset, payload) {
        Ok(written) if written < payload.len() => {}
        outcome => {
            written_now(connection, tag, range.length, fua, outcome);
            return None;
        }
    }
    // Short enough to be one entry of the log: nothing of it was written.
    let permit = match permit(connection, payload.len(), granted) {
        Ok(permit) => permit,
        Err(pause) => return Some(pause),
    };
    let (task, data) = (connection.clone(), Bytes::copy_from_slice(payload));
    connection.start(async move {
        let mut outcome = task.volume.write(range.offset, data).await;
        drop(permit);
        if fua && outcome.is_ok() {
            outcome = task.volume.flush().await;
        }
        task.finish(tag, range.length, outcome);
    });
    None
}

/// Answers a write of which nothing is left to be done but to make it durable, if it asks for that.
pub(super) fn written_now<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    tag: Tag,
    length: u64,
    fua: bool,
    outcome: Result<usize, VolumeError>,
) {
    match outcome {
        Ok(_) if fua => sync_then_finish(connection, tag, length),
        outcome => connection.finish(tag, length, outcome.map(drop)),
    }
}

fn punch<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    tag: Tag,
    range: ByteRange,
    fua: bool,
    kind: HoleKind,
) {
    let task = connection.clone();
    connection.start(async move {
        let mut outcome = task.volume.punch(range.offset, range.length, kind).await;
        if fua && outcome.is_ok() {
            outcome = task.volume.flush().await;
        }
        task.finish(tag, range.length, outcome);
    });
}

fn cache<S: ByteStream>(connection: &Rc<Connection<S>>, tag: Tag, range: ByteRange) {
    let task = connection.clone();
    connection.start(async move {
        let outcome = read_ahead(&task, range).await;
        task.finish(tag, range.length, outcome);
    });
}

/// Reads a range, as much as is reasonable, which leaves it in the memory cache.
async fn read_ahead<S>(connection: &Connection<S>, range: ByteRange) -> Result<(), VolumeError> {
    let end = range.offset + range.length.min(CACHE_BYTES);
    let mut at = range.offset;
    while at < end {
        let piece = CACHE_PIECE.min(end - at);
        drop(connection.volume.read(at, piece as usize).await?);
        at += piece;
    }
    Ok(())
}

fn status<S: ByteStream>(connection: &Rc<Connection<S>>, tag: Tag, range: ByteRange, one: bool) {
    let task = connection.clone();
    connection.start(async move {
        let runs = match task.volume.status(range.offset, range.length).await {
            Ok(runs) => runs,
            Err(error) => return task.fail(tag, range.length, &error),
        };
        let wanted = if one { 1 } else { MAX_STATUS_DESCRIPTORS };
        let runs = runs.into_iter().take(wanted);
        let runs = runs.map(|(length, status)| BlockStatus { length, state: state(status) });
        let context = task.negotiated.base_allocation.expect("requests without it are refused");
        task.outbox.append(|out| task.replies.status(tag, context, runs, out));
    });
}

fn state(status: Status) -> u32 {
    match status {
        Status::Data => 0,
        Status::Zero => NBD_STATE_ZERO,
        Status::Hole => NBD_STATE_HOLE | NBD_STATE_ZERO,
    }
}
