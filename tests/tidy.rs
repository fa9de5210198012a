//! The rules of this code base that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest file, without its inline tests.
const FILE_LINES: usize = 400;

/// Longest inline test module; a longer one moves to a sibling file.
const INLINE_TEST_LINES: usize = 150;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "common", "misc", "helpers"];

/// What may stand at the top of the repository, besides dot-files.
const TOP: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "chunk",
    "nbd",
    "perf",
    "s3",
    "src",
    "tests",
    "wal",
];

/// Spellings that a source file must not have; built at run time so that this file has none.
fn banned() -> Vec<(String, &'static str)> {
    vec![
        (["#[al", "low("].concat(), "use #[expect(.., reason = \"..\")]"),
        (["#![al", "low("].concat(), "use #![expect(.., reason = \"..\")]"),
        (["/ro", "ot/"].concat(), "a path of one machine"),
        (["/wo", "rk/"].concat(), "a path of one machine"),
        (["TO", "DO"].concat(), "unfinished work belongs into the tracker"),
        (["FIX", "ME"].concat(), "unfinished work belongs into the tracker"),
    ]
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files under version control, and those that are about to be.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files failed");
    let text = String::from_utf8(listed.stdout).expect("file names are text");
    let files: Vec<_> =
        text.lines().map(PathBuf::from).filter(|f| root().join(f).exists()).collect();
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let is_rust = |file: &PathBuf| file.extension().is_some_and(|ext| ext == "rs");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(root().join(&file)).expect("source files are text");
        (file, text)
    };
    files().into_iter().filter(is_rust).map(read).collect()
}

/// Lines before the inline test module, and lines of it.
fn split_lines(text: &str) -> (usize, usize) {
    let lines: Vec<_> = text.lines().collect();
    let opens = |n: &usize| {
        lines[*n] == "#[cfg(test)]"
            && lines.get(n + 1).is_some_and(|next| next.ends_with("tests {"))
    };
    let code = (0..lines.len()).find(opens).unwrap_or(lines.len());
    (code, lines.len() - code)
}

fn is_test_file(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

#[test]
fn files_are_small() {
    let mut long = Vec::new();
    for (file, text) in rust_files() {
        let (code, tests) = split_lines(&text);
        if code > FILE_LINES && !is_test_file(&file) {
            long.push(format!("{}: {code} lines of code, {FILE_LINES} at most", file.display()));
        }
        if tests > INLINE_TEST_LINES {
            long.push(format!("{}: {tests} lines of inline tests", file.display()));
        }
    }
    assert!(long.is_empty(), "split these files:\n{}", long.join("\n"));
}

#[test]
fn modules_are_named_after_what_they_hold() {
    let empty = |file: &PathBuf| {
        file.components().any(|part| {
            let name = Path::new(part.as_os_str()).file_stem().unwrap_or_default();
            EMPTY_NAMES.iter().any(|empty| name == *empty)
        })
    };
    let found: Vec<_> = files().into_iter().filter(empty).collect();
    assert!(found.is_empty(), "these names say nothing: {found:?}");
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent: Vec<_> = rust_files()
        .into_iter()
        // The sibling test file of a module says what the module says.
        .filter(|(file, text)| !text.starts_with("//!") && !file.ends_with("tests.rs"))
        .map(|(file, _)| file)
        .collect();
    assert!(silent.is_empty(), "these files start without a //! line: {silent:?}");
}

#[test]
fn nothing_banned_is_spelled() {
    let mut found = Vec::new();
    for (file, text) in rust_files() {
        for (spelling, why) in banned() {
            for (line, _) in text.lines().enumerate().filter(|(_, line)| line.contains(&spelling)) {
                found.push(format!("{}:{}: {spelling}: {why}", file.display(), line + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_top_level_is_fixed() {
    let mut strangers: Vec<_> = files()
        .iter()
        .filter_map(|file| file.components().next().map(|c| c.as_os_str().to_owned()))
        .filter(|name| !name.to_string_lossy().starts_with('.') && !TOP.iter().any(|t| name == t))
        .collect();
    strangers.dedup();
    assert!(strangers.is_empty(), "these do not belong at the top: {strangers:?}");
}

#[test]
fn dependencies_are_pinned() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let table = manifest.split("[workspace.dependencies]").nth(1).expect("it has dependencies");
    let table = table.split("\n[").next().unwrap_or_default();
    let loose: Vec<_> = table
        .lines()
        .filter(|line| line.contains('=') && !line.contains("path =") && !line.contains("\"="))
        .collect();
    assert!(loose.is_empty(), "these versions are not exact: {loose:?}");
}

/// A test that a table names is there, under that name.
#[test]
fn every_bug_of_others_has_its_test() {
    let text = fs::read_to_string(root().join("tests/RELIABILITY.md")).expect("the table");
    let (_, table) = text.split_once("## Bugs that others had").expect("its heading");
    let planted = fs::read_to_string(root().join("wal/src/planted.rs")).expect("planted bugs");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 20, "only {} bugs", rows.len());
    let mut missing = Vec::new();
    for row in rows {
        let columns: Vec<_> = row.split(" |").collect();
        let named = |column: &str| -> Vec<String> {
            column.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let (tests, bugs) = (named(columns[1]), named(columns.get(2).copied().unwrap_or("")));
        if tests.is_empty() && !columns[1].contains("none: ") {
            missing.push(row.to_owned());
        }
        for test in tests {
            let (file, name) = test.split_once("::").expect("a file and a function");
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            if !source.contains(&format!("fn {name}(")) {
                missing.push(test);
            }
        }
        missing.extend(bugs.into_iter().filter(|bug| !planted.contains(&format!("\"{bug}\""))));
    }
    assert!(missing.is_empty(), "these are not there: {missing:#?}");
}
