//! More cores, more volumes, more that is mapped.

use super::{RowError, Rows};
use crate::bars::Limit;
use crate::connection::Connection;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::plan::{Plan, Stop};
use crate::process;
use crate::recipe::{EXPORT, Recipe};
use crate::scenario::Scenario;
use crate::server::Server;
use crate::size::ByteSize;
use crate::uri::Uri;

/// Size of each of many volumes.
const VOLUME: ByteSize = ByteSize::new(16 << 20);

/// One block is read of every so many bytes, so that all of the map is used.
const STEP: u64 = 4 << 20;

impl Rows {
    /// The same loads on one core and on two.
    ///
    /// # Errors
    /// If a server or load fails.
    pub fn cores(&mut self) -> Result<(), RowError> {
        let mut found = Vec::new();
        for cores in [1, 2] {
            let dir = self.directory()?;
            let options = format!("--cores {cores}");
            let server = self.krait(&format!("krait {options}"), &options, dir.path())?;
            self.prefill(&server)?;
            process::settle(server.pid())?;
            let mut rates = Vec::new();
            for name in
                ["randread-4k-qd32", "randwrite-4k-qd32", "mixed-4k-4c", "writeflush-4k-16c"]
            {
                let scenario = self.scenario(name)?;
                rates.push((name, self.load(&server, &scenario)?.iops));
                process::settle(server.pid())?;
            }
            server.stop()?;
            found.push(rates);
        }
        for (one, two) in found[0].clone().into_iter().zip(found[1].clone()) {
            self.row(one.0, "one core", one.1, Limit::Open, " IOPS");
            self.row(two.0, "two cores to one", two.1 / one.1.max(1.0), Limit::Open, "x");
        }
        Ok(())
    }

    /// Many volumes on one server, beside one volume with as many connections.
    ///
    /// # Errors
    /// If the server, a command or a load fails.
    pub fn volumes(&mut self) -> Result<(), RowError> {
        let dir = self.directory()?;
        let server = self.krait("volumes", "", dir.path())?;
        let count = self.setup.volumes;
        let many: Vec<Uri> = (0..count).map(|n| server.sibling(&format!("v{n}"))).collect();
        for number in 0..count {
            let words = format!("volume create v{number} --size {VOLUME}");
            server.krait()?.run(&words)?;
        }
        let before = server.memory()?.resident;
        let mut scenario = self.scenario("randwrite-4k-qd1")?;
        (scenario.connections, scenario.region) = (count, Some(VOLUME));
        let write = |rows: &mut Self, uris: &[Uri]| {
            let run = || Client::new(3).run_on(&scenario, uris, Some(server.pid()));
            let measured = pinned(rows.setup.client_core, run)?;
            rows.note(&server, &scenario, &measured);
            process::settle(server.pid())?;
            Ok::<_, RowError>(measured)
        };
        let spread = write(self, &many)?;
        let after = server.memory()?.resident;
        let alone = write(self, &vec![server.uri.clone(); count as usize])?;
        server.stop()?;
        let said = format!("{count} volumes");
        self.row("4k write, depth 1 each", &said, spread.iops, Limit::Open, " IOPS");
        self.row("p99", &said, spread.latency_us.p99, Limit::Open, " us");
        self.row("4k write, as many clients", "one volume", alone.iops, Limit::Open, " IOPS");
        let share = spread.iops / alone.iops.max(1.0);
        self.row("many volumes to one", &said, share, Limit::Open, "x");
        let grown = after.saturating_sub(before) as f64 / f64::from(1 << 10);
        let each = grown / f64::from(count.max(1));
        self.row("memory of a volume, 16 MiB of data cached", &said, each, Limit::Open, " KiB");
        Ok(())
    }

    /// Memory of a server that opens a volume with much mapped, to that of one with nothing.
    ///
    /// # Errors
    /// If a server or load fails.
    pub fn mapped(&mut self) -> Result<(), RowError> {
        let dir = self.directory()?;
        let recipe = Recipe::krait_with("mapped", &self.setup.binary, "--memory 256M");
        let size = self.setup.mapped;
        let start = || Server::start(&recipe, dir.path(), size, &[]);
        let empty = {
            let server = start()?;
            self.read_steps(&server)?;
            let resident = server.memory()?.resident;
            server.stop()?;
            resident
        };
        let server = start()?;
        self.fill(&server)?;
        server.krait()?.drain(EXPORT)?;
        server.stop()?;
        let server = start()?;
        let opened = server.memory()?.resident;
        self.read_steps(&server)?;
        let read = server.memory()?.resident;
        server.stop()?;
        let per_tib = |bytes: u64| {
            let grown = bytes.saturating_sub(empty) as f64 / f64::from(1 << 20);
            grown * (1_u64 << 40) as f64 / size.bytes() as f64
        };
        let said = format!("{size} mapped, to none");
        self.row("memory per TiB, opened", &said, per_tib(opened), Limit::Open, " MiB");
        let said = format!("{said}; with what was cached");
        self.row("memory per TiB, read all over", &said, per_tib(read), Limit::Open, " MiB");
        Ok(())
    }

    /// Writes the whole volume, with little to store: blocks that differ in a few bytes.
    fn fill(&self, server: &Server) -> Result<(), RowError> {
        let mut bytes = vec![0x5a; crate::limits::POOL_BYTES];
        for (number, block) in (0_u64..).zip(bytes.chunks_exact_mut(4096)) {
            block[..8].copy_from_slice(&number.to_le_bytes());
        }
        let scenario = Scenario::load("seqwrite-1m")?;
        pinned(self.setup.client_core, || Client::of(bytes).prefill(&scenario, &server.uri))?;
        Ok(())
    }

    fn read_steps(&self, server: &Server) -> Result<(), RowError> {
        let scenario = Scenario::load("randread-4k-qd32")?;
        let first = Connection::open(&server.uri).map_err(LoadError::from)?;
        let mut plan = Plan::new(&scenario, &first.export).map_err(LoadError::from)?;
        plan.stop = Stop::Operations(first.export.size / STEP * 2);
        pinned(self.setup.client_core, || {
            Client::new(4).execute(&plan, first, &server.uri, None, &mut Vec::new())
        })?;
        Ok(())
    }
}
