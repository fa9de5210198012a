//! Medians, ratios and tables of made-up runs.

use super::*;
use crate::recorder::{Kind, Recorder};

fn run(latency_us: u64, count: u64) -> Measured {
    let mut recorder = Recorder::new(4096).expect("bounds");
    for _ in 0..count {
        recorder.record(Kind::Write, latency_us * 1000, 0);
    }
    recorder.summary(1.0, 0.5)
}

fn cell(server: &str, runs: Vec<Measured>) -> Cell {
    let workload = "w".to_owned();
    let after_us_per_op = vec![1.0; runs.len()];
    let mut cell =
        Cell { workload, server: server.to_owned(), runs, after_us_per_op, median: None };
    cell.sum_up();
    cell
}

pub(crate) fn report() -> Report {
    let facts = |name: &str, subject| ServerFacts {
        name: name.to_owned(),
        subject,
        command: "run DIR".to_owned(),
        peak_rss_bytes: 3 << 20,
    };
    Report {
        host: Host { runs: 3, seconds: 1.0, ..Host::look(1, &[], "1G".to_owned()) },
        servers: vec![facts("krait", true), facts("peer", false)],
        cells: vec![
            cell("krait", vec![run(10, 900), run(10, 300), run(20, 1000)]),
            cell("peer", vec![run(40, 300), run(20, 300), run(50, 300)]),
        ],
        recoveries: Vec::new(),
        bars: Vec::new(),
        descriptions: [("w".to_owned(), "writes".to_owned())].into(),
    }
}

#[test]
fn medians_are_taken_figure_by_figure() {
    let report = report();
    let median = report.cells[0].median.expect("runs");
    assert!((median.iops - 900.0).abs() < 1e-9);
    assert!((median.iops_spread_percent - 350.0 / 9.0).abs() < 0.1);
    assert!((median.latency_us.p50 - 10.0).abs() < 0.1);
    assert_eq!(cell("none", Vec::new()).median.map(|m| m.iops), None);
}

#[test]
fn ratios_are_the_subject_over_each_other_row() {
    let text = report().table().to_string();
    let rows: Vec<_> = text.lines().collect();
    assert!(rows[0].contains("krait IOPS ratio"), "{text}");
    assert!(!rows[2].contains('x'), "{text}");
    assert!(rows[3].contains("3.00x") && rows[3].contains("0.25x"), "{text}");
}

#[test]
fn without_a_subject_no_ratios_are_printed() {
    let mut report = report();
    report.servers[0].subject = false;
    assert!(!report.table().to_string().contains("ratio"));
    assert!(report.server_table().to_string().contains("3.00"));
    assert!(report.summary().contains("servers on all cores"));
}

#[test]
fn curves_are_medians_as_far_as_all_runs_go() {
    let cell = cell("krait", vec![run(10, 100), run(30, 1000), run(20, 100)]);
    let curve = cell.curve_us();
    assert_eq!(curve.len(), 21);
    assert!(curve.iter().all(|us| (us - 20.0).abs() < 0.1), "{curve:?}");
}

#[test]
fn each_workload_is_named_once_with_the_subject_that_ran_it() {
    let mut report = report();
    report.servers.insert(0, ServerFacts { name: "other".to_owned(), ..report.servers[0].clone() });
    assert_eq!(report.workloads().collect::<Vec<_>>(), ["w"]);
    assert_eq!(report.subject_in("w"), Some("krait"), "the first subject did not run it");
    assert_eq!(report.subject_in("v"), None);
    assert_eq!((report.description("w"), report.description("v")), (Some("writes"), None));
}

#[test]
fn reports_survive_json() {
    let report = report();
    let text = serde_json::to_string(&report).expect("serialize");
    let again: Report = serde_json::from_str(&text).expect("parse");
    assert_eq!(again.cells[0].runs, report.cells[0].runs);
}
