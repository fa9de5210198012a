//! Snapshots and clones of a served volume.

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::{Home, Server, client, noise, now, pause};

/// Runs a command beside the server; its exit code, output and errors.
fn run(home: &Home, line: &str) -> (i32, String, String) {
    let output = home.krait().args(line.split_whitespace()).output().expect("the program");
    let Output { status, stdout, stderr } = output;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().expect("no signal ended it"), text(&stdout), text(&stderr))
}

#[track_caller]
fn ok(home: &Home, line: &str) -> String {
    let (code, out, err) = run(home, line);
    assert_eq!((code, err.as_str()), (0, ""), "krait {line}");
    out
}

#[track_caller]
fn fails(home: &Home, code: i32, line: &str, why: &str) {
    let (found, _, err) = run(home, line);
    assert!(found == code && err.contains(why), "krait {line}: {found} {err}");
}

/// Tries again while something is in use that a client has just left.
#[track_caller]
fn ok_soon(home: &Home, line: &str) {
    let deadline = now() + Duration::from_secs(10);
    loop {
        let (code, _, err) = run(home, line);
        if code == 0 {
            return;
        }
        assert!(code == 5 && now() < deadline, "krait {line}: {code} {err}");
        pause();
    }
}

fn uri(server: &Server, export: &str) -> String {
    server.uri().replace("demo", export)
}

/// Copies an image to an export; `None` without the tool.
fn write(server: &Server, export: &str, content: &[u8], home: &Home) -> Option<String> {
    let image = home.path("image");
    fs::write(&image, content).expect("room");
    // Without a flush, a server that is killed next may have had it in memory only.
    client("nbdcopy", |c| c.arg("--flush").arg(&image).arg(uri(server, export)))
}

/// What an export holds.
fn read(server: &Server, export: &str, home: &Home) -> Vec<u8> {
    let copy = home.path("copy");
    client("nbdcopy", |c| c.arg(uri(server, export)).arg(&copy)).expect("it was there just now");
    fs::read(&copy).expect("a copy")
}

#[test]
fn snapshots_and_clones_of_a_served_volume_hold_what_they_must() {
    let home = Home::new();
    let server = home.serve("8M");
    let (first, second) = (noise(8 << 20), noise(9 << 20).split_off(1 << 20));
    if write(&server, "demo", &first, &home).is_none() {
        return;
    }
    ok(&home, "snapshot create demo first");
    write(&server, "demo", &second, &home);
    fails(&home, 4, "snapshot create demo first", "demo@first exists already");
    assert!(read(&server, "demo@first", &home) == first, "the snapshot changed");
    let seen = client("nbdinfo", |c| c.arg(uri(&server, "demo@first"))).expect("it is there");
    assert!(seen.contains("is_read_only: true"), "{seen}");

    ok(&home, "clone create before --from demo@first");
    ok(&home, "clone create now --from demo");
    assert!(read(&server, "before", &home) == first && read(&server, "now", &home) == second);
    // A clone of a clone, written to, and none of the others changes.
    let third = noise(10 << 20).split_off(2 << 20);
    write(&server, "before", &third, &home);
    ok(&home, "clone create deep --from before");
    assert!(read(&server, "deep", &home) == third && read(&server, "before", &home) == third);
    assert!(read(&server, "demo@first", &home) == first && read(&server, "demo", &home) == second);

    fails(&home, 5, "snapshot delete demo first", "needed by the clone before");
    for volume in ["demo", "before", "now", "deep"] {
        let checked = ok(&home, &format!("volume check {volume}"));
        assert!(checked.ends_with("clean\n"), "{checked}");
    }
    // All of it is there after a restart, on other cores.
    assert!(server.stop().success());
    let home = home.with_cores("1");
    let server = home.serve("8M");
    assert!(read(&server, "deep", &home) == third && read(&server, "now", &home) == second);
    assert!(read(&server, "demo@first", &home) == first);
    for volume in ["deep", "before", "now"] {
        ok_soon(&home, &format!("volume delete {volume} --yes"));
    }
    ok_soon(&home, "snapshot delete demo first");
    ok_soon(&home, "volume delete demo --yes");
    assert_eq!(home_objects(&home), Vec::<std::path::PathBuf>::new());
}

fn home_objects(home: &Home) -> Vec<std::path::PathBuf> {
    fn below(dir: &std::path::Path, all: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => below(&entry.path(), all),
                false => all.push(entry.path()),
            }
        }
    }
    let mut all = Vec::new();
    below(&home.path("data/store/volumes"), &mut all);
    all
}

#[test]
fn a_snapshot_that_a_client_reads_refuses_writes_and_is_not_deleted() {
    let home = Home::new();
    let server = home.serve("1M");
    ok(&home, "snapshot create demo s1");
    let data = home.path("data").display().to_string();
    let krait = env!("CARGO_BIN_EXE_krait");
    let script = format!(
        "import errno, subprocess\n\
         h.set_strict_mode(0)\n\
         for attempt in [lambda: h.pwrite(bytes(4096), 0), lambda: h.trim(4096, 0),\n\
         \x20               lambda: h.zero(4096, 0)]:\n\
         \x20   try:\n\
         \x20       attempt()\n\
         \x20   except nbd.Error as error:\n\
         \x20       assert error.errnum == errno.EPERM, error\n\
         \x20   else:\n\
         \x20       assert False, 'it was written'\n\
         h.flush()\n\
         assert h.pread(4096, 0) == bytes(4096)\n\
         krait = ['{krait}', '--data-dir', '{data}']\n\
         for words in ['snapshot delete demo s1', 'volume delete demo --yes --snapshots']:\n\
         \x20   refused = subprocess.run(krait + words.split(), capture_output=True)\n\
         \x20   assert refused.returncode == 5, refused\n\
         \x20   assert b'in use' in refused.stderr, refused\n\
         h.shutdown()\n"
    );
    let uri = uri(&server, "demo@s1");
    if client("nbdsh", |c| c.args(["--base-allocation", "-u", &uri, "-c", &script])).is_none() {
        return;
    }
    ok_soon(&home, "snapshot delete demo s1");
    let gone = std::process::Command::new("nbdinfo").arg(&uri).output().expect("libnbd is there");
    assert!(!gone.status.success(), "the export is gone");
    // The name is free.
    ok(&home, "snapshot create demo s1");
}

#[test]
fn a_snapshot_without_a_server_has_what_only_the_log_has() {
    let home = Home::new();
    let content = noise(1 << 20);
    let server = home.serve("1M");
    if write(&server, "demo", &content, &home).is_none() {
        return;
    }
    server.kill();
    ok(&home, "snapshot create demo s1");
    ok(&home, "clone create copy --from demo");
    let listed: Value =
        serde_json::from_str(&ok(&home, "snapshot list demo --json")).expect("JSON");
    assert_eq!(listed["snapshots"].as_array().map(Vec::len), Some(1));
    let server = home.serve("1M");
    for export in ["demo", "demo@s1", "copy"] {
        assert!(read(&server, export, &home) == content, "{export} differs");
    }
}

#[test]
fn a_volume_of_another_host_is_refused_by_name() {
    let home = Home::on_cores("1");
    let server = home.serve("1M");
    if !server.nbdsh("h.pwrite(b'x' * 4096, 0)\nh.flush()\nh.shutdown()\n") {
        return;
    }
    server.kill();
    let store = format!("file://{}", home.path("data/store").display());
    let other = Home::on_cores("1");
    for line in ["snapshot create demo s1", "clone create copy --from demo"] {
        fails(&other, 10, &format!("{line} --store {store}"), "has volume demo since incarnation");
    }
    // What is not of this moment can be cloned on any host.
    ok(&home, "snapshot create demo s1");
    ok(&other, &format!("clone create copy --from demo@s1 --store {store}"));
}

#[test]
fn a_snapshot_is_read_on_another_host_while_the_first_one_has_the_volume() {
    let home = Home::new();
    let (first, second) = (noise(1 << 20), noise(2 << 20).split_off(1 << 20));
    let server = home.serve("1M");
    if write(&server, "demo", &first, &home).is_none() {
        return;
    }
    ok(&home, "snapshot create demo s1");
    let store = format!("file://{}", home.path("data/store").display());
    let other = Home::on_cores("1");
    let reader = other.serve_with("1M", &["--store", &store]);
    assert!(read(&reader, "demo@s1", &other) == first);
    // The volume itself stays where it is, and goes on.
    write(&server, "demo", &second, &home);
    assert!(read(&reader, "demo@s1", &other) == first && read(&server, "demo", &home) == second);
    assert_eq!(home.status("demo")["is_own"], true);
    assert!(!other.path("data/wal").exists(), "a snapshot has no log");
}
