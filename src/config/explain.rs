//! Where each setting came from, for people and for programs.

use serde::Serialize;

use super::key::Key;
use super::source::Source;

/// One setting as `krait config explain` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explained {
    /// Name in the file.
    pub key: &'static str,
    /// The value, as it could be written in the file. Lists are joined by commas.
    pub value: String,
    /// `flag`, `environment`, `file` or `default`.
    pub source: &'static str,
    /// The flag, the variable, the file and line, or the reason of the default.
    pub origin: String,
    /// Least allowed value, where there is one.
    pub floor: Option<String>,
    /// Greatest allowed value, where there is one.
    pub ceiling: Option<String>,
    /// Name in the environment.
    pub variable: &'static str,
    /// Flag on the command line.
    pub flag: &'static str,
}

impl Explained {
    /// A setting without bounds.
    #[must_use]
    pub fn new(key: Key, value: String, source: &Source) -> Self {
        Self {
            key: key.name(),
            value,
            source: source.word(),
            origin: source.to_string(),
            floor: None,
            ceiling: None,
            variable: key.variable(),
            flag: key.flag(),
        }
    }

    /// Adds the least and the greatest allowed value.
    #[must_use]
    pub fn within(mut self, floor: &dyn ToString, ceiling: &dyn ToString) -> Self {
        self.floor = Some(floor.to_string());
        self.ceiling = Some(ceiling.to_string());
        self
    }
}
