//! The service file that the README gives.

use super::*;

/// The first block of the README in this language.
fn block(language: &str) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("the README has one");
    rest.split_once("```").expect("it ends").0.to_owned()
}

#[test]
fn the_service_of_the_readme_is_a_sound_unit_that_starts_a_known_command() {
    let shell = Shell::new();
    let unit = block("ini");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<_> =
        start.split(' ').skip(1).map(|w| w.replace("serve", "config explain")).collect();
    says(&shell.ok(&words.join(" ")), "unix:/run/krait/nbd.sock");

    let path = shell.path().join("krait.service");
    fs::write(&path, unit.replace("/usr/local/bin/krait", env!("CARGO_BIN_EXE_krait"))).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        eprintln!("skipped: systemd-analyze is missing");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // It also tells of other units of the machine.
    let own: Vec<_> = said.lines().filter(|line| line.contains("krait.service")).collect();
    assert!(verified.status.success() && own.is_empty(), "{said}");
}
