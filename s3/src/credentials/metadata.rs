//! The services that hand out keys for a while: what they have in common.

use std::path::Path;

use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde::Deserialize;

use super::{CredentialsError, Keys, Origin, moment};
use crate::failure::boxed;
use crate::limits::{CREDENTIALS_TIMEOUT, MAX_CREDENTIALS_BYTES};
use crate::secret::Secret;

/// Keys as the services of containers and instances write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// A client for services nearby, which no proxy stands before, and for the issuer of tokens.
pub(super) fn client(service: &'static str, nearby: bool) -> Result<Client, CredentialsError> {
    crate::tls::provide();
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CREDENTIALS_TIMEOUT)
        .timeout(CREDENTIALS_TIMEOUT);
    if nearby {
        builder = builder.no_proxy();
    }
    let unreachable = |error| CredentialsError::Unreachable { service, source: boxed(error) };
    builder.build().map_err(unreachable)
}

/// Sends a request and takes its answer, whatever its status.
pub(super) async fn send(
    service: &'static str,
    request: RequestBuilder,
) -> Result<(StatusCode, String), CredentialsError> {
    let unreachable =
        |error: reqwest::Error| CredentialsError::Unreachable { service, source: boxed(error) };
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        if (body.len() + piece.len()) as u64 > MAX_CREDENTIALS_BYTES {
            return Err(CredentialsError::Answer { service, missing: "end" });
        }
        body.extend_from_slice(&piece);
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Sends a request that must succeed.
pub(super) async fn fetch(
    service: &'static str,
    request: RequestBuilder,
) -> Result<String, CredentialsError> {
    let (status, text) = send(service, request).await?;
    if !status.is_success() {
        return Err(CredentialsError::Status { service, status: status.as_u16() });
    }
    Ok(text)
}

/// The keys of an answer.
pub(super) fn keys(
    service: &'static str,
    text: &str,
    origin: Origin,
) -> Result<Keys, CredentialsError> {
    let missing = |missing| CredentialsError::Answer { service, missing };
    // What the parser would say could repeat a secret.
    let document: Document = serde_json::from_str(text).map_err(|_| missing("valid document"))?;
    let expires = document.expiration.as_deref();
    let expires = expires.map(|text| moment(text).ok_or_else(|| missing("valid Expiration")));
    Ok(Keys {
        access: document.access_key_id.ok_or_else(|| missing("AccessKeyId"))?,
        secret: document.secret_access_key.map(Secret::new).ok_or_else(|| missing("secret key"))?,
        token: document.token.map(Secret::new),
        expires: expires.transpose()?,
        origin,
    })
}

/// A token from a file, which may change at any time.
pub(super) fn token(path: &Path) -> Result<Secret, CredentialsError> {
    super::read_file(path).map(|text| Secret::new(text.trim()))
}
