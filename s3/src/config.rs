//! Which bucket, where it is, and how patient the client is.

use std::path::PathBuf;
use std::time::Duration;

use chunk::ObjectName;

use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::limits::{
    DEFAULT_ATTEMPT, DEFAULT_CONNECT, DEFAULT_CONNECTIONS, DEFAULT_OPERATION, DEFAULT_READ,
    MAX_BUCKET_NAME, MAX_CONNECTIONS, MAX_TIMEOUT,
};

/// A bucket and how to reach it.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The bucket.
    pub bucket: BucketName,
    /// What all names in the bucket start with, without the slash behind it.
    pub prefix: Option<ObjectName>,
    /// The server; that of AWS for the region if missing.
    pub endpoint: Option<Endpoint>,
    /// The region; else what the environment or the profile says, else `us-east-1`. The server's
    /// word counts above all.
    pub region: Option<String>,
    /// Whether the bucket stands in the path, or else in the host's name; by default in the path
    /// for a server that is named, in the host's name for AWS.
    pub path_style: Option<bool>,
    /// File of the certificates, in PEM, that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Accepts any certificate: whoever is between this host and the store can read and change
    /// everything.
    pub accept_self_signed: bool,
    /// Profile of the shared files of keys; else what the environment says.
    pub profile: Option<String>,
    /// Requests in flight at most, 1 to [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Where keys are looked for.
    pub environment: Environment,
}

/// How long to wait for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub read: Duration,
    /// For one whole attempt; large bodies get more.
    pub attempt: Duration,
    /// For all attempts together; large bodies get more.
    pub operation: Duration,
}

/// Name of a bucket: 3 to 63 of `a-z`, `0-9`, `.` and `-`, a letter or digit at both ends, no two
/// dots in a row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BucketName(String);

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum S3ConfigError {
    /// No bucket has this name.
    #[error(
        "`{name}` is no name of a bucket: write 3 to 63 of a-z, 0-9, '.' and '-', a letter or \
         digit at both ends"
    )]
    Bucket {
        /// What was written.
        name: String,
    },
    /// Not an address of a server.
    #[error("`{text}` is no endpoint: write http://HOST:PORT or https://HOST:PORT")]
    Endpoint {
        /// What was written.
        text: String,
    },
    /// No region has this name.
    #[error("`{region}` is no name of a region: write it as in us-east-1")]
    Region {
        /// What was written.
        region: String,
    },
    /// Too few or too many requests in flight.
    #[error("{connections} connections: 1 to {MAX_CONNECTIONS} are possible")]
    Connections {
        /// What was asked for.
        connections: usize,
    },
    /// A time that is zero, too long, or longer than one that it is part of.
    #[error("a {what} timeout of {} ms is not possible", time.as_millis())]
    Timeout {
        /// Which one.
        what: &'static str,
        /// What was asked for.
        time: Duration,
    },
    /// The file of trusted certificates cannot be read.
    #[error("certificates in {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file of trusted certificates has none, or bad ones.
    #[error("certificates in {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client: {source}")]
    Client {
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BucketName {
    /// # Errors
    /// If the text breaks the grammar above.
    pub fn new(name: impl Into<String>) -> Result<Self, S3ConfigError> {
        let name = name.into();
        let end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        let bytes = name.as_bytes();
        let fits = (3..=MAX_BUCKET_NAME).contains(&bytes.len())
            && end(bytes.first())
            && end(bytes.last())
            && bytes.iter().copied().all(inside)
            && !name.contains("..");
        if fits { Ok(Self(name)) } else { Err(S3ConfigError::Bucket { name }) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: DEFAULT_CONNECT,
            read: DEFAULT_READ,
            attempt: DEFAULT_ATTEMPT,
            operation: DEFAULT_OPERATION,
        }
    }
}

impl S3Config {
    /// The defaults for a bucket, with the environment of this process.
    #[must_use]
    pub fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: None,
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            accept_self_signed: false,
            profile: None,
            connections: DEFAULT_CONNECTIONS,
            timeouts: Timeouts::default(),
            environment: Environment::of_process(),
        }
    }

    /// Looks at all values that have no type of their own.
    pub(crate) fn check(&self) -> Result<(), S3ConfigError> {
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return Err(S3ConfigError::Connections { connections: self.connections });
        }
        if let Some(region) = self.region.as_ref().filter(|region| !is_region(region)) {
            return Err(S3ConfigError::Region { region: region.clone() });
        }
        let Timeouts { connect, read, attempt, operation } = self.timeouts;
        for (what, time, most) in [
            ("connect", connect, attempt),
            ("read", read, attempt),
            ("attempt", attempt, operation),
            ("whole", operation, MAX_TIMEOUT),
        ] {
            if time.is_zero() || time > most {
                return Err(S3ConfigError::Timeout { what, time });
            }
        }
        Ok(())
    }
}

/// Whether a text can be the name of a region: it becomes part of host names.
pub(crate) fn is_region(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_grammar() {
        for name in ["abc", "a.b-c", "0aa", "x".repeat(63).as_str()] {
            assert_eq!(BucketName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "ab", "Abc", "-abc", "abc.", "a..b", "a/b", "a_b", &"x".repeat(64)] {
            assert!(matches!(BucketName::new(name), Err(S3ConfigError::Bucket { .. })), "{name}");
        }
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let config = || S3Config::new(BucketName::new("abc").unwrap());
        assert!(config().check().is_ok());
        let refusal = |change: fn(&mut S3Config)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refusal(|c| c.connections = 0).contains("1 to 1024"));
        assert!(refusal(|c| c.connections = 1025).contains("1025 connections"));
        assert!(refusal(|c| c.region = Some("a.evil/".into())).contains("region"));
        assert!(refusal(|c| c.timeouts.read = Duration::ZERO).contains("read timeout of 0 ms"));
        assert!(refusal(|c| c.timeouts.attempt = MAX_TIMEOUT).contains("attempt timeout"));
        assert!(refusal(|c| c.timeouts.operation = MAX_TIMEOUT * 2).contains("whole timeout"));
    }
}
