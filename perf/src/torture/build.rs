//! Builds the tests, and finds their programs.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::TortureError;
use super::fuzzer::Fuzzer;
use super::programme::{Step, Tool};

/// Where the workspace is.
#[must_use]
pub fn root() -> PathBuf {
    let own = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_owned)
}

/// Cargo, as it was that started this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// What runs the steps.
#[derive(Debug, Default)]
pub struct Programs {
    /// The programs of the tests, with planted bugs or without.
    tests: BTreeMap<(&'static str, bool), PathBuf>,
    /// How to run cargo-fuzz, or why not, if a step needs it.
    fuzzer: Option<Result<Fuzzer, String>>,
}

/// What cargo says of a program that it built.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Programs {
    /// Builds what the steps need; cargo's own progress goes to the terminal.
    ///
    /// # Errors
    /// If a test does not build.
    pub fn build(steps: &[&'static Step]) -> Result<Self, TortureError> {
        let mut programs = Self::default();
        for planted in [false, true] {
            let mut tests: Vec<_> = steps
                .iter()
                .filter_map(|step| match step.tool {
                    Tool::Test(test, _) if !planted => Some(test),
                    Tool::Planted(test, _) if planted => Some(test),
                    Tool::Test(..) | Tool::Planted(..) | Tool::Fuzz => None,
                })
                .collect();
            tests.sort_unstable();
            tests.dedup();
            if !tests.is_empty() {
                programs.compile(&tests, planted)?;
            }
        }
        if steps.iter().any(|step| step.tool == Tool::Fuzz) {
            let fuzzer = Fuzzer::find();
            if let Ok(fuzzer) = &fuzzer {
                eprintln!("{}", fuzzer.describe());
                fuzzer.build()?;
            }
            programs.fuzzer = Some(fuzzer);
        }
        Ok(programs)
    }

    fn compile(&mut self, tests: &[&'static str], planted: bool) -> Result<(), TortureError> {
        let mut command = cargo();
        command.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
        command.args(tests.iter().flat_map(|test| ["--test", test]));
        if planted {
            command.args(["--features", "planted"]);
        }
        let failed = |source| TortureError::Io { what: "cargo".into(), source };
        let output = command.stderr(Stdio::inherit()).output().map_err(failed)?;
        if !output.status.success() {
            return Err(TortureError::Build);
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(Message { target: Some(target), executable: Some(program) }) =
                serde_json::from_str(line)
            else {
                continue;
            };
            let test = tests.iter().find(|test| **test == target.name);
            if let Some(test) = test.filter(|_| target.kind == ["test"]) {
                self.tests.insert((test, planted), program);
            }
        }
        Ok(())
    }

    /// How to run cargo-fuzz.
    ///
    /// # Errors
    /// If this machine cannot.
    pub(super) fn fuzzer(&self) -> Result<&Fuzzer, TortureError> {
        let none = |why: &str| TortureError::NoFuzzer { why: why.to_owned() };
        match &self.fuzzer {
            Some(Ok(fuzzer)) => Ok(fuzzer),
            Some(Err(why)) => Err(none(why)),
            None => Err(none("it was not looked for")),
        }
    }

    /// The command that runs a step's test, but for its count.
    ///
    /// # Errors
    /// If it was not built.
    pub(super) fn command(&self, step: &Step) -> Result<Command, TortureError> {
        let not_built = |test: &str| TortureError::NotBuilt { test: test.to_owned() };
        let (test, filter, planted) = match step.tool {
            Tool::Test(test, filter) => (test, filter, false),
            Tool::Planted(test, filter) => (test, filter, true),
            Tool::Fuzz => return Err(not_built("cargo-fuzz")),
        };
        let program = self.tests.get(&(test, planted)).ok_or_else(|| not_built(test))?;
        let mut command = Command::new(program);
        command.current_dir(root()).args([filter, "--nocapture", "--test-threads=1"]);
        Ok(command)
    }
}
