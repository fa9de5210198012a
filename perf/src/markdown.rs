//! Puts a table between the markers of a Markdown file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

/// A generated part of a file: between a line that opens it and one that closes it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    begin: &'static str,
    end: &'static str,
}

/// The tables of `perf compare`.
pub const COMPARISON: Part =
    Part { begin: "<!-- perf compare: begin -->", end: "<!-- perf compare: end -->" };

/// The table of `perf torture`.
pub const TORTURE: Part =
    Part { begin: "<!-- perf torture: begin -->", end: "<!-- perf torture: end -->" };

/// Why a file was left as it is.
#[derive(Debug, Error)]
pub enum MarkdownError {
    /// It cannot be read or written.
    #[error("cannot rewrite {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The markers are not there, or in the wrong order.
    #[error("{path} has no line `{}` with a line `{}` after it", part.begin, part.end)]
    Markers {
        /// The file.
        path: PathBuf,
        /// The markers.
        part: Part,
    },
}

impl Part {
    /// Replaces what stands between the markers of `path`; a missing file is created.
    pub fn fill(self, path: &Path, text: &str) -> Result<(), MarkdownError> {
        let Self { begin, end } = self;
        let failed = |source| MarkdownError::Io { path: path.to_owned(), source };
        let old = match fs::read_to_string(path) {
            Ok(old) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{begin}\n{end}\n"),
            Err(error) => return Err(failed(error)),
        };
        let new = self
            .replace(&old, text)
            .ok_or_else(|| MarkdownError::Markers { path: path.to_owned(), part: self })?;
        fs::write(path, new).map_err(failed)
    }

    fn replace(self, old: &str, text: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = old.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = COMPARISON;
    const BEGIN: &str = PART.begin;
    const END: &str = PART.end;

    #[test]
    fn only_the_part_between_the_markers_changes() {
        let old = format!("# A\n{BEGIN}\nold\n{END}\n## B\n");
        let new = PART.replace(&old, "new\n").expect("markers");
        assert_eq!(new, format!("# A\n{BEGIN}\n\nnew\n\n{END}\n## B\n"));
        assert_eq!(PART.replace(&new, "new"), Some(new.clone()));
    }

    #[test]
    fn files_without_markers_are_left_alone() {
        assert_eq!(PART.replace("text", "new"), None);
        assert_eq!(PART.replace(&format!("{END}\n{BEGIN}\n"), "new"), None);
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("a.md");
        fs::write(&path, "text").expect("write");
        assert!(matches!(PART.fill(&path, "new"), Err(MarkdownError::Markers { .. })));
        assert_eq!(fs::read_to_string(&path).expect("read"), "text");
        PART.fill(&dir.path().join("b.md"), "new").expect("created");
    }
}
