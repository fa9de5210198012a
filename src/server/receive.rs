//! The reading side of a connection.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use nbd::limits::MAX_SKIPPED_PAYLOAD;
use nbd::{ByteRange, Command, Decoded, ProtocolError, Rejection, Tag, decode};

use super::budget::Permit;
use super::connection::Connection;
use super::input::Input;
use super::limits::INLINE_PAYLOAD;
use super::line::Arrival;
use super::perform::{perform, written_now};
use crate::engine::limits::COPY_QUANTUM_BYTES;
use crate::runtime::{ByteStream, GlommioRuntime};

/// Why a connection ended that the client did not end properly.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// The client does not speak the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The connection broke.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// The client stopped in the middle of a request.
    #[error("the client left in the middle of a request")]
    Cut,
}

/// Why no further request can be served at once.
pub(super) enum Pause {
    /// The input must grow to so many bytes.
    Input(usize),
    /// Replies must go out first.
    Send,
    /// Too many requests wait.
    Room,
    /// The next request needs so much payload memory.
    Memory(usize),
    /// A write whose payload is to be read into memory of its own.
    LongWrite(LongWrite),
    /// A payload that is to be thrown away.
    Skip(Skip),
    /// The client said goodbye.
    Disconnect,
}

pub(super) struct LongWrite {
    tag: Tag,
    range: ByteRange,
    fua: bool,
}

/// A request whose payload is of no use. The reply comes when the payload is read, not before: a
/// client that is still sending need not know the request as one that can be answered.
pub(super) struct Skip {
    bytes: usize,
    tag: Tag,
    /// Why; `None` if it is a request for nothing.
    rejection: Option<Rejection>,
}

/// Serves requests until the client leaves or the server stops.
pub(super) async fn receive<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    input: &mut Input,
) -> Result<(), ReceiveError> {
    let local = &connection.local;
    let mut granted = None;
    loop {
        let pause = serve_input(connection, input, &mut granted)?;
        // Whatever comes next may wait: what is done must not.
        connection.send().await;
        let taken = || (!connection.outbox.is_full()).then_some(());
        connection.changed.until(taken).await;
        match pause {
            Pause::Input(wanted) => {
                if !read_input(connection, input, wanted).await? {
                    return Ok(());
                }
            }
            Pause::Send => local.slice.yield_if_over(&GlommioRuntime).await,
            Pause::Room => connection.changed.until(|| connection.has_room().then_some(())).await,
            Pause::Memory(bytes) => granted = Some(connection.budget.take(bytes).await),
            Pause::LongWrite(write) => {
                if !long_write(connection, input, write).await? {
                    return Ok(());
                }
            }
            Pause::Skip(Skip { bytes, tag, rejection }) => {
                if !skip(connection, input, bytes).await? {
                    return Ok(());
                }
                match rejection {
                    Some(rejection) => refuse(connection, tag, rejection),
                    None => connection.finish(tag, 0, Ok(())),
                }
            }
            Pause::Disconnect => return Ok(()),
        }
    }
}

/// Serves all complete requests of the input, as far as limits allow.
fn serve_input<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    input: &mut Input,
    granted: &mut Option<Permit>,
) -> Result<Pause, ProtocolError> {
    loop {
        if connection.outbox.is_full() {
            return Ok(Pause::Send);
        }
        if !connection.has_room() {
            return Ok(Pause::Room);
        }
        match decode(&connection.negotiated, input.bytes())? {
            Decoded::NeedMore { bytes } => return Ok(Pause::Input(bytes)),
            Decoded::Refused { header_bytes, tag, skip_payload, rejection } => {
                input.consume(header_bytes);
                if skip_payload > 0 {
                    let (bytes, rejection) = (skip_payload as usize, Some(rejection));
                    return Ok(Pause::Skip(Skip { bytes, tag, rejection }));
                }
                refuse(connection, tag, rejection);
            }
            Decoded::Command { command: Command::Disconnect, .. } => return Ok(Pause::Disconnect),
            Decoded::Command { header_bytes, tag, command, payload_bytes } => {
                let payload_bytes = payload_bytes as usize;
                if payload_bytes > INLINE_PAYLOAD {
                    input.consume(header_bytes);
                    return Ok(long(tag, command, payload_bytes));
                }
                let whole = header_bytes + payload_bytes;
                let Some(payload) = input.bytes().get(header_bytes..whole) else {
                    return Ok(Pause::Input(whole));
                };
                if let Some(pause) = perform(connection, tag, command, payload, granted) {
                    return Ok(pause);
                }
                // One that came without it after all: the next request is of another length.
                granted.take();
                input.consume(whole);
            }
        }
    }
}

/// What to do about a payload that is not taken from the input.
fn long(tag: Tag, command: Command, bytes: usize) -> Pause {
    match command {
        Command::Write { range, fua } => Pause::LongWrite(LongWrite { tag, range, fua }),
        Command::Nothing => Pause::Skip(Skip { bytes, tag, rejection: None }),
        other => unreachable!("{other:?} has no payload"),
    }
}

fn refuse<S: ByteStream>(connection: &Connection<S>, tag: Tag, rejection: Rejection) {
    log::debug!("export {}: at {}: {rejection}", connection.negotiated.export, tag.offset);
    let replies = connection.replies;
    let reply = |out: &mut Vec<u8>| replies.error(tag, rejection.errno(), rejection.message(), out);
    connection.outbox.append(reply);
}

/// Reads until the input has `wanted` bytes; false if the client left or the server stops.
async fn read_input<S: ByteStream>(
    connection: &Connection<S>,
    input: &mut Input,
    wanted: usize,
) -> Result<bool, ReceiveError> {
    let line = &connection.line;
    while input.bytes().len() < wanted {
        // Between requests a client may be silent for ever, within one it may not.
        let started = !input.bytes().is_empty();
        let slice = &connection.local.slice;
        let arrival = match started {
            false => line.read(input.room(wanted), slice).await?,
            true => line.read_rest(input.room(wanted), slice).await?,
        };
        match arrival {
            Arrival::Bytes(bytes) => input.filled(bytes),
            Arrival::End if started => return Err(ReceiveError::Cut),
            Arrival::End | Arrival::Stopping => return Ok(false),
        }
    }
    Ok(true)
}

/// Reads the payload of a large write straight into its own memory, and writes it.
async fn long_write<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    input: &mut Input,
    write: LongWrite,
) -> Result<bool, ReceiveError> {
    let LongWrite { tag, range, fua } = write;
    let (local, len) = (&connection.local, range.length as usize);
    let permit = match connection.budget.try_take(len) {
        Some(permit) => permit,
        None => connection.budget.take(len).await,
    };
    let mut memory = local.buffers.take(len);
    let have = input.move_to(&mut memory[..len]);
    match connection.line.read_full(&mut memory[have..len], &local.slice).await? {
        None => {}
        Some(Arrival::Stopping) => return Ok(false),
        Some(_) => return Err(ReceiveError::Cut),
    }
    let most = len.min(COPY_QUANTUM_BYTES);
    let written = match connection.volume.write_now(range.offset, &memory[..most]) {
        Ok(written) if written < len => written,
        outcome => {
            local.buffers.give_back(memory);
            drop(permit);
            written_now(connection, tag, range.length, fua, outcome);
            return Ok(true);
        }
    };
    let task = connection.clone();
    connection.start(async move {
        let memory = Bytes::from(memory);
        let (from, rest) = (range.offset + written as u64, memory.slice(written..len));
        let mut outcome = task.volume.write(from, rest).await;
        if memory.is_unique() {
            task.local.buffers.give_back(memory.into());
        }
        drop(permit);
        if fua && outcome.is_ok() {
            outcome = task.volume.flush().await;
        }
        task.finish(tag, range.length, outcome);
    });
    Ok(true)
}

/// Answers a write that is done once it is durable.
pub(super) fn sync_then_finish<S: ByteStream>(
    connection: &Rc<Connection<S>>,
    tag: Tag,
    length: u64,
) {
    let task = connection.clone();
    connection.start(async move {
        let outcome = task.volume.flush().await;
        task.finish(tag, length, outcome);
    });
}

/// Throws away the payload of a refused request; false as for [`read_input`].
async fn skip<S: ByteStream>(
    connection: &Connection<S>,
    input: &mut Input,
    bytes: usize,
) -> Result<bool, ReceiveError> {
    assert!(bytes <= MAX_SKIPPED_PAYLOAD as usize, "longer ones end the connection");
    let mut left = bytes;
    loop {
        let here = left.min(input.bytes().len());
        input.consume(here);
        left -= here;
        if left == 0 {
            return Ok(true);
        }
        let wanted = left.min(INLINE_PAYLOAD);
        match read_input(connection, input, wanted).await {
            Ok(true) => {}
            Ok(false) => return Err(ReceiveError::Cut),
            Err(error) => return Err(error),
        }
    }
}
