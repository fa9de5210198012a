//! One client from its first byte to its last.
//!
//! A reader takes whatever the client has sent, serves what can be served at once, and sends all
//! replies of that batch together. Requests that must wait (for another core, the disk, the store)
//! become tasks; their replies are sent by a writer, in the order in which they end.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::{Rc, Weak};

use nbd::{Negotiated, Replies, Tag};
use wal::runtime::Runtime;

use super::budget::ConnectionBudget;
use super::clients::Admitted;
use super::env::ProductEnv;
use super::errno::errno;
use super::input::Input;
use super::limits::MAX_IN_FLIGHT;
use super::line::{Line, Watched};
use super::local::Local;
use super::negotiate::{Outcome, negotiate};
use super::outbox::Outbox;
use super::receive::receive;
use crate::engine::error::VolumeError;
use crate::engine::signal::Signal;
use crate::engine::volume::Volume;
use crate::runtime::heartbeat::InFlight;
use crate::runtime::{ByteStream, GlommioRuntime};

/// A client in the transmission phase.
pub(super) struct Connection<S> {
    pub(super) local: Rc<Local>,
    pub(super) volume: Volume<ProductEnv>,
    pub(super) negotiated: Negotiated,
    pub(super) replies: Replies,
    pub(super) line: Rc<Line<S>>,
    pub(super) outbox: Outbox,
    pub(super) budget: ConnectionBudget,
    /// Requests that became tasks.
    in_flight: Cell<usize>,
    sending: Cell<bool>,
    ended: Cell<bool>,
    /// A task added a reply, or the connection ended.
    outgoing: Signal,
    /// A request ended, or replies were sent.
    pub(super) changed: Signal,
    /// The failure that was logged last.
    complaint: RefCell<String>,
}

/// Serves a client to its end.
pub(super) async fn serve<S: ByteStream>(local: Rc<Local>, stream: S, admitted: Admitted) {
    let line = Rc::new(Line::new(stream));
    let watched: Weak<dyn Watched> = Rc::downgrade(&(line.clone() as Rc<dyn Watched>));
    if !local.watch(watched) {
        return;
    }
    let mut input = Input::new();
    match negotiate(&local, &line, &mut input).await {
        Ok(Outcome::Transmission(negotiated, volume, entered)) => {
            log::debug!("export {}: a client connected", negotiated.export);
            let export = negotiated.export.clone();
            let connection = Connection::new(local, volume, negotiated, line);
            connection.transmit(&mut input).await;
            log::debug!("export {export}: a client left");
            drop(entered);
        }
        Ok(Outcome::Close(reason)) => log::debug!("a client left: {reason}"),
        Ok(Outcome::Gone) => {}
        Err(error) => log::debug!("a handshake failed: {error}"),
    }
    drop(admitted);
}

impl<S: ByteStream> Connection<S> {
    fn new(
        local: Rc<Local>,
        volume: Volume<ProductEnv>,
        negotiated: Negotiated,
        line: Rc<Line<S>>,
    ) -> Rc<Self> {
        let budget = ConnectionBudget::new(local.budget.clone());
        let replies = Replies::new(negotiated.mode);
        Rc::new(Self {
            local,
            volume,
            negotiated,
            replies,
            line,
            outbox: Outbox::default(),
            budget,
            in_flight: Cell::new(0),
            sending: Cell::new(false),
            ended: Cell::new(false),
            outgoing: Signal::default(),
            changed: Signal::default(),
            complaint: RefCell::default(),
        })
    }

    async fn transmit(self: Rc<Self>, input: &mut Input) {
        GlommioRuntime.spawn(self.clone().write());
        match receive(&self, input).await {
            Ok(()) => {}
            Err(error) => {
                log::info!("export {}: connection ended: {error}", self.negotiated.export);
            }
        }
        // What was accepted is finished, and its replies are sent if the client still listens.
        self.changed.until(|| (self.in_flight.get() == 0).then_some(())).await;
        self.send().await;
        self.changed.until(|| (!self.sending.get()).then_some(())).await;
        self.ended.set(true);
        self.outgoing.notify();
        self.line.close();
    }

    /// Whether another request may become a task.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.get() < MAX_IN_FLIGHT
    }

    /// Makes a request a task; `work` leaves its reply in the outbox.
    pub(super) fn start(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.local.slice.spin.task_began();
        let connection = self.clone();
        GlommioRuntime.spawn(async move {
            let beat = InFlight::new();
            work.await;
            drop(beat);
            connection.in_flight.set(connection.in_flight.get() - 1);
            connection.local.slice.spin.task_ended();
            connection.outgoing.notify();
            connection.changed.notify();
        });
    }

    /// Sends replies that tasks left, until the connection ends.
    async fn write(self: Rc<Self>) {
        loop {
            let more = || match self.outbox.bytes() > 0 && !self.sending.get() {
                true => Some(true),
                false => self.ended.get().then_some(false),
            };
            if !self.outgoing.until(more).await {
                return;
            }
            self.send().await;
        }
    }

    /// Sends all that waits. If somebody sends already, they go on with what was added.
    pub(super) async fn send(&self) {
        if self.outbox.bytes() == 0 || self.sending.replace(true) {
            return;
        }
        self.local.slice.spin.task_began();
        while let Some(batch) = self.outbox.take() {
            for mut group in batch.groups() {
                if let Err(error) = self.line.write(&mut group).await {
                    self.lost(&error);
                    break;
                }
            }
            self.outbox.recycle(batch, |memory| self.local.buffers.give_back(memory));
        }
        self.local.slice.spin.task_ended();
        self.sending.set(false);
        self.changed.notify();
    }

    /// Whether something waits to be sent, or is being sent.
    pub(super) fn is_sending(&self) -> bool {
        self.outbox.bytes() > 0 || self.sending.get()
    }

    /// The client is gone: the reader ends as well, tasks run on and their replies are dropped.
    pub(super) fn lost(&self, error: &io::Error) {
        log::debug!("export {}: sending failed: {error}", self.negotiated.export);
        self.outbox.shut();
        self.line.close();
    }

    /// Answers a request that failed, and logs the failure unless the last one was the same.
    pub(super) fn fail(&self, tag: Tag, length: u64, error: &VolumeError) {
        let text = error.to_string();
        if *self.complaint.borrow() != text {
            let (export, offset) = (&self.negotiated.export, tag.offset);
            log::error!("export {export}: {length} bytes at {offset}: {text}");
        }
        self.outbox.append(|out| self.replies.error(tag, errno(error), &text, out));
        *self.complaint.borrow_mut() = text;
    }

    /// Answers a request that has no data to send.
    pub(super) fn finish(&self, tag: Tag, length: u64, outcome: Result<(), VolumeError>) {
        match outcome {
            Ok(()) => self.outbox.append(|out| self.replies.ok(tag, out)),
            Err(error) => self.fail(tag, length, &error),
        }
    }
}
