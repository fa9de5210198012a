//! Long loads, processor time, idleness, tails, recovery.

use std::time::Duration;

use super::{RowError, Rows};
use crate::bars::Limit;
use crate::clock;
use crate::connection::Connection;
use crate::operations::LoadError;
use crate::process;
use crate::recorder::{Measured, median};
use crate::recovery::Recovery;
use crate::server::Server;
use crate::size::ByteSize;

/// How long an idle server is watched.
const IDLE: Duration = Duration::from_secs(5);

/// How much larger than others a volume is that does not fit in memory.
const LARGE: u64 = 8;

impl Rows {
    /// A minute of random writes, second by second: sealing must not stop them. Once to a volume that
    /// fits in memory, and once to one that does not.
    ///
    /// # Errors
    /// If the server or load fails.
    pub fn sealing(&mut self) -> Result<(), RowError> {
        let (size, seconds) = (self.setup.size, self.setup.steady_seconds);
        self.seal(size, seconds, Limit::AtLeast(0.5))?;
        // What was overwritten stays in the store for a while, and takes much room there.
        self.seal(ByteSize::new(size.bytes() * LARGE), seconds / 4.0, Limit::Open)
    }

    fn seal(&mut self, size: ByteSize, seconds: f64, limit: Limit) -> Result<(), RowError> {
        let dir = self.directory()?;
        let server = self.krait_of(size, "sealing", "", dir.path())?;
        self.prefill(&server)?;
        process::settle(server.pid())?;
        let mut scenario = self.scenario("randwrite-4k-qd32-60s")?;
        scenario.seconds = seconds;
        let measured = self.load(&server, &scenario)?;
        server.stop()?;
        let length = format!("{seconds} s of random writes, {size}");
        let (slowest, middle) = slowest_and_median(&measured);
        self.row("median second", &length, middle, Limit::Open, " IOPS");
        self.row("slowest second", &length, slowest, Limit::Open, " IOPS");
        let share = slowest / middle.max(1.0);
        self.row("slowest to median second", &length, share, limit, "x");
        let longest = measured.latency_us.max / 1e3;
        self.row("longest write", &length, longest, Limit::Open, " ms");
        Ok(())
    }

    /// Processor time of an operation, with what it causes later, and of a server without any.
    ///
    /// # Errors
    /// If the server or a load fails.
    pub fn processor(&mut self) -> Result<(), RowError> {
        let dir = self.directory()?;
        let server = self.krait("processor", "", dir.path())?;
        self.prefill(&server)?;
        server.krait()?.drain(crate::recipe::EXPORT)?;
        process::settle(server.pid())?;
        let plans = [
            ("randread-4k-qd1", "4k read, depth 1", Limit::Open),
            ("randread-4k-qd32", "4k read, depth 32", Limit::Open),
            ("randwrite-4k-qd1", "4k write, depth 1", Limit::Open),
            ("randwrite-4k-qd32", "4k write, depth 32", Limit::AtMost(4.0)),
            ("writeflush-4k-qd1", "4k write and flush, depth 1", Limit::Open),
            ("seqread-1m", "1M read, depth 4", Limit::Open),
            ("seqwrite-1m", "1M write, depth 4", Limit::Open),
        ];
        for (name, what, limit) in plans {
            let scenario = self.scenario(name)?;
            let measured = self.load(&server, &scenario)?;
            let after = process::settle(server.pid())?.cpu.as_secs_f64() * 1e6;
            let after = after / measured.operations.max(1) as f64;
            let own = measured.server_cpu_us_per_op.unwrap_or(0.0);
            self.row(what, "processor time", own + after, limit, " us");
        }
        self.idle(&server)?;
        server.stop()?;
        Ok(())
    }

    fn idle(&mut self, server: &Server) -> Result<(), RowError> {
        // What is old enough goes to the store by itself; that is no idleness.
        server.krait()?.drain(crate::recipe::EXPORT)?;
        process::settle(server.pid())?;
        let client = Connection::open(&server.uri).map_err(LoadError::from)?;
        let before = process::cpu_time(server.pid())?;
        clock::pause(IDLE);
        let used = process::cpu_time(server.pid())? - before;
        drop(client);
        let percent = used.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        self.row("one client that does nothing", "of a core", percent, Limit::Open, " %");
        Ok(())
    }

    /// The slowest of a thousand where reads, writes and flushes meet.
    ///
    /// # Errors
    /// If the server or load fails.
    pub fn tails(&mut self) -> Result<(), RowError> {
        let dir = self.directory()?;
        let server = self.krait("tails", "", dir.path())?;
        self.prefill(&server)?;
        process::settle(server.pid())?;
        let scenario = self.scenario("mixedflush-4k-4c")?;
        let measured = self.load(&server, &scenario)?;
        server.stop()?;
        let said = "70/30 with flushes, 4 x 8";
        self.row("operations", said, measured.iops, Limit::Open, " IOPS");
        if let (Some(reads), Some(writes)) = (measured.read_latency_us, measured.write_latency_us) {
            self.row("p99.9 of reads", said, reads.p99_9, Limit::Open, " us");
            self.row("p99.9 of writes with their flush", said, writes.p99_9, Limit::Open, " us");
        }
        Ok(())
    }

    /// Recovery of 1 GiB of log, of small and of large writes.
    ///
    /// # Errors
    /// If a server or load fails.
    pub fn recovery(&mut self) -> Result<(), RowError> {
        for (workload, what) in [("randwrite-4k-qd32", "4k random"), ("seqwrite-1m", "1M in order")]
        {
            let cap = ByteSize::new(256 << 20);
            let recovery = Recovery {
                binary: self.setup.binary.clone(),
                bytes: ByteSize::new(1 << 30),
                cap,
                runs: 3,
                workload: workload.to_owned(),
                client_core: self.setup.client_core,
            };
            let found = recovery.run(&self.setup.scratch)?;
            let of = |pick: fn(&crate::recovery::Recovered) -> f64| {
                median(found.iter().map(pick)).unwrap_or(0.0)
            };
            let said = format!("1 GiB of log, {what}, --memory {cap}");
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            self.row("ready for clients", &said, of(|one| one.ready_seconds), Limit::Open, " s");
            let first = of(|one| one.first_read_seconds);
            self.row("first read", &said, first, Limit::AtMost(2.0), " s");
            let peak = found.iter().map(|one| mib(one.peak_bytes)).fold(0.0, f64::max);
            self.row("peak memory", &said, peak, Limit::AtMost(mib(cap.bytes())), " MiB");
        }
        Ok(())
    }
}

fn slowest_and_median(measured: &Measured) -> (f64, f64) {
    let seconds = || measured.per_second.iter().map(|&count| count as f64);
    (seconds().reduce(f64::min).unwrap_or(0.0), median(seconds()).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{Kind, Recorder};

    #[test]
    fn seconds_without_operations_are_the_slowest() {
        let mut recorder = Recorder::new(4096).expect("bounds");
        for second in [0_u64, 0, 0, 1, 1, 3, 3, 3, 3] {
            recorder.record(Kind::Write, 1000, second * 1_000_000_000);
        }
        let measured = recorder.summary(4.0, 0.0);
        assert_eq!(slowest_and_median(&measured), (0.0, 2.5));
    }
}
