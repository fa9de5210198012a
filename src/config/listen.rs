//! Addresses that NBD clients connect to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port that IANA gave to NBD.
pub const NBD_PORT: u16 = 10809;

/// Longest path of a unix socket that the kernel takes, without its terminating zero.
const MAX_UNIX_PATH: usize = 107;

/// Where the server accepts NBD clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// A unix socket at this path.
    Unix(PathBuf),
    /// A TCP socket.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port; 0 lets the kernel choose.
        port: u16,
    },
}

/// Why a text is not a listening address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListenError {
    /// Neither `unix:` nor `tcp:`.
    #[error("`{text}` is not an address: write unix:/path/to.sock or tcp:127.0.0.1:10809")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// The part after the last colon is not a port.
    #[error("`{text}` has no port from 0 to 65535 after its last colon")]
    Port {
        /// What was written.
        text: String,
    },
    /// The kernel would refuse the path.
    #[error(
        "`{text}`: the path has {len} bytes, a unix socket takes {MAX_UNIX_PATH}: choose a shorter one"
    )]
    TooLong {
        /// What was written.
        text: String,
        /// Bytes of its path.
        len: usize,
    },
}

impl Listen {
    /// The URI under which clients of this machine find an export (NBD URI specification).
    #[must_use]
    pub fn uri(&self, export: &str) -> String {
        match self {
            Self::Unix(path) => {
                format!("nbd+unix:///{}?socket={}", escape(export), escape(&path.to_string_lossy()))
            }
            Self::Tcp { host, port } => {
                let host = match host.as_str() {
                    "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    other => other,
                };
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                let port = if *port == NBD_PORT { String::new() } else { format!(":{port}") };
                format!("nbd://{host}{port}/{}", escape(export))
            }
        }
    }

    /// Checks what is known to fail before anything is started.
    ///
    /// # Errors
    /// If the path of a unix socket is too long for the kernel.
    pub fn check(&self) -> Result<(), ListenError> {
        match self {
            Self::Unix(path) if path.as_os_str().len() > MAX_UNIX_PATH => {
                Err(ListenError::TooLong { text: self.to_string(), len: path.as_os_str().len() })
            }
            Self::Unix(_) | Self::Tcp { .. } => Ok(()),
        }
    }
}

/// Percent-encodes what is special in a URI; slashes are not.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let syntax = || ListenError::Syntax { text: text.to_owned() };
        match text.split_once(':').ok_or_else(syntax)? {
            ("unix", path) => unix(text, path),
            ("tcp", address) => tcp(text, address),
            _ => Err(syntax()),
        }
    }
}

fn unix(text: &str, path: &str) -> Result<Listen, ListenError> {
    if path.is_empty() || path.contains('\0') {
        return Err(ListenError::Syntax { text: text.to_owned() });
    }
    let listen = Listen::Unix(path.into());
    listen.check().map(|()| listen)
}

fn tcp(text: &str, address: &str) -> Result<Listen, ListenError> {
    let syntax = || ListenError::Syntax { text: text.to_owned() };
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(syntax)?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).ok_or_else(syntax)?)
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let port = match port {
        "" if !address.ends_with(':') => NBD_PORT,
        digits => digits.parse().map_err(|_| ListenError::Port { text: text.to_owned() })?,
    };
    if host.is_empty() || host.chars().any(char::is_whitespace) {
        return Err(syntax());
    }
    Ok(Listen::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_through_their_text() {
        for (text, shown) in [
            ("unix:/run/krait/nbd.sock", "unix:/run/krait/nbd.sock"),
            ("tcp:127.0.0.1:10810", "tcp:127.0.0.1:10810"),
            ("tcp:localhost", "tcp:localhost:10809"),
            ("tcp:[::1]:1", "tcp:[::1]:1"),
            ("tcp:[::]", "tcp:[::]:10809"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn uris_lead_clients_of_this_machine_to_an_export() {
        for (listen, uri) in [
            ("unix:/run/a b/n.sock", "nbd+unix:///demo?socket=/run/a%20b/n.sock"),
            ("tcp:0.0.0.0", "nbd://127.0.0.1/demo"),
            ("tcp:[::]:1", "nbd://[::1]:1/demo"),
            ("tcp:host:10810", "nbd://host:10810/demo"),
        ] {
            assert_eq!(listen.parse::<Listen>().unwrap().uri("demo"), uri);
        }
    }

    #[test]
    fn bad_addresses_are_refused_with_their_reason() {
        for text in ["", "unix", "unix:", "tcp:", "udp:1:2", "tcp::1", "tcp:[::1", "tcp:[::1]x"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(matches!(error, ListenError::Syntax { .. }), "{text}: {error}");
        }
        for text in ["tcp:a:b", "tcp:a:70000", "tcp:a:", "tcp:::1:2"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(
                matches!(error, ListenError::Port { .. } | ListenError::Syntax { .. }),
                "{text}"
            );
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(matches!(long.parse::<Listen>(), Err(ListenError::TooLong { len: 108, .. })));
    }
}
