//! `perf fill`: memory under full load, then idle processor time.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use perf::fill::{Fill, Filled};
use perf::scenario::Scenario;
use perf::server::Server;
use perf::size::ByteSize;
use perf::uri::Uri;

use super::{CliError, ClientArgs, Subject, scratch};

/// Options of `perf fill`.
#[derive(Debug, Args)]
pub struct FillArgs {
    /// The running server's volume; needs --pid
    #[arg(long, requires = "pid", conflicts_with_all = ["krait", "krait_cmd"])]
    uri: Option<Uri>,
    /// The running server's process
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    subject: Subject,
    /// Bytes to write
    #[arg(long, default_value = "20G")]
    bytes: ByteSize,
    /// Fail if the server's peak memory exceeds this
    #[arg(long)]
    cap: Option<ByteSize>,
    /// Workload whose writes are used
    #[arg(long, default_value = "seqwrite-1m")]
    scenario: String,
    /// How long the idle server is watched
    #[arg(long, default_value_t = 5.0)]
    idle_seconds: f64,
    /// Directory for the data of a server started here
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Size of the volume of a server started here
    #[arg(long, default_value = "4G")]
    size: ByteSize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl FillArgs {
    /// Starts the server if asked to, writes, watches, prints.
    pub fn execute(self) -> Result<(), CliError> {
        let mut scenario = Scenario::load(&self.scenario)?;
        scenario.read_percent = 0;
        let base = scratch(self.scratch.as_deref());
        let failed = |source| CliError::Io { what: base.display().to_string(), source };
        let dir = tempfile::Builder::new().prefix("krait-perf-").tempdir_in(&base);
        let dir = dir.map_err(failed)?;
        let server = match self.subject.recipes()?.first() {
            Some(recipe) => Some(Server::start(recipe, dir.path(), self.size, &[])?),
            None => None,
        };
        let (uri, pid) = match (&server, &self.uri, self.pid) {
            (Some(server), _, _) => (server.uri.clone(), server.pid()),
            (None, Some(uri), Some(pid)) => (uri.clone(), pid),
            _ => return Err(CliError::NoServer),
        };
        let client_core = self.client.core();
        let idle = Duration::try_from_secs_f64(self.idle_seconds).unwrap_or(Duration::ZERO);
        let fill = Fill { scenario, bytes: self.bytes, uri, pid, client_core, idle };
        let filled = fill.run()?;
        if let Some(server) = server {
            server.stop()?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&filled)?);
        } else {
            print_filled(&filled, self.cap);
        }
        match self.cap {
            Some(cap) if filled.rss_peak > cap.bytes() => {
                Err(CliError::OverCap { peak: filled.rss_peak, cap })
            }
            _ => Ok(()),
        }
    }
}

fn print_filled(filled: &Filled, cap: Option<ByteSize>) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let load = &filled.load;
    println!("written   {:.1} s at {:.0} MB/s", load.seconds, load.megabytes_per_second);
    println!("RSS       {:.1} MiB before", mib(filled.rss_before));
    println!("          {:.1} MiB at most while loaded (sampled)", mib(filled.rss_loaded));
    println!("          {:.1} MiB at the end", mib(filled.rss_after));
    let cap = cap.map_or(String::new(), |cap| format!(", cap {:.0} MiB", mib(cap.bytes())));
    println!("          {:.1} MiB peak (VmHWM){cap}", mib(filled.rss_peak));
    println!("settled   {:.1} s after the load", filled.settle_seconds);
    println!("idle CPU  {:.2} % of one core", filled.idle_cpu_percent);
}
