//! What a start does about the volumes that the last run left.

use std::fs;
use std::path::Path;

use crate::fixture::Home;

const WRITE: &str = "h.pwrite(b'x' * 4096, 0)\nh.flush()\nh.shutdown()\n";

#[test]
fn what_a_killed_server_left_in_a_log_reaches_the_store_without_a_client() {
    let home = Home::new();
    let server = home.serve_with("16M", &["--create", "unused=16M"]);
    if !server.nbdsh(WRITE) {
        return;
    }
    server.kill();
    let left = home.status("demo");
    assert_eq!(left["logged_bytes"], 4096, "{left}");
    let _server = home.serve_with("16M", &["--rpo-seconds", "1"]);
    home.status_when("demo", |status| {
        status["state"] == "serving" && status["incarnation"] == 2 && status["logged_bytes"] == 0
    });
    assert_eq!(home.status("unused")["state"], "not-served", "it has nothing to recover");
}

#[test]
fn a_volume_whose_log_the_store_covers_is_left_alone_until_a_client_comes() {
    let home = Home::new();
    let server = home.serve_with("16M", &["--create", "late=16M", "--rpo-seconds", "3"]);
    if !server.nbdsh(WRITE) {
        return;
    }
    let covered = home
        .status_when("demo", |status| status["dirty_bytes"] == 0 && status["logged_bytes"] == 0);
    assert!(covered["wal_bytes"].as_u64() > Some(0), "{covered}");
    let late = server.uri().replace("demo", "late");
    assert!(
        server.nbdsh(&format!(
            "o = nbd.NBD()\no.connect_uri('{late}')\no.pwrite(b'y', 0)\no.flush()"
        ))
    );
    server.kill();
    let server = home.serve("16M");
    server.says("recovered 1 volumes");
    let status = home.status("demo");
    assert_eq!((&status["state"], &status["incarnation"]), (&"not-served".into(), &1.into()));
    assert!(server.nbdsh("assert h.pread(4096, 0) == b'x' * 4096"));
    assert_eq!(home.status("demo")["state"], "serving");
}

#[test]
fn a_volume_that_cannot_be_recovered_is_named_and_the_others_are_served() {
    let home = Home::new();
    let server = home.serve_with("16M", &["--create", "sound=16M"]);
    let sound = server.uri().replace("demo", "sound");
    let other =
        format!("o = nbd.NBD()\no.connect_uri('{sound}')\no.pwrite(b'y' * 4096, 0)\no.flush()\n");
    // The second record tells that the first one was synced.
    let twice = WRITE.replace("h.shutdown()", "h.pwrite(b'x' * 4096, 4096)\nh.flush()\n");
    if !server.nbdsh(&(other + &twice)) {
        return;
    }
    server.kill();
    let id = home.status("demo")["id"].as_str().expect("text").to_owned();
    spoil(&home.path("data/wal").join(id));
    let server = home.serve("16M");
    let line = server.says("volume demo cannot be served: ");
    assert!(line.contains("ERROR") && line.contains(".wal"), "{line}");
    server.says("recovered 1 volumes");
    let read = format!("nbd+unix:///sound?socket={}", server.socket.display());
    let size = crate::fixture::client("nbdinfo", |command| command.args(["--size", &read]));
    assert!(size.is_none_or(|size| size.trim() == "16777216"));
    assert_eq!(home.status("sound")["state"], "serving");
}

/// Breaks a block of a log that was synced: the payload of its first record.
fn spoil(log: &Path) {
    for file in fs::read_dir(log).expect("a log") {
        let path = file.expect("a file").path();
        let mut bytes = fs::read(&path).expect("it is there");
        if bytes[4096] == b'x' {
            bytes[4096] = b'z';
            fs::write(&path, bytes).expect("room");
        }
    }
}
