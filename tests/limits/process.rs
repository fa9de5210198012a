//! What a process and a directory cost.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::server::Server;

fn field(server: &Server, name: &str) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = fs::read_to_string(path).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known field");
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse::<u64>().expect("a number of KiB") << 10
}

/// Resident bytes now.
pub fn resident(server: &Server) -> u64 {
    field(server, "VmRSS")
}

/// Most resident bytes so far.
pub fn peak(server: &Server) -> u64 {
    field(server, "VmHWM")
}

/// Time that all threads have spent on a processor.
pub fn busy(server: &Server) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server runs");
    let nanos = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        let text = fs::read_to_string(path).expect("what a thread has done");
        let first = text.split_whitespace().next().expect("a number");
        first.parse::<u64>().expect("nanoseconds")
    });
    Duration::from_nanos(nanos.sum())
}

/// Bytes that all files below a directory take on the disk. Files may come and go meanwhile.
pub fn disk_usage(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let usage = |entry: fs::DirEntry| match entry.metadata() {
        Ok(stat) if stat.is_dir() => disk_usage(&entry.path()),
        Ok(stat) => stat.blocks() * 512,
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(usage).sum()
}
