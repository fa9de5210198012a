//! Krait's binary where none is named: built anew under `cargo run`, else the one beside `perf`.

use std::env;
use std::io;
use std::process::Stdio;

use serde::Deserialize;
use thiserror::Error;

use crate::torture::build::cargo;

/// Why there is no binary.
#[derive(Debug, Error)]
pub enum BuiltError {
    /// Cargo does not start, or this program has no place.
    #[error("cannot build or find krait; name it with --krait")]
    Io(#[from] io::Error),
    /// It does not compile.
    #[error("krait does not build")]
    Broken,
    /// Nothing is there.
    #[error(
        "there is no krait beside this program: name it with --krait, or cargo build --release"
    )]
    Missing,
}

/// What cargo says of something that it built.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    executable: Option<String>,
}

/// The path of a release build.
///
/// # Errors
/// If it does not build, or is not there.
pub fn krait() -> Result<String, BuiltError> {
    if env::var_os("CARGO").is_none() {
        let beside = env::current_exe()?.with_file_name("krait");
        return match beside.exists() {
            true => Ok(beside.to_string_lossy().into_owned()),
            false => Err(BuiltError::Missing),
        };
    }
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "krait", "--bin", "krait"]);
    command.arg("--message-format=json-render-diagnostics");
    let output = command.stderr(Stdio::inherit()).output()?;
    match output.status.success() {
        true => executable(&String::from_utf8_lossy(&output.stdout)).ok_or(BuiltError::Missing),
        false => Err(BuiltError::Broken),
    }
}

fn executable(messages: &str) -> Option<String> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    parsed.filter_map(|message| message.executable).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_what_cargo_names_last() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\nnot json\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/krait\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).as_deref(), Some("/t/krait"));
        assert_eq!(executable("{\"reason\":\"build-finished\"}"), None);
    }
}
