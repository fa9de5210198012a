//! The TOML file.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::key::{DANGER_TABLE, Key, closest};
use super::limits::MAX_FILE_BYTES;
use super::size::ByteSize;
use super::source::{Raw, Source};

/// A file that has been read: only known keys, values not yet parsed.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    values: Vec<(Key, Raw)>,
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has a key that means nothing.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            let max = ByteSize(MAX_FILE_BYTES);
            return Err(ConfigError::TooLarge { path: path.to_owned(), max });
        }
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table = DeTable::parse(text).map_err(|source| ConfigError::Toml {
            path: path.to_owned(),
            line: line_at(text, source.span().unwrap_or_default()),
            source: Box::new(source),
        })?;
        let mut reader = Reader { path, text, values: Vec::new() };
        reader.table("", table.get_ref())?;
        Ok(Self { path: path.to_owned(), values: reader.values })
    }

    /// The value of a key, if the file has it.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Raw> {
        self.values.iter().find(|(known, _)| *known == key).map(|(_, raw)| raw)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Names of the tables that group keys.
fn tables() -> impl Iterator<Item = &'static str> {
    Key::ALL.iter().filter_map(|key| key.name().split_once('.')).map(|(table, _)| table)
}

/// Line, from 1, that a span starts in.
fn line_at(text: &str, span: Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// Collects the values of one file.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    values: Vec<(Key, Raw)>,
}

impl Reader<'_> {
    /// Takes every entry of a table; `prefix` is its name with a dot, or empty.
    fn table(&mut self, prefix: &str, table: &DeTable) -> Result<(), ConfigError> {
        for (name, value) in table {
            let line = line_at(self.text, name.span());
            let full = format!("{prefix}{}", name.get_ref());
            let known = Key::ALL.into_iter().find(|key| key.name() == full);
            let is_table = full == DANGER_TABLE || tables().any(|table| table == full);
            match (known, value.get_ref()) {
                (Some(key), _) => self.value(key, line, value)?,
                (None, DeValue::Table(inner)) if is_table => {
                    self.table(&format!("{full}."), inner)?;
                }
                (None, found) if is_table => {
                    return Err(self.wrong_type(full, line, found, "a table: [name]"));
                }
                (None, _) => return Err(self.unknown(full, line)),
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        key: Key,
        line: usize,
        value: &Spanned<DeValue>,
    ) -> Result<(), ConfigError> {
        let texts = match (value.get_ref(), key.is_list()) {
            (DeValue::String(text), _) => vec![text.to_string()],
            (DeValue::Integer(number), false) if number.radix() == 10 => {
                vec![number.as_str().to_owned()]
            }
            (DeValue::Boolean(on), false) if key.is_switch() => vec![on.to_string()],
            (DeValue::Array(items), true) => {
                let text = |item: &Spanned<DeValue>| item.get_ref().as_str().map(str::to_owned);
                items.iter().map(text).collect::<Option<_>>().ok_or_else(|| {
                    let expected = "a list of texts in quotes";
                    self.wrong_type(key.name().to_owned(), line, value.get_ref(), expected)
                })?
            }
            (found, is_list) => {
                let expected = match (is_list, key.is_switch()) {
                    (true, _) => "a list of texts in quotes",
                    (false, true) => "true or false",
                    (false, false) => "a text in quotes or a whole number",
                };
                return Err(self.wrong_type(key.name().to_owned(), line, found, expected));
            }
        };
        let source = Source::File { path: self.path.to_owned(), line };
        self.values.push((key, Raw { texts, source }));
        Ok(())
    }

    fn unknown(&self, key: String, line: usize) -> ConfigError {
        let known = Key::ALL.iter().map(|key| key.name()).chain(tables()).chain([DANGER_TABLE]);
        let suggestion = closest(&key, known);
        ConfigError::UnknownKey { path: self.path.to_owned(), line, key, suggestion }
    }

    fn wrong_type(
        &self,
        key: String,
        line: usize,
        found: &DeValue,
        expected: &'static str,
    ) -> ConfigError {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        ConfigError::WrongType { path: self.path.to_owned(), line, key, found, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, ConfigError> {
        ConfigFile::parse(Path::new("krait.toml"), text)
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn keys_of_tables_and_lists_are_found_with_their_lines() {
        let file = parse(
            "memory = \"2G\"\nlisten = [\"tcp:a\", \"unix:/b\"]\n[wal]\ncap = 4096\n[danger]\n",
        );
        let file = file.unwrap();
        let raw = file.get(Key::WalCap).unwrap();
        assert_eq!(raw.texts, ["4096"]);
        assert_eq!(raw.source, Source::File { path: "krait.toml".into(), line: 4 });
        assert_eq!(file.get(Key::Listen).unwrap().texts, ["tcp:a", "unix:/b"]);
        assert_eq!(file.get(Key::Cores), None);
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        assert_eq!(
            refusal("# x\n[wal]\ncapp = 1"),
            "krait.toml:3: unknown key `wal.capp`: did you mean `wal.cap`?"
        );
        assert!(refusal("[rpoo]\nseconds = 1").contains("did you mean `rpo`?"));
        assert!(refusal("zzz = 1").contains("remove it"));
        assert!(refusal("[danger]\nno_sync = true").contains("unknown key `danger.no_sync`"));
    }

    #[test]
    fn values_of_a_wrong_type_are_refused_with_the_right_one() {
        assert_eq!(
            refusal("cores = 1.5"),
            "krait.toml:1: `cores` is a number with a point: write a text in quotes or a whole number"
        );
        assert!(refusal("listen = [1]").contains("write a list of texts"));
        assert!(refusal("listen = 1").contains("write a list of texts"));
        assert!(refusal("wal = 1").contains("write a table"));
        assert!(refusal("memory = true").contains("`memory` is true or false"));
        assert!(refusal("s3.path_style = []").contains("write true or false"));
        let on = parse("danger.accept_self_signed = true").unwrap();
        assert_eq!(on.get(Key::AcceptSelfSigned).unwrap().texts, ["true"]);
    }

    #[test]
    fn broken_toml_is_refused_with_its_line() {
        let error = refusal("cores = 1\nmemory = \n");
        assert!(error.starts_with("krait.toml:2: ") && error.lines().count() == 1, "{error}");
    }
}
