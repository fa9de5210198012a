//! The variables that tools for AWS read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::secret::Secret;

/// The `AWS_*` variables, and where the home directory is. Values are not printed.
#[derive(Clone, Default, Debug)]
pub struct Environment {
    variables: BTreeMap<String, Secret>,
    home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let known = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("AWS_"))?;
            Some((name, Secret::new(value.into_string().ok()?)))
        };
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Self { variables: std::env::vars_os().filter_map(known).collect(), home }
    }

    /// One without a home, of these variables.
    #[must_use]
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), Secret::new(value));
        Self { variables: variables.into_iter().map(own).collect(), home: None }
    }

    /// With another home directory.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// The value of a variable; an empty one counts as missing.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(Secret::expose).filter(|value| !value.is_empty())
    }

    /// A file that a variable names, or else one below the home directory.
    pub(crate) fn file(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        match self.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => self.home.as_ref().map(|home| home.join(below_home)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_printed_and_empty_ones_count_as_missing() {
        let environment = Environment::of([("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_X", "")]);
        assert!(!format!("{environment:?}").contains("hunter2"));
        assert_eq!(environment.get("AWS_SECRET_ACCESS_KEY"), Some("hunter2"));
        assert_eq!(environment.get("AWS_X"), None);
    }

    #[test]
    fn files_are_named_by_a_variable_or_lie_below_the_home() {
        let environment = Environment::of([("AWS_CONFIG_FILE", "/c")]).with_home("/h");
        assert_eq!(environment.file("AWS_CONFIG_FILE", ".aws/config"), Some("/c".into()));
        assert_eq!(environment.file("AWS_OTHER", ".aws/other"), Some("/h/.aws/other".into()));
        assert_eq!(Environment::default().file("AWS_OTHER", "x"), None);
    }
}
