//! How often each step runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::TortureError;
use super::programme::{STEPS, Step};

/// The profiles that need no file.
const BUILT_IN: [(&str, &str); 3] = [
    ("ci", include_str!("../../torture/ci.toml")),
    ("nightly", include_str!("../../torture/nightly.toml")),
    ("release", include_str!("../../torture/release.toml")),
];

/// Counts by the names of steps; a step that is not listed does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in the report.
    pub name: String,
    /// Its name without the counts that were changed, for its directory.
    pub stem: String,
    counts: BTreeMap<String, u64>,
}

fn known(name: &str) -> Result<(), TortureError> {
    if STEPS.iter().any(|step| step.name == name) {
        return Ok(());
    }
    let known: Vec<_> = STEPS.iter().map(|step| step.name).collect();
    Err(TortureError::UnknownStep { name: name.to_owned(), known: known.join(", ") })
}

impl Profile {
    /// Reads a profile by built-in name or path.
    ///
    /// # Errors
    /// If there is none, or it names a step that does not exist.
    pub fn load(name: &str) -> Result<Self, TortureError> {
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        let text = match built_in {
            Some((_, text)) => (*text).to_owned(),
            None => fs::read_to_string(name)
                .map_err(|_| TortureError::UnknownProfile { name: name.to_owned() })?,
        };
        let malformed = |source| TortureError::Malformed { name: name.to_owned(), source };
        let counts: BTreeMap<String, u64> =
            toml::from_str(&text).map_err(|error| malformed(Box::new(error)))?;
        counts.keys().try_for_each(|name| known(name))?;
        // Where a file lies is of no use to who reads the report.
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name: stem.clone(), stem, counts })
    }

    /// Changes counts by words `NAME=COUNT`.
    ///
    /// # Errors
    /// If a word is something else, or there is no such step.
    pub fn change(&mut self, words: &[String]) -> Result<(), TortureError> {
        for word in words {
            let parts = word.split_once('=').and_then(|(name, count)| {
                Some((name.to_owned(), count.replace('_', "").parse().ok()?))
            });
            let (name, count) =
                parts.ok_or_else(|| TortureError::Override { word: word.clone() })?;
            known(&name)?;
            self.counts.insert(name, count);
            self.name = format!("{} with {word}", self.name);
        }
        Ok(())
    }

    /// Leaves only these steps.
    ///
    /// # Errors
    /// If there is no such step.
    pub fn keep(&mut self, names: &[String]) -> Result<(), TortureError> {
        names.iter().try_for_each(|name| known(name))?;
        if !names.is_empty() {
            self.counts.retain(|name, _| names.contains(name));
        }
        Ok(())
    }

    /// The steps that run, in order, with their counts.
    pub fn steps(&self) -> impl Iterator<Item = (&'static Step, u64)> {
        let count = |step: &Step| self.counts.get(step.name).copied().unwrap_or(0);
        STEPS.iter().map(move |step| (step, count(step))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_know_every_step() {
        for (name, _) in BUILT_IN {
            let profile = Profile::load(name).expect("built in");
            let steps: Vec<_> = profile.steps().map(|(step, _)| step.name).collect();
            let missing: Vec<_> = STEPS.iter().filter(|step| !steps.contains(&step.name)).collect();
            // Cargo-fuzz is not everywhere.
            let may_miss = name == "ci" && missing.iter().all(|step| step.name == "fuzz");
            assert!(missing.is_empty() || may_miss, "{name} lacks {missing:?}");
        }
    }

    #[test]
    fn counts_can_be_changed_and_steps_left_out() {
        let mut profile = Profile::load("ci").expect("built in");
        profile.change(&["kills=3".to_owned(), "worlds=1_000".to_owned()]).expect("known steps");
        profile.keep(&["kills".to_owned(), "worlds".to_owned()]).expect("known steps");
        let steps: Vec<_> = profile.steps().map(|(step, count)| (step.name, count)).collect();
        assert_eq!(steps, [("worlds", 1000), ("kills", 3)]);
        assert!(matches!(
            profile.change(&["kills".to_owned()]),
            Err(TortureError::Override { .. })
        ));
        let unknown = profile.change(&["skills=1".to_owned()]);
        assert!(matches!(unknown, Err(TortureError::UnknownStep { .. })));
        assert!(matches!(Profile::load("dusk"), Err(TortureError::UnknownProfile { .. })));
    }
}
