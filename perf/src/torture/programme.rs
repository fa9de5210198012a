//! The steps of the programme. What each must show stands with its test.

/// One step: a test with a count.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in profiles and on the command line.
    pub name: &'static str,
    /// What is tried, for the report; the unit of the count comes first.
    pub what: &'static str,
    /// What runs.
    pub tool: Tool,
    /// The variable that takes the count.
    pub count: &'static str,
    /// How the count may be split into slices, which are recorded as they end.
    pub parts: Parts,
    /// Whether nothing else may run meanwhile: it measures, or needs the machine for itself.
    pub alone: bool,
    /// How a failure is repeated; the log of the run has the numbers.
    pub replay: &'static str,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// A test of the root package: its target and the start of its name.
    Test(&'static str, &'static str),
    /// The same, built with the bugs that can be planted.
    Planted(&'static str, &'static str),
    /// Every target of cargo-fuzz, one after the other.
    Fuzz,
}

/// How a count is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Not at all.
    Whole,
    /// Into runs of numbers, of so many at most that there is progress to see; this variable takes
    /// the first one.
    From(&'static str, u64),
    /// Into repetitions that draw their own numbers, of so many at most that each ends in minutes.
    Times(u64),
}

const WHOLE: Parts = Parts::Whole;

const fn step(
    name: &'static str,
    what: &'static str,
    tool: Tool,
    count: &'static str,
    replay: &'static str,
) -> Step {
    Step { name, what, tool, count, parts: WHOLE, alone: false, replay }
}

impl Step {
    const fn from(self, first: &'static str, most: u64) -> Self {
        Self { parts: Parts::From(first, most), ..self }
    }

    const fn times(self, most: u64) -> Self {
        Self { parts: Parts::Times(most), ..self }
    }

    const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }
}

const WORLD: &str = "KRAIT_SIM_SEED=N cargo test --test sim nothing_is_lost -- --nocapture";
const S3: &str = "KRAIT_SEED=N cargo test --test s3 NAME";

/// All of them: first those that share the machine, then those that need it.
pub const STEPS: &[Step] = &[
    step(
        "worlds",
        "simulated worlds, each with at least three crashes",
        Tool::Test("sim", "nothing_is_lost_in_any_world"),
        "KRAIT_SIM_SEEDS",
        WORLD,
    )
    .from("KRAIT_SIM_FIRST", 5000),
    step(
        "store-worlds",
        "simulated worlds over a store that fails and lies",
        Tool::Test("sim", "nothing_is_lost_over_a_store_that_fails_and_lies"),
        "KRAIT_SIM_STORE_SEEDS",
        "KRAIT_SIM_FIRST=N KRAIT_SIM_STORE_SEEDS=1 cargo test --test sim over_a_store -- --nocapture",
    )
    .from("KRAIT_SIM_FIRST", 2500),
    step(
        "twice",
        "worlds run twice, with equal traces",
        Tool::Test("sim", "a_seed_run_twice_gives_the_same_trace"),
        "KRAIT_SIM_TWICE",
        WORLD,
    ),
    step(
        "enumeration",
        "operations at most in all short workloads, the power cut at every write and sync in 6 ways",
        Tool::Test("faults", "no_short_workload_loses_anything"),
        "KRAIT_FAULT_DEEDS",
        "cargo test --test faults no_short_workload",
    ),
    step(
        "failing-calls",
        "calls of a simulated disk that fail: sync, write, open, create, read, remove",
        Tool::Test("faults", "a_call_that_fails_is_the_last_that_is_believed"),
        "KRAIT_FAULT_CALLS",
        "cargo test --test faults a_call_that_fails",
    )
    .from("KRAIT_FAULT_FIRST", 1000),
    step(
        "corruptions",
        "damaged places in every field of everything that is stored",
        Tool::Test("corruption", "damage_is_detected_or_harmless"),
        "KRAIT_CORRUPTIONS",
        "KRAIT_CORRUPTION=N cargo test --test corruption damage",
    ),
    step(
        "planted",
        "planted bugs that the simulation must find",
        Tool::Planted("sim_planted", "every_planted_bug_is_found"),
        "KRAIT_PLANTS",
        "KRAIT_PLANT=NAME cargo test --features planted --test sim_planted every -- --nocapture",
    )
    .from("KRAIT_PLANTS_FIRST", 5),
    step(
        "decoders",
        "seconds of changed inputs for each decoder",
        Tool::Test("decoders", "every_decoder_takes_anything"),
        "KRAIT_FUZZ_SECONDS",
        "KRAIT_FUZZ_TARGET=NAME KRAIT_FUZZ_FILE=PATH cargo test --test decoders anything",
    ),
    step(
        "fuzz",
        "seconds of cargo-fuzz for each decoder",
        Tool::Fuzz,
        "",
        "cd tests/fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . NAME PATH",
    )
    .times(600),
    step(
        "kills",
        "kills of a real server with 8 clients",
        Tool::Test("kill", "nothing_flushed_is_lost_by_any_kill"),
        "KRAIT_KILLS",
        "KRAIT_SEED=N cargo test --test kill nothing_flushed",
    )
    .times(100)
    .alone(),
    step(
        "long-logs",
        "restarts with a log of 1 GiB",
        Tool::Test("kill", "restart::a_log_of_one_gibibyte"),
        "KRAIT_LONG_LOGS",
        "cargo test --test kill a_log_of_one",
    )
    .alone(),
    step(
        "power-cuts",
        "power cuts of a real server: its file system is shut down without its journal",
        Tool::Test("kill", "power::nothing_flushed_is_lost_with_the_power"),
        "KRAIT_POWER_CUTS",
        "KRAIT_SEED=N cargo test --test kill with_the_power",
    )
    .times(50)
    .alone(),
    step(
        "failing-disk",
        "rounds of errors of a real disk: sync, write, open",
        Tool::Test("kill", "errors::an_error_of_the_disk"),
        "KRAIT_DISK_ERRORS",
        "KRAIT_SEED=N cargo test --test kill an_error_of_the_disk",
    )
    .alone(),
    step(
        "full-disk",
        "fills of a small real file system",
        Tool::Test("limits", "full_disk::a_full_disk"),
        "KRAIT_FILLS",
        "cargo test --test limits full_disk",
    )
    .times(10)
    .alone(),
    step(
        "faulty-bucket",
        "lives over a real S3 protocol that fails and lies, the disk lost after each",
        Tool::Test("s3", "faulty::nothing_is_lost_over_a_bucket"),
        "KRAIT_S3_FAULTY",
        S3,
    )
    .times(25)
    .alone(),
    step(
        "outage",
        "seconds of outage of the bucket at full load",
        Tool::Test("s3", "outage::an_outage_at_full_load"),
        "KRAIT_S3_OUTAGE",
        S3,
    )
    .alone(),
    step(
        "disk-losses",
        "losses of the local disk, opened elsewhere from the bucket",
        Tool::Test("s3", "loss::a_volume_whose_disk_was_lost"),
        "KRAIT_S3_LOSSES",
        S3,
    )
    .times(50)
    .alone(),
    step(
        "take-overs",
        "take-overs from a host that was stopped and goes on",
        Tool::Test("s3", "two_hosts::the_host_that_lost_a_volume"),
        "KRAIT_S3_TAKEOVERS",
        S3,
    )
    .times(50)
    .alone(),
    step(
        "lease-take-overs",
        "the same with leases",
        Tool::Test("s3", "two_hosts::a_host_without_a_lease"),
        "KRAIT_S3_TAKEOVERS",
        S3,
    )
    .times(25)
    .alone(),
    step(
        "races",
        "races of two hosts for one volume",
        Tool::Test("s3", "two_hosts::of_two_hosts_that_open"),
        "KRAIT_S3_RACES",
        S3,
    )
    .alone(),
    step(
        "operations",
        "operations of 8 connections that overlap, with snapshots and reconnects",
        Tool::Test("live", "every_reply_fits"),
        "KRAIT_LIVE_OPS",
        "KRAIT_SEED=N cargo test --test live every_reply",
    )
    .times(2_000_000)
    .alone(),
    step(
        "grammar",
        "seconds of clients that break the protocol beside honest ones",
        Tool::Test("live", "clients_that_break_the_protocol"),
        "KRAIT_GRAMMAR_SECONDS",
        "KRAIT_SEED=N cargo test --test live break_the_protocol",
    )
    .times(300)
    .alone(),
    step(
        "memory",
        "GiB written at full speed under the smallest memory cap",
        Tool::Test("limits", "resources::memory_stays_under_its_cap"),
        "KRAIT_WRITE_GIB",
        "cargo test --test limits memory_stays",
    )
    .alone(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
