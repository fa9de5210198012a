//! Clients that write all the time, and connect again when their connection ends, as QEMU does with
//! `reconnect-delay`: what got no reply is sent again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nbd::client::{Flags, Request};
use nbd::{ByteRange, Cookie, ReplyMode};

use crate::client::Client;
use crate::fixture::{now, pause};

/// Bytes of one write.
const BLOCK: usize = 4096;

/// Blocks that one client has for itself.
const BLOCKS: u64 = 1024;

/// Clients.
const CLIENTS: u64 = 4;

/// Writes that a client has under way.
const DEPTH: usize = 8;

/// Longest wait for a server.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the volume that they write to.
pub const VOLUME: u64 = CLIENTS * BLOCKS * BLOCK as u64;

/// What a client went through.
#[derive(Default, Debug)]
pub struct Tale {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Connections that ended.
    pub ended: u64,
    /// Attempts to connect again that failed.
    pub refused: u64,
    /// Longest time between two acknowledged writes of one client.
    pub gap: Duration,
}

/// Clients at work.
pub struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Writer>>,
    socket: PathBuf,
}

impl Writers {
    /// Starts them.
    pub fn start(socket: &Path) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let acknowledged = Arc::<AtomicU64>::default();
        let start = |number| {
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            let writer = Writer::new(number, socket);
            let run = move || writer.run(&stop, &acknowledged);
            Builder::new().spawn(run).expect("a thread")
        };
        let threads = (0..CLIENTS).map(start).collect();
        Self { stop, acknowledged, threads, socket: socket.to_owned() }
    }

    /// Writes that were acknowledged up to now.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until they have written so much more.
    pub fn write_on(&self, writes: u64) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + writes;
        let deadline = now() + PATIENCE;
        while self.acknowledged.load(Ordering::Relaxed) < wanted {
            assert!(now() < deadline, "the writers go on");
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a writer failed");
            pause();
        }
    }

    /// Stops them when all that they sent is acknowledged, and reads all of it back. Nothing was
    /// flushed: what is there was acknowledged, and no more.
    pub fn verify(self) -> Tale {
        self.stop.store(true, Ordering::Relaxed);
        let mut tale = Tale::default();
        let mut client = connect(&self.socket).expect("a server");
        for writer in self.threads.into_iter().map(|thread| thread.join().expect("a writer")) {
            for block in 0..BLOCKS {
                let range = ByteRange::new(writer.offset(block), BLOCK as u64);
                let read = client.call(Request::Read(range), Flags::NONE, &[]);
                let read = read.expect("a reply").expect("no error");
                let version = writer.versions[block as usize];
                let wanted = writer.content(block, version);
                let found = u64::from_le_bytes(read[8..16].try_into().expect("8 bytes"));
                let number = writer.number;
                assert!(read == wanted, "block {block} of {number}: {found}, not {version}");
            }
            tale.writes += writer.tale.writes;
            tale.ended += writer.tale.ended;
            tale.refused += writer.tale.refused;
            tale.gap = tale.gap.max(writer.tale.gap);
        }
        tale
    }
}

fn connect(socket: &Path) -> std::io::Result<Client> {
    Client::connect(socket, "demo", ReplyMode::Structured)
}

struct Writer {
    number: u64,
    socket: PathBuf,
    /// Newest version of each block that was acknowledged, or sent.
    versions: Vec<u64>,
    under_way: Vec<(Cookie, u64)>,
    next: u64,
    last: Instant,
    tale: Tale,
}

impl Writer {
    fn new(number: u64, socket: &Path) -> Self {
        Self {
            number,
            socket: socket.to_owned(),
            versions: vec![0; BLOCKS as usize],
            under_way: Vec::new(),
            next: 0,
            last: now(),
            tale: Tale::default(),
        }
    }

    fn offset(&self, block: u64) -> u64 {
        (self.number * BLOCKS + block) * BLOCK as u64
    }

    /// Which block it is, and its version; zeros if it was not written.
    fn content(&self, block: u64, version: u64) -> Vec<u8> {
        if version == 0 {
            return vec![0; BLOCK];
        }
        let mut bytes = vec![(block ^ version) as u8; BLOCK];
        bytes[..8].copy_from_slice(&self.offset(block).to_le_bytes());
        bytes[8..16].copy_from_slice(&version.to_le_bytes());
        bytes
    }

    fn run(mut self, stop: &AtomicBool, acknowledged: &AtomicU64) -> Self {
        let mut client = connect(&self.socket).expect("a server");
        while !(stop.load(Ordering::Relaxed) && self.under_way.is_empty()) {
            let is_stopping = stop.load(Ordering::Relaxed);
            match self.step(&mut client, is_stopping) {
                Ok(()) => drop(acknowledged.fetch_add(1, Ordering::Relaxed)),
                Err(_) => {
                    self.tale.ended += 1;
                    client = self.reconnect();
                }
            }
        }
        self
    }

    /// Sends what may be sent, and waits for one reply.
    fn step(&mut self, client: &mut Client, is_stopping: bool) -> std::io::Result<()> {
        while !is_stopping && self.under_way.len() < DEPTH {
            let block = self.next * 7919 % BLOCKS;
            self.next += 1;
            self.versions[block as usize] += 1;
            // Listed first: it counts as sent even if that fails.
            self.under_way.push((Cookie(u64::MAX), block));
            let cookie = self.send(client, block)?;
            self.under_way.last_mut().expect("it was pushed").0 = cookie;
        }
        let (cookie, answer) = client.receive()?;
        answer.expect("no request fails");
        self.under_way.retain(|(sent, _)| *sent != cookie);
        self.tale.writes += 1;
        self.tale.gap = self.tale.gap.max(self.last.elapsed());
        self.last = now();
        Ok(())
    }

    fn send(&self, client: &mut Client, block: u64) -> std::io::Result<Cookie> {
        let range = ByteRange::new(self.offset(block), BLOCK as u64);
        let content = self.content(block, self.versions[block as usize]);
        client.send(Request::Write(range), Flags::NONE, &content)
    }

    /// Connects again, and sends again what got no reply.
    fn reconnect(&mut self) -> Client {
        let deadline = now() + PATIENCE;
        loop {
            assert!(now() < deadline, "a server comes back");
            if let Ok(mut client) = connect(&self.socket) {
                let blocks: Vec<u64> = self.under_way.iter().map(|(_, block)| *block).collect();
                let sent =
                    blocks.into_iter().map(|block| Ok((self.send(&mut client, block)?, block)));
                if let Ok(sent) = sent.collect::<std::io::Result<_>>() {
                    self.under_way = sent;
                    return client;
                }
            }
            self.tale.refused += 1;
            pause();
        }
    }
}
