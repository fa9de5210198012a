//! How cargo-fuzz runs on this machine: it needs options of a nightly compiler, which a stable one
//! takes too when it is told so.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::TortureError;
use super::build::root;

/// A way to run cargo-fuzz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fuzzer {
    compiler: Compiler,
    sanitizer: &'static str,
}

/// Whose options cargo-fuzz uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compiler {
    /// The nightly one, by way of rustup.
    Nightly,
    /// The one that is there: nightly itself, or told to take what nightly takes.
    Own,
}

/// What was found on this machine.
#[derive(Clone, Debug, Default)]
struct Found {
    cargo_fuzz: bool,
    /// Libraries of libFuzzer are compiled with it.
    cpp: bool,
    /// Where the nightly compiler is.
    nightly: Option<String>,
    /// Where the own compiler is.
    own: Option<String>,
}

/// Every target: each has seeds.
#[must_use]
pub fn targets() -> Vec<String> {
    let entries = fs::read_dir(root().join("tests/fuzz/seeds")).into_iter().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut targets: Vec<_> = entries.filter_map(|entry| Some(name(entry.ok()?))).collect();
    targets.sort();
    targets
}

impl Fuzzer {
    /// Looks for what is needed, and says what is missing.
    ///
    /// # Errors
    /// If something is; a line for people.
    pub fn find() -> Result<Self, String> {
        let said = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            let output = command.args(words).stderr(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(text)
        };
        let cpp = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        Self::choose(&Found {
            cargo_fuzz: said("cargo", &["fuzz", "--version"]).is_some(),
            cpp: said(&cpp, &["--version"]).is_some(),
            nightly: said("rustc", &["+nightly", "--print", "sysroot"]),
            own: said("rustc", &["--print", "sysroot"]),
        })
    }

    fn choose(found: &Found) -> Result<Self, String> {
        if !found.cargo_fuzz {
            return Err("cargo-fuzz is missing: cargo install cargo-fuzz".to_owned());
        }
        if !found.cpp {
            return Err("a C++ compiler is missing, which libFuzzer is built with".to_owned());
        }
        let (compiler, sysroot) = match (&found.nightly, &found.own) {
            (Some(sysroot), _) => (Compiler::Nightly, sysroot),
            (None, Some(sysroot)) => (Compiler::Own, sysroot),
            (None, None) => return Err("rustc is missing".to_owned()),
        };
        let sanitizer = if has_address_sanitizer(Path::new(sysroot)) { "address" } else { "none" };
        Ok(Self { compiler, sanitizer })
    }

    /// What is used, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let compiler = match self.compiler {
            Compiler::Nightly => "the nightly compiler",
            Compiler::Own => "this compiler with RUSTC_BOOTSTRAP=1",
        };
        format!("cargo-fuzz by {compiler}, sanitizer {}", self.sanitizer)
    }

    fn cargo_fuzz(&self, verb: &str) -> Command {
        // By way of rustup, which knows `+nightly`.
        let mut command = Command::new("cargo");
        command.current_dir(root().join("tests/fuzz"));
        match self.compiler {
            Compiler::Nightly => command.arg("+nightly"),
            Compiler::Own => command.env("RUSTC_BOOTSTRAP", "1"),
        };
        command.args(["fuzz", verb, "--fuzz-dir", ".", "--sanitizer", self.sanitizer]);
        command
    }

    /// Builds all targets.
    ///
    /// # Errors
    /// If they do not build.
    pub fn build(&self) -> Result<(), TortureError> {
        let failed = |source| TortureError::Io { what: "cargo".into(), source };
        let built = self.cargo_fuzz("build").status().map_err(failed)?;
        if built.success() { Ok(()) } else { Err(TortureError::Build) }
    }

    /// The command that runs a target for so many seconds.
    ///
    /// # Errors
    /// If there is no place for what it finds.
    pub fn command(&self, target: &str, seconds: u64) -> Result<Command, TortureError> {
        let (corpus, seeds) = (format!("corpus/{target}"), format!("seeds/{target}"));
        let dir = root().join("tests/fuzz").join(&corpus);
        fs::create_dir_all(&dir).map_err(|source| TortureError::Io { what: dir, source })?;
        let mut command = self.cargo_fuzz("run");
        command.args([target, &corpus, &seeds, "--", "-rss_limit_mb=1024", "-timeout=10"]);
        command.arg(format!("-max_total_time={seconds}"));
        Ok(command)
    }
}

/// Whether a compiler has what a program with that sanitizer is linked with.
fn has_address_sanitizer(sysroot: &Path) -> bool {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let hosts = entries(&sysroot.join("lib/rustlib"));
    let mut libraries = hosts.flat_map(|host| entries(&host.path().join("lib")));
    libraries.any(|library| library.file_name().to_string_lossy().ends_with("_rt.asan.a"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place where a compiler is, with or without the sanitizer.
    fn sysroot(asan: bool) -> (tempfile::TempDir, Option<String>) {
        let dir = tempfile::tempdir().expect("tempdir");
        let libraries = dir.path().join("lib/rustlib/a-host/lib");
        fs::create_dir_all(&libraries).expect("a directory");
        if asan {
            fs::write(libraries.join("librustc-x_rt.asan.a"), "").expect("a file");
        }
        let path = dir.path().to_string_lossy().into_owned();
        (dir, Some(path))
    }

    #[test]
    fn nightly_comes_first_then_the_own_compiler_then_a_line_of_what_is_missing() {
        let ((_kept, with), (_too, without)) = (sysroot(true), sysroot(false));
        let base = Found { cargo_fuzz: true, cpp: true, nightly: None, own: None };
        let both = Found { nightly: with.clone(), own: without.clone(), ..base.clone() };
        let chosen = Fuzzer::choose(&both).expect("all is there");
        assert_eq!(chosen, Fuzzer { compiler: Compiler::Nightly, sanitizer: "address" });
        let own = Found { own: without.clone(), ..base.clone() };
        let chosen = Fuzzer::choose(&own).expect("all is there");
        assert_eq!(chosen, Fuzzer { compiler: Compiler::Own, sanitizer: "none" });
        let command = chosen.cargo_fuzz("run");
        let told = command.get_envs().any(|(name, _)| name == "RUSTC_BOOTSTRAP");
        assert!(told && !command.get_args().any(|word| word == "+nightly"), "{command:?}");
        let lacks = |found: Found| Fuzzer::choose(&found).expect_err("something is missing");
        assert!(lacks(Found { cargo_fuzz: false, ..both.clone() }).contains("cargo install"));
        assert!(lacks(Found { cpp: false, ..both }).contains("C++"));
        assert!(lacks(base).contains("rustc"));
    }

    #[test]
    fn every_target_of_cargo_fuzz_is_known() {
        let manifest =
            fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).expect("it is there");
        assert_eq!(manifest.matches("[[bin]]").count(), targets().len());
    }
}
