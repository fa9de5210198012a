//! `krait import` and `krait export` without a server.

use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use super::*;

/// A sparse image of 4 GiB with data at its start, in its midst, and in its last bytes.
fn sparse(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut state = 1u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    };
    let parts = vec![
        (0, b"a boot sector".to_vec()),
        ((3 << 30) + 12_345, noise(2 << 20)),
        ((4 << 30) - 700, vec![7; 700]),
    ];
    let file = fs::File::create(path).unwrap();
    file.set_len(4 << 30).unwrap();
    for (at, bytes) in &parts {
        file.write_all_at(bytes, *at).unwrap();
    }
    parts
}

fn assert_same(path: &Path, parts: &[(u64, Vec<u8>)]) {
    let file = fs::File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4 << 30);
    for (at, bytes) in parts {
        let mut found = vec![0; bytes.len()];
        file.read_exact_at(&mut found, *at).unwrap();
        assert!(found == *bytes, "at {at}");
    }
}

/// Runs a command with bytes at its standard input; returns exit code, output and the last line of
/// errors.
fn pipe(shell: &Shell, line: &str, input: &[u8]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krait"));
    command.args(line.split_whitespace()).current_dir(shell.path()).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever refuses the rest does not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_sparse_image_moves_its_data_only_and_comes_back_as_it_was() {
    let shell = Shell::new();
    let image = shell.path().join("in.raw");
    let parts = sparse(&image);
    let made = shell.json("import golden in.raw --json");
    assert_eq!((&made["volume"], &made["size_bytes"]), (&"golden".into(), &(4u64 << 30).into()));
    let sent = made["data_bytes"].as_u64().unwrap();
    assert!((2 << 20..4 << 20).contains(&sent), "{sent}");
    let listed = shell.json("volume list --json");
    assert_eq!(listed["volumes"].as_array().unwrap().len(), 1, "no other name is left: {listed}");
    assert_eq!(listed["volumes"][0]["id"], made["id"]);
    let status = shell.json("volume status golden --json");
    assert_eq!(status["logged_bytes"], 0, "all of it is in the store");
    assert_eq!(status["host"], Value::Null, "and any host may open it");
    says(&shell.ok("volume check golden"), "clean");

    says(&shell.ok("export golden out.raw"), "exported golden of 4 GiB, ");
    let out = shell.path().join("out.raw");
    assert_same(&out, &parts);
    let stored = fs::metadata(&out).unwrap().blocks() * 512;
    assert!(stored < 8 << 20, "an image with holes again: {stored}");
    says(&shell.fails(4, "export golden out.raw"), "out.raw exists: add --overwrite");
    fs::write(&out, "something longer than nothing").unwrap();
    shell.ok("export golden out.raw --overwrite");
    assert_same(&out, &parts);
    says(&shell.fails(4, "import golden in.raw"), "volume golden exists already");
}

#[test]
fn pipes_bring_and_take_images() {
    let shell = Shell::new();
    let image: Vec<u8> = (0..5_000_000u32).map(|n| (n / 1000) as u8).collect();
    let (code, out, err) = pipe(&shell, "import p - --size 8M", &image);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let output = Command::new(env!("CARGO_BIN_EXE_krait"))
        .args(["export", "p", "-"])
        .current_dir(shell.path())
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 8 << 20);
    assert!(output.stdout[..image.len()] == image[..]);
    assert!(output.stdout[image.len()..].iter().all(|byte| *byte == 0));
    says(&shell.fails(2, "export p - --json"), "takes neither --json nor --resume");
}

#[test]
fn an_import_that_is_interrupted_says_how_to_go_on() {
    let shell = Shell::new();
    let mut import = Command::new(env!("CARGO_BIN_EXE_krait"));
    import.args(["import", "vm", "-", "--size", "8M"]).current_dir(shell.path()).env_clear();
    let mut import = import.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pipe = import.stdin.take().unwrap();
    while shell.run("volume info vm.importing").code != 0 {
        assert!(import.try_wait().unwrap().is_none(), "it waits for its pipe");
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&import),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let ended = import.wait_with_output().unwrap();
    drop(pipe);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.signal(), said.lines().count()), (Some(2), 1), "{said}");
    says(
        &said,
        "krait: interrupted. The first 0 bytes are in volume vm.importing: `krait import vm",
    );
    fs::write(shell.path().join("vm.raw"), vec![7; 8 << 20]).unwrap();
    shell.ok("import vm vm.raw --resume 0");
    shell.ok("export vm same.raw");
    assert_eq!(fs::read(shell.path().join("same.raw")).unwrap(), vec![7; 8 << 20]);
}

#[test]
fn what_is_not_complete_has_no_name_of_its_own_and_can_be_gone_on_with() {
    let shell = Shell::new();
    let image: Vec<u8> = (0..3_000_000u32).map(|n| (n / 1000) as u8 | 1).collect();
    let (code, _, err) = pipe(&shell, "import vm - --size 1M", &image);
    assert_eq!(code, 2, "{err}");
    says(
        &err,
        "the image is larger than the 1 MiB of the volume. The first 0 bytes are in volume ",
    );
    says(&err, "vm.importing: `krait import vm - --resume 0` goes on, if the pipe begins with");
    says(&shell.fails(3, "volume info vm"), "no volume is named vm");
    says(&shell.fails(3, "export vm x.raw"), "no volume is named vm");
    assert!(!shell.path().join("x.raw").exists());
    fs::write(shell.path().join("vm.raw"), &image[..1 << 20]).unwrap();
    says(&shell.fails(4, "import vm vm.raw"), "an import of vm was begun");
    says(&shell.fails(2, "import vm vm.raw --resume 100"), "no place to go on from");
    says(&shell.fails(2, "import vm vm.raw --resume 2097152"), "no place to go on from");
    shell.ok("import vm vm.raw --resume 0");
    assert_eq!(shell.json("volume list --json")["volumes"].as_array().unwrap().len(), 1);
    says(&shell.fails(3, "import vm vm.raw --resume 0"), "there is nothing to resume");
    shell.ok("export vm out.raw");
    assert!(fs::read(shell.path().join("out.raw")).unwrap() == image[..1 << 20]);

    // Of an export that goes on, what is there is kept, and nothing behind it.
    fs::write(shell.path().join("half.raw"), [&image[..8192], &[9; 9000]].concat()).unwrap();
    shell.ok("export vm half.raw --resume 8192");
    assert!(fs::read(shell.path().join("half.raw")).unwrap() == image[..1 << 20]);
}

#[test]
fn what_an_import_goes_on_with_has_no_bytes_of_the_first_try() {
    let shell = Shell::new();
    let full = vec![5; 2 << 20];
    fs::write(shell.path().join("full.raw"), &full).unwrap();
    // What came through the pipe is too long, by the time most of it was written.
    let (code, _, _) = pipe(&shell, "import vm - --size 2M", &[&full[..], b"x"].concat());
    assert_eq!(code, 2);
    let hollow = fs::File::create(shell.path().join("hollow.raw")).unwrap();
    hollow.set_len(2 << 20).unwrap();
    hollow.write_all_at(&[8; 4096], 1 << 20).unwrap();
    shell.ok("import vm hollow.raw --resume 0");
    shell.ok("export vm out.raw");
    let out = fs::read(shell.path().join("out.raw")).unwrap();
    assert!(out == fs::read(shell.path().join("hollow.raw")).unwrap());
}

#[test]
fn a_volume_is_replaced_when_all_of_the_new_one_is_there() {
    let shell = Shell::new();
    fs::write(shell.path().join("one.raw"), vec![1; 1 << 20]).unwrap();
    fs::write(shell.path().join("two.raw"), vec![2; 1_000_001]).unwrap();
    let first = shell.json("import vm one.raw --json");
    let second = shell.json("import vm two.raw --replace --json");
    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["size_bytes"], 1_000_448, "whole sectors");
    shell.ok("export vm out.raw");
    let out = fs::read(shell.path().join("out.raw")).unwrap();
    assert!(out[..1_000_001].iter().all(|byte| *byte == 2));
    assert!(out[1_000_001..].iter().all(|byte| *byte == 0));
    shell.ok("snapshot create vm s1");
    let refused = shell.fails(5, "import vm one.raw --replace");
    says(&refused, "vm has 1 snapshots");
    shell.ok("snapshot delete vm s1");
    shell.ok("import vm one.raw --resume 1048576 --replace");
    assert_eq!(shell.json("volume info vm --json")["size_bytes"], 1 << 20);
}

#[test]
fn snapshots_are_exported_as_they_were() {
    let shell = Shell::new();
    fs::write(shell.path().join("one.raw"), vec![1; 1 << 20]).unwrap();
    shell.ok("import vm one.raw");
    shell.ok("snapshot create vm s1");
    shell.ok("export vm@s1 out.raw");
    assert!(fs::read(shell.path().join("out.raw")).unwrap() == vec![1; 1 << 20]);
    shell.fails(3, "export vm@s2 other.raw");
}

#[test]
fn wrong_inputs_give_one_line() {
    let shell = Shell::new();
    says(&shell.fails(3, "import a missing.raw"), "open missing.raw: No such file");
    fs::create_dir(shell.path().join("dir")).unwrap();
    says(&shell.fails(1, "import a dir"), "read dir: ");
    says(&shell.fails(2, "import a -"), "add --size");
    fs::write(shell.path().join("a.raw"), vec![1; 9000]).unwrap();
    says(&shell.fails(2, "import a a.raw --size 4K"), "larger than the 4 KiB of the volume");
    says(&shell.fails(2, "import a a.raw --size 5000"), "whole sectors");
    let long = "x".repeat(55);
    says(&shell.fails(2, &format!("import {long} a.raw")), "at most 54 characters");
    says(&shell.fails(3, "export nothing out.raw"), "no volume is named nothing");
    assert!(!shell.path().join("out.raw").exists());
}
