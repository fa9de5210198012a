//! One table of everything that was tried.

use std::fmt;
use std::time::Duration;

use super::build::root;
use super::job::{Done, Wrong};
use super::profile::Profile;
use crate::table::Table;

/// What came of a step.
#[derive(Debug)]
struct Row {
    name: &'static str,
    what: &'static str,
    tried: u64,
    wrong: Option<Wrong>,
    span: Duration,
    note: String,
    replay: String,
}

/// The whole programme.
#[derive(Debug)]
pub struct Verdict {
    rows: Vec<Row>,
}

impl Verdict {
    /// Adds up the parts of each step.
    #[must_use]
    pub fn new(profile: &Profile, done: &[(&'static str, Done)]) -> Self {
        let row = |(step, _): (&'static super::programme::Step, u64)| {
            let parts: Vec<_> =
                done.iter().filter(|(name, _)| *name == step.name).map(|(_, done)| done).collect();
            let failed = parts.iter().find(|part| part.wrong.is_some());
            let note = failed.map_or_else(
                || parts.iter().map(|part| part.note.as_str()).max_by_key(|note| note.len()),
                |failed| Some(failed.note.as_str()),
            );
            let replay = failed.map_or_else(
                || step.replay.to_owned(),
                |failed| {
                    let log = failed.log.strip_prefix(root()).unwrap_or(&failed.log);
                    format!("{}; log {}", step.replay, log.display())
                },
            );
            Row {
                name: step.name,
                what: step.what,
                tried: parts.iter().map(|part| part.tried).sum(),
                wrong: failed.and_then(|failed| failed.wrong),
                span: parts.iter().map(|part| part.span).sum(),
                // Notes of parts would have to be added up.
                note: note.filter(|_| parts.len() == 1).unwrap_or_default().to_owned(),
                replay,
            }
        };
        Self { rows: profile.steps().map(row).collect() }
    }

    /// Steps in which a promise was broken, or that did not end.
    #[must_use]
    pub fn violations(&self) -> usize {
        let broken = |row: &&Row| matches!(row.wrong, Some(Wrong::Failed | Wrong::Hung));
        self.rows.iter().filter(broken).count()
    }

    /// Steps that this machine cannot do.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.rows.iter().filter(|row| row.wrong == Some(Wrong::Skipped)).count()
    }

    /// How to repeat each step, as a list.
    #[must_use]
    pub fn replays(&self) -> String {
        let line = |row: &Row| format!("- {}: `{}`\n", row.name, row.replay);
        self.rows.iter().map(line).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["step", "what", "seen", "tried", "failed", "seconds"], 3);
        for row in &self.rows {
            let failed = match row.wrong {
                None => "0",
                Some(Wrong::Failed) => "FAILED",
                Some(Wrong::Hung) => "HUNG",
                Some(Wrong::Skipped) => "skipped",
            };
            table.row(vec![
                row.name.to_owned(),
                row.what.to_owned(),
                row.note.replace('|', "/"),
                row.tried.to_string(),
                failed.to_owned(),
                row.span.as_secs().to_string(),
            ]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(tried: u64, wrong: Option<Wrong>) -> Done {
        let (note, log) = ("a note".to_owned(), "x.log".into());
        Done { tried, note, wrong, span: Duration::from_secs(2), log }
    }

    #[test]
    fn parts_are_added_up_and_one_that_fails_is_a_violation() {
        let mut profile = Profile::load("ci").expect("built in");
        profile.keep(&["worlds".to_owned(), "kills".to_owned()]).expect("known");
        let good =
            [("worlds", done(2500, None)), ("worlds", done(2500, None)), ("kills", done(60, None))];
        let verdict = Verdict::new(&profile, &good);
        assert_eq!((verdict.violations(), verdict.skipped()), (0, 0));
        let text = verdict.to_string();
        assert!(text.contains("5000") && text.contains("a note"), "{text}");
        let bad = [
            ("worlds", done(2500, None)),
            ("worlds", done(0, Some(Wrong::Failed))),
            ("kills", done(0, Some(Wrong::Skipped))),
        ];
        let verdict = Verdict::new(&profile, &bad);
        assert_eq!((verdict.violations(), verdict.skipped()), (1, 1));
        assert!(verdict.to_string().contains("FAILED") && verdict.replays().contains("x.log"));
    }
}
