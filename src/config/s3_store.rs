//! How an S3 store is reached.

use std::path::PathBuf;

use chunk::ObjectName;
use s3::limits::DEFAULT_CONNECTIONS;
use s3::{BucketName, Endpoint, S3Config, Timeouts};

/// The settings of the tables `s3` and `danger`. Keys of the store are no settings: they come from
/// the environment, a profile or a service of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Settings {
    /// The server; that of AWS unless set.
    pub endpoint: Option<Endpoint>,
    /// The region; what the environment or a profile says unless set.
    pub region: Option<String>,
    /// Whether the bucket stands in the path; if the server is named unless set.
    pub path_style: Option<bool>,
    /// Certificates that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Profile of the shared files of keys.
    pub profile: Option<String>,
    /// Requests in flight at most.
    pub connections: usize,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Accepts any certificate.
    pub accept_self_signed: bool,
    /// Accepts a store that ignores conditions.
    pub accept_unconditional_put: bool,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            profile: None,
            connections: DEFAULT_CONNECTIONS,
            timeouts: Timeouts::default(),
            accept_self_signed: false,
            accept_unconditional_put: false,
        }
    }
}

impl S3Settings {
    /// The client's configuration for a bucket.
    #[must_use]
    pub fn config(&self, bucket: &BucketName, prefix: Option<&ObjectName>) -> S3Config {
        S3Config {
            prefix: prefix.cloned(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            ca_file: self.ca_file.clone(),
            accept_self_signed: self.accept_self_signed,
            profile: self.profile.clone(),
            connections: self.connections,
            timeouts: self.timeouts,
            ..S3Config::new(bucket.clone())
        }
    }
}
