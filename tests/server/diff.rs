//! What changed between two snapshots.

use serde_json::{Value, json};

use crate::fixture::{Home, client, noise};
use crate::shell::{fails, ok, uri, write};

#[test]
fn what_changed_between_snapshots_is_told_in_ranges() {
    let home = Home::new();
    let server = home.serve("16M");
    if write(&server, "demo", &noise(8 << 20), &home).is_none() {
        return;
    }
    ok(&home, "snapshot create demo a");
    let script = "h.pwrite(b'x' * 8192, 1 << 20)\nh.pwrite(b'y' * 512, (12 << 20) + 512)\n\
                  h.trim(65536, 2 << 20)\nh.trim(65536, 14 << 20)\nh.shutdown()\n";
    let uri_of_demo = uri(&server, "demo");
    client("nbdsh", |c| c.args(["-u", &uri_of_demo, "-c", script])).expect("libnbd is there");
    ok(&home, "snapshot create demo b");
    let diff = |line: &str| -> Value { serde_json::from_str(&ok(&home, line)).expect("JSON") };
    let forth = diff("snapshot diff demo a b --json");
    let range = |offset: u64, length: u64, zero: bool| json!({ "offset": offset, "length": length, "zero": zero });
    let expected =
        [range(1 << 20, 8192, false), range(2 << 20, 65536, true), range(12 << 20, 4096, false)];
    assert_eq!(forth["changes"], json!(expected));
    assert_eq!(forth["changed_bytes"], 8192 + 65536 + 4096);
    let back = diff("snapshot diff demo b a --json");
    assert_eq!(back["changes"][2], range(12 << 20, 4096, true));
    assert_eq!(diff("snapshot diff demo b --json")["changes"], json!([]));
    // Compaction and folding change no block; a size is no change of a block.
    ok(&home, "volume resize demo 20M");
    let since = diff("snapshot diff demo a --json");
    assert_eq!((&since["changes"], &since["to_size_bytes"]), (&forth["changes"], &json!(20 << 20)));
    let text = ok(&home, "snapshot diff demo a b");
    assert!(text.ends_with("76 KiB changed in 3 ranges\n"), "{text}");
    fails(&home, 3, "snapshot diff demo a none", "has no snapshot none");
}
