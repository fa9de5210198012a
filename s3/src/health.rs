//! Whether the store answers.

use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

/// How the store is, as far as its requests tell.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct S3Health {
    /// The first failed attempt since the last answer, if there is one: since then it is down.
    pub failing_since: Option<SystemTime>,
    /// The last failed attempt: what was wrong, and when.
    pub last_error: Option<(String, SystemTime)>,
}

/// The live state.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<S3Health>);

impl Health {
    /// A request was answered.
    pub(crate) fn succeeded(&self) {
        self.state().failing_since = None;
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, cause: &dyn std::fmt::Display, now: SystemTime) {
        let mut state = self.state();
        state.failing_since.get_or_insert(now);
        state.last_error = Some((cause.to_string(), now));
    }

    pub(crate) fn read(&self) -> S3Health {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, S3Health> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_fails_since_the_first_failure_after_the_last_answer() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let health = Health::default();
        assert_eq!(health.read(), S3Health::default());
        health.failed(&"one", at(1));
        health.failed(&"two", at(2));
        let failing_since = Some(at(1));
        let last_error = Some(("two".to_owned(), at(2)));
        assert_eq!(health.read(), S3Health { failing_since, last_error: last_error.clone() });
        health.succeeded();
        assert_eq!(health.read(), S3Health { failing_since: None, last_error });
    }
}
