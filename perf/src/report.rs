//! Results of a comparison: medians, ratios, tables, JSON.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::bars::Judged;
use crate::recorder::{Latency, Measured, median};
use crate::recovery::Recovered;
use crate::table::{Table, number};

/// Everything that a comparison found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where and how it was measured.
    pub host: Host,
    /// The servers, in the order of the columns.
    pub servers: Vec<ServerFacts>,
    /// One cell per workload and server.
    pub cells: Vec<Cell>,
    /// What each workload is, by its name.
    #[serde(default)]
    pub descriptions: BTreeMap<String, String>,
    /// Recoveries of a killed server.
    #[serde(default)]
    pub recoveries: Vec<Recovered>,
    /// What is promised, beside what was found.
    #[serde(default)]
    pub bars: Vec<Judged>,
}

/// The machine and the settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Processor model.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Core of the client thread.
    pub client_core: usize,
    /// Cores of the servers; empty: all.
    pub server_cores: Vec<usize>,
    /// Size of the volume.
    pub volume: String,
    /// Runs behind each median.
    pub runs: u32,
    /// Timed seconds of most runs.
    pub seconds: f64,
}

/// A server as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Row name.
    pub name: String,
    /// Ratios are of this server to the others.
    pub subject: bool,
    /// Command line.
    pub command: String,
    /// Most memory that was ever resident, in bytes.
    pub peak_rss_bytes: u64,
}

/// One workload on one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Workload.
    pub workload: String,
    /// Server.
    pub server: String,
    /// All runs, in order.
    pub runs: Vec<Measured>,
    /// Processor time of the server after each load, until it was quiet, in microseconds per
    /// operation of the load.
    pub after_us_per_op: Vec<f64>,
    /// Medians over the runs, each figure by itself.
    pub median: Option<Median>,
}

/// Medians over the runs of one cell.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Median {
    /// Operations per second.
    pub iops: f64,
    /// Half the distance from the slowest to the fastest run, percent of the median.
    pub iops_spread_percent: f64,
    /// 10^6 bytes per second.
    pub megabytes_per_second: f64,
    /// Latencies.
    pub latency_us: Latency,
    /// Percent of the client's core.
    pub client_cpu_percent: f64,
    /// Server processor time per operation while loaded.
    pub server_cpu_us_per_op: Option<f64>,
    /// Server processor time per operation afterwards.
    pub after_us_per_op: Option<f64>,
}

impl Cell {
    /// Computes the medians once all runs are in.
    pub fn sum_up(&mut self) {
        let of = |pick: fn(&Measured) -> f64| median(self.runs.iter().map(pick)).unwrap_or(0.0);
        let iops = of(|m| m.iops);
        let fastest = self.runs.iter().map(|m| m.iops).fold(0.0, f64::max);
        let slowest = self.runs.iter().map(|m| m.iops).fold(fastest, f64::min);
        self.median = (!self.runs.is_empty()).then(|| Median {
            iops,
            iops_spread_percent: (fastest - slowest) / 2.0 / iops.max(1e-9) * 100.0,
            megabytes_per_second: of(|m| m.megabytes_per_second),
            latency_us: Latency {
                p50: of(|m| m.latency_us.p50),
                p90: of(|m| m.latency_us.p90),
                p99: of(|m| m.latency_us.p99),
                p99_9: of(|m| m.latency_us.p99_9),
                max: of(|m| m.latency_us.max),
                mean: of(|m| m.latency_us.mean),
            },
            client_cpu_percent: of(|m| m.client_cpu_percent),
            server_cpu_us_per_op: median(self.runs.iter().filter_map(|m| m.server_cpu_us_per_op)),
            after_us_per_op: median(self.after_us_per_op.iter().copied()),
        });
    }
}

impl Cell {
    /// Medians of the runs' latency curves, point by point, as far as all runs have it.
    #[must_use]
    pub fn curve_us(&self) -> Vec<f64> {
        let points = self.runs.iter().map(|run| run.curve_us.len()).min().unwrap_or(0);
        (0..points).filter_map(|k| median(self.runs.iter().map(|run| run.curve_us[k]))).collect()
    }
}

impl Host {
    /// Looks at this machine.
    #[must_use]
    pub fn look(client_core: usize, server_cores: &[usize], volume: String) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        let processor = model.unwrap_or("unknown").trim_start_matches(['\t', ' ', ':']).to_owned();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let server_cores = server_cores.to_vec();
        Self { processor, cores, kernel, client_core, server_cores, volume, runs: 0, seconds: 0.0 }
    }
}

impl Report {
    /// The medians of one cell, if it was measured.
    #[must_use]
    pub fn median(&self, workload: &str, server: &str) -> Option<&Median> {
        let same = |cell: &&Cell| cell.workload == workload && cell.server == server;
        self.cells.iter().find(same).and_then(|cell| cell.median.as_ref())
    }

    /// The workloads, in their order.
    pub fn workloads(&self) -> impl Iterator<Item = &str> {
        let first = |place: usize| {
            self.cells.iter().position(|cell| cell.workload == self.cells[place].workload)
        };
        let places = (0..self.cells.len()).filter(move |&place| first(place) == Some(place));
        places.map(|place| self.cells[place].workload.as_str())
    }

    /// What a workload is, for people.
    #[must_use]
    pub fn description(&self, workload: &str) -> Option<&str> {
        self.descriptions.get(workload).map(String::as_str).filter(|said| !said.is_empty())
    }

    /// The server whose ratios to the others count in a workload: the first subject that ran it.
    #[must_use]
    pub fn subject_in(&self, workload: &str) -> Option<&str> {
        let subjects = self.servers.iter().filter(|server| server.subject);
        let mut names = subjects.map(|server| server.name.as_str());
        names.find(|server| self.median(workload, server).is_some())
    }

    fn subject(&self) -> Option<&ServerFacts> {
        self.servers.iter().find(|server| server.subject)
    }

    /// The table of all cells; with a subject, its ratios to each other row.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut head = vec![
            "workload",
            "server",
            "IOPS",
            "± %",
            "MB/s",
            "p50 us",
            "p90",
            "p99",
            "p99.9",
            "max",
            "CPU us/op",
            "+ after",
            "client %",
        ];
        let subject = self.subject();
        let (rate, speed);
        if let Some(subject) = subject {
            rate = format!("{} IOPS ratio", subject.name);
            speed = format!("{} p50 ratio", subject.name);
            head.extend([rate.as_str(), speed.as_str()]);
        }
        let mut table = Table::new(&head, 2);
        for cell in &self.cells {
            let Some(row) = &cell.median else { continue };
            let latency = &row.latency_us;
            let optional = |value: Option<f64>| value.map_or("-".to_owned(), number);
            let mut words = vec![cell.workload.clone(), cell.server.clone()];
            words.push(number(row.iops));
            words.push(format!("{:.0}", row.iops_spread_percent));
            let figures = [row.megabytes_per_second, latency.p50, latency.p90];
            words.extend(figures.map(number));
            words.extend([latency.p99, latency.p99_9, latency.max].map(number));
            words.push(optional(row.server_cpu_us_per_op));
            words.push(optional(row.after_us_per_op));
            words.push(format!("{:.0}", row.client_cpu_percent));
            if subject.is_some() {
                let own = self.subject_in(&cell.workload).filter(|&own| own != cell.server);
                let own = own.and_then(|own| self.median(&cell.workload, own));
                words.push(ratio(own.map(|own| own.iops), row.iops));
                words.push(ratio(own.map(|own| own.latency_us.p50), latency.p50));
            }
            table.row(words);
        }
        table
    }

    /// The table of the servers themselves.
    #[must_use]
    pub fn server_table(&self) -> Table {
        let mut table = Table::new(&["server", "command", "peak RSS MiB"], 2);
        for server in &self.servers {
            let mib = server.peak_rss_bytes as f64 / f64::from(1 << 20);
            table.row(vec![server.name.clone(), format!("`{}`", server.command), number(mib)]);
        }
        table
    }

    /// One line on machine and settings.
    #[must_use]
    pub fn summary(&self) -> String {
        let host = &self.host;
        let servers = match host.server_cores.as_slice() {
            [] => "servers on all cores".to_owned(),
            cores => format!("servers on cores {cores:?}"),
        };
        format!(
            "{} cores of {}, Linux {}; unix sockets, client pinned to core {}, {servers}; volume {}; \
             medians of {} runs of {} s.",
            host.cores,
            host.processor,
            host.kernel,
            host.client_core,
            host.volume,
            host.runs,
            host.seconds
        )
    }
}

pub(crate) fn ratio(own: Option<f64>, other: f64) -> String {
    match own {
        Some(own) if other > 0.0 => format!("{:.2}x", own / other),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
pub(crate) mod tests;
