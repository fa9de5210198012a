//! Volumes that get another size.

use serde_json::Value;

use crate::fixture::{Home, Server, client, noise};
use crate::shell::{fails, ok, ok_soon, read, uri, write};

const MIB: usize = 1 << 20;

fn json(home: &Home, line: &str) -> Value {
    serde_json::from_str(&ok(home, line)).expect("JSON")
}

fn size(server: &Server, export: &str) -> u64 {
    let told = client("nbdinfo", |c| c.arg("--size").arg(uri(server, export)));
    told.expect("it was there just now").trim().parse().expect("a number")
}

#[test]
fn a_volume_grows_under_its_clients_who_see_it_when_they_connect_again() {
    let home = Home::new();
    let server = home.serve("8M");
    let data = home.path("data").display().to_string();
    let krait = env!("CARGO_BIN_EXE_krait");
    let script = format!(
        "import json, subprocess\n\
         krait = ['{krait}', '--data-dir', '{data}', 'volume', 'resize', 'demo']\n\
         h.pwrite(b'a' * 4096, (8 << 20) - 4096)\n\
         done = subprocess.run(krait + ['20M', '--json'], capture_output=True)\n\
         assert done.returncode == 0, done\n\
         done = json.loads(done.stdout)\n\
         assert done['before_bytes'] == 8 << 20 and done['clients'] == 1, done\n\
         assert h.get_size() == 8 << 20\n\
         h.pwrite(b'b' * 4096, 0)\n\
         refused = subprocess.run(krait + ['4M', '--danger-discard-tail'], capture_output=True)\n\
         assert refused.returncode == 5 and b'in use' in refused.stderr, refused\n\
         h.shutdown()\n\
         h = nbd.NBD()\n\
         h.connect_uri('{uri}')\n\
         assert h.get_size() == 20 << 20, h.get_size()\n\
         assert h.pread(4096, (8 << 20) - 4096) == b'a' * 4096\n\
         assert h.pread(12 << 20, 8 << 20) == bytes(12 << 20)\n\
         h.pwrite(b'c' * 4096, (20 << 20) - 4096)\n\
         h.flush()\n\
         h.shutdown()\n",
        uri = server.uri()
    );
    if !server.nbdsh(&script) {
        return;
    }
    server.kill();
    let server = home.serve("8M");
    assert_eq!(size(&server, "demo"), 20 << 20);
    let found = read(&server, "demo", &home);
    assert!(found[..4096] == [b'b'; 4096] && found[20 * MIB - 4096..] == [b'c'; 4096]);
    assert_eq!(json(&home, "volume info demo --json")["size_bytes"], 20 << 20);
    fails(&home, 2, "volume resize demo 0", "a volume has");
    assert!(ok(&home, "volume resize demo 20M").contains("has 20 MiB already"));
}

#[test]
fn what_was_behind_the_end_of_a_volume_that_shrank_is_gone_for_ever() {
    let home = Home::new();
    let content = noise(20 * MIB);
    let server = home.serve("20M");
    if write(&server, "demo", &content, &home).is_none() {
        return;
    }
    ok(&home, "snapshot create demo large");
    fails(&home, 2, "volume resize demo 5M", "add --danger-discard-tail");
    assert_eq!(size(&server, "demo"), 20 << 20);
    // Neither whole blocks nor whole map pages.
    let left = 5 * MIB + 1536;
    let shrink = format!("volume resize demo {left} --danger-discard-tail");
    ok_soon(&home, &shrink);
    assert!(read(&server, "demo", &home) == content[..left]);
    ok(&home, "snapshot create demo small");
    // What its log has of the tail is behind the cut.
    server.kill();
    let server = home.serve("20M");
    assert!(read(&server, "demo", &home) == content[..left]);
    ok(&home, "volume resize demo 30M");
    let mut grown = content[..left].to_vec();
    grown.resize(30 * MIB, 0);
    assert!(read(&server, "demo", &home) == grown);
    assert!(read(&server, "demo@large", &home) == content);
    assert!(read(&server, "demo@small", &home) == content[..left]);
    ok(&home, "clone create whole --from demo@large");
    assert!(read(&server, "whole", &home) == content);
    for volume in ["demo", "whole"] {
        let checked = ok(&home, &format!("volume check {volume}"));
        assert!(checked.ends_with("clean\n"), "{checked}");
    }
}

#[test]
fn a_volume_gets_another_size_without_a_server() {
    let home = Home::new();
    let content = noise(4 * MIB);
    let server = home.serve("4M");
    if write(&server, "demo", &content, &home).is_none() {
        return;
    }
    server.kill();
    // What only the log has stays.
    ok(&home, "volume resize demo 6M");
    fails(&home, 2, "volume resize demo 1M", "add --danger-discard-tail");
    let done = json(&home, "volume resize demo 1M --danger-discard-tail --json");
    assert_eq!(
        (&done["before_bytes"], &done["size_bytes"]),
        (&(6 << 20).into(), &(1 << 20).into())
    );
    ok(&home, "volume resize demo 4M");
    let server = home.serve("4M");
    let mut expected = content[..MIB].to_vec();
    expected.resize(4 * MIB, 0);
    assert!(read(&server, "demo", &home) == expected);
    // Another host is not let in between.
    let store = format!("file://{}", home.path("data/store").display());
    let other = Home::on_cores("1");
    fails(&other, 10, &format!("volume resize demo 8M --store {store}"), "has volume demo since");
}
