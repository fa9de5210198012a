//! Text and JSON on standard output, complaints on standard error.

use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::error::Error;

/// One line on standard error. Line ends within it become spaces, so that it stays one.
pub(super) fn complain(message: &str) {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // There is nobody left to tell if this fails.
    drop(writeln!(io::stderr(), "krait: {line}"));
}

/// Prints text. A reader that has gone away has seen enough: that is no failure.
///
/// # Errors
/// If standard output cannot take it.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::file("write to", Path::new("standard output"), error))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON with a line end.
///
/// # Errors
/// As [`print`].
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value).expect("output is plain data");
    text.push('\n');
    print(&text)
}

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    /// At its left edge.
    Left,
    /// At its right edge, as numbers do.
    Right,
}

/// Rows below a header, every column as wide as its widest text.
#[derive(Debug)]
pub(super) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with only its header.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let header = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { aligns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![header] }
    }

    /// Adds a row with one text for each column.
    pub(super) fn row(&mut self, texts: Vec<String>) {
        assert_eq!(texts.len(), self.aligns.len(), "a text for each column");
        self.rows.push(texts);
    }

    /// The table as text, without spaces at line ends.
    pub(super) fn text(&self) -> String {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.aligns.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&self.aligns).zip(&widths);
            let cells = cells.map(|((cell, align), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table =
            Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("X", Align::Left)]);
        table.row(vec!["a".into(), "20 GiB".into(), "y".into()]);
        table.row(vec!["größe".into(), "1 B".into(), String::new()]);
        assert_eq!(table.text(), "NAME     SIZE  X\na      20 GiB  y\ngröße     1 B\n");
    }
}
