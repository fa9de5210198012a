//! `krait volume drain`, and what `krait volume status` counts.

use std::fs;
use std::process::Output;

use crate::fixture::Home;

const LATE: [&str; 2] = ["--rpo-seconds", "3600"];

fn drain(home: &Home, more: &[&str]) -> Output {
    let drained = home.krait().args(["volume", "drain", "demo"]).args(more).output();
    drained.expect("the program")
}

/// Bytes that the store lacks, in memory or in the log.
fn unpublished(home: &Home) -> u64 {
    let status = home.status("demo");
    let bytes = |key| status[key].as_u64().expect("a number");
    bytes("dirty_bytes") + bytes("logged_bytes")
}

#[test]
fn after_a_drain_all_that_was_acknowledged_is_in_the_store() {
    let home = Home::new();
    let server = home.serve_with("64M", &LATE);
    if !server.nbdsh("h.pwrite(b'x' * (9 << 20), 0)\nh.shutdown()") {
        return;
    }
    assert_eq!(unpublished(&home), 9 << 20);
    let drained = drain(&home, &[]);
    assert!(drained.status.success(), "{drained:?}");
    assert_eq!(unpublished(&home), 0);
    server.kill();
    // Only the store has it now.
    fs::remove_dir_all(home.path("data/wal")).expect("the log");
    let server = home.serve("64M");
    assert!(server.nbdsh("assert h.pread(9 << 20, 0) == b'x' * (9 << 20)"));
}

#[test]
fn a_drain_without_a_server_empties_the_log_of_one_that_was_killed() {
    let home = Home::new();
    let server = home.serve_with("64M", &LATE);
    if !server.nbdsh("h.pwrite(b'x' * (9 << 20), 0)\nh.flush()") {
        return;
    }
    server.kill();
    assert_eq!(home.status("demo")["logged_bytes"], 9 << 20);
    let drained = drain(&home, &["--json"]);
    assert!(drained.status.success(), "{drained:?}");
    assert!(String::from_utf8_lossy(&drained.stdout).contains("\"drained\": true"));
    let status = home.status("demo");
    assert_eq!((&status["logged_bytes"], &status["wal_bytes"]), (&0.into(), &0.into()), "{status}");
    let drained = drain(&home, &[]);
    assert!(drained.status.success(), "there is nothing to do: {drained:?}");
}

#[test]
fn a_drain_that_the_store_holds_up_ends_in_time_and_says_what_is_left() {
    let home = Home::on_cores("1");
    let server = home.serve_with("64M", &LATE);
    if !server.nbdsh("h.pwrite(b'x' * (9 << 20), 0)\nh.shutdown()") {
        return;
    }
    let id = home.status("demo")["id"].as_str().expect("text").to_owned();
    let (objects, aside) = (home.path("data/store/volumes").join(id), home.path("aside"));
    fs::rename(&objects, &aside).expect("the objects");
    fs::write(&objects, "no directory").expect("room");
    let held_up = drain(&home, &["--timeout", "1s"]);
    fs::remove_file(&objects).expect("the file");
    fs::rename(&aside, &objects).expect("the objects");
    assert_eq!(held_up.status.code(), Some(9), "{held_up:?}");
    let said = String::from_utf8_lossy(&held_up.stderr).into_owned();
    assert!(said.contains("9 MiB are not in the store") && said.lines().count() == 1, "{said}");
    let drained = drain(&home, &[]);
    assert!(drained.status.success(), "{drained:?}");
}

#[test]
fn status_knows_the_size_of_a_volume_that_was_never_opened() {
    let home = Home::on_cores("1");
    let _server = home.serve("64M");
    let status = home.status("demo");
    assert_eq!(status["state"], "not-served", "{status}");
    assert_eq!((&status["size_bytes"], &status["logged_bytes"]), (&(64 << 20).into(), &0.into()));
}

#[test]
fn status_counts_data_and_not_what_was_trimmed_as_logged() {
    let home = Home::new();
    let server = home.serve_with("1T", &LATE);
    let script = "h.pwrite(b'x' * 65536, 0)\nh.trim(1 << 31, 1 << 30)\nh.zero(1 << 31, 1 << 33)\n";
    if !server.nbdsh(script) {
        return;
    }
    assert_eq!(unpublished(&home), 65536);
}
