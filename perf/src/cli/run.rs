//! `perf run` and `perf ceiling`: one server, one table.

use clap::Args;
use perf::load::Client;
use perf::null_server;
use perf::pinned::pinned;
use perf::recorder::{Latency, Measured};
use perf::scenario::{Scenario, compared};
use perf::size::ByteSize;
use perf::table::{Table, number};
use perf::uri::Uri;

use super::{CliError, ClientArgs};

/// Options of `perf run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Built-in workload or TOML file
    scenario: String,
    /// nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH
    #[arg(long)]
    uri: Uri,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Length of the timed part instead of the scenario's
    #[arg(long)]
    seconds: Option<f64>,
    /// Compare every read with what was written
    #[arg(long)]
    verify: bool,
    /// Leave the volume as it is before the load
    #[arg(long, conflicts_with = "verify")]
    no_prefill: bool,
    /// Process of the server, to count its processor time
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Run {
    /// Fills the volume, runs the load, prints.
    pub fn execute(self) -> Result<(), CliError> {
        let mut scenario = Scenario::load(&self.scenario)?;
        scenario.seconds = self.seconds.unwrap_or(scenario.seconds);
        scenario.verify |= self.verify;
        scenario.check()?;
        let prefill = scenario.prefill && !scenario.verify && !self.no_prefill;
        let mut client = Client::new(scenario.seed);
        let measured = pinned(self.client.core(), || {
            if prefill && scenario.region != Some(ByteSize::new(0)) {
                client.prefill(&scenario, &self.uri)?;
            }
            client.run(&scenario, &self.uri, self.pid)
        })?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&measured)?);
        } else {
            print!("{}", measured_table([(scenario.name.as_str(), &measured)]));
        }
        Ok(())
    }
}

/// Options of `perf ceiling`.
#[derive(Debug, Args)]
pub struct Ceiling {
    /// Length of the timed part
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[command(flatten)]
    client: ClientArgs,
}

impl Ceiling {
    /// Runs every workload against the server that stores nothing.
    pub fn execute(self) -> Result<(), CliError> {
        let failed = |source| CliError::Io { what: "the null server's socket".to_owned(), source };
        let dir = tempfile::tempdir().map_err(failed)?;
        let socket = dir.path().join("null.sock");
        null_server::start(&socket, 1 << 30, true).map_err(failed)?;
        let uri = Uri::unix(socket, "");
        let mut client = Client::new(0);
        let mut rows = Vec::new();
        for name in compared() {
            let mut scenario = Scenario::load(name)?;
            scenario.seconds = self.seconds;
            scenario.check()?;
            let measured = pinned(self.client.core(), || client.run(&scenario, &uri, None))?;
            eprintln!("{name:<18} {:>9.0} IOPS", measured.iops);
            rows.push((name, measured));
        }
        print!("{}", measured_table(rows.iter().map(|(name, measured)| (*name, measured))));
        Ok(())
    }
}

fn measured_table<'m>(rows: impl IntoIterator<Item = (&'m str, &'m Measured)>) -> Table {
    let head = [
        "workload",
        "kind",
        "IOPS",
        "MB/s",
        "p50 us",
        "p90",
        "p99",
        "p99.9",
        "max",
        "CPU us/op",
        "client %",
    ];
    let mut table = Table::new(&head, 2);
    for (name, measured) in rows {
        let cpu = measured.server_cpu_us_per_op.map_or("-".to_owned(), number);
        let mut row = |kind: &str, latency: &Latency| {
            let mut words = vec![name.to_owned(), kind.to_owned()];
            words.extend([measured.iops, measured.megabytes_per_second].map(number));
            let Latency { p50, p90, p99, p99_9, max, mean: _ } = *latency;
            words.extend([p50, p90, p99, p99_9, max].map(number));
            words.push(cpu.clone());
            words.push(format!("{:.0}", measured.client_cpu_percent));
            table.row(words);
        };
        row("all", &measured.latency_us);
        if let (Some(reads), Some(writes)) = (&measured.read_latency_us, &measured.write_latency_us)
        {
            row("reads", reads);
            row("writes", writes);
        }
    }
    table
}
