//! Tables that read well in a terminal and as Markdown.

use std::fmt;

/// Rows of words under a head; the first columns are text, the others numbers.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    text_columns: usize,
}

impl Table {
    /// An empty table; `text_columns` columns are aligned left, the rest right.
    #[must_use]
    pub fn new(head: &[&str], text_columns: usize) -> Self {
        Self { rows: vec![head.iter().map(|&word| word.to_owned()).collect()], text_columns }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// If it has more or fewer words than the head.
    pub fn row(&mut self, words: Vec<String>) {
        assert_eq!(words.len(), self.rows[0].len(), "a row is as long as the head");
        self.rows.push(words);
    }

    /// All rows, the head first.
    pub fn rows(&self) -> impl Iterator<Item = &[String]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// Whether a column holds words, not numbers.
    #[must_use]
    pub const fn is_text(&self, column: usize) -> bool {
        column < self.text_columns
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0).max(2)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (word, width)) in row.iter().zip(&widths).enumerate() {
                if column < self.text_columns {
                    write!(f, "| {word:<width$} ")?;
                } else {
                    write!(f, "| {word:>width$} ")?;
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    let edge = if column < self.text_columns { '-' } else { ':' };
                    write!(f, "|{dashes}{edge}")?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A figure with three digits that count, never in scientific notation.
#[must_use]
pub fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1}k", value / 1000.0)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_marked() {
        let mut table = Table::new(&["name", "n"], 1);
        table.row(vec!["a".to_owned(), "12345".to_owned()]);
        let expected = "| name |     n |\n|------|------:|\n| a    | 12345 |\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let printed = [0.5, 9.876, 54.32, 123.4, 9876.5, 123_456.0].map(number);
        assert_eq!(printed, ["0.50", "9.88", "54.3", "123", "9876", "123.5k"]);
    }
}
