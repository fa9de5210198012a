//! The HTTP client: which certificates it trusts, and how it keeps its connections.

use std::fs::File;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::Path;

use reqwest::{Certificate, Client, redirect, retry};

use crate::config::{S3Config, S3ConfigError};
use crate::endpoint::Endpoint;
use crate::failure::boxed;
use crate::limits::{IDLE_CONNECTION, MAX_CA_BYTES};

/// Gives this process its cryptography, unless it has some already.
pub(crate) fn provide() {
    // An error says that another one is in place, which serves as well.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// One client for each thread: connections live on the thread that made them.
pub(crate) fn clients(
    config: &S3Config,
    endpoint: &Endpoint,
    count: usize,
) -> Result<Vec<Client>, S3ConfigError> {
    provide();
    let trusted = config.ca_file.as_deref().map(certificates).transpose()?;
    let build = |_| {
        let mut builder = Client::builder()
            .user_agent(concat!("krait/", env!("CARGO_PKG_VERSION")))
            // A signature is for one address, and retries are counted elsewhere.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(config.timeouts.connect)
            .pool_max_idle_per_host(config.connections)
            .pool_idle_timeout(IDLE_CONNECTION)
            .http1_only();
        if endpoint.is_local() {
            builder = builder.no_proxy();
        }
        if let Some(name) = endpoint.below_localhost(&config.bucket) {
            // Names below localhost are this host (RFC 6761); not all resolvers know.
            builder = builder.resolve(&name, (Ipv4Addr::LOCALHOST, 0).into());
        }
        builder = match (&trusted, endpoint.is_secure()) {
            (Some(trusted), _) => builder.tls_certs_only(trusted.iter().cloned()),
            // A host without certificates can still talk in the clear.
            (None, false) => builder.tls_certs_only([]),
            (None, true) => builder,
        };
        if config.accept_self_signed {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder.build().map_err(|error| S3ConfigError::Client { source: boxed(error) })
    };
    (0..count).map(build).collect()
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, S3ConfigError> {
    let failed = |source| S3ConfigError::CaFile { path: path.to_owned(), source };
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_CA_BYTES).read_to_end(&mut pem))
        .map_err(failed)?;
    let bad = |source| S3ConfigError::Certificates { path: path.to_owned(), source };
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| bad(boxed(error)))?;
    match found.is_empty() {
        true => Err(bad("there are none in PEM".into())),
        false => Ok(found),
    }
}
