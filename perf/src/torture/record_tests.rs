//! What is missing, what is refused, and what outlives an interruption.

use super::super::programme::STEPS;
use super::super::verdict::done;
use super::*;

fn step(name: &str) -> &'static Step {
    STEPS.iter().find(|step| step.name == name).expect("it is there")
}

fn profile(words: &[&str]) -> Profile {
    let mut profile = Profile::load("nightly").expect("built in");
    let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    profile.change(&words).expect("known steps");
    let names: Vec<_> = words
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect();
    profile.keep(&names).expect("known steps");
    profile
}

/// From where to where each goes.
fn ranges(jobs: &[Job]) -> Vec<(u64, u64)> {
    jobs.iter().map(|job| (job.first, job.first + job.count)).collect()
}

#[test]
fn a_step_is_split_into_numbers_without_gap_or_overlap() {
    let dir = tempfile::tempdir().expect("tempdir");
    let record = Record::open(dir.path()).expect("an empty record");
    for name in ["worlds", "operations"] {
        for count in [1, 7, 5000, 20_000_001] {
            let mut next = 0;
            for job in record.missing(step(name), count, 2) {
                assert_eq!(job.first, next);
                next += job.count;
            }
            assert_eq!(next, count, "{name}");
        }
    }
    assert_eq!(record.missing(step("worlds"), 5000, 2).len(), 2, "both processors are busy");
    assert_eq!(ranges(&record.missing(step("memory"), 100, 2)), [(0, 100)]);
}

#[test]
fn a_run_goes_on_with_exactly_what_is_missing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut record = Record::open(dir.path()).expect("an empty record");
    for (first, count) in [(10_000, 5000), (0, 4000), (17_000, 1000)] {
        record.add(done("worlds", first, count, None)).expect("room");
    }
    record.add(done("memory", 0, 10, None)).expect("room");
    drop(record);
    let record = Record::open(dir.path()).expect("what was written");
    let missing = ranges(&record.missing(step("worlds"), 20_000, 2));
    assert_eq!(missing, [(4000, 9000), (9000, 10_000), (15_000, 17_000), (18_000, 20_000)]);
    assert_eq!(ranges(&record.missing(step("worlds"), 3000, 2)), []);
    assert_eq!(ranges(&record.missing(step("memory"), 10, 2)), []);
    assert_eq!(ranges(&record.missing(step("memory"), 11, 2)), [(0, 11)], "one piece, or none");
}

/// As of a step in one piece that ran again with a larger count.
#[test]
fn what_was_done_twice_hides_nothing_and_opens_no_gap() {
    let left = |done: &[(u64, u64)]| {
        let gaps = gaps(100, done.iter().map(|&(start, end)| start..end));
        gaps.into_iter().map(|gap| (gap.start, gap.end)).collect::<Vec<_>>()
    };
    assert_eq!(left(&[(0, 100), (50, 60)]), []);
    assert_eq!(left(&[(0, 60), (0, 10), (20, 30)]), [(60, 100)]);
    assert_eq!(left(&[(90, 200)]), [(0, 90)]);
}

#[test]
fn a_failure_stays_and_what_was_skipped_is_tried_again() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut record = Record::open(dir.path()).expect("an empty record");
    record.add(done("kills", 0, 9, Some(Wrong::Failed))).expect("room");
    record.add(done("power-cuts", 0, 9, Some(Wrong::Skipped))).expect("room");
    drop(record);
    let record = Record::open(dir.path()).expect("what was written");
    assert_eq!(ranges(&record.missing(step("kills"), 9, 1)), []);
    assert_eq!(record.of(step("kills")).next().and_then(|done| done.wrong), Some(Wrong::Failed));
    assert_eq!(ranges(&record.missing(step("power-cuts"), 9, 1)), [(0, 9)]);
}

#[test]
fn each_decoder_has_its_own_seconds_and_all_get_some_first() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut record = Record::open(dir.path()).expect("an empty record");
    let (fuzz, targets) = (step("fuzz"), targets());
    let whole = record.missing(fuzz, 1800, 2);
    assert!(whole.len() > targets.len(), "{} slices", whole.len());
    let begun: Vec<_> = whole.iter().take(targets.len()).map(|job| job.target.clone()).collect();
    assert_eq!(begun, targets.iter().cloned().map(Some).collect::<Vec<_>>());
    let first = Some(targets[0].clone());
    record.add(Done { target: first.clone(), ..done("fuzz", 0, 1800, None) }).expect("room");
    let rest = record.missing(fuzz, 1800, 2);
    assert!(rest.iter().all(|job| job.target != first));
    let seconds: u64 = rest.iter().map(|job| job.count).sum();
    assert_eq!(seconds, 1800 * (targets.len() as u64 - 1));
}

#[test]
fn other_sources_are_refused_for_the_steps_that_are_asked_for() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut record = Record::open(dir.path()).expect("an empty record");
    let old = done("kills", 0, 9, None);
    let mut here = old.version.clone();
    record.add(old).expect("room");
    let both = profile(&["kills=9", "worlds=9"]);
    record.only_of(&both, &here).expect("the same");
    // A commit that changes nothing but documents.
    here.commit = "def5678".to_owned();
    record.only_of(&both, &here).expect("the same sources");
    here.sources = "6".to_owned();
    let refused = record.only_of(&both, &here).expect_err("other sources").to_string();
    for part in ["kills", "abc1234", "def5678", "--accept-other-versions"] {
        assert!(refused.contains(part), "{part} is not in: {refused}");
    }
    record.only_of(&profile(&["worlds=9"]), &here).expect("another step");
}

#[test]
fn a_step_begins_anew_and_the_others_stay() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut record = Record::open(dir.path()).expect("an empty record");
    record.add(done("kills", 0, 9, None)).expect("room");
    record.add(done("worlds", 0, 9, None)).expect("room");
    assert_eq!(record.forget(&profile(&["kills=9"])).expect("room"), 1);
    drop(record);
    let record = Record::open(dir.path()).expect("what was written");
    assert_eq!((record.of(step("kills")).count(), record.of(step("worlds")).count()), (0, 1));
    let before = fs::read_to_string(dir.path().join("before.json")).expect("the old file");
    assert!(before.contains("kills"));
}

#[test]
fn a_record_is_written_whole_and_read_by_one_process() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut record = Record::open(dir.path()).expect("an empty record");
    assert!(matches!(Record::open(dir.path()), Err(TortureError::Busy { .. })));
    // What a writer leaves that was cut off.
    fs::write(dir.path().join("results.new"), "[{\"step\":").expect("a file");
    record.add(done("kills", 0, 9, None)).expect("room");
    assert!(!dir.path().join("results.new").exists(), "renamed");
    drop(record);
    fs::write(dir.path().join("results.new"), "[{\"step\":").expect("a file");
    let record = Record::open(dir.path()).expect("the last whole one");
    assert_eq!(record.of(step("kills")).count(), 1);
    drop(record);
    fs::write(dir.path().join(FILE), "[{\"step\":").expect("a file");
    assert!(matches!(Record::open(dir.path()), Err(TortureError::Record { .. })));
}
