//! Keys for a token that someone else has issued, as clusters do.

use std::path::Path;

use serde::Deserialize;

use super::metadata::{client, fetch, token};
use super::{CredentialsError, Keys, Origin, moment};
use crate::endpoint::encode;
use crate::environment::Environment;
use crate::secret::Secret;

const SERVICE: &str = "the service of web identities";

/// What a token is traded for.
pub(super) struct Role<'a> {
    pub(super) token_file: &'a Path,
    pub(super) arn: &'a str,
    pub(super) session: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    assume_role_with_web_identity_result: Answer,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    credentials: Document,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

/// The keys, if the environment names a token.
pub(super) async fn load(
    environment: &Environment,
    region: &str,
) -> Result<Option<Keys>, CredentialsError> {
    let Some(file) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
    let arn = environment.get("AWS_ROLE_ARN").ok_or(CredentialsError::Half {
        origin: "the environment",
        present: "AWS_WEB_IDENTITY_TOKEN_FILE",
        missing: "AWS_ROLE_ARN",
    })?;
    let session = environment.get("AWS_ROLE_SESSION_NAME").unwrap_or("krait");
    let role = Role { token_file: Path::new(file), arn, session };
    assume(environment, region, &role).await.map(Some)
}

/// Trades the token for keys.
pub(super) async fn assume(
    environment: &Environment,
    region: &str,
    role: &Role<'_>,
) -> Result<Keys, CredentialsError> {
    let own = format!("https://sts.{region}.amazonaws.com");
    let url = environment.get("AWS_ENDPOINT_URL_STS").unwrap_or(&own);
    let token = token(role.token_file)?;
    let form = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}\
         &WebIdentityToken={}",
        encode(role.arn),
        encode(role.session),
        encode(token.expose())
    );
    let post = client(SERVICE, false)?.post(format!("{}/", url.trim_end_matches('/')));
    let post = post.header("Content-Type", "application/x-www-form-urlencoded").body(form);
    let text = fetch(SERVICE, post).await?;
    let missing = |missing| CredentialsError::Answer { service: SERVICE, missing };
    // What the parser would say could repeat a secret.
    let response: Response =
        quick_xml::de::from_str(&text).map_err(|_| missing("valid document"))?;
    let document = response.assume_role_with_web_identity_result.credentials;
    Ok(Keys {
        access: document.access_key_id,
        secret: Secret::new(document.secret_access_key),
        token: Some(Secret::new(document.session_token)),
        expires: Some(moment(&document.expiration).ok_or(missing("valid Expiration"))?),
        origin: Origin::WebIdentity,
    })
}
