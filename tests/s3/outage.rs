//! The bucket is gone for a while, at full write load.

use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::crew::Work;
use crate::host::{Host, MIB, PATIENCE, SMALL, bucket, connect, load, read_back};
use crate::loss::work;
use crate::server::Server;
use crate::{alone, number, seed};

const CLIENTS: usize = 8;

/// Of the server's settings.
const MEMORY: u64 = 256 * MIB;
const LOG: u64 = 64 * MIB;

/// Resident bytes of a server.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a known field");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") << 10
}

fn written(work: &Work) -> u64 {
    work.written.load(Ordering::Relaxed)
}

fn wait_until_all_are_gone(host: &Host) {
    let begun = Instant::now();
    while host.status()["connections"] != 0 {
        assert!(begun.elapsed() < PATIENCE, "connections end");
    }
}

/// Bytes that the bucket lacks, in memory or in the log.
fn unpublished(status: &serde_json::Value) -> Option<u64> {
    Some(status["dirty_bytes"].as_u64()? + status["logged_bytes"].as_u64()?)
}

#[test]
fn an_outage_at_full_load_costs_no_memory_and_no_data_and_drains_after() {
    let _alone = alone();
    let outage = Duration::from_secs(number("KRAIT_S3_OUTAGE", 12));
    let bucket = bucket();
    let work = work();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 1G");
    let mut server = host.place.serve(SMALL);
    let mut clients = connect(&mut server, CLIENTS);
    read_back(&work, &mut clients[0]);
    let (mut settled, mut most, mut log) = (0, 0, 0);
    let resumed = load(&work, clients, seed(), || {
        thread::sleep(Duration::from_secs(1));
        host.door.down();
        let down = Instant::now();
        while down.elapsed() < outage {
            thread::sleep(Duration::from_millis(200));
            let now = resident(&server);
            if down.elapsed() < outage / 3 {
                settled = settled.max(now);
            }
            most = most.max(now);
            log = log.max(krait::server::kept::bytes(&log_of(&host)).expect("a log"));
        }
        let status = host.status();
        let failing = status["store"]["failing_ms"].as_u64().expect("it is down");
        assert!(failing + 3000 > outage.as_millis() as u64, "{status:#}");
        assert!(
            status["store"]["last_error"].as_str().expect("why").contains("onnect"),
            "{status:#}"
        );
        let stuck = written(&work);
        host.door.up();
        let up = Instant::now();
        while written(&work) < stuck + 100 {
            assert!(up.elapsed() < PATIENCE, "writes resume");
            thread::sleep(Duration::from_millis(20));
        }
        up.elapsed()
    });
    // What a client had sent before it went may still be on its way to the log.
    wait_until_all_are_gone(&host);
    let draining = Instant::now();
    host.run("volume drain vm --timeout 60s");
    let draining = draining.elapsed();
    let status = host.status();
    assert_eq!(unpublished(&status), Some(0), "{status:#}");
    assert_eq!(status["store"]["failing_ms"], serde_json::Value::Null, "{status:#}");
    assert!(most <= MEMORY + MEMORY / 10, "{} MiB", most / MIB);
    assert!(most <= settled + settled / 10, "from {} to {} MiB", settled / MIB, most / MIB);
    assert!(log <= LOG + 4 * MIB, "{} MiB of log", log / MIB);
    // All that was answered is there, the disk or not: it was drained.
    server.kill();
    let mut judge = work.judge();
    let cut = judge.invoke(krait::sim::judge::Command::Cut);
    judge.done(cut);
    judge.crash(true);
    drop(judge);
    let other = Host::new(&bucket);
    other.run("volume attach vm --force");
    let mut server = other.place.serve(SMALL);
    read_back(&work, &mut connect(&mut server, 1)[0]);
    eprintln!(
        "tried {} seconds of outage: memory {} MiB, {} MiB at most; log {} MiB; writes went on after {:?}, \
         all was uploaded {:?} after their end",
        outage.as_secs(),
        settled / MIB,
        most / MIB,
        log / MIB,
        resumed,
        draining
    );
}

fn log_of(host: &Host) -> std::path::PathBuf {
    let mut logs = fs::read_dir(host.place.data.join("wal")).expect("logs");
    logs.next().expect("a log").expect("a directory").path()
}
