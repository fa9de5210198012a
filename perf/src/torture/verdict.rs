//! One table of everything that was tried.

use std::collections::BTreeSet;
use std::fmt;

use super::job::Wrong;
use super::profile::Profile;
use super::record::Record;
use crate::table::Table;

/// What came of a step.
#[derive(Debug)]
struct Row {
    name: &'static str,
    what: &'static str,
    tried: u64,
    wrong: Option<Wrong>,
    unfinished: bool,
    millis: u64,
    note: String,
    replay: String,
    commits: BTreeSet<String>,
}

/// The whole programme.
#[derive(Debug)]
pub struct Verdict {
    rows: Vec<Row>,
    /// Of the first and the last slice that ended.
    dates: Option<(String, String)>,
}

impl Verdict {
    /// Adds up the slices of each step.
    #[must_use]
    pub fn new(profile: &Profile, record: &Record) -> Self {
        let row = |(step, count): (&'static super::programme::Step, u64)| {
            let slices: Vec<_> = record.of(step).collect();
            // What failed once stays in the table, whatever passed after it.
            let worst = [Wrong::Failed, Wrong::Hung, Wrong::Skipped]
                .into_iter()
                .find_map(|wrong| slices.iter().copied().find(|slice| slice.wrong == Some(wrong)));
            let wrong = worst.and_then(|worst| worst.wrong);
            let notes: Vec<_> = slices.iter().map(|slice| slice.note.as_str()).collect();
            Row {
                name: step.name,
                what: step.what,
                tried: slices.iter().map(|slice| slice.tried).sum(),
                wrong,
                // What cannot be done here never will be.
                unfinished: wrong != Some(Wrong::Skipped)
                    && !record.missing(step, count, 1).is_empty(),
                millis: slices.iter().map(|slice| slice.millis).sum(),
                note: worst.map_or_else(|| in_each(&notes), |worst| worst.note.clone()),
                replay: worst.map_or_else(
                    || step.replay.to_owned(),
                    |worst| format!("{}; log {}", step.replay, worst.log.display()),
                ),
                commits: slices.iter().map(|slice| slice.version.commit.clone()).collect(),
            }
        };
        let ended = profile.steps().flat_map(|(step, _)| record.of(step)).map(|done| &done.ended);
        let ended: BTreeSet<_> = ended.cloned().collect();
        let dates = ended.first().cloned().zip(ended.last().cloned());
        Self { rows: profile.steps().map(row).collect(), dates }
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

    /// Steps of which something is missing.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.rows.iter().filter(|row| row.unfinished).count()
    }

    /// Which versions, and when, for the head of the table.
    #[must_use]
    pub fn provenance(&self) -> String {
        let commits: BTreeSet<_> = self.rows.iter().flat_map(|row| row.commits.clone()).collect();
        let word = if commits.len() > 1 { "commits" } else { "commit" };
        let commits = commits.into_iter().collect::<Vec<_>>().join(", ");
        let millis: u64 = self.rows.iter().map(|row| row.millis).sum();
        let dates = self.dates.as_ref();
        let dates = dates.map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
        format!("{word} {commits}{dates}, {} minutes of work", millis.div_ceil(60_000))
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
        let commits: BTreeSet<_> = self.rows.iter().flat_map(|row| &row.commits).collect();
        let several = commits.len() > 1;
        let mut head = vec!["step", "what", "seen"];
        head.extend(several.then_some("commit"));
        let text_columns = head.len();
        head.extend(["tried", "failed", "seconds"]);
        let mut table = Table::new(&head, text_columns);
        for row in &self.rows {
            let failed = match row.wrong {
                Some(Wrong::Failed) => "FAILED",
                Some(Wrong::Hung) => "HUNG",
                Some(Wrong::Skipped) => "skipped",
                None if row.unfinished => "unfinished",
                None => "0",
            };
            let mut words =
                vec![row.name.to_owned(), row.what.to_owned(), row.note.replace('|', "/")];
            if several {
                words.push(row.commits.iter().cloned().collect::<Vec<_>>().join(", "));
            }
            words.extend([row.tried.to_string(), failed.to_owned()]);
            words.push((row.millis / 1000).to_string());
            table.row(words);
        }
        table.fmt(f)
    }
}

/// What several slices say, as one: numbers that differ become a span, if nothing else differs;
/// where something else does, the longest stands for all.
fn in_each(notes: &[&str]) -> String {
    let mut notes: Vec<_> = notes.iter().filter(|note| !note.is_empty()).collect();
    notes.sort_by_key(|note| note.len());
    let Some((longest, others)) = notes.split_last() else { return String::new() };
    if others.is_empty() {
        return (**longest).to_owned();
    }
    let mut spans: Vec<_> = words(longest).map(|word| (word, word)).collect();
    for note in others {
        let same = words(note).count() == spans.len()
            && words(note)
                .zip(&spans)
                .all(|(a, (b, _))| a == *b || number(a).zip(number(b)).is_some());
        if !same {
            return format!("in one of {}: {longest}", notes.len());
        }
        for (word, (least, most)) in words(note).zip(&mut spans) {
            if number(word) < number(least) {
                *least = word;
            }
            if number(word) > number(most) {
                *most = word;
            }
        }
    }
    let spans = spans.into_iter().map(|(least, most)| match least == most {
        true => least.to_owned(),
        false => format!("{least} to {most}"),
    });
    format!("in each of {}: {}", notes.len(), spans.collect::<String>())
}

/// A note in pieces that are all digits, or have none.
fn words(note: &str) -> impl Iterator<Item = &str> {
    note.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).scan(
        0,
        |at, piece| {
            let start = *at;
            *at += piece.len();
            Some(&note[start..*at])
        },
    )
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

/// A slice, to be taken for what a test says.
#[cfg(test)]
pub(super) fn done(
    step: &str,
    first: u64,
    count: u64,
    wrong: Option<Wrong>,
) -> super::record::Done {
    let version = super::version::Version { commit: "abc1234".to_owned(), sources: "5".to_owned() };
    super::record::Done {
        step: step.to_owned(),
        target: None,
        first,
        count,
        tried: count,
        note: format!("{count} seen, none lost"),
        wrong,
        millis: 2000,
        ended: format!("2026-01-02T03:04:{:02}Z", first % 60),
        log: "x.log".into(),
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Done;
    use super::*;

    fn verdict(slices: Vec<Done>) -> Verdict {
        let mut profile = Profile::load("ci").expect("built in");
        profile.change(&["kills=60".to_owned()]).expect("a step");
        profile.keep(&["worlds".to_owned(), "kills".to_owned()]).expect("known");
        let dir = tempfile::tempdir().expect("tempdir");
        let mut record = Record::open(dir.path()).expect("an empty record");
        slices.into_iter().for_each(|slice| record.add(slice).expect("room"));
        Verdict::new(&profile, &record)
    }

    fn counts(verdict: &Verdict) -> (usize, usize, usize) {
        (verdict.violations(), verdict.skipped(), verdict.unfinished())
    }

    #[test]
    fn slices_are_added_up_and_one_that_fails_is_a_violation() {
        let worlds = || vec![done("worlds", 0, 2500, None), done("worlds", 2500, 2500, None)];
        let good = verdict([worlds(), vec![done("kills", 0, 60, None)]].concat());
        assert_eq!(counts(&good), (0, 0, 0));
        let text = good.to_string();
        assert!(text.contains(" 5000 ") && text.contains("60 seen, none lost"), "{text}");
        assert!(!text.contains("commit"), "one version needs no column: {text}");
        let head =
            "commit abc1234, 2026-01-02T03:04:00Z to 2026-01-02T03:04:40Z, 1 minutes of work";
        assert_eq!(good.provenance(), head);
        let (failed, skipped) = (Some(Wrong::Failed), Some(Wrong::Skipped));
        let bad =
            [vec![done("worlds", 0, 1, failed)], worlds(), vec![done("kills", 0, 0, skipped)]];
        let bad = verdict(bad.concat());
        assert_eq!(counts(&bad), (1, 1, 0));
        assert!(bad.to_string().contains("FAILED") && bad.replays().contains("x.log"));
    }

    #[test]
    fn what_is_missing_is_told() {
        let part = verdict(vec![done("worlds", 0, 2500, None), done("kills", 0, 60, None)]);
        assert_eq!(counts(&part), (0, 0, 1));
        assert!(part.to_string().contains("unfinished"), "{part}");
    }

    #[test]
    fn rows_tell_their_commits_if_they_differ() {
        let mut other = done("kills", 0, 60, None);
        other.version.commit = "def5678".to_owned();
        let text = verdict(vec![done("worlds", 0, 5000, None), other]).to_string();
        let row = |name: &str| text.lines().find(|line| line.contains(name)).expect("a row");
        assert!(row("worlds").contains("abc1234") && !row("worlds").contains("def"), "{text}");
        assert!(row("kills").contains("def5678"), "{text}");
    }

    #[test]
    fn notes_become_one_with_spans() {
        assert_eq!(in_each(&[]), "");
        assert_eq!(in_each(&["lost 0", ""]), "lost 0");
        let spans = in_each(&["lost 0; 9 stops", "lost 0; 100 stops", "lost 0; 12 stops"]);
        assert_eq!(spans, "in each of 3: lost 0; 9 to 100 stops");
        assert_eq!(in_each(&["took 900ms", "took 1.5s"]), "in one of 2: took 900ms");
    }
}
