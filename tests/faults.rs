//! Faults at every place there is: the power goes at each write and each sync of every short
//! workload, and a call of each kind fails wherever it can.

use std::env;
use std::time::Duration;

use krait::sim::disk::{Call, PowerLoss};
use krait::sim::engine::Engine;
use krait::sim::judge::{BLOCK_SECTORS, Command};
use krait::sim::subject::ZeroKind;
use krait::sim::world::{Script, run_scenario, run_script};
use krait::sim::{Deed, FailsAt, Scenario};

/// The first of the blocks that the workloads share; the edge of two stripes is behind the next.
const FIRST: u64 = ((1 << wal::layout::MIN_STRIPE_SHIFT) - 2) * BLOCK_SECTORS;

/// Most commands of an enumerated workload; `KRAIT_FAULT_DEEDS` sets another number.
const MOST_DEEDS: u64 = 2;

/// Calls that fail; `KRAIT_FAULT_CALLS` sets another number.
const FAILING_CALLS: u64 = 200;

fn number(name: &str, usual: u64) -> u64 {
    let text = env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn write(first: u64, count: u64) -> Deed {
    let command = Command::Write { first: FIRST + first, count, fua: false };
    Deed { command, kind: ZeroKind::Zero }
}

fn zero(first: u64, count: u64, kind: ZeroKind) -> Deed {
    Deed { command: Command::Zero { first: FIRST + first, count, fua: false }, kind }
}

/// Every kind of command; those that change something overlap each other, and both shards.
fn alphabet() -> [Deed; 6] {
    [
        write(8, 16),
        write(13, 6),
        zero(8, 24, ZeroKind::Zero),
        zero(0, 16, ZeroKind::Discard),
        Deed { command: Command::Flush, kind: ZeroKind::Zero },
        Deed { command: Command::Cut, kind: ZeroKind::Zero },
    ]
}

/// All workloads of exactly `deeds` commands.
fn workloads(deeds: u64) -> Vec<Vec<Deed>> {
    let mut all = vec![Vec::new()];
    for _ in 0..deeds {
        let longer = |short: &Vec<Deed>| {
            let short = short.clone();
            alphabet().map(|deed| [short.clone(), vec![deed]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// Lives twice: once to have something there, and once as told.
fn live(deeds: &[Deed], rests: bool, cut_at: Option<(Call, u64)>, mode: PowerLoss) -> (u64, u64) {
    let flush = Deed { command: Command::Flush, kind: ZeroKind::Zero };
    let before = Script {
        deeds: vec![write(0, 32), flush],
        rests: false,
        full: None,
        cut_at: None,
        mode: PowerLoss::KeepAll,
    };
    let script = Script { deeds: deeds.to_vec(), rests, full: None, cut_at, mode };
    let calls = run_script::<Engine>(Scenario::calm(), &[before, script.clone()]);
    let calls = calls.unwrap_or_else(|failure| panic!("{failure}\n{script:#?}"));
    (calls.writes, calls.syncs)
}

#[test]
fn no_short_workload_loses_anything_wherever_the_power_goes() {
    let mut cuts = 0;
    let most = number("KRAIT_FAULT_DEEDS", MOST_DEEDS);
    for deeds in (1..=most).flat_map(workloads) {
        let (writes, syncs) = live(&deeds, true, None, PowerLoss::DropAll);
        let at_write = (1..=writes).map(|n| Some((Call::Write, n)));
        let at_sync = (1..=syncs).map(|n| Some((Call::Sync, n)));
        for cut_at in at_write.chain(at_sync).chain([None]) {
            for mode in PowerLoss::ALL {
                live(&deeds, cut_at.is_some(), cut_at, mode);
                cuts += 1;
            }
        }
    }
    println!("tried {most} operations at most: {cuts} power losses");
    assert!(most < MOST_DEEDS || cuts > 1000, "the workloads make {cuts} power losses only");
}

/// Nothing but the space itself brings a full log back: there is no store.
#[test]
fn a_log_goes_on_when_the_disk_has_space_again() {
    let scenario = Scenario { most_cores: 1, ..Scenario::calm() };
    for (segments, seconds) in [(1, 5), (2, 60), (3, 60)] {
        let span = Duration::from_secs(seconds);
        let script = Script::of_a_full_disk(&scenario, segments, span);
        let lived = run_script::<Engine>(scenario.clone(), &[script]);
        lived.unwrap_or_else(|failure| panic!("{segments} segments: {failure}"));
    }
}

#[test]
fn a_call_that_fails_is_the_last_that_is_believed() {
    let calls = [Call::Sync, Call::Write, Call::Open, Call::Create, Call::Read, Call::Remove];
    let cases = number("KRAIT_FAULT_CALLS", FAILING_CALLS);
    let first = number("KRAIT_FAULT_FIRST", 0);
    for case in first..first + cases {
        let call = calls[(case % calls.len() as u64) as usize];
        let nth = case / calls.len() as u64 / 2;
        let opening = (case / calls.len() as u64).is_multiple_of(2);
        let drawn = Scenario::draw(case);
        let scenario = Scenario {
            fails_at: Some(FailsAt { call, nth, opening }),
            disk_error_one_in: 0,
            take_over_one_in: 0,
            disk_loss_one_in: 0,
            life_steps: drawn.life_steps.max(3000),
            long_lives: true,
            ..drawn
        };
        if let Err(failure) = run_scenario::<Engine>(scenario, false) {
            panic!("{failure}");
        }
    }
    println!("tried {cases} calls that fail: nothing was acknowledged after them");
}
