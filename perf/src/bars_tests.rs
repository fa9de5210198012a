//! Bars of made-up reports.

use super::*;
use crate::recovery::Recovered;
use crate::report::tests::report;
use crate::scenario::Scenario;

fn bar(text: &str) -> Bar {
    parse(&format!("[[bar]]\nwhat = \"w\"\nworkload = \"w\"\n{text}")).remove(0)
}

#[test]
fn every_bar_has_one_limit_and_a_workload_that_exists() {
    let bars = parse(BARS);
    assert!(bars.len() >= 16, "only {} bars", bars.len());
    for bar in &bars {
        assert!(bar.at_least.is_some() != bar.at_most.is_some(), "{}", bar.what);
        let ratio = matches!(bar.figure, Figure::Iops | Figure::P50);
        assert_eq!(ratio, !bar.against.is_empty() || bar.own.is_some(), "{}", bar.what);
        let names = bar.own.iter().chain((!bar.workload.is_empty()).then_some(&bar.workload));
        for name in names {
            let scenario = Scenario::load(name).expect("built in");
            let peers = ["qemu-nbd", "nbdkit-file", "nbdkit-memory"];
            let runs = |server: &String| {
                let recipes = peers.iter().flat_map(|p| crate::recipe::Recipe::peers(p).expect(p));
                let bare = server == crate::bare::BARE && crate::bare::fits(&scenario);
                bare || recipes.filter(|r| r.name == *server).any(|r| r.runs(&scenario))
            };
            assert!(bar.against.iter().all(runs), "{}: a peer that does not run it", bar.what);
        }
    }
}

#[test]
fn the_best_peer_counts_and_the_limit_itself_is_met() {
    let mut report = report();
    report.cells[1].median.as_mut().expect("runs").iops = 450.0;
    report.cells.push(report.cells[1].clone());
    report.cells[2].server = "slow".to_owned();
    report.cells[2].median.as_mut().expect("runs").iops = 100.0;
    let judged = bar("figure = \"iops\"\nagainst = [\"slow\", \"peer\", \"gone\"]\nat_least = 2.0");
    let judged = judged.judge(&report);
    assert_eq!((judged.met, judged.against.as_str()), (Some(true), "peer"));
    assert_eq!((judged.shown.as_str(), judged.bar.as_str()), ("2.00x", ">= 2x"));
    let p50 = bar("figure = \"p50\"\nagainst = [\"peer\"]\nat_most = 0.2").judge(&report);
    assert_eq!(p50.met, Some(false), "{p50:?}");
}

#[test]
fn what_was_not_measured_is_neither_met_nor_missed() {
    let report = report();
    let judged = bar("figure = \"iops\"\nagainst = [\"gone\", \"away\"]\nat_least = 2.0");
    let judged = judged.judge(&report);
    assert_eq!((judged.measured, judged.met, judged.word()), (None, None, "-"));
    assert_eq!((judged.against.as_str(), judged.shown.as_str()), ("gone or away", "not measured"));
    let other = bar("figure = \"iops\"\nown = \"v\"\nat_least = 2.0").judge(&report);
    assert_eq!((other.measured, other.against.as_str()), (None, "itself, v"));
}

#[test]
fn processor_time_counts_what_is_done_later_and_recovery_is_a_median() {
    let mut report = report();
    let median = report.cells[0].median.as_mut().expect("runs");
    (median.server_cpu_us_per_op, median.after_us_per_op) = (Some(3.0), Some(1.5));
    let cpu = bar("figure = \"cpu-us\"\nat_most = 4.0").judge(&report);
    assert_eq!((cpu.measured, cpu.met, cpu.bar.as_str()), (Some(4.5), Some(false), "<= 4 us"));
    for seconds in [3.0, 1.0, 2.0] {
        let (wal_bytes, peak_bytes, cap_bytes) = (1 << 30, 50, 100);
        let (ready_seconds, first_read_seconds) = (seconds / 2.0, seconds);
        report.recoveries.push(Recovered {
            wal_bytes,
            ready_seconds,
            first_read_seconds,
            peak_bytes,
            cap_bytes,
        });
    }
    let seconds = bar("figure = \"recovery-seconds\"\nat_most = 2.0").judge(&report);
    assert_eq!((seconds.measured, seconds.met), (Some(2.0), Some(true)));
    let memory = bar("figure = \"recovery-memory\"\nat_most = 1.0").judge(&report);
    assert_eq!(memory.shown, "0.50x");
    assert_eq!(table(&[seconds, memory]).rows().count(), 3);
}
