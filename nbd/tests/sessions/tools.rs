//! Programs of the system. A missing one skips the test, except in CI.

use std::path::Path;
use std::process::Command;

/// Runs a tool to its success and gives what it printed; nothing if the tool is missing.
pub fn run(dir: &Path, tool: &str, arguments: &[&str]) -> Option<String> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(tool).exists()));
    if !found {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!in_ci, "{tool} is missing");
        eprintln!("skipped: {tool} is missing");
        return None;
    }
    // The system's programs first: nbdsh needs the python that its bindings were installed for.
    let path = format!("/usr/bin:/bin:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("timeout");
    command.env("PATH", path).current_dir(dir).arg("60").arg(tool).args(arguments);
    let output = command.output().expect("timeout runs");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{stdout}{stderr}", output.status);
    Some(stdout)
}
