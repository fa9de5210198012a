//! What `/proc` tells about a server: processor time and memory.

use std::time::Duration;
use std::{fs, io};

use crate::clock;
use crate::limits::SETTLE_SECONDS;
use crate::sys;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Most that was ever resident.
    pub peak: u64,
}

/// How a server calmed down after a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled {
    /// Time until its processors were quiet, or the limit.
    pub waited: Duration,
    /// Processor time used meanwhile.
    pub cpu: Duration,
}

/// Processor time (user and system) of all threads, ended ones included, in steps of a tick.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = parse_ticks(&stat).ok_or_else(|| malformed("stat"))?;
    Ok(sys::clock_tick() * u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// Resident memory now and at its peak.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name| parse_kib(&status, name).ok_or_else(|| malformed("status"));
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Waits until a process uses less than a twentieth of a core, so that what one load left behind
/// does not slow the next one.
pub fn settle(pid: u32) -> io::Result<Settled> {
    const STEP: Duration = Duration::from_millis(300);
    let start = clock::now();
    let first = cpu_time(pid)?;
    let mut last = first;
    loop {
        clock::pause(STEP);
        let cpu = cpu_time(pid)?;
        let waited = clock::now() - start;
        let quiet = (cpu - last) * 20 < STEP;
        if quiet || waited.as_secs() >= SETTLE_SECONDS || sys::interrupted() {
            return Ok(Settled { waited, cpu: cpu - first });
        }
        last = cpu;
    }
}

/// utime + stime; the fields are counted from the end of the command name, which may hold spaces.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn parse_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/{file} is not as documented"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_command_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse_ticks(stat), Some(281));
        assert_eq!(parse_ticks("7 (a) S 1"), None);
        assert_eq!(parse_ticks(""), None);
    }

    #[test]
    fn status_fields_are_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t      12 kB\n";
        assert_eq!(parse_kib(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse_kib(status, "VmRSS:"), Some(12 << 10));
        assert_eq!(parse_kib(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let own = std::process::id();
        let memory = memory(own).expect("status");
        assert!(memory.resident > 0 && memory.peak >= memory.resident / 2);
        let before = cpu_time(own).expect("stat");
        let start = clock::now();
        while clock::nanos_since(start) < 60_000_000 {}
        assert!(cpu_time(own).expect("stat") > before);
    }
}
