//! The shared files of profiles, `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{CredentialsError, Keys, Origin, read_file};
use crate::environment::Environment;
use crate::secret::Secret;

/// Ways to keys that this client does not go.
const UNSUPPORTED: [&str; 4] =
    ["credential_process", "sso_session", "sso_start_url", "source_profile"];

/// The settings of one profile; values may be secrets.
type Settings = BTreeMap<String, Secret>;

/// What a profile says of keys.
pub(super) enum Found {
    /// They are in it.
    Keys(Keys),
    /// A token in a file stands for them.
    WebIdentity {
        /// The file.
        token_file: PathBuf,
        /// What the token is traded for.
        role: String,
        /// Name of the session, if it has one.
        session: Option<String>,
    },
    /// Nothing.
    Nothing,
}

/// Looks for keys in a profile: the named one must be there, the default one may be.
pub(super) fn find(
    environment: &Environment,
    named: Option<&str>,
) -> Result<Found, CredentialsError> {
    let named = named.or_else(|| environment.get("AWS_PROFILE"));
    let profile = named.unwrap_or("default");
    let Some(settings) = load(environment, profile)? else {
        let paths = paths(environment).map(|(path, _)| path).collect();
        let missing = || CredentialsError::NoProfile { profile: profile.to_owned(), paths };
        return named.map_or(Ok(Found::Nothing), |_| Err(missing()));
    };
    let get = |name: &str| settings.get(name).map(|value| value.expose().to_owned());
    match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(access), Some(secret)) => Ok(Found::Keys(Keys {
            access,
            secret: Secret::new(secret),
            token: settings.get("aws_session_token").cloned(),
            expires: None,
            origin: Origin::Profile,
        })),
        (Some(_), None) => Err(half("aws_access_key_id", "aws_secret_access_key")),
        (None, Some(_)) => Err(half("aws_secret_access_key", "aws_access_key_id")),
        (None, None) => match (get("web_identity_token_file"), get("role_arn")) {
            (Some(token_file), Some(role)) => Ok(Found::WebIdentity {
                token_file: token_file.into(),
                role,
                session: get("role_session_name"),
            }),
            _ => match UNSUPPORTED.into_iter().find(|name| settings.contains_key(*name)) {
                Some(setting) => {
                    Err(CredentialsError::Unsupported { profile: profile.to_owned(), setting })
                }
                None => Ok(Found::Nothing),
            },
        },
    }
}

/// The region of a profile. A file that cannot be read has none: whoever needs keys of it will
/// say so.
pub(crate) fn region(environment: &Environment, named: Option<&str>) -> Option<String> {
    let profile = named.or_else(|| environment.get("AWS_PROFILE")).unwrap_or("default");
    let settings = load(environment, profile).ok()??;
    settings.get("region").map(|region| region.expose().to_owned())
}

fn half(present: &'static str, missing: &'static str) -> CredentialsError {
    CredentialsError::Half { origin: "the profile", present, missing }
}

/// The files, the stronger last, and whether their sections say `profile`.
fn paths(environment: &Environment) -> impl Iterator<Item = (PathBuf, bool)> {
    let config = environment.file("AWS_CONFIG_FILE", ".aws/config");
    let credentials = environment.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let config = config.map(|path| (path, true));
    config.into_iter().chain(credentials.map(|path| (path, false)))
}

/// The settings of a profile from both files; `None` if neither has it.
fn load(environment: &Environment, profile: &str) -> Result<Option<Settings>, CredentialsError> {
    let mut all: Option<Settings> = None;
    for (path, prefixed) in paths(environment) {
        let text = match read_file(&path) {
            Ok(text) => text,
            Err(CredentialsError::File { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(settings) = section(&text, profile, prefixed) {
            all.get_or_insert_default().extend(settings);
        }
    }
    Ok(all)
}

/// The settings of one section: `[name]`, or `[profile name]` in the file of the configuration,
/// where only the default one may go without the word.
fn section(text: &str, profile: &str, prefixed: bool) -> Option<Settings> {
    let is_ours = |title: &str| match title.split_once(char::is_whitespace) {
        Some(("profile", name)) if prefixed => name.trim() == profile,
        Some(_) => false,
        None => title == profile && (!prefixed || profile == "default"),
    };
    let mut found: Option<Settings> = None;
    let mut inside = false;
    for line in text.lines() {
        // Settings of settings stand behind a space.
        let nested = line.starts_with(char::is_whitespace);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(title) = line.strip_prefix('[') {
            let title = title.split(']').next().unwrap_or_default().trim();
            inside = is_ours(title);
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, false, Some((name, value))) = (inside, nested, line.split_once('=')) {
            let value = value.trim();
            if !value.is_empty() {
                let name = name.trim().to_ascii_lowercase();
                found.get_or_insert_default().insert(name, Secret::new(value));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# x\n[default]\naws_access_key_id = A\nregion=r\ns3 =\n  region = nested\n\
                        [profile dev]\nregion = d\n[dev]\nregion = wrong\n; y\n[ other ]\nkey = a=b\n";

    fn region_of(profile: &str, prefixed: bool) -> Option<String> {
        section(FILE, profile, prefixed)?.get("region").map(|r| r.expose().to_owned())
    }

    #[test]
    fn sections_are_found_by_the_rules_of_each_file() {
        assert_eq!(region_of("default", true).as_deref(), Some("r"));
        assert_eq!(region_of("dev", true).as_deref(), Some("d"));
        assert_eq!(region_of("dev", false).as_deref(), Some("wrong"));
        assert_eq!(region_of("missing", true), None);
        assert_eq!(section(FILE, "other", false).unwrap()["key"].expose(), "a=b");
        assert!(section(FILE, "other", true).is_none());
    }
}
