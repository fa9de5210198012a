//! The simulation must be able to fail: each flaw of the naive device is found, by what it breaks.

use krait::sim::Scenario;
use krait::sim::judge::Verdict;
use krait::sim::naive::{Naive, flaw};
use krait::sim::world::{Fault, run, run_scenario};

/// Seeds in which a flaw must show.
const SEEDS: u64 = 200;

/// The first fault that a flaw shows, with its seed.
fn found<const FLAW: u8>() -> (u64, Fault) {
    let first = (0..SEEDS).find_map(|seed| Some((seed, run::<Naive<FLAW>>(seed, false).err()?)));
    let (seed, failure) = first.unwrap_or_else(|| panic!("flaw {FLAW} not found in {SEEDS} seeds"));
    println!("flaw {FLAW}: seed {seed}: {}", failure.fault);
    (seed, failure.fault)
}

fn verdict<const FLAW: u8>() -> Verdict {
    match found::<FLAW>().1 {
        Fault::Violation(violation) => violation.verdict,
        other => panic!("{other}"),
    }
}

fn is_loss(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::LostWrite | Verdict::SilentZeros | Verdict::Unseen)
}

#[test]
fn a_flush_without_sync_is_found() {
    assert!(is_loss(verdict::<{ flaw::FLUSH_WITHOUT_SYNC }>()));
}

#[test]
fn a_fua_write_without_sync_is_found() {
    assert!(is_loss(verdict::<{ flaw::FUA_WITHOUT_SYNC }>()));
}

#[test]
fn a_replay_in_the_wrong_order_is_found() {
    assert!(is_loss(verdict::<{ flaw::REPLAY_BACKWARDS }>()));
}

#[test]
fn a_replay_of_torn_records_is_found() {
    let verdict = verdict::<{ flaw::NO_CHECKSUM }>();
    let torn = [Verdict::Torn, Verdict::TornBlock, Verdict::SilentZeros, Verdict::LostWrite];
    assert!(torn.contains(&verdict), "{verdict:?}");
}

#[test]
fn a_log_reclaimed_too_early_is_found() {
    assert!(is_loss(verdict::<{ flaw::RECLAIM_BEFORE_PUBLISH }>()));
}

#[test]
fn zeros_in_place_of_an_unreadable_snapshot_are_found() {
    assert_eq!(verdict::<{ flaw::EMPTY_ON_STORE_ERROR }>(), Verdict::SilentZeros);
}

#[test]
fn zeroes_that_are_not_replayed_are_found() {
    assert!(is_loss(verdict::<{ flaw::ZEROES_NOT_REPLAYED }>()));
}

#[test]
fn a_failed_sync_that_is_believed_is_found() {
    assert!(is_loss(verdict::<{ flaw::SYNC_RETRIED }>()));
}

#[test]
fn a_world_without_progress_is_found() {
    let (_, fault) = found::<{ flaw::GATE_KEPT }>();
    assert!(matches!(fault, Fault::Stuck(_)), "{fault}");
}

#[test]
fn an_answer_before_the_work_is_found() {
    let verdict = verdict::<{ flaw::ANSWERS_FIRST }>();
    assert!(is_loss(verdict) || verdict == Verdict::StaleRead, "{verdict:?}");
}

#[test]
fn a_panic_is_found() {
    let (_, fault) = found::<{ flaw::PANICS }>();
    assert!(matches!(fault, Fault::Panic(_)), "{fault}");
}

/// Worlds in which every second crash takes the disk with it: the naive device then opens from its
/// newest snapshot, which is a prefix of its history.
#[test]
fn a_device_that_opens_from_the_store_passes_the_loss_of_its_disk() {
    for seed in 0..SEEDS {
        let scenario = Scenario { disk_loss_one_in: 2, ..Scenario::draw(seed) };
        if let Err(failure) = run_scenario::<Naive<{ flaw::NONE }>>(scenario, false) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_snapshot_that_is_no_prefix_is_found() {
    let broken = (0..SEEDS).filter_map(|seed| {
        let scenario = Scenario { disk_loss_one_in: 2, ..Scenario::draw(seed) };
        run_scenario::<Naive<{ flaw::MIXED_SNAPSHOT }>>(scenario, false).err()
    });
    let faults: Vec<_> = broken.map(|failure| failure.fault).collect();
    let is_prefix = |fault: &Fault| matches!(fault, Fault::Violation(violation) if violation.verdict == Verdict::BrokenPrefix);
    assert!(faults.iter().any(is_prefix), "{faults:?}");
}
