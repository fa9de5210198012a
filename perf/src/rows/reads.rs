//! Reads by where they come from.

use super::{RowError, Rows};
use crate::bars::Limit;
use crate::process;
use crate::recipe::{EXPORT, Recipe};
use crate::server::Server;
use crate::uncached;

/// The least memory that a server takes: little of a volume stays in it.
const SMALL: &str = "--memory 256M";

/// Nothing leaves the log.
const LOG_ONLY: &str = "--memory 256M --wal-cap 8G --rpo-bytes 2G --rpo-seconds 86400";

/// Everything is in the cache on the disk as well.
const DISK_CACHE: &str = "--memory 256M --cache-disk 16G";

impl Rows {
    /// Reads of 4 KiB from memory, the log, the cache on the disk, and the store.
    ///
    /// # Errors
    /// If a server or load fails.
    pub fn reads(&mut self) -> Result<(), RowError> {
        let dir = self.directory()?;
        let server = self.krait("memory", "", dir.path())?;
        self.prefill(&server)?;
        process::settle(server.pid())?;
        self.both_depths(&server, "memory")?;
        server.stop()?;

        let server = self.krait("log", LOG_ONLY, dir.path())?;
        self.prefill(&server)?;
        process::settle(server.pid())?;
        self.both_depths(&server, "the log")?;
        server.stop()?;

        let server = self.krait("disk cache", DISK_CACHE, dir.path())?;
        self.prefill(&server)?;
        server.krait()?.drain(EXPORT)?;
        self.both_depths(&server, "the cache on the disk")?;
        server.stop()?;

        self.store()
    }

    fn both_depths(&mut self, server: &Server, source: &str) -> Result<(), RowError> {
        let one = self.scenario("randread-4k-qd1")?;
        let one = self.load(server, &one)?.latency_us.p50;
        self.row("4k read, depth 1, p50", source, one, Limit::Open, " us");
        let many = self.scenario("randread-4k-qd32")?;
        let many = self.load(server, &many)?.iops;
        self.row("4k read, depth 32", source, many, Limit::Open, " IOPS");
        Ok(())
    }

    /// The file store against a file without the page cache.
    fn store(&mut self) -> Result<(), RowError> {
        let dir = self.directory()?;
        let scenario = self.scenario("randread-4k-qd32-uncached")?;
        let krait = self.krait("store", SMALL, dir.path())?;
        self.prefill(&krait)?;
        let commands = krait.krait()?.clone();
        let own = uncached::load(&commands, || self.load(&krait, &scenario))??.iops;
        let one = self.scenario("randread-4k-qd1")?;
        let alone = uncached::load(&commands, || self.load(&krait, &one))??.latency_us.p50;
        krait.stop()?;
        let mut peers = Recipe::peers("qemu-nbd")?;
        peers.retain(|peer| peer.runs(&scenario));
        let peer = Server::start(&peers[0], dir.path(), self.setup.size, &[])?;
        self.prefill(&peer)?;
        let other = self.load(&peer, &scenario)?.iops;
        let other_alone = self.load(&peer, &one)?.latency_us.p50;
        peer.stop()?;
        self.row("4k read, depth 1, p50", "the file store", alone, Limit::Open, " us");
        self.row("4k read, depth 1, p50", "qemu-nbd direct", other_alone, Limit::Open, " us");
        self.row("4k read, depth 32", "the file store", own, Limit::Open, " IOPS");
        self.row("4k read, depth 32", "qemu-nbd direct", other, Limit::Open, " IOPS");
        let least = Limit::AtLeast(1.0);
        self.row("the file store", "qemu-nbd direct", own / other.max(1.0), least, "x");
        Ok(())
    }
}
