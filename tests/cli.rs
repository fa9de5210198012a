//! The commands as people and scripts run them: the real binary, its output and its exit codes.

#[path = "cli/copies.rs"]
mod copies;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/log.rs"]
mod log;
#[path = "cli/served.rs"]
mod served;
#[path = "cli/sfs.rs"]
mod sfs;
#[path = "cli/transfer.rs"]
mod transfer;
#[path = "cli/unit.rs"]
mod unit;
#[path = "cli/volume.rs"]
mod volume;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs commands in a directory of their own, with nothing in the environment.
struct Shell {
    dir: tempfile::TempDir,
}

/// What a command did.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Shell {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_krait"));
        command.args(words).current_dir(self.path()).env_clear().envs(variables.iter().copied());
        let Output { status, stdout, stderr } = command.output().unwrap();
        Ran {
            code: status.code().expect("no signal ended it"),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    fn run(&self, line: &str) -> Ran {
        self.run_with(&[], &line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs what must succeed, and returns its output.
    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "krait {line}");
        ran.out
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }

    /// Runs what must fail with this exit code and one line, which is returned.
    #[track_caller]
    fn fails(&self, code: i32, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "krait {line}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "krait {line}: {}", ran.err);
        assert!(ran.err.starts_with("krait: "), "krait {line}: {}", ran.err);
        ran.err
    }
}

#[track_caller]
fn says(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in `{text}`");
}

/// Value and source of a setting, as `config explain` tells them.
#[track_caller]
fn setting(
    shell: &Shell,
    variables: &[(&str, &str)],
    words: &[&str],
    key: &str,
) -> (String, String) {
    let ran = shell.run_with(variables, &[&["config", "explain", "--json"], words].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let all: Value = serde_json::from_str(&ran.out).unwrap();
    let found = all["settings"].as_array().unwrap().iter().find(|line| line["key"] == key).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("value"), text("source"))
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let shell = Shell::new();
    let found = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let variable = [("KRAIT_MEMORY", "300M")];
    assert_eq!(setting(&shell, &[], &[], "memory").1, "default");
    fs::write(shell.path().join("krait.toml"), "memory = \"290M\"\n").unwrap();
    assert_eq!(setting(&shell, &[], &[], "memory"), found("290M", "file"));
    assert_eq!(setting(&shell, &variable, &[], "memory"), found("300M", "environment"));
    let flag = ["--memory", "310M"];
    assert_eq!(setting(&shell, &variable, &flag, "memory"), found("310M", "flag"));
}

#[test]
fn the_file_is_found_by_flag_and_by_variable() {
    let shell = Shell::new();
    let file = shell.path().join("other.toml");
    fs::write(&file, "cores = 3\n").unwrap();
    let name = file.to_str().unwrap();
    let found = ("3".to_owned(), "file".to_owned());
    assert_eq!(setting(&shell, &[], &["--config", name], "cores"), found);
    assert_eq!(setting(&shell, &[("KRAIT_CONFIG", name)], &[], "cores"), found);
    says(&shell.fails(3, "config explain --config missing.toml"), "missing.toml");
}

#[test]
fn unknown_keys_of_the_file_are_refused_with_a_suggestion() {
    let shell = Shell::new();
    fs::write(shell.path().join("krait.toml"), "\n[wal]\nsegmnt = \"1M\"\n").unwrap();
    let line = shell.fails(2, "config explain");
    says(&line, "krait.toml:3: unknown key `wal.segmnt`: did you mean `wal.segment`?");
}

#[test]
fn unknown_variables_are_warned_of() {
    let shell = Shell::new();
    let ran = shell.run_with(&[("KRAIT_MEMROY", "1G")], &["config", "explain"]);
    assert_eq!(ran.code, 0);
    says(&ran.err, "KRAIT_MEMROY is not a setting: did you mean KRAIT_MEMORY?");
}

#[test]
fn bad_settings_are_refused_with_what_to_do() {
    let shell = Shell::new();
    says(&shell.fails(2, "config explain --memory 1M"), "choose from 256 MiB");
    says(&shell.fails(2, "config explain --memory 1GB"), "write 1G");
    says(&shell.fails(2, "config explain --cores 0"), "choose from 1");
    says(&shell.fails(2, "config explain --store s3://Bucket"), "write s3://BUCKET");
    says(&shell.fails(2, "config explain --store device:/dev/sda"), "not available");
    says(&shell.fails(2, "config explain --listen udp:1"), "tcp:127.0.0.1:10809");
    says(&shell.fails(2, "config explain --memroy 1G"), "'--memory'");
    says(&shell.fails(2, "confg explain"), "'config'");
}

#[test]
fn explain_shows_every_setting_with_its_origin_to_people() {
    let shell = Shell::new();
    let text = shell.ok("config explain --wal-cap 1G");
    for part in ["data_dir", "rpo.seconds", "flag --wal-cap", "256M to", "KRAIT_WAL_CAP"] {
        says(&text, part);
    }
}

#[test]
fn help_lists_the_exit_codes_and_completion_scripts_are_made() {
    let shell = Shell::new();
    says(&shell.ok("--help"), "Exit codes:");
    says(&shell.ok("completion bash"), "_krait");
    assert!(shell.ok("--version").starts_with("krait "));
    assert_eq!(shell.run("").code, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let shell = Shell::new();
    let binary = env!("CARGO_BIN_EXE_krait");
    let script = format!("{{ {binary} completion bash; echo $? >&2; }} | head -c 1");
    let mut command = Command::new("/bin/sh");
    let output = command.args(["-c", &script]).current_dir(shell.path()).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "0\n");
}

/// Writes a file of the test's directory and returns its path.
fn written(shell: &Shell, name: &str, bytes: &[u8]) -> PathBuf {
    let path = shell.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// All files below a directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}
