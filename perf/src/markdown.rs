//! Puts a table between the markers of a Markdown file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

/// Line before the generated part.
pub const BEGIN: &str = "<!-- perf compare: begin -->";
/// Line after the generated part.
pub const END: &str = "<!-- perf compare: end -->";

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
    #[error("{path} has no line `{BEGIN}` with a line `{END}` after it")]
    Markers {
        /// The file.
        path: PathBuf,
    },
}

/// Replaces what stands between the markers of `path`; a missing file is created.
pub fn fill(path: &Path, text: &str) -> Result<(), MarkdownError> {
    let failed = |source| MarkdownError::Io { path: path.to_owned(), source };
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{BEGIN}\n{END}\n"),
        Err(error) => return Err(failed(error)),
    };
    let new =
        replace(&old, text).ok_or_else(|| MarkdownError::Markers { path: path.to_owned() })?;
    fs::write(path, new).map_err(failed)
}

fn replace(old: &str, text: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_between_the_markers_changes() {
        let old = format!("# A\n{BEGIN}\nold\n{END}\n## B\n");
        let new = replace(&old, "new\n").expect("markers");
        assert_eq!(new, format!("# A\n{BEGIN}\n\nnew\n\n{END}\n## B\n"));
        assert_eq!(replace(&new, "new"), Some(new.clone()));
    }

    #[test]
    fn files_without_markers_are_left_alone() {
        assert_eq!(replace("text", "new"), None);
        assert_eq!(replace(&format!("{END}\n{BEGIN}\n"), "new"), None);
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("a.md");
        fs::write(&path, "text").expect("write");
        assert!(matches!(fill(&path, "new"), Err(MarkdownError::Markers { .. })));
        assert_eq!(fs::read_to_string(&path).expect("read"), "text");
        fill(&dir.path().join("b.md"), "new").expect("created");
    }
}
