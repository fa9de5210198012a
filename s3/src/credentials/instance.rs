//! Keys of a virtual machine, from the service of its cloud, which wants a token first (IMDSv2).

use reqwest::StatusCode;

use super::metadata::{client, fetch, keys, send};
use super::{CredentialsError, Keys, Origin};
use crate::environment::Environment;

const SERVICE: &str = "the instance's service";
const HOST: &str = "http://169.254.169.254";
const ROLES: &str = "latest/meta-data/iam/security-credentials";
const TOKEN_SECONDS: &str = "300";

/// The keys.
pub(super) async fn load(environment: &Environment) -> Result<Keys, CredentialsError> {
    const OFF: &str = "AWS_EC2_METADATA_DISABLED";
    if environment.get(OFF).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(CredentialsError::Off { variable: OFF });
    }
    let host = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(HOST);
    let host = host.trim_end_matches('/');
    let client = client(SERVICE, true)?;
    let put = client.put(format!("{host}/latest/api/token"));
    let put = put.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
    let token = fetch(SERVICE, put).await?;
    let get = |path: &str| {
        client.get(format!("{host}/{path}")).header("X-aws-ec2-metadata-token", token.trim())
    };
    let (status, roles) = send(SERVICE, get(&format!("{ROLES}/"))).await?;
    let role = roles.lines().map(str::trim).find(|line| !line.is_empty());
    match (status, role) {
        (StatusCode::OK, Some(role)) => {
            let text = fetch(SERVICE, get(&format!("{ROLES}/{role}"))).await?;
            keys(SERVICE, &text, Origin::Instance)
        }
        (StatusCode::OK | StatusCode::NOT_FOUND, _) => {
            Err(CredentialsError::Answer { service: SERVICE, missing: "role of this instance" })
        }
        (status, _) => Err(CredentialsError::Status { service: SERVICE, status: status.as_u16() }),
    }
}
