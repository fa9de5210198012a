//! Where values come from, before they are parsed.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::file::ConfigFile;
use super::key::{CONFIG_VARIABLE, Key, closest};

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// On the command line, under this flag.
    Flag(&'static str),
    /// In the environment, under this name.
    Environment(&'static str),
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// Nowhere: it is the default, for this reason.
    Default(&'static str),
}

impl Source {
    /// One word for the JSON output.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::File { .. } => "file",
            Self::Default(_) => "default",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default(reason) => write!(f, "default: {reason}"),
        }
    }
}

/// A value as it was written: one text, or for a list any number of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    /// The texts.
    pub texts: Vec<String>,
    /// Where they stand.
    pub source: Source,
}

/// Values given on the command line.
#[derive(Clone, Default, Debug)]
pub struct Flags {
    /// The file named by `--config`.
    pub config: Option<PathBuf>,
    /// The other flags.
    pub values: Vec<(Key, Vec<String>)>,
}

/// Looks up an environment variable; `Err` means that it is not UTF-8.
pub type Environment<'a> = &'a dyn Fn(&str) -> Result<Option<String>, ()>;

/// Everything that was written anywhere, in order of precedence.
pub struct Sources<'a> {
    flags: &'a Flags,
    environment: Environment<'a>,
    file: Option<ConfigFile>,
}

impl<'a> Sources<'a> {
    /// Reads the configuration file: the one that `--config` or `KRAIT_CONFIG` names, which must
    /// exist, else the first of `candidates` that does, if any.
    ///
    /// # Errors
    /// If that file cannot be read or understood.
    pub fn gather(
        flags: &'a Flags,
        environment: Environment<'a>,
        candidates: &[PathBuf],
    ) -> Result<Self, ConfigError> {
        let named = match &flags.config {
            Some(path) => Some(path.clone()),
            None => variable(environment, CONFIG_VARIABLE)?.map(PathBuf::from),
        };
        let path = named.or_else(|| candidates.iter().find(|path| path.exists()).cloned());
        let file = path.as_deref().map(ConfigFile::read).transpose()?;
        Ok(Self { flags, environment, file })
    }

    /// The value that counts, if one was written anywhere.
    ///
    /// # Errors
    /// If it is an environment variable that is not UTF-8.
    pub fn find(&self, key: Key) -> Result<Option<Raw>, ConfigError> {
        if let Some((_, texts)) = self.flags.values.iter().find(|(flag, _)| *flag == key) {
            return Ok(Some(Raw { texts: texts.clone(), source: Source::Flag(key.flag()) }));
        }
        if let Some(text) = variable(self.environment, key.variable())? {
            let texts = match key.is_list() {
                true => text.split(',').map(str::to_owned).collect(),
                false => vec![text],
            };
            return Ok(Some(Raw { texts, source: Source::Environment(key.variable()) }));
        }
        Ok(self.file.as_ref().and_then(|file| file.get(key)).cloned())
    }

    /// The configuration file that was read.
    #[must_use]
    pub fn file_path(&self) -> Option<&Path> {
        self.file.as_ref().map(ConfigFile::path)
    }
}

fn variable(environment: Environment, name: &'static str) -> Result<Option<String>, ConfigError> {
    environment(name).map_err(|()| ConfigError::Encoding { variable: name })
}

/// A variable of the environment that looks like a setting and is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StrayVariable {
    /// Its name.
    pub name: String,
    /// The setting most like it.
    pub suggestion: Option<&'static str>,
}

/// The `KRAIT_*` names that are no setting, most likely typing mistakes.
pub fn stray_variables(names: impl IntoIterator<Item = String>) -> Vec<StrayVariable> {
    let known = || Key::ALL.iter().map(|key| key.variable()).chain([CONFIG_VARIABLE]);
    let is_stray = |name: &String| name.starts_with("KRAIT_") && known().all(|known| known != name);
    let describe = |name: String| StrayVariable { suggestion: closest(&name, known()), name };
    names.into_iter().filter(is_stray).map(describe).collect()
}
