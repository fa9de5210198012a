//! NBD URIs: `nbd://host:port/export` and `nbd+unix:///export?socket=PATH`.
//!
//! Source: the NBD project's `doc/uri.md`. TLS schemes are refused by name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The port that IANA gave to NBD.
pub const DEFAULT_PORT: u16 = 10809;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address; IPv6 hosts are without brackets here.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix-domain stream socket.
    Unix(PathBuf),
}

/// A server and the export on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// The export to ask for; empty means the server's default.
    pub export: String,
}

/// Why a URI was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UriError {
    /// No known scheme in front.
    #[error("`{0}` is no NBD URI: write nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH")]
    Scheme(String),
    /// An encrypted scheme.
    #[error("scheme `{0}` needs TLS, which this client does not speak")]
    Tls(String),
    /// No host in an `nbd:` URI.
    #[error("`{0}` names no host")]
    NoHost(String),
    /// A port that is no number from 1 to 65535.
    #[error("`{0}` is no port")]
    Port(String),
    /// `nbd+unix:` without `?socket=`.
    #[error("`{0}` names no socket: end it with ?socket=PATH")]
    NoSocket(String),
    /// A parameter that has no meaning here.
    #[error("parameter `{0}` is not known")]
    Parameter(String),
    /// `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("`{0}` is not percent-encoded UTF-8")]
    Encoding(String),
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let scheme_error = || UriError::Scheme(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(scheme_error)?;
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = location.split_once('/').unwrap_or((location, ""));
        let socket = socket_parameter(query)?;
        let endpoint = match scheme {
            "nbd" | "nbd+tcp" => tcp_endpoint(text, authority)?,
            "nbd+unix" => {
                let path = socket.ok_or_else(|| UriError::NoSocket(text.to_owned()))?;
                Endpoint::Unix(PathBuf::from(path))
            }
            "nbds" | "nbds+unix" => return Err(UriError::Tls(scheme.to_owned())),
            _ => return Err(scheme_error()),
        };
        Ok(Self { endpoint, export: percent_decode(path)? })
    }
}

impl Uri {
    /// The export `export` on a unix socket.
    #[must_use]
    pub fn unix(socket: impl Into<PathBuf>, export: impl Into<String>) -> Self {
        Self { endpoint: Endpoint::Unix(socket.into()), export: export.into() }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let export = percent_encode(&self.export);
        match &self.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => {
                write!(f, "nbd://[{host}]:{port}/{export}")
            }
            Endpoint::Tcp { host, port } => write!(f, "nbd://{host}:{port}/{export}"),
            Endpoint::Unix(path) => {
                write!(f, "nbd+unix:///{export}?socket={}", percent_encode(&path.to_string_lossy()))
            }
        }
    }
}

fn tcp_endpoint(text: &str, authority: &str) -> Result<Endpoint, UriError> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let no_host = || UriError::NoHost(text.to_owned());
            let (host, after) = bracketed.split_once(']').ok_or_else(no_host)?;
            (host, after.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(UriError::NoHost(text.to_owned()));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(digits) => match digits.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(UriError::Port(digits.to_owned())),
        },
    };
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

fn socket_parameter(query: &str) -> Result<Option<String>, UriError> {
    let mut socket = None;
    for parameter in query.split('&').filter(|p| !p.is_empty()) {
        match parameter.split_once('=') {
            Some(("socket", path)) if !path.is_empty() => socket = Some(percent_decode(path)?),
            _ => return Err(UriError::Parameter(parameter.to_owned())),
        }
    }
    Ok(socket)
}

fn percent_decode(text: &str) -> Result<String, UriError> {
    let bad = || UriError::Encoding(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            rest.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok())
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(bad()),
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, export: &str) -> Uri {
        Uri { endpoint: Endpoint::Tcp { host: host.into(), port }, export: export.into() }
    }

    #[test]
    fn accepted_forms_are_understood() {
        let cases = [
            ("nbd://localhost", tcp("localhost", 10809, "")),
            ("nbd://localhost:1234/vm1", tcp("localhost", 1234, "vm1")),
            ("nbd://[::1]:7/a/b", tcp("::1", 7, "a/b")),
            ("nbd://[::1]", tcp("::1", 10809, "")),
            ("nbd+unix:///vm%201?socket=/run/a.sock", Uri::unix("/run/a.sock", "vm 1")),
            ("nbd+unix://?socket=/x", Uri::unix("/x", "")),
        ];
        for (text, uri) in cases {
            assert_eq!(text.parse(), Ok(uri), "{text}");
        }
    }

    #[test]
    fn uris_print_as_they_are_read() {
        for text in ["nbd://[::1]:7/a/b", "nbd://h:1/", "nbd+unix:///v%201?socket=/run/a%3F.sock"] {
            assert_eq!(text.parse::<Uri>().map(|u| u.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refused_forms_say_why() {
        let s = str::to_owned;
        let cases = [
            ("/run/a.sock", UriError::Scheme(s("/run/a.sock"))),
            ("http://a/b", UriError::Scheme(s("http://a/b"))),
            ("nbds://a/b", UriError::Tls(s("nbds"))),
            ("nbd:///vm", UriError::NoHost(s("nbd:///vm"))),
            ("nbd://[::1/vm", UriError::NoHost(s("nbd://[::1/vm"))),
            ("nbd://h:0/vm", UriError::Port(s("0"))),
            ("nbd://h:x/vm", UriError::Port(s("x"))),
            ("nbd+unix:///vm", UriError::NoSocket(s("nbd+unix:///vm"))),
            ("nbd+unix:///vm?tls=1", UriError::Parameter(s("tls=1"))),
            ("nbd+unix:///vm?socket=", UriError::Parameter(s("socket="))),
            ("nbd://h/%4", UriError::Encoding(s("%4"))),
            ("nbd://h/%ff", UriError::Encoding(s("%ff"))),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
        }
    }
}
