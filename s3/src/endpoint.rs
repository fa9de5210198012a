//! Where requests go: the server, and the bucket in its path or its name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::config::{BucketName, S3ConfigError};

/// All bytes that a signature wants encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for paths, whose slashes stay.
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// Address of a server: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    secure: bool,
    /// Host, and port unless it is the scheme's.
    authority: String,
    host: String,
}

impl Endpoint {
    /// AWS in a region.
    pub(crate) fn of_aws(region: &str) -> Self {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let host = format!("s3.{region}.{domain}");
        Self { secure: true, authority: host.clone(), host }
    }

    /// Whether requests are encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the server is on this host.
    pub(crate) fn is_local(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }

    /// Name of the host with the bucket in it, if the server is `localhost`.
    pub(crate) fn below_localhost(&self, bucket: &BucketName) -> Option<String> {
        (self.host == "localhost").then(|| format!("{}.localhost", bucket.as_str()))
    }

    /// The host, if it is written as a number.
    fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether a bucket can stand in the host's name.
    pub(crate) fn takes_bucket(&self, bucket: &BucketName) -> bool {
        // A certificate of `*.host` does not cover a second dot.
        self.address().is_none() && !(self.secure && bucket.as_str().contains('.'))
    }
}

impl FromStr for Endpoint {
    type Err = S3ConfigError;

    fn from_str(text: &str) -> Result<Self, S3ConfigError> {
        let failed = || S3ConfigError::Endpoint { text: text.to_owned() };
        let url = Url::parse(text).map_err(|_| failed())?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(failed()),
        };
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|host| plain && bare && !host.is_empty());
        let host = host.ok_or_else(failed)?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        Ok(Self { secure, authority, host })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// The URL of a bucket or an object, everything in it encoded once.
pub(crate) fn url(
    endpoint: &Endpoint,
    bucket: &BucketName,
    path_style: bool,
    key: Option<&str>,
    query: &[(&'static str, String)],
) -> String {
    let scheme = if endpoint.secure { "https" } else { "http" };
    let (bucket, authority) = (bucket.as_str(), &endpoint.authority);
    let mut url = match path_style {
        true => format!("{scheme}://{authority}/{bucket}"),
        false => format!("{scheme}://{bucket}.{authority}"),
    };
    // A bucket in the host's name is the root.
    if key.is_some() || !path_style {
        url.push('/');
    }
    url.extend(utf8_percent_encode(key.unwrap_or_default(), ENCODED_PATH));
    for (n, (name, value)) in query.iter().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, ENCODED));
    }
    url
}

/// A text as the value of a field of a form.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_round_trip_without_the_port_of_their_scheme() {
        for (text, shown) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("https://minio.local:9000/", "https://minio.local:9000"),
            ("https://a.b:443", "https://a.b"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in
            ["", "minio:9000", "ftp://a", "http://", "http://u:p@a", "http://a/b", "http://a?b"]
        {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(matches!(error, S3ConfigError::Endpoint { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn the_bucket_stands_in_the_path_or_in_the_name() {
        let endpoint: Endpoint = "https://s3.test:9".parse().unwrap();
        let bucket = BucketName::new("bkt").unwrap();
        let key = Some("a/b c+%41");
        let query = [("list-type", "2".to_owned()), ("prefix", "a/+ é".to_owned())];
        let of = |path_style, key, query| url(&endpoint, &bucket, path_style, key, query);
        assert_eq!(of(true, key, &[]), "https://s3.test:9/bkt/a/b%20c%2B%2541");
        assert_eq!(of(false, key, &[]), "https://bkt.s3.test:9/a/b%20c%2B%2541");
        let list = "?list-type=2&prefix=a%2F%2B%20%C3%A9";
        assert_eq!(of(true, None, &query), format!("https://s3.test:9/bkt{list}"));
        assert_eq!(of(false, None, &query), format!("https://bkt.s3.test:9/{list}"));
    }

    #[test]
    fn a_bucket_fits_into_names_only_and_dots_not_below_a_certificate() {
        let dotted = BucketName::new("a.b").unwrap();
        let plain = BucketName::new("a-b").unwrap();
        let takes = |text: &str, bucket| text.parse::<Endpoint>().unwrap().takes_bucket(bucket);
        assert!(takes("https://s3.test", &plain) && takes("http://s3.test", &dotted));
        assert!(!takes("https://s3.test", &dotted));
        assert!(!takes("http://127.0.0.1", &plain) && !takes("http://[::1]", &plain));
    }

    #[test]
    fn aws_is_found_by_region() {
        assert_eq!(Endpoint::of_aws("eu-west-1").to_string(), "https://s3.eu-west-1.amazonaws.com");
        assert!(Endpoint::of_aws("cn-north-1").to_string().ends_with(".amazonaws.com.cn"));
    }
}
