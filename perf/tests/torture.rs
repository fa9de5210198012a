//! `perf torture` over a workspace of its own, whose one test is a script: what is recorded, what a
//! run after an interruption does, and what is refused.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use perf::clock;
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A git repository with a cargo that builds one test, `kill`. The test notes its count in `begun`
/// and waits for the file `go`.
struct Workspace(TempDir);

const CARGO: &str = r#"#!/bin/sh
echo '{"target":{"name":"kill","kind":["test"]},"executable":"'"$PWD"'/target/kill"}'
"#;

const KILL: &str = r#"#!/bin/sh
echo "$KRAIT_KILLS" >> target/begun
while [ ! -e target/go ]; do sleep 0.02; done
echo "tried $KRAIT_KILLS kills: lost 0; $KRAIT_KILLS stops"
"#;

impl Workspace {
    fn new() -> Self {
        let workspace = Self(tempfile::tempdir().expect("tempdir"));
        for dir in ["perf", "src", "target"] {
            fs::create_dir(workspace.path(dir)).expect("a directory");
        }
        for (name, text) in [("target/cargo", CARGO), ("target/kill", KILL)] {
            fs::write(workspace.path(name), text).expect("a file");
            let permissions = fs::Permissions::from_mode(0o755);
            fs::set_permissions(workspace.path(name), permissions).expect("a script");
        }
        fs::write(workspace.path("target/few.toml"), "kills = 250\n").expect("a file");
        workspace.git(&["init", "-q"]);
        workspace.commit("one");
        workspace
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn git(&self, words: &[&str]) {
        let user = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let mut command = Command::new("git");
        let status = command.args(user).args(words).current_dir(self.0.path()).status();
        assert!(status.expect("git").success(), "{words:?}");
    }

    fn commit(&self, text: &str) {
        fs::write(self.path("src/a.rs"), text).expect("a file");
        self.git(&["add", "src"]);
        self.git(&["commit", "-qm", text]);
    }

    fn start(&self, words: &[&str]) -> Running<'_> {
        let [out, err] = ["target/out", "target/err"].map(|name| self.path(name));
        let file = |path: &Path| Stdio::from(File::create(path).expect("a file"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_perf"));
        command.args(["torture", "--lanes=1", "--profile"]).arg(self.path("target/few.toml"));
        command.args(words).env("CARGO", self.path("target/cargo"));
        command.env("CARGO_MANIFEST_DIR", self.path("perf")).stdin(Stdio::null());
        // As a shell does it: Ctrl-C is for the whole group.
        command.stdout(file(&out)).stderr(file(&err)).process_group(0);
        Running { workspace: self, child: command.spawn().expect("perf") }
    }

    /// The counts of the slices that began.
    fn begun(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.path("target/begun")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a count")).collect()
    }

    /// Whether it was told that it will end.
    fn told(&self) -> bool {
        fs::read_to_string(self.path("target/err")).expect("a file").contains("ends after")
    }

    /// Lets the tests end.
    fn go(&self) {
        fs::write(self.path("target/go"), "").expect("a file");
    }

    fn stop(&self) {
        fs::remove_file(self.path("target/go")).expect("it went");
    }
}

struct Running<'w> {
    workspace: &'w Workspace,
    child: Child,
}

impl Running<'_> {
    fn wait_until(&mut self, what: &str, done: impl Fn(&Workspace) -> bool) {
        let begun = clock::now();
        while !done(self.workspace) {
            assert!(clock::now() - begun < PATIENCE, "{what} in time; {}", self.said("err"));
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{what} before the end: {}", self.said("err"));
            clock::pause(Duration::from_millis(10));
        }
    }

    fn said(&self, what: &str) -> String {
        fs::read_to_string(self.workspace.path(&format!("target/{what}"))).expect("a file")
    }

    fn interrupt(&self) {
        let line = format!("kill -s INT -- -{}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().expect("sh").success());
    }

    /// Whether it ends well, what it prints, and what it says.
    fn end(mut self) -> (bool, String, String) {
        let begun = clock::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(clock::now() - begun < PATIENCE, "it ends; {}", self.said("err"));
            clock::pause(Duration::from_millis(10));
        };
        (status.success(), self.said("out"), self.said("err"))
    }
}

#[test]
fn an_interrupted_run_ends_between_slices_and_goes_on_with_what_is_missing() {
    let workspace = Workspace::new();
    let mut run = workspace.start(&[]);
    run.wait_until("a slice begins", |workspace| workspace.begun() == [100]);
    run.interrupt();
    run.wait_until("it says so", Workspace::told);
    workspace.go();
    let (well, out, err) = run.end();
    assert!(!well && err.contains("--resume"), "{err}");
    assert!(out.contains("unfinished") && out.contains(" 100 |"), "the slice counts: {out}");
    assert_eq!(workspace.begun(), [100], "none begins after it");
    let (well, out, err) = workspace.start(&["--resume"]).end();
    assert!(well && out.contains(" 250 |"), "{out}{err}");
    assert!(out.contains("in each of 3: lost 0; 50 to 100 stops"), "{out}");
    assert_eq!(workspace.begun(), [100, 100, 50], "only what was missing");
    let (well, again, _) = workspace.start(&["--resume"]).end();
    assert!(well && again == out, "the table, and nothing else is done: {again}");
    assert_eq!(workspace.begun().len(), 3);
    let (well, _, err) = workspace.start(&["kills=10"]).end();
    assert!(well && err.contains("begins anew: 3 slices"), "{err}");
    assert_eq!(workspace.begun(), [100, 100, 50, 10]);
}

#[test]
fn what_is_interrupted_twice_is_dropped() {
    let workspace = Workspace::new();
    let mut run = workspace.start(&[]);
    run.wait_until("a slice begins", |workspace| workspace.begun() == [100]);
    run.interrupt();
    run.wait_until("it says so", Workspace::told);
    run.interrupt();
    let (well, out, err) = run.end();
    assert!(!well && err.contains("unfinished") && out.contains(" 0 |"), "{out}{err}");
    workspace.go();
    let (well, out, _) = workspace.start(&["--resume"]).end();
    assert!(well && out.contains(" 250 |"), "{out}");
    assert_eq!(workspace.begun(), [100, 100, 100, 50], "the first one again");
}

#[test]
fn results_of_other_sources_are_mixed_only_if_told_to() {
    let workspace = Workspace::new();
    workspace.go();
    assert!(workspace.start(&["kills=100"]).end().0);
    workspace.commit("two");
    let (well, _, err) = workspace.start(&["--resume"]).end();
    assert!(!well && err.contains("--accept-other-versions"), "{err}");
    assert_eq!(workspace.begun(), [100], "nothing was done");
    let (well, out, _) = workspace.start(&["--resume", "--accept-other-versions"]).end();
    assert!(well && out.contains("| commit") && out.contains(" 250 |"), "{out}");
    let head = out.lines().next().expect("a head");
    assert!(head.contains("commits "), "{head}");
}

#[test]
fn sources_that_change_under_a_run_end_it() {
    let workspace = Workspace::new();
    let mut run = workspace.start(&[]);
    run.wait_until("a slice begins", |workspace| workspace.begun() == [100]);
    fs::write(workspace.path("src/a.rs"), "changed").expect("a file");
    workspace.go();
    let (well, _, err) = run.end();
    assert!(!well && err.contains("the sources changed from"), "{err}");
    assert_eq!(workspace.begun(), [100]);
    workspace.stop();
    fs::write(workspace.path("src/a.rs"), "one").expect("a file");
    workspace.go();
    assert!(workspace.start(&["--resume"]).end().0);
    assert_eq!(workspace.begun(), [100, 100, 100, 50], "the first one did not count");
}
