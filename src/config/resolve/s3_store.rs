//! The settings of an S3 store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use s3::limits::{DEFAULT_CONNECTIONS, MAX_CONNECTIONS, MAX_TIMEOUT};
use s3::{S3ConfigError, Timeouts};

use super::{Resolver, refuse};
use crate::config::error::{ConfigError, ValueError};
use crate::config::explain::Explained;
use crate::config::key::Key;
use crate::config::s3_store::S3Settings;
use crate::config::source::Source;

impl Resolver<'_> {
    /// Resolves all of them, whatever the store is.
    pub(super) fn s3(&mut self) -> Result<S3Settings, ConfigError> {
        let endpoint = self.optional(Key::S3Endpoint, "that of AWS for the region")?;
        let endpoint = match endpoint {
            None => None,
            Some((text, source)) => Some(text.parse().map_err(|problem: S3ConfigError| {
                refuse(Key::S3Endpoint, source, ValueError::S3(problem))
            })?),
        };
        let region =
            self.optional(Key::S3Region, "of the environment, the profile or the server")?;
        let reason = "in the path if the endpoint is set";
        let path_style = self.switch(Key::S3PathStyle, None, reason)?;
        let ca_file = self.ca_file()?;
        let profile = self.optional(Key::S3Profile, "AWS_PROFILE, or the one named default")?;
        let default =
            (DEFAULT_CONNECTIONS as u64, Source::Default("enough to hide the latency of a store"));
        let connections = self.number(Key::S3Connections, default, MAX_CONNECTIONS as u64)?;
        let timeouts = self.timeouts()?;
        let danger = "it lets others read and change all data";
        let accept_self_signed = self.switch(Key::AcceptSelfSigned, Some(false), danger)?;
        let danger = "two hosts could destroy each other's data";
        let unconditional = self.switch(Key::AcceptUnconditionalPut, Some(false), danger)?;
        Ok(S3Settings {
            endpoint,
            region: region.map(|(text, _)| text),
            path_style,
            ca_file,
            profile: profile.map(|(text, _)| text),
            connections: usize::try_from(connections).expect("within its range"),
            timeouts,
            accept_self_signed: accept_self_signed.unwrap_or_default(),
            accept_unconditional_put: unconditional.unwrap_or_default(),
        })
    }

    /// A text that may be missing.
    fn optional(
        &mut self,
        key: Key,
        reason: &'static str,
    ) -> Result<Option<(String, Source)>, ConfigError> {
        let found = self.text(key)?;
        let line = match &found {
            Some((text, source)) => Explained::new(key, text.clone(), source),
            None => Explained::new(key, String::new(), &Source::Default(reason)),
        };
        self.explained.push(line);
        Ok(found)
    }

    fn switch(
        &mut self,
        key: Key,
        default: Option<bool>,
        reason: &'static str,
    ) -> Result<Option<bool>, ConfigError> {
        let (value, source) = match self.text(key)? {
            None => (default, Source::Default(reason)),
            Some((text, source)) => match text.parse() {
                Ok(value) => (Some(value), source),
                Err(_) => return Err(refuse(key, source, ValueError::Switch { text })),
            },
        };
        let shown = value.map(|value| value.to_string()).unwrap_or_default();
        self.explained.push(Explained::new(key, shown, &source));
        Ok(value)
    }

    /// As the data directory, it is below the directory of the file that names it.
    fn ca_file(&mut self) -> Result<Option<PathBuf>, ConfigError> {
        let found = self.optional(Key::S3CaFile, "the system's certificates")?;
        Ok(found.map(|(text, source)| match &source {
            Source::File { path, .. } => path.parent().unwrap_or(Path::new("")).join(text),
            _ => PathBuf::from(text),
        }))
    }

    /// Each is part of the next but one, so none may be longer than that.
    fn timeouts(&mut self) -> Result<Timeouts, ConfigError> {
        let Timeouts { connect, read, attempt, operation } = Timeouts::default();
        let reason = "a read that is not cached ends within 30 s";
        let mut seconds = |key, default: Duration, most: Duration| {
            let default = default.min(most).as_secs();
            let found = self.number(key, (default, Source::Default(reason)), most.as_secs())?;
            Ok(Duration::from_secs(found))
        };
        let operation = seconds(Key::S3Operation, operation, MAX_TIMEOUT)?;
        let attempt = seconds(Key::S3Attempt, attempt, operation)?;
        let connect = seconds(Key::S3Connect, connect, attempt)?;
        let read = seconds(Key::S3Read, read, attempt)?;
        Ok(Timeouts { connect, read, attempt, operation })
    }
}
