//! Keys to sign requests with: where they come from, and when they are renewed.

mod container;
mod instance;
mod metadata;
mod profile;
mod provider;
mod web_identity;

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::secret::Secret;

pub(crate) use profile::region as profile_region;
pub(crate) use provider::Provider;

/// A key and its secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) access: String,
    pub(crate) secret: Secret,
    pub(crate) token: Option<Secret>,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) origin: Origin,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key's name is no secret, but nothing that a log needs whole either.
        let access: String = self.access.chars().take(4).chain("...".chars()).collect();
        let mut keys = f.debug_struct("Keys");
        keys.field("access", &access).field("expires", &self.expires);
        keys.field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Where keys came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Environment,
    Profile,
    WebIdentity,
    Container,
    Instance,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "the environment",
            Self::Profile => "a profile",
            Self::WebIdentity => "the web identity",
            Self::Container => "the container's service",
            Self::Instance => "the instance's service",
        })
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the sources has any.
    #[error(
        "none are in the environment (AWS_ACCESS_KEY_ID), in a profile, of a web identity or of a \
         container; the instance's service: {source}"
    )]
    None {
        /// What the last of them said.
        #[source]
        source: Box<Self>,
    },
    /// A key without its secret.
    #[error("{origin} has {present} but not {missing}")]
    Half {
        /// Where.
        origin: &'static str,
        /// What is there.
        present: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The profile that was named is in no file.
    #[error("profile `{profile}` is not in {}", files(paths))]
    NoProfile {
        /// Its name.
        profile: String,
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// The profile gets its keys in a way that is not known here.
    #[error(
        "profile `{profile}` uses `{setting}`, which is not supported: put keys or a \
         web_identity_token_file there"
    )]
    Unsupported {
        /// Its name.
        profile: String,
        /// What it uses.
        setting: &'static str,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A service did not answer.
    #[error("{service}: {source}")]
    Unreachable {
        /// Which one.
        service: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A service refused.
    #[error("{service}: HTTP {status}")]
    Status {
        /// Which one.
        service: &'static str,
        /// Its answer.
        status: u16,
    },
    /// A service's answer is not what it should be.
    #[error("{service}: the answer has no {missing}")]
    Answer {
        /// Which one.
        service: &'static str,
        /// What is not there.
        missing: &'static str,
    },
    /// A variable is set, but to nothing that can be used.
    #[error("{variable}: {reason}")]
    Variable {
        /// Which one.
        variable: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Switched off.
    #[error("switched off by {variable}")]
    Off {
        /// How.
        variable: &'static str,
    },
}

fn files(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "any file, as there is no home".to_owned() } else { shown.join(" or ") }
}

/// Reads a small text file.
fn read_file(path: &std::path::Path) -> Result<String, CredentialsError> {
    use std::io::Read as _;
    let failed = |source| CredentialsError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let most = crate::limits::MAX_CREDENTIALS_BYTES;
    file.take(most + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > most {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

/// A moment as the services write it.
fn moment(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}
