//! One client's stream, with what must be able to end it from outside: a server that stops, and a
//! client that stalls.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use wal::runtime::Runtime;

use super::limits::{PRESSED_STALL_TIMEOUT, PROGRESS_BYTES, STALL_TIMEOUT};
use super::turn::BusySlice;
use crate::runtime::{ByteStream, GlommioRuntime};

/// A connection as the watch of its core sees it.
pub(super) trait Watched {
    /// No further request is wanted.
    fn stop_reading(&self);

    /// Cuts the client off: it gets no further reply.
    fn cut(&self);

    /// Cuts the client off if it missed a deadline; earlier if others wait for the memory that it
    /// holds.
    fn check_deadlines(&self, now: Duration, pressed: bool);
}

/// What came of waiting for bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// So many bytes.
    Bytes(usize),
    /// The client has finished sending.
    End,
    /// The server stops.
    Stopping,
}

/// A stream, one reader and one writer at a time.
pub(super) struct Line<S> {
    stream: S,
    stopping: Cell<bool>,
    /// Waits for bytes.
    reader: RefCell<Option<Waker>>,
    /// When the handshake must be over.
    enter_by: Cell<Option<Duration>>,
    /// Since when a part of a request is missing.
    reading_since: Cell<Option<Duration>>,
    /// Since when the client has been taking a reply.
    writing_since: Cell<Option<Duration>>,
}

impl<S: ByteStream> Line<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            stopping: Cell::new(false),
            reader: RefCell::new(None),
            enter_by: Cell::new(None),
            reading_since: Cell::new(None),
            writing_since: Cell::new(None),
        }
    }

    /// Sets or lifts the time by which the handshake must be over.
    pub(super) fn must_enter_by(&self, deadline: Option<Duration>) {
        self.enter_by.set(deadline);
    }

    /// As [`Self::read`], in the middle of a request: the client must not take for ever.
    pub(super) async fn read_rest(
        &self,
        into: &mut [u8],
        slice: &BusySlice,
    ) -> io::Result<Arrival> {
        self.reading_since.set(Some(GlommioRuntime.now()));
        let arrival = self.read_on(into, slice, true).await;
        self.reading_since.set(None);
        arrival
    }

    /// Reads what is there and waits for that, but not when the server stops. Lets other tasks of
    /// the core have their turn if that is due.
    pub(super) async fn read(&self, into: &mut [u8], slice: &BusySlice) -> io::Result<Arrival> {
        self.read_on(into, slice, false).await
    }

    /// `midway`: the client has begun to send something.
    async fn read_on(
        &self,
        into: &mut [u8],
        slice: &BusySlice,
        midway: bool,
    ) -> io::Result<Arrival> {
        let start = GlommioRuntime.now();
        // When the slice is over, waiting is what lets the core look for news.
        if !slice.is_over(start)
            && let Some(arrival) = self.look(into, slice, midway)?
        {
            return Ok(arrival);
        }
        let mut waited = false;
        let mut read = pin!(self.stream.read_some(into));
        let arrival = poll_fn(|cx| {
            if self.stopping.get() {
                return Poll::Ready(Ok(Arrival::Stopping));
            }
            match read.as_mut().poll(cx) {
                Poll::Pending => {
                    waited = true;
                    *self.reader.borrow_mut() = Some(cx.waker().clone());
                    Poll::Pending
                }
                Poll::Ready(Ok(0)) => Poll::Ready(Ok(Arrival::End)),
                Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(Arrival::Bytes(bytes))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            }
        })
        .await;
        if waited {
            slice.spin.waited(GlommioRuntime.now() - start);
            slice.restart(&GlommioRuntime);
        } else {
            slice.yield_if_over(&GlommioRuntime).await;
        }
        arrival
    }

    /// Looks at the socket for a moment.
    fn look(
        &self,
        into: &mut [u8],
        slice: &BusySlice,
        midway: bool,
    ) -> io::Result<Option<Arrival>> {
        if self.stopping.get() {
            return Ok(Some(Arrival::Stopping));
        }
        let span = slice.spin.span(std::ptr::from_ref(self).addr(), midway);
        if span.is_zero() {
            return Ok(None);
        }
        let start = GlommioRuntime.now();
        loop {
            match self.stream.try_read(into)? {
                Some(0) => return Ok(Some(Arrival::End)),
                Some(bytes) => {
                    slice.spin.hit();
                    return Ok(Some(Arrival::Bytes(bytes)));
                }
                None if GlommioRuntime.now() - start >= span => {
                    slice.spin.missed();
                    return Ok(None);
                }
                None => std::hint::spin_loop(),
            }
        }
    }

    /// Fills `into`; returns what came instead, if anything did.
    pub(super) async fn read_full(
        &self,
        into: &mut [u8],
        slice: &BusySlice,
    ) -> io::Result<Option<Arrival>> {
        let (mut filled, mut counted) = (0, 0);
        self.reading_since.set(Some(GlommioRuntime.now()));
        let outcome = loop {
            if filled == into.len() {
                break Ok(None);
            }
            match self.read_on(&mut into[filled..], slice, true).await {
                Ok(Arrival::Bytes(bytes)) => filled += bytes,
                Ok(end @ (Arrival::End | Arrival::Stopping)) => break Ok(Some(end)),
                Err(error) => break Err(error),
            }
            // Not at each byte: a trickle would hold the memory for ever.
            if filled - counted >= PROGRESS_BYTES {
                counted = filled;
                self.reading_since.set(Some(GlommioRuntime.now()));
            }
        };
        self.reading_since.set(None);
        outcome
    }

    /// Sends what the client's side takes now; returns how much that is.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.try_write(slices)
    }

    /// Sends all slices.
    pub(super) async fn write(&self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.writing_since.set(Some(GlommioRuntime.now()));
        let result = self.stream.write_all_vectored(slices).await;
        self.writing_since.set(None);
        result
    }

    /// Ends the connection in both directions.
    pub(super) fn close(&self) {
        self.stream.shutdown();
    }
}

impl<S: ByteStream> Watched for Line<S> {
    fn stop_reading(&self) {
        self.stopping.set(true);
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    fn cut(&self) {
        self.close();
    }

    fn check_deadlines(&self, now: Duration, pressed: bool) {
        let patience = if pressed { PRESSED_STALL_TIMEOUT } else { STALL_TIMEOUT };
        let since = [self.reading_since.get(), self.writing_since.get()];
        let stalled = since.into_iter().flatten().any(|since| now - since > patience);
        if stalled || self.enter_by.get().is_some_and(|by| by < now) {
            log::info!("a client that stalled is cut off");
            self.close();
        }
    }
}
