//! Keys of a container, from the service that its host tells it of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use reqwest::Url;

use super::metadata::{client, fetch, keys, token};
use super::{CredentialsError, Keys, Origin};
use crate::environment::Environment;

const SERVICE: &str = "the container's service";
const HOST: &str = "http://169.254.170.2";
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// The keys, if the environment names such a service.
pub(super) async fn load(environment: &Environment) -> Result<Option<Keys>, CredentialsError> {
    let bad = |variable, reason| CredentialsError::Variable { variable, reason };
    let url = match (environment.get(RELATIVE), environment.get(FULL)) {
        (Some(path), _) if path.starts_with('/') => Url::parse(&format!("{HOST}{path}"))
            .map_err(|_| bad(RELATIVE, "not the path of a URL"))?,
        (Some(_), _) => return Err(bad(RELATIVE, "not a path from /")),
        (None, Some(text)) => {
            let url = Url::parse(text).map_err(|_| bad(FULL, "not a URL"))?;
            if !may_see_tokens(&url) {
                return Err(bad(FULL, "neither https nor on this host"));
            }
            url
        }
        (None, None) => return Ok(None),
    };
    let mut request = client(SERVICE, true)?.get(url);
    let file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let authorization = match file {
        Some(path) => Some(token(Path::new(path))?.expose().to_owned()),
        None => environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    keys(SERVICE, &fetch(SERVICE, request).await?, Origin::Container).map(Some)
}

/// Whether a token may be sent there: encrypted, to this host, or to the addresses that container
/// hosts use.
fn may_see_tokens(url: &Url) -> bool {
    const AGENTS: [IpAddr; 3] = [
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    ];
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let near = |address: IpAddr| address.is_loopback() || AGENTS.contains(&address);
    match url.scheme() {
        "https" => true,
        "http" => host == "localhost" || address.is_some_and(near),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_leave_this_host_only_encrypted() {
        let may = |text: &str| may_see_tokens(&Url::parse(text).unwrap());
        for text in [
            "https://example.com/x",
            "http://localhost:1/x",
            "http://127.0.0.1/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
        ] {
            assert!(may(text), "{text}");
        }
        for text in ["http://example.com/x", "http://169.254.169.254/x", "ftp://localhost/x"] {
            assert!(!may(text), "{text}");
        }
    }
}
