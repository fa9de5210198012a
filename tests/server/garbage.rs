//! What is overwritten leaves the store, and what a snapshot needs stays.

use std::fs;

use serde_json::Value;

use crate::fixture::{Home, Server, client, disk_bytes, noise};

const MIB: u64 = 1 << 20;
const IMAGE: usize = 32 << 20;

fn run(home: &Home, line: &str) -> String {
    let output = home.krait().args(line.split_whitespace()).output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "krait {line}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// One pass, or what it would do.
fn gc(home: &Home, words: &str) -> Value {
    let told = run(home, &format!("gc {words} --volume demo --json"));
    let all: Value = serde_json::from_str(&told).expect("JSON");
    all[0].clone()
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of:#}"))
}

/// Writes an image and has it uploaded; `None` without the tool.
fn write(home: &Home, server: &Server, content: &[u8]) -> Option<()> {
    let image = home.path("image");
    fs::write(&image, content).expect("room");
    client("nbdcopy", |c| c.arg(&image).arg(server.uri()))?;
    run(home, "volume drain demo");
    Some(())
}

#[test]
fn what_is_overwritten_leaves_the_store_unless_a_snapshot_needs_it() {
    let home = Home::new().with_variable("KRAIT_GC_GRACE_SECONDS", "40");
    let server = home.serve("64M");
    let (first, second, third) = (noise(IMAGE), noise(IMAGE), noise(IMAGE));
    if write(&home, &server, &first).is_none() {
        return;
    }
    write(&home, &server, &second).expect("the tool");
    let store = home.path("data").join("store");
    let before = disk_bytes(&store);
    let found = gc(&home, "--dry-run");
    assert!(number(&found, "garbage_bytes") > 28 * MIB, "{found:#}");
    assert_eq!((number(&found, "removed"), disk_bytes(&store)), (0, before), "only a look");

    let done = gc(&home, "run");
    assert!(number(&done, "removed_bytes") > 28 * MIB, "{done:#}");
    assert!(disk_bytes(&store) + 28 * MIB < before, "{done:#}");
    let copy = home.path("copy");
    client("nbdcopy", |c| c.arg(server.uri()).arg(&copy)).expect("the tool");
    assert!(
        fs::read(&copy).expect("a copy")[..IMAGE] == second[..],
        "the volume holds what it held"
    );
    assert!(run(&home, "volume check demo").contains("demo"));

    run(&home, "snapshot create demo kept");
    write(&home, &server, &third).expect("the tool");
    let found = gc(&home, "--dry-run");
    assert!(number(&found, "garbage_bytes") < 4 * MIB, "{found:#}");
    assert!(number(&found, "kept_by_snapshots") > 0, "{found:#}");
    run(&home, "snapshot delete demo kept");
    let found = gc(&home, "--dry-run");
    assert!(number(&found, "garbage_bytes") > 28 * MIB, "{found:#}");
    assert!(server.stop().success());
    // The same without a server.
    assert!(number(&gc(&home, "--dry-run"), "garbage_bytes") > 28 * MIB);
}
