//! What "fast" means, as data, and whether a comparison shows it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::recorder::median;
use crate::report::{Median, Report};
use crate::table::{Table, number};

/// The bars, as they are kept beside this crate.
const BARS: &str = include_str!("../bars.toml");

/// What a bar is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Figure {
    /// Operations per second, as a ratio.
    Iops,
    /// The median of latencies, as a ratio.
    P50,
    /// The server's processor time of an operation, with what it does afterwards.
    CpuUs,
    /// From the start of a killed server to its first reply.
    RecoverySeconds,
    /// Peak of its memory to the cap.
    RecoveryMemory,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bar {
    what: String,
    #[serde(default)]
    workload: String,
    figure: Figure,
    #[serde(default)]
    against: Vec<String>,
    own: Option<String>,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bars {
    bar: Vec<Bar>,
}

/// One bar beside what a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What is promised.
    pub what: String,
    /// Against whom: the best of the servers that were asked for and ran.
    pub against: String,
    /// The bar with its direction.
    pub bar: String,
    /// What was measured; none if it was not.
    pub measured: Option<f64>,
    /// As people read it.
    pub shown: String,
    /// Whether the bar is met.
    pub met: Option<bool>,
}

/// Which way a figure is to stay of its bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
    /// Nothing is promised.
    Open,
}

impl Judged {
    /// A figure beside its bar; `unit` follows both.
    #[must_use]
    pub fn new(what: &str, against: &str, measured: Option<f64>, limit: Limit, unit: &str) -> Self {
        let met = measured.and_then(|value| match limit {
            Limit::AtLeast(least) => Some(value >= least),
            Limit::AtMost(most) => Some(value <= most),
            Limit::Open => None,
        });
        let said = |value| format!("{}{unit}", number(value));
        Self {
            what: what.to_owned(),
            against: against.to_owned(),
            bar: match limit {
                Limit::AtLeast(least) => format!(">= {least}{unit}"),
                Limit::AtMost(most) => format!("<= {most}{unit}"),
                Limit::Open => "-".to_owned(),
            },
            measured,
            shown: measured.map_or_else(|| "not measured".to_owned(), said),
            met,
        }
    }

    /// `yes`, `no` or `-`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        }
    }
}

/// Judges a comparison by all bars.
///
/// # Panics
/// If the table beside this crate is malformed, which a test would have found.
#[must_use]
pub fn judge(report: &Report) -> Vec<Judged> {
    parse(BARS).iter().map(|bar| bar.judge(report)).collect()
}

/// All bars with what was measured.
#[must_use]
pub fn table(judged: &[Judged]) -> Table {
    let mut table = Table::new(&["what", "against", "bar", "measured", "met"], 2);
    for one in judged {
        let words = [&one.what, &one.against, &one.bar, &one.shown];
        let mut row: Vec<_> = words.into_iter().cloned().collect();
        row.push(one.word().to_owned());
        table.row(row);
    }
    table
}

fn parse(text: &str) -> Vec<Bar> {
    toml::from_str::<Bars>(text).expect("the table of bars is well-formed").bar
}

impl Bar {
    fn judge(&self, report: &Report) -> Judged {
        let found = self.measure(report);
        let measured = found.as_ref().map(|(value, _)| *value);
        let against = found.map_or_else(|| self.asked(), |(_, against)| against);
        let unit = match self.figure {
            Figure::Iops | Figure::P50 | Figure::RecoveryMemory => "x",
            Figure::CpuUs => " us",
            Figure::RecoverySeconds => " s",
        };
        let limit = match (self.at_least, self.at_most) {
            (Some(least), _) => Limit::AtLeast(least),
            (None, Some(most)) => Limit::AtMost(most),
            (None, None) => Limit::Open,
        };
        let mut judged = Judged::new(&self.what, &against, measured, limit, unit);
        judged.shown.push_str(&self.shortened(report));
        judged
    }

    /// A run that was shorter than its workload says so.
    fn shortened(&self, report: &Report) -> String {
        let run = report.cells.iter().filter(|cell| cell.workload == self.workload);
        let seconds = median(run.flat_map(|cell| &cell.runs).map(|run| run.seconds));
        let asked = crate::scenario::Scenario::load(&self.workload).map_or(0.0, |s| s.seconds);
        match seconds {
            Some(seconds) if seconds < asked * 0.9 => format!(" in {seconds:.1} s"),
            _ => String::new(),
        }
    }

    fn asked(&self) -> Cow<'static, str> {
        match &self.own {
            Some(own) => format!("itself, {own}").into(),
            None if self.against.is_empty() => "-".into(),
            None => self.against.join(" or ").into(),
        }
    }

    /// The figure, and against whom it is.
    fn measure(&self, report: &Report) -> Option<(f64, Cow<'static, str>)> {
        let recovery = |of: fn(&crate::recovery::Recovered) -> f64| {
            Some((median(report.recoveries.iter().map(of))?, "-".into()))
        };
        let own = || report.median(&self.workload, report.subject_in(&self.workload)?);
        match self.figure {
            Figure::RecoverySeconds => recovery(|one| one.first_read_seconds),
            Figure::RecoveryMemory => recovery(|one| one.peak_bytes as f64 / one.cap_bytes as f64),
            Figure::CpuUs => {
                let own = own()?;
                let after = own.after_us_per_op.unwrap_or(0.0);
                Some((own.server_cpu_us_per_op? + after, "-".into()))
            }
            Figure::Iops => self.ratio(report, own()?, |m| m.iops, f64::gt),
            Figure::P50 => self.ratio(report, own()?, |m| m.latency_us.p50, f64::lt),
        }
    }

    fn ratio(
        &self,
        report: &Report,
        own: &Median,
        of: fn(&Median) -> f64,
        better: fn(&f64, &f64) -> bool,
    ) -> Option<(f64, Cow<'static, str>)> {
        let other = match &self.own {
            Some(workload) => {
                let server = report.subject_in(&self.workload)?;
                (of(report.median(workload, server)?), self.asked())
            }
            None => self
                .against
                .iter()
                .filter_map(|server| {
                    let median = report.median(&self.workload, server)?;
                    Some((of(median), Cow::Owned(server.clone())))
                })
                .reduce(|best, next| if better(&next.0, &best.0) { next } else { best })?,
        };
        (other.0 > 0.0).then(|| (of(own) / other.0, other.1))
    }
}

#[cfg(test)]
#[path = "bars_tests.rs"]
mod tests;
