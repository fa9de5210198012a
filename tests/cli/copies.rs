//! `krait snapshot` and `krait clone` without a server.

use super::*;

/// A shell with the volume `vm1`.
fn shell() -> Shell {
    let shell = Shell::new();
    shell.ok("volume create vm1 --size 1G");
    shell
}

#[test]
fn snapshots_are_made_listed_and_deleted() {
    let shell = shell();
    let made = shell.json("snapshot create vm1 before-upgrade --json");
    assert_eq!((&made["volume"], &made["name"]), (&"vm1".into(), &"before-upgrade".into()));
    assert_eq!((&made["size_bytes"], &made["manifest"]), (&(1 << 30).into(), &1.into()));
    assert_eq!(made["id"].as_str().unwrap().len(), 32);
    says(&shell.ok("snapshot create vm1 later"), "made snapshot vm1@later of 20");
    says(&shell.fails(4, "snapshot create vm1 later"), "snapshot vm1@later exists already");
    says(&shell.fails(3, "snapshot create vm2 a"), "no volume is named vm2");

    let listed = shell.json("snapshot list vm1 --json");
    assert_eq!(listed["snapshots"][0], made);
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 2);
    let text = shell.ok("snapshot list vm1");
    assert!(text.starts_with("NAME             SIZE  CREATED"), "{text}");
    assert_eq!(shell.json("volume info vm1 --json")["snapshots"], 2);

    says(&shell.ok("snapshot delete vm1 later"), "deleted snapshot vm1@later");
    says(&shell.fails(3, "snapshot delete vm1 later"), "`krait snapshot list vm1` shows");
    says(&shell.fails(2, "snapshot create vm1 _hidden"), "starts and ends with");
    let line = shell.fails(5, "volume delete vm1 --yes");
    says(&line, "volume vm1 has 1 snapshots: add --snapshots");
    shell.ok("volume delete vm1 --yes --snapshots");
    let store = shell.path().join("krait-data/store/volumes");
    assert_eq!(files_below(&store), Vec::<PathBuf>::new(), "nothing is left");
}

#[test]
fn clones_are_made_and_what_they_need_is_kept() {
    let shell = shell();
    shell.ok("snapshot create vm1 s1");
    let cloned = shell.json("clone create vm2 --from vm1@s1 --json");
    assert_eq!((&cloned["name"], &cloned["from"]), (&"vm2".into(), &"vm1@s1".into()));
    says(&shell.ok("clone create vm3 --from vm2"), "created volume vm3, a clone of vm2, id ");
    says(&shell.fails(4, "clone create vm3 --from vm1@s1"), "volume vm3 exists already");
    says(&shell.fails(3, "clone create vm4 --from vm1@none"), "volume vm1 has no snapshot none");
    says(&shell.fails(2, "clone create vm4 --from vm1@_x"), "starts and ends with");

    let info = shell.json("volume info vm2 --json");
    assert_eq!(info["parent"]["volume"], "vm1");
    assert_eq!((&info["parent"]["snapshot"], &info["clones"][0]), (&"s1".into(), &"vm3".into()));
    assert_eq!(info["snapshots"], 0, "the one of vm3 is nobody's business");
    says(&shell.ok("volume info vm2"), "clone of     vm1@s1\n");
    says(&shell.ok("volume info vm3"), "clone of     vm2\n");
    assert_eq!(shell.json("snapshot list vm2 --json")["snapshots"], Value::Array(Vec::new()));
    let listed = shell.json("volume list --json");
    assert_eq!(listed["volumes"][0]["parent"], Value::Null);
    assert_eq!(listed["volumes"][2]["parent"]["volume"], "vm2");
    says(&shell.ok("volume list"), "CLONE OF");
    assert_eq!(shell.json("snapshot list vm1 --json")["snapshots"][0]["clones"][0], "vm2");
    assert_eq!(shell.json("volume check vm2 --json")["store"]["snapshots"], 1);

    says(&shell.fails(5, "snapshot delete vm1 s1"), "needed by the clone vm2");
    says(&shell.fails(5, "volume delete vm1 --yes --snapshots"), "needed by the clone vm2");
    says(&shell.fails(5, "volume delete vm2 --yes"), "needed by the clone vm3");
    shell.ok("volume delete vm3 --yes");
    shell.ok("volume delete vm2 --yes");
    shell.ok("snapshot delete vm1 s1");
    shell.ok("volume delete vm1 --yes");
    let store = shell.path().join("krait-data/store/volumes");
    assert_eq!(files_below(&store), Vec::<PathBuf>::new(), "nothing is left");
}

#[test]
fn a_snapshot_and_a_clones_manifest_are_shown() {
    let shell = shell();
    shell.ok("snapshot create vm1 s1");
    shell.ok("clone create vm2 --from vm1@s1");
    let files = files_below(&shell.path().join("krait-data/store/volumes"));
    let file =
        |part: &str| files.iter().find(|file| file.to_str().unwrap().contains(part)).unwrap();
    let snapshot = file("/snapshots/s1").display().to_string();
    let view = shell.json(&format!("inspect {snapshot} --json"));
    assert_eq!((&view["kind"], &view["name"]), (&"snapshot".into(), &"s1".into()));
    assert_eq!((&view["of"]["kind"], &view["of"]["name"]), (&"manifest".into(), &"vm1".into()));
    says(&shell.ok(&format!("inspect {snapshot}")), "snapshot s1 of volume ");
    let id = shell.json("volume info vm2 --json")["id"].as_str().unwrap().to_owned();
    let manifest = file(&format!("{id}/manifests/")).display().to_string();
    let view = shell.json(&format!("inspect {manifest} --json"));
    assert_eq!(view["parent"]["snapshot"], "s1");
    says(&shell.ok(&format!("inspect {manifest}")), "clone of snapshot s1");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[100] ^= 1;
    written(&shell, "bad", &bytes);
    says(&shell.fails(6, "inspect bad"), "the checksum does not match");
    fs::write(&snapshot, bytes).unwrap();
    assert_eq!(shell.run("snapshot list vm1").code, 6);
    assert_eq!(shell.run("volume check vm1").code, 6);
}
