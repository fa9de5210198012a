//! What costs nothing, and what stays bounded.

use std::fs;

use crate::fixture::{Home, Server, disk_bytes, now};

#[test]
fn a_tebibyte_is_trimmed_and_zeroed_at_once_and_costs_no_space() {
    let home = Home::new();
    let server = home.serve("16T");
    let script = r#"
import time
G = 1 << 30
h.pwrite(b'x' * 65536, 5 * G - 4096)
def back_to_back(start):
    began = time.monotonic()
    cookies = [start(2 * G, n * 2 * G) for n in range(512)]
    while h.aio_in_flight() > 0:
        h.poll(-1)
    took = time.monotonic() - began
    for cookie in cookies:
        assert h.aio_command_completed(cookie)
    assert took < 1.0, took
back_to_back(lambda size, at: h.aio_trim(size, at))
assert h.pread(65536, 5 * G - 4096) == bytes(65536)
back_to_back(lambda size, at: h.aio_zero(size, at))
back_to_back(lambda size, at: h.aio_zero(size, at, flags=nbd.CMD_FLAG_NO_HOLE))
h.flush()
"#;
    if !server.nbdsh(script) {
        return;
    }
    let bytes = disk_bytes(&home.path("data"));
    assert!(bytes < 128 << 20, "{bytes} bytes on the disk");
}

#[test]
fn a_fresh_volume_of_16_tib_is_small() {
    let home = Home::new();
    let server = home.serve("16T");
    if !server.nbdsh("h.pread(4096, 0)") {
        return;
    }
    let bytes = disk_bytes(&home.path("data"));
    assert!(bytes <= 65 << 20, "{bytes} bytes on the disk");
    let memory = resident_bytes(&server);
    assert!(memory < 64 << 20, "{memory} bytes of memory");
}

#[test]
fn an_idle_server_uses_next_to_no_cpu() {
    let home = Home::new();
    let server = home.serve("1G");
    let idle = server.connect();
    if !server.nbdsh("h.pwrite(bytes(4096), 0)") {
        return;
    }
    let (before, started) = (cpu_ticks(&server), now());
    while started.elapsed().as_secs() < 3 {
        crate::fixture::pause();
    }
    let used = cpu_ticks(&server) - before;
    // Of 100 in each second. A debug build that still uploads takes a few.
    assert!(used < 15, "{used} ticks in 3 s");
    drop(idle);
}

fn resident_bytes(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Processor time in hundredths of a second.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid().as_raw_nonzero()));
    let stat = stat.expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
}
