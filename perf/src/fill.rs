//! Writing at full speed while watching the server's memory, then its idle processor time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::connection::Connection;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::plan::{Plan, Stop};
use crate::process;
use crate::recorder::Measured;
use crate::scenario::Scenario;
use crate::size::ByteSize;
use crate::sys;
use crate::uri::Uri;

/// What to write and to watch.
#[derive(Debug)]
pub struct Fill {
    /// Order, block size and depth; only its writes count.
    pub scenario: Scenario,
    /// Bytes to write, round and round the volume.
    pub bytes: ByteSize,
    /// The volume.
    pub uri: Uri,
    /// The server's process.
    pub pid: u32,
    /// Core of the client.
    pub client_core: usize,
    /// How long the idle server is watched.
    pub idle: Duration,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Filled {
    /// The load.
    pub load: Measured,
    /// Resident memory before the load, in bytes.
    pub rss_before: u64,
    /// Most resident memory in the samples during the load.
    pub rss_loaded: u64,
    /// Resident memory after the idle time.
    pub rss_after: u64,
    /// Most that was ever resident, as the kernel counts it.
    pub rss_peak: u64,
    /// Seconds after the load until the server was quiet.
    pub settle_seconds: f64,
    /// Processor time of the idle server, percent of one core.
    pub idle_cpu_percent: f64,
}

impl Fill {
    /// Writes, watches, waits.
    pub fn run(&self) -> Result<Filled, LoadError> {
        let before = process::memory(self.pid)?;
        let writing = AtomicBool::new(true);
        let highest = AtomicU64::new(before.resident);
        let load = thread::scope(|scope| {
            let watch = || watch(self.pid, &writing, &highest);
            let watcher = thread::Builder::new().name("watcher".to_owned());
            let watcher = watcher.spawn_scoped(scope, watch)?;
            let load = pinned(self.client_core, || self.load());
            writing.store(false, Ordering::Relaxed);
            // The watcher itself never fails: a server that ended fails the load.
            drop(watcher.join());
            load
        })?;
        let settled = process::settle(self.pid)?;
        let (busy, start) = (process::cpu_time(self.pid)?, clock::now());
        while clock::now() - start < self.idle && !sys::interrupted() {
            clock::pause(Duration::from_millis(100).min(self.idle));
        }
        let idle = process::cpu_time(self.pid)? - busy;
        let watched = (clock::now() - start).as_secs_f64();
        let after = process::memory(self.pid)?;
        Ok(Filled {
            load,
            rss_before: before.resident,
            rss_loaded: highest.into_inner(),
            rss_after: after.resident,
            rss_peak: after.peak,
            settle_seconds: settled.waited.as_secs_f64(),
            idle_cpu_percent: idle.as_secs_f64() / watched.max(1e-9) * 100.0,
        })
    }

    fn load(&self) -> Result<Measured, LoadError> {
        let first = Connection::open(&self.uri)?;
        let mut plan = Plan::new(&self.scenario, &first.export)?;
        plan.warmup = Duration::ZERO;
        plan.stop = Stop::Operations(self.bytes.bytes().div_ceil(u64::from(plan.block)));
        let mut client = Client::new(self.scenario.seed);
        client.execute(&plan, first, &self.uri, Some(self.pid), &mut Vec::new())
    }
}

fn watch(pid: u32, writing: &AtomicBool, highest: &AtomicU64) -> io::Result<()> {
    while writing.load(Ordering::Relaxed) {
        highest.fetch_max(process::memory(pid)?.resident, Ordering::Relaxed);
        clock::pause(Duration::from_millis(50));
    }
    Ok(())
}
