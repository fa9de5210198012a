//! Which sources a result is of.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// What goes into the tests; this harness and the documents do not.
const SOURCES: [&str; 9] =
    ["Cargo.toml", "Cargo.lock", "src", "nbd", "wal", "chunk", "s3", "tests", ":(exclude)*.md"];

/// A state of the sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What is checked out, for people; `-dirty` if files were changed since.
    pub commit: String,
    /// A hash of the names and contents of the sources, committed or not; empty if unknown.
    pub sources: String,
}

impl Version {
    /// What is in `root` now; unknown without git.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let commit = git(root, &["describe", "--always", "--dirty"], "");
        let commit = commit.map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned());
        Self { commit, sources: sources(root).unwrap_or_default() }
    }

    /// Whether two results are of the same sources for certain.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        !self.sources.is_empty() && self.sources == other.sources
    }
}

fn sources(root: &Path) -> Option<String> {
    let mut words = vec!["ls-files", "--cached", "--others", "--exclude-standard", "--"];
    words.extend(SOURCES);
    let listed = git(root, &words, "")?;
    let mut names: Vec<_> = listed.lines().filter(|name| root.join(name).is_file()).collect();
    names.sort_unstable();
    names.dedup();
    let hashes = git(root, &["hash-object", "--stdin-paths"], &names.join("\n"))?;
    let pairs = names.iter().zip(hashes.lines()).map(|(name, hash)| format!("{hash} {name}\n"));
    let all: String = pairs.collect();
    Some(git(root, &["hash-object", "--stdin"], &all)?.trim().to_owned())
}

/// What a command of git prints; `None` if it fails.
fn git(root: &Path, words: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("git");
    command.args(["-c", "core.quotePath=false"]).args(words).current_dir(root);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take()?;
    let input = input.to_owned();
    // Beside the reader: a pipe takes less than all names.
    let writer = std::thread::Builder::new().spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().ok()?;
    let _ = writer.ok()?.join();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sources_count_and_documents_and_commits_do_not() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path();
        let run = |words: &[&str]| git(root, words, "").expect("git");
        run(&["init", "-q"]);
        run(&["config", "user.email", "a@example.com"]);
        run(&["config", "user.name", "a"]);
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write("src/a.rs", "1");
        write("tests/b.rs", "2");
        let first = Version::of(root);
        assert_eq!(first.sources.len(), 40, "{first:?}");
        run(&["add", "-A"]);
        run(&["commit", "-qm", "one"]);
        write("src/a.md", "a document");
        write("perf/src/c.rs", "the harness");
        run(&["add", "-A"]);
        run(&["commit", "-qm", "two"]);
        let second = Version::of(root);
        assert!(second.is_same(&first) && second.commit != first.commit, "{second:?}");
        write("src/a.rs", "3");
        let changed = Version::of(root);
        assert!(!changed.is_same(&second) && changed.commit.ends_with("-dirty"), "{changed:?}");
        write("src/a.rs", "1");
        write("src/new.rs", "");
        assert!(!Version::of(root).is_same(&second), "a new file");
        fs::remove_file(root.join("src/new.rs")).expect("a file");
        fs::rename(root.join("src/a.rs"), root.join("src/d.rs")).expect("a file");
        assert!(!Version::of(root).is_same(&second), "another name");
    }

    #[test]
    fn what_is_unknown_is_never_the_same() {
        let dir = tempfile::tempdir().expect("tempdir");
        let unknown = Version::of(dir.path());
        assert_eq!(unknown.commit, "unknown");
        assert!(!unknown.is_same(&unknown));
    }
}
