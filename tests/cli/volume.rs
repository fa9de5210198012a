//! `krait volume` without a server.

use super::*;

#[test]
fn volumes_are_created_listed_described_and_deleted() {
    let shell = Shell::new();
    let made = shell.json("volume create vm1 --size 20G --json");
    assert_eq!((&made["name"], &made["size_bytes"]), (&"vm1".into(), &(20u64 << 30).into()));
    says(&shell.ok("volume create a.b --size 1.5M"), "created volume a.b of 1.50 MiB, id ");

    let listed = shell.json("volume list --json");
    let names: Vec<_> = listed["volumes"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(names, ["a.b", "vm1"]);
    assert_eq!(listed["volumes"][1], made);
    assert_eq!(listed["damaged"], Value::Array(Vec::new()));
    let text = shell.ok("volume list");
    assert!(text.starts_with("NAME      SIZE  CREATED"), "{text}");
    says(&text, "vm1     20 GiB  20");

    let info = shell.json("volume info vm1 --json");
    assert_eq!((&info["id"], &info["incarnation"]), (&made["id"], &0.into()));
    assert_eq!((&info["stripe_bytes"], &info["manifest"]), (&(4 << 20).into(), &1.into()));
    says(&shell.ok("volume info vm1"), "size         20 GiB (21474836480 bytes)");

    says(&shell.ok("volume delete vm1 --yes"), "deleted volume vm1");
    let deleted = shell.json("volume delete a.b --yes --json");
    assert_eq!(deleted["deleted"], true);
    assert_eq!(shell.json("volume list --json")["volumes"], Value::Array(Vec::new()));
    for part in ["names", "volumes"] {
        let dir = shell.path().join("krait-data/store").join(part);
        let left = if dir.exists() { files_below(&dir) } else { Vec::new() };
        assert_eq!(left, Vec::<PathBuf>::new(), "nothing is left");
    }
}

#[test]
fn the_status_of_a_volume_that_nobody_serves_tells_what_disk_and_store_know() {
    let shell = Shell::new();
    shell.ok("volume create vm1 --size 1G");
    let status = shell.json("volume status vm1 --json");
    assert_eq!(status["state"], "not-served");
    assert_eq!((&status["dirty_bytes"], &status["logged_bytes"]), (&0.into(), &0.into()));
    assert!(status["remote_bytes"].as_u64().unwrap() > 0);
    says(&shell.ok("volume status vm1"), "state        not served");
    says(&shell.fails(3, "volume status vm2"), "no volume is named vm2");
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let shell = Shell::new();
    says(&shell.fails(3, "volume list"), "no store at ");
    shell.ok("volume create vm1 --size 1G");
    says(&shell.fails(4, "volume create vm1 --size 1G"), "volume vm1 exists already");
    says(&shell.fails(3, "volume info vm2"), "`krait volume list` shows");
    says(&shell.fails(2, "volume delete vm1"), "add --yes");
    says(&shell.fails(3, "volume delete vm2 --yes"), "no volume is named vm2");
    says(&shell.fails(2, "volume list --store memory:"), "krait serve --create");
    says(&shell.fails(2, "volume list --store s3://b"), "write s3://BUCKET");
    shell.ok("volume info vm1");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_told_so() {
    let shell = Shell::new();
    fs::write(shell.path().join("file"), "").unwrap();
    let line = shell.fails(1, "volume create vm1 --size 1G --data-dir file/data");
    says(&line, "make data directory");
}

#[test]
fn bad_names_and_sizes_are_refused_with_what_to_do() {
    let shell = Shell::new();
    for (words, hint) in [
        ("VM1 --size 1G", "only a-z, 0-9"),
        ("a/b --size 1G", "only a-z, 0-9"),
        ("-a --size 1G", "see `krait volume create --help`"),
        (".a --size 1G", "starts and ends with"),
        ("vm1", "--size <SIZE>"),
        ("vm1 --size 0", "512 B to 256 TiB"),
        ("vm1 --size 257T", "512 B to 256 TiB"),
        ("vm1 --size 1000", "choose 1K"),
        ("vm1 --size 10GB", "write 10G"),
        ("vm1 --size lots", "512M, 20G or 1.5T"),
    ] {
        says(&shell.fails(2, &format!("volume create {words}")), hint);
    }
    assert!(!shell.path().join("krait-data").exists(), "nothing was made");
}

#[test]
fn the_data_directory_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::new();
    shell.ok("volume create vm1 --size 1G");
    let mode = fs::metadata(shell.path().join("krait-data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_damaged_volume_is_told_and_hides_no_other() {
    let shell = Shell::new();
    shell.ok("volume create good --size 1G");
    let bad = shell.json("volume create bad --size 1G --json");
    let manifests = format!("krait-data/store/volumes/{}/manifests", bad["id"].as_str().unwrap());
    let manifest = files_below(&shell.path().join(manifests)).remove(0);
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[60] ^= 1;
    fs::write(&manifest, bytes).unwrap();

    let ran = shell.run("volume list --json");
    assert_eq!(ran.code, 6, "{}", ran.err);
    let listed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(listed["volumes"][0]["name"], "good");
    says(listed["damaged"][0].as_str().unwrap(), "checksum");
    says(&shell.fails(6, "volume info bad"), "checksum");
    let ran = shell.run("volume check bad");
    assert_eq!(ran.code, 6, "{}", ran.err);
    says(&ran.out, "damaged: manifest 00000000000000000001: manifest: the checksum");
    says(&ran.out, "NOT CLEAN");
    says(&shell.fails(6, &format!("inspect {}", manifest.display())), "the file is damaged");
}

#[test]
fn a_new_volume_is_clean() {
    let shell = Shell::new();
    shell.ok("volume create vm1 --size 1G");
    let view = shell.json("volume check vm1 --json");
    assert_eq!((&view["clean"], &view["log"]["files"]), (&true.into(), &0.into()));
    assert_eq!((&view["store"]["manifest"], &view["store"]["orphans"]), (&1.into(), &0.into()));
    assert!(shell.ok("volume check vm1").ends_with("clean\n"));
}

/// Runs a command on a terminal of its own, with something typed.
fn typed(shell: &Shell, line: &str, typed: &str) -> Option<(i32, String)> {
    use std::io::Write as _;
    let words = format!("{} {line}", env!("CARGO_BIN_EXE_krait"));
    let mut script = Command::new("script");
    script.args(["-qec", &words, "/dev/null"]).current_dir(shell.path()).env_clear();
    script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let Ok(mut child) = script.spawn() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "script of util-linux is missing");
        return None;
    };
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some((output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn delete_asks_on_a_terminal_and_takes_only_the_name_for_a_yes() {
    let shell = Shell::new();
    shell.ok("volume create vm1 --size 1G");
    let Some((code, said)) = typed(&shell, "volume delete vm1", "y\n") else { return };
    assert_eq!(code, 2, "{said}");
    says(&said, "This destroys volume vm1 of 1 GiB");
    says(&said, "vm1 is not deleted");
    shell.ok("volume info vm1");
    let (code, said) = typed(&shell, "volume delete vm1", "vm1\n").unwrap();
    assert_eq!(code, 0, "{said}");
    says(&shell.fails(3, "volume info vm1"), "no volume is named vm1");
    let (code, said) = typed(&shell, "volume delete vm1", "").unwrap();
    assert!(code == 3 && !said.contains("Type its name"), "{said}");
}
