//! Workloads as TOML files.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{
    MAX_BLOCK_BYTES, MAX_CONNECTIONS, MAX_QUEUE_DEPTH, PATTERN_BYTES, SECTOR_BYTES,
};
use crate::size::ByteSize;

/// Order of the offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Uniform over the region.
    Random,
    /// Ascending; each connection walks its own equal part of the region, round and round.
    Sequential,
    /// Nine of ten in the first tenth of the region, uniform within, the others in the rest of it.
    HotCold,
}

/// When FLUSH is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlushPolicy {
    /// Not in the timed part.
    #[default]
    Never,
    /// After each write's reply; the operation ends with the reply to the FLUSH.
    AfterEachWrite,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, the row in tables.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Order of the offsets.
    pub pattern: Pattern,
    /// Bytes per second at most; latencies then count the pauses of the client.
    #[serde(default)]
    pub rate: Option<ByteSize>,
    /// Share of reads, 0 to 100; the others are writes.
    pub read_percent: u8,
    /// Length of each request.
    pub block_size: ByteSize,
    /// Operations in flight on each connection.
    #[serde(default = "one")]
    pub queue_depth: u32,
    /// Connections, all driven by one thread.
    #[serde(default = "one")]
    pub connections: u32,
    /// When FLUSH is sent.
    #[serde(default)]
    pub flush: FlushPolicy,
    /// Writes carry the FUA flag.
    #[serde(default)]
    pub fua: bool,
    /// Length of the timed part.
    #[serde(default = "five")]
    pub seconds: f64,
    /// Length of the untimed part before it.
    #[serde(default = "half")]
    pub warmup_seconds: f64,
    /// Only the first bytes of the export are used; the whole if missing.
    #[serde(default)]
    pub region: Option<ByteSize>,
    /// The region is written once before the load, so that no request meets a hole.
    #[serde(default = "yes")]
    pub prefill: bool,
    /// Start of all random numbers.
    #[serde(default)]
    pub seed: u64,
    /// Every read is compared with what was written last.
    #[serde(default)]
    pub verify: bool,
    /// Reads go to the disk: who takes part bypasses the page cache, or has it dropped all the time.
    #[serde(default)]
    pub uncached: bool,
}

/// Why a scenario was refused.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file and no built-in name.
    #[error("`{name}` is neither a file nor a built-in scenario; built in are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// Not a TOML scenario.
    #[error("scenario {path} is malformed")]
    Malformed {
        /// The file or built-in name.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A value out of range.
    #[error("scenario {name}: {field} must be {expected}")]
    Range {
        /// The scenario.
        name: String,
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: String,
    },
}

/// The built-in scenarios, in the order of the tables.
const BUILT_IN: [(&str, &str); 16] = [
    ("randwrite-4k-qd1", include_str!("../scenarios/randwrite-4k-qd1.toml")),
    ("randwrite-4k-qd32", include_str!("../scenarios/randwrite-4k-qd32.toml")),
    ("randwrite-4k-qd32-60s", include_str!("../scenarios/randwrite-4k-qd32-60s.toml")),
    ("randread-4k-qd1", include_str!("../scenarios/randread-4k-qd1.toml")),
    ("randread-4k-qd32", include_str!("../scenarios/randread-4k-qd32.toml")),
    ("randread-4k-qd32-uncached", include_str!("../scenarios/randread-4k-qd32-uncached.toml")),
    ("mixed-4k-4c", include_str!("../scenarios/mixed-4k-4c.toml")),
    ("mixedflush-4k-4c", include_str!("../scenarios/mixedflush-4k-4c.toml")),
    ("writeflush-4k-qd1", include_str!("../scenarios/writeflush-4k-qd1.toml")),
    ("writeflush-4k-16c", include_str!("../scenarios/writeflush-4k-16c.toml")),
    ("seqwrite-128k", include_str!("../scenarios/seqwrite-128k.toml")),
    ("seqwrite-1m", include_str!("../scenarios/seqwrite-1m.toml")),
    ("seqwrite-1m-30s", include_str!("../scenarios/seqwrite-1m-30s.toml")),
    ("seqread-128k", include_str!("../scenarios/seqread-128k.toml")),
    ("seqread-1m", include_str!("../scenarios/seqread-1m.toml")),
    ("oltp", include_str!("../scenarios/oltp.toml")),
];

/// Names of the scenarios that a comparison runs.
pub fn compared() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).filter(|name| *name != "oltp")
}

impl Scenario {
    /// Reads a scenario by built-in name or path.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        let path = Path::new(name_or_path);
        if let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(path, text);
        }
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                let known = known.join(", ");
                Err(ScenarioError::Unknown { name: name_or_path.to_owned(), known })
            }
            Err(source) => Err(ScenarioError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|source| ScenarioError::Malformed {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks every range that does not depend on the export.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let refuse = |field, expected: String| {
            Err(ScenarioError::Range { name: self.name.clone(), field, expected })
        };
        let unit = if self.verify { PATTERN_BYTES } else { SECTOR_BYTES };
        let block = self.block_size.bytes();
        if block == 0 || block > MAX_BLOCK_BYTES || !block.is_multiple_of(unit) {
            let most = ByteSize::new(MAX_BLOCK_BYTES);
            return refuse("block_size", format!("a multiple of {unit} up to {most}"));
        }
        if self.read_percent > 100 {
            return refuse("read_percent", "from 0 to 100".to_owned());
        }
        if !(1..=MAX_QUEUE_DEPTH).contains(&self.queue_depth) {
            return refuse("queue_depth", format!("from 1 to {MAX_QUEUE_DEPTH}"));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return refuse("connections", format!("from 1 to {MAX_CONNECTIONS}"));
        }
        if !(self.seconds > 0.0 && self.seconds <= 86_400.0) {
            return refuse("seconds", "more than 0 and at most 86400".to_owned());
        }
        if !(0.0..=86_400.0).contains(&self.warmup_seconds) {
            return refuse("warmup_seconds", "from 0 to 86400".to_owned());
        }
        if self.region.is_some_and(|r| !r.bytes().is_multiple_of(PATTERN_BYTES)) {
            return refuse("region", format!("a multiple of {PATTERN_BYTES}"));
        }
        if self.rate.is_some_and(|rate| rate.bytes() == 0) {
            return refuse("rate", "more than 0".to_owned());
        }
        if self.verify && !self.prefill {
            return refuse("prefill", "true where reads are verified".to_owned());
        }
        Ok(())
    }

    /// Some operations are reads.
    #[must_use]
    pub const fn reads(&self) -> bool {
        self.read_percent > 0
    }

    /// Some operations are writes.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.read_percent < 100
    }

    /// Writes are made durable one by one.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.writes() && (self.fua || self.flush == FlushPolicy::AfterEachWrite)
    }

    /// The timed part.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// The untimed part before it.
    #[must_use]
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_seconds)
    }
}

const fn one() -> u32 {
    1
}

const fn five() -> f64 {
    5.0
}

const fn half() -> f64 {
    0.5
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str =
        "name = \"s\"\npattern = \"random\"\nread_percent = 0\nblock_size = \"4K\"\n";

    fn parse(more: &str) -> Result<Scenario, ScenarioError> {
        Scenario::parse(Path::new("s.toml"), &format!("{SMALLEST}{more}"))
    }

    #[test]
    fn every_built_in_scenario_is_valid_and_named_as_its_file() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::load(name).expect(name);
            assert_eq!(scenario.name, name);
            assert!(!scenario.description.is_empty(), "{name}");
        }
        assert_eq!(compared().count(), BUILT_IN.len() - 1);
    }

    #[test]
    fn defaults_are_one_plain_prefilled_connection() {
        let scenario = parse("").expect("valid");
        assert_eq!((scenario.queue_depth, scenario.connections), (1, 1));
        assert_eq!(scenario.flush, FlushPolicy::Never);
        assert!(scenario.prefill && !scenario.verify && !scenario.fua && !scenario.durable());
        assert!(parse("flush = \"after-each-write\"").expect("valid").durable());
    }

    #[test]
    fn unknown_keys_and_names_are_refused_with_what_exists() {
        let error = parse("queue_dept = 3").expect_err("unknown key");
        let source = std::error::Error::source(&error).expect("source").to_string();
        assert!(source.contains("queue_depth"), "{source}");
        let error = Scenario::load("nonsense").expect_err("unknown name");
        assert!(error.to_string().contains("randread-4k-qd1"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_field() {
        let cases = [
            ("queue_depth = 0", "queue_depth"),
            ("queue_depth = 1025", "queue_depth"),
            ("connections = 0", "connections"),
            ("seconds = 0.0", "seconds"),
            ("seconds = nan", "seconds"),
            ("warmup_seconds = -1.0", "warmup_seconds"),
            ("region = 5000", "region"),
            ("rate = 0", "rate"),
            ("verify = true\nprefill = false", "prefill"),
        ];
        for (line, name) in cases {
            match parse(line) {
                Err(ScenarioError::Range { field, .. }) => assert_eq!(field, name, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        for (percent, block, verify) in [(101, 4096, false), (0, 100, false), (0, 512, true)] {
            let mut scenario = parse("").expect("valid");
            scenario.read_percent = percent;
            scenario.block_size = ByteSize::new(block);
            scenario.verify = verify;
            assert!(matches!(scenario.check(), Err(ScenarioError::Range { .. })));
        }
    }
}
