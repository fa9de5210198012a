//! The chain of places where keys are looked for, and the keys that it found.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;

use super::profile::{self, Found};
use super::web_identity::{self, Role};
use super::{CredentialsError, Keys, Origin, container, instance};
use crate::clock::now;
use crate::environment::Environment;
use crate::limits::{RENEW_BEFORE, RENEW_PAUSE};
use crate::secret::Secret;

/// Hands out keys, and renews them before they end.
#[derive(Debug)]
pub(crate) struct Provider {
    environment: Environment,
    profile: Option<String>,
    region: String,
    /// Held while keys are fetched: of many requests that need new ones, one fetches.
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    keys: Arc<Keys>,
    /// When they were last fetched, or it was tried.
    tried: SystemTime,
}

impl Provider {
    pub(crate) fn new(environment: Environment, profile: Option<String>, region: String) -> Self {
        Self { environment, profile, region, cached: Mutex::new(None) }
    }

    /// Keys that are good for now.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, CredentialsError> {
        let mut cached = self.cached.lock().await;
        let now = now();
        let Some(old) = cached.as_mut() else {
            return self.renew(&mut cached, now).await;
        };
        let ends = |margin| old.keys.expires.is_some_and(|expires| expires <= now + margin);
        if !ends(RENEW_BEFORE) || (!ends(RENEW_PAUSE) && now < old.tried + RENEW_PAUSE) {
            return Ok(Arc::clone(&old.keys));
        }
        let (usable, keys) = (!ends(std::time::Duration::ZERO), Arc::clone(&old.keys));
        old.tried = now;
        match self.renew(&mut cached, now).await {
            Err(error) if usable => {
                log::warn!("credentials of {} could not be renewed: {error}", keys.origin);
                Ok(keys)
            }
            outcome => outcome,
        }
    }

    /// The server did not like these keys: looks for others. `None` if there are none.
    pub(crate) async fn others(&self, bad: &Arc<Keys>) -> Option<Arc<Keys>> {
        let mut cached = self.cached.lock().await;
        if let Some(newer) = cached.as_ref().filter(|cached| cached.keys != *bad) {
            return Some(Arc::clone(&newer.keys));
        }
        let found = self.renew(&mut cached, now()).await.ok()?;
        (found != *bad).then_some(found)
    }

    async fn renew(
        &self,
        cached: &mut Option<Cached>,
        now: SystemTime,
    ) -> Result<Arc<Keys>, CredentialsError> {
        let keys = Arc::new(self.find().await?);
        log::debug!("credentials come from {}", keys.origin);
        *cached = Some(Cached { keys: Arc::clone(&keys), tried: now });
        Ok(keys)
    }

    /// A profile that the configuration names is the only source; else the first one that has
    /// something counts.
    async fn find(&self) -> Result<Keys, CredentialsError> {
        let environment = &self.environment;
        if self.profile.is_none()
            && let Some(keys) = from_variables(environment)?
        {
            return Ok(keys);
        }
        match profile::find(environment, self.profile.as_deref())? {
            Found::Keys(keys) => return Ok(keys),
            Found::WebIdentity { token_file, role, session } => {
                let session = session.as_deref().unwrap_or("krait");
                let role = Role { token_file: &token_file, arn: &role, session };
                return web_identity::assume(environment, &self.region, &role).await;
            }
            Found::Nothing => {
                if let Some(profile) = &self.profile {
                    let (profile, setting) = (profile.clone(), "no keys");
                    return Err(CredentialsError::Unsupported { profile, setting });
                }
            }
        }
        if let Some(keys) = web_identity::load(environment, &self.region).await? {
            return Ok(keys);
        }
        if let Some(keys) = container::load(environment).await? {
            return Ok(keys);
        }
        let none = |source| CredentialsError::None { source: Box::new(source) };
        instance::load(environment).await.map_err(none)
    }
}

/// Keys that stand in the environment.
fn from_variables(environment: &Environment) -> Result<Option<Keys>, CredentialsError> {
    const ACCESS: &str = "AWS_ACCESS_KEY_ID";
    const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
    let half = |present, missing| {
        Err(CredentialsError::Half { origin: "the environment", present, missing })
    };
    match (environment.get(ACCESS), environment.get(SECRET)) {
        (None, None) => Ok(None),
        (Some(_), None) => half(ACCESS, SECRET),
        (None, Some(_)) => half(SECRET, ACCESS),
        (Some(access), Some(secret)) => Ok(Some(Keys {
            access: access.to_owned(),
            secret: Secret::new(secret),
            token: environment.get("AWS_SESSION_TOKEN").map(Secret::new),
            expires: None,
            origin: Origin::Environment,
        })),
    }
}
