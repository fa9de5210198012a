//! The loop that drives all connections of a load from one thread.
//!
//! Replies are received in batches, every complete one is parsed, the follow-up requests are sent
//! in one `sendmsg`. A single connection sleeps in `recv` itself; many connections, or a full
//! socket, sleep in `epoll_wait`. One clock reading per batch stamps the ends of its operations
//! and the starts of the next ones.

use std::io;
use std::time::{Duration, Instant};

use nbd::wire::{NBD_CMD_DISC, NBD_CMD_FLUSH};

use crate::clock;
use crate::codec::{ReplySink, request};
use crate::connection::{Body, Connection};
use crate::limits::SILENCE_SECONDS;
use crate::operations::{LoadError, Slot, Turn, Work, idle_slots};
use crate::payload::Payload;
use crate::plan::{Plan, Stop};
use crate::process;
use crate::recorder::Measured;
use crate::scenario::Scenario;
use crate::sys::{self, Epoll, NO_EVENT, Waiting};
use crate::uri::Uri;

/// Events taken from one `epoll_wait`.
const EVENTS: usize = 64;

/// What a load needs besides its scenario.
#[derive(Debug)]
pub struct Client {
    /// Random bytes, shared by all loads.
    payload: Payload,
}

/// The timed part: processor times at its edges.
#[derive(Debug, Default)]
struct Edges {
    client: Duration,
    server: Option<Duration>,
}

struct Driver<'p> {
    work: Work<'p>,
    connections: Vec<Connection>,
    slots: Vec<Vec<Slot>>,
    blocked: Vec<bool>,
    epoll: Epoll,
    start: Instant,
    server: Option<u32>,
    volumes: usize,
    opened: Edges,
    /// Length of the timed part and the processor time used in it.
    timed: Option<(u64, Edges)>,
}

impl Client {
    /// Makes the payloads. Call it on the thread that runs the loads.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { payload: Payload::new(seed) }
    }

    /// Writes these bytes in order, round and round, as a sequential load does.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { payload: Payload::of(bytes) }
    }

    /// Bytes of the pool that payloads are cut from.
    #[must_use]
    pub fn pool_bytes(&self) -> u64 {
        self.payload.pool_bytes()
    }

    /// Writes the region of `scenario` once, in order, and flushes it.
    pub fn prefill(&mut self, scenario: &Scenario, uri: &Uri) -> Result<Measured, LoadError> {
        let mut versions = Vec::new();
        self.fill(scenario, uri, &mut versions)
    }

    fn fill(
        &mut self,
        scenario: &Scenario,
        uri: &Uri,
        versions: &mut Vec<u32>,
    ) -> Result<Measured, LoadError> {
        let first = Connection::open(uri)?;
        let plan = Plan::prefill(scenario, &first.export)?;
        self.execute(&plan, first, uri, None, versions)
    }

    /// Runs `scenario`; a verified one is prefilled first, others are as `prefill` left them.
    /// `server` is the process whose processor time is counted.
    pub fn run(
        &mut self,
        scenario: &Scenario,
        uri: &Uri,
        server: Option<u32>,
    ) -> Result<Measured, LoadError> {
        let mut versions = Vec::new();
        if scenario.verify {
            self.fill(scenario, uri, &mut versions)?;
        }
        let first = Connection::open(uri)?;
        let plan = Plan::new(scenario, &first.export)?;
        self.execute(&plan, first, uri, server, &mut versions)
    }

    /// Runs `scenario` on many volumes of one size, which its connections take in turns. Nothing is
    /// verified.
    ///
    /// # Panics
    /// Without a volume.
    pub fn run_on(
        &mut self,
        scenario: &Scenario,
        uris: &[Uri],
        server: Option<u32>,
    ) -> Result<Measured, LoadError> {
        let first = Connection::open(&uris[0])?;
        let plan = Plan { verify: false, ..Plan::new(scenario, &first.export)? };
        self.drive(&plan, first, uris, server, &mut Vec::new())
    }

    /// Runs any plan; its first connection is open already.
    pub fn execute(
        &mut self,
        plan: &Plan,
        first: Connection,
        uri: &Uri,
        server: Option<u32>,
        versions: &mut Vec<u32>,
    ) -> Result<Measured, LoadError> {
        self.drive(plan, first, std::slice::from_ref(uri), server, versions)
    }

    fn drive(
        &mut self,
        plan: &Plan,
        first: Connection,
        uris: &[Uri],
        server: Option<u32>,
        versions: &mut Vec<u32>,
    ) -> Result<Measured, LoadError> {
        if plan.verify && versions.is_empty() {
            let blocks = first.export.size.div_ceil(crate::limits::PATTERN_BYTES);
            versions.resize(blocks as usize, 0);
        }
        let mut connections = vec![first];
        for number in 1..plan.connections as usize {
            connections.push(Connection::open(&uris[number % uris.len()])?);
        }
        let epoll = Epoll::new()?;
        for (number, connection) in connections.iter().enumerate() {
            epoll.add(connection.socket(), number as u64)?;
        }
        let count = connections.len();
        let mut driver = Driver {
            work: Work::new(plan, &mut self.payload, versions)?,
            connections,
            slots: vec![idle_slots(plan.depth); count],
            blocked: vec![false; count],
            epoll,
            start: clock::now(),
            server,
            volumes: uris.len(),
            opened: Edges::default(),
            timed: None,
        };
        driver.drive()?;
        driver.finish()
    }
}

impl Driver<'_> {
    fn drive(&mut self) -> Result<(), LoadError> {
        self.turn_phase(0)?;
        for number in 0..self.connections.len() {
            let outbox = &mut self.connections[number].outbox;
            for (slot_number, slot) in (0..).zip(&mut self.slots[number]) {
                self.work.start((number as u32, slot_number), slot, outbox, 0);
            }
            self.send(number)?;
        }
        let mut events = [NO_EVENT; EVENTS];
        while self.work.in_flight > 0 {
            if sys::interrupted() {
                return Err(LoadError::Interrupted);
            }
            self.keep_rate();
            if self.connections.len() == 1 && !self.blocked[0] {
                self.turn(0, Waiting::Block)?;
                continue;
            }
            let limit = Duration::from_secs(SILENCE_SECONDS);
            let ready = match self.epoll.wait(&mut events, limit) {
                Ok([]) => return Err(LoadError::Silent),
                Ok(ready) => ready,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            for event in ready {
                self.turn(event.u64 as usize, Waiting::Never)?;
            }
        }
        let now = clock::nanos_since(self.start);
        self.close_window(now)
    }

    /// Pauses while more operations were started than the plan's rate has them.
    fn keep_rate(&self) {
        let Some(rate) = self.work.plan.rate else { return };
        let due = Duration::from_secs_f64(self.work.started() as f64 / rate);
        while !sys::interrupted() {
            let early = due.saturating_sub(self.start.elapsed());
            if early.is_zero() {
                break;
            }
            clock::pause(early.min(Duration::from_millis(20)));
        }
    }

    /// Receives once on a connection, handles all replies and sends what follows from them.
    fn turn(&mut self, number: usize, waiting: Waiting) -> Result<(), LoadError> {
        let connection = &mut self.connections[number];
        match connection.receive(waiting) {
            Ok(0) => return Err(LoadError::Closed),
            Ok(_) => {}
            Err(error) => match (error.kind(), waiting) {
                (io::ErrorKind::Interrupted, _) => return Ok(()),
                (io::ErrorKind::WouldBlock, Waiting::Block) => return Err(LoadError::Silent),
                (io::ErrorKind::WouldBlock, Waiting::Never) => return self.send(number),
                _ => return Err(error.into()),
            },
        }
        let now = clock::nanos_since(self.start);
        self.turn_phase(now)?;
        let Connection { inbox, outbox, .. } = &mut self.connections[number];
        let slots = &mut self.slots[number];
        let work = &mut self.work;
        inbox.parse(&mut Turn { work, slots, outbox, connection: number as u32, now })?;
        self.send(number)
    }

    fn send(&mut self, number: usize) -> Result<(), LoadError> {
        let connection = &mut self.connections[number];
        let blocked = !connection.send(self.work.payload)?;
        if blocked != self.blocked[number] {
            self.blocked[number] = blocked;
            self.epoll.set_writable(connection.socket(), number as u64, blocked)?;
        }
        Ok(())
    }

    /// Opens and closes the timed part when its time has come.
    fn turn_phase(&mut self, now: u64) -> Result<(), LoadError> {
        let plan = self.work.plan;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match (self.work.timed_since, plan.stop) {
            (None, _) if self.timed.is_none() && now >= nanos(plan.warmup) => {
                self.opened = self.edges()?;
                self.work.timed_since = Some(now);
            }
            (Some(since), Stop::After(length)) if now - since >= nanos(length) => {
                self.work.stopping = true;
                self.close_window(now)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn close_window(&mut self, now: u64) -> Result<(), LoadError> {
        if let Some(since) = self.work.timed_since.take() {
            self.timed = Some((now - since, self.edges()?));
        }
        Ok(())
    }

    fn edges(&self) -> Result<Edges, LoadError> {
        let server = self.server.map(process::cpu_time).transpose()?;
        Ok(Edges { client: sys::thread_cpu()?, server })
    }

    /// Makes all writes durable, closes the connections and sums up.
    fn finish(mut self) -> Result<Measured, LoadError> {
        if self.work.plan.writes() {
            // One flush for each volume, where it covers all of the volume's connections.
            let shared = self.connections[0].export.can_multi_conn();
            let needed = if shared { self.volumes } else { usize::MAX };
            for connection in self.connections.iter_mut().take(needed) {
                if connection.export.can_flush() {
                    flush(connection, self.work.payload)?;
                }
            }
        }
        for connection in &mut self.connections {
            connection.outbox.push(request(0, NBD_CMD_DISC, 0, 0, 0), Body::Empty);
            connection.send(self.work.payload)?;
        }
        let (nanos, closed) = self.timed.unwrap_or_default();
        let seconds = Duration::from_nanos(nanos.max(1)).as_secs_f64();
        let client = closed.client.saturating_sub(self.opened.client);
        let mut measured = self.work.recorder.summary(seconds, client.as_secs_f64());
        if let (Some(from), Some(to)) = (self.opened.server, closed.server)
            && measured.operations > 0
        {
            let micros = to.saturating_sub(from).as_secs_f64() * 1e6;
            measured.server_cpu_us_per_op = Some(micros / measured.operations as f64);
        }
        Ok(measured)
    }
}

/// Waits for the one reply to a FLUSH.
struct FlushReply {
    done: bool,
}

impl ReplySink for FlushReply {
    type Error = LoadError;

    fn simple_payload(&mut self, _cookie: u64) -> Result<u32, LoadError> {
        Ok(0)
    }

    fn data(&mut self, _: u64, at: Option<u64>, _: u32, bytes: &[u8]) -> Result<(), LoadError> {
        let length = bytes.len() as u64;
        Err(LoadError::Stray { offset: 0, at: at.unwrap_or(0), length })
    }

    fn hole(&mut self, _: u64, at: u64, length: u32) -> Result<(), LoadError> {
        Err(LoadError::Stray { offset: 0, at, length: u64::from(length) })
    }

    fn fail(&mut self, _cookie: u64, error: u32) -> Result<(), LoadError> {
        Err(LoadError::Refused { command: "FLUSH", offset: 0, error })
    }

    fn done(&mut self, _cookie: u64) -> Result<(), LoadError> {
        self.done = true;
        Ok(())
    }
}

fn flush(connection: &mut Connection, payload: &Payload) -> Result<(), LoadError> {
    connection.outbox.push(request(0, NBD_CMD_FLUSH, 1, 0, 0), Body::Empty);
    // All requests have their replies, so nothing else can stand in the socket's way.
    if !connection.send(payload)? {
        return Err(LoadError::Early);
    }
    let mut reply = FlushReply { done: false };
    while !reply.done {
        match connection.receive(Waiting::Block) {
            Ok(0) => return Err(LoadError::Closed),
            Ok(_) => connection.inbox.parse(&mut reply)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(LoadError::Silent);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                if sys::interrupted() {
                    return Err(LoadError::Interrupted);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
