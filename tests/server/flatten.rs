//! Clones that are separated from what they were made of.

use serde_json::Value;

use crate::fixture::{Home, client, noise};
use crate::shell::{fails, ok, ok_soon, read, uri, write};

const MIB: usize = 1 << 20;

fn json(home: &Home, line: &str) -> Value {
    serde_json::from_str(&ok(home, line)).expect("JSON")
}

#[test]
fn a_separated_clone_outlives_what_it_was_made_of() {
    let home = Home::new();
    let content = noise(12 * MIB);
    let server = home.serve("16M");
    if write(&server, "demo", &content, &home).is_none() {
        return;
    }
    ok(&home, "snapshot create demo s1");
    ok(&home, "clone create vm --from demo@s1");
    // A part of it is its own already.
    let uri_of_vm = uri(&server, "vm");
    let script =
        "h.pwrite(b'x' * 65536, 1 << 20)\nh.zero(1 << 20, 13 << 20)\nh.flush()\nh.shutdown()\n";
    client("nbdsh", |c| c.args(["-u", &uri_of_vm, "-c", script])).expect("libnbd is there");
    let mut expected = content.clone();
    expected.resize(16 * MIB, 0);
    expected[MIB..MIB + 65536].fill(b'x');
    fails(&home, 5, "snapshot delete demo s1", "needed by the clone vm");
    ok(&home, "snapshot create vm own");
    fails(&home, 5, "clone flatten vm", "its snapshot own shares with what it was cloned from");
    ok(&home, "snapshot delete vm own");
    let done = json(&home, "clone flatten vm --json");
    assert_eq!(done["was_clone"], true);
    assert_eq!(done["copied_bytes"], (12 * MIB - 65536) as u64);
    assert!(json(&home, "volume info vm --json")["parent"].is_null());
    assert!(ok(&home, "clone flatten vm").contains("it is no clone"));
    ok_soon(&home, "snapshot delete demo s1");
    ok_soon(&home, "volume delete demo --yes");
    assert!(read(&server, "vm", &home) == expected);
    let checked = ok(&home, "volume check vm");
    assert!(checked.ends_with("clean\n"), "{checked}");
    assert!(server.stop().success());
    let server = home.serve("1M");
    assert!(read(&server, "vm", &home) == expected);
}

#[test]
fn a_clone_is_separated_without_a_server_and_lets_go_of_what_was_made_for_it_alone() {
    let home = Home::new();
    let content = noise(4 * MIB);
    let server = home.serve("4M");
    if write(&server, "demo", &content, &home).is_none() {
        return;
    }
    ok(&home, "clone create vm --from demo");
    assert!(server.stop().success());
    let done = ok(&home, "clone flatten vm");
    assert!(done.contains("shares nothing any more: 4 MiB were copied"), "{done}");
    ok(&home, "volume delete demo --yes");
    let server = home.serve("1M");
    assert!(read(&server, "vm", &home) == content);
}
