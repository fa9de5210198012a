//! Performance harness: command line.

mod cli;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                line.push_str(": ");
                line.push_str(&inner.to_string());
                cause = inner.source();
            }
            eprintln!("perf: {line}");
            ExitCode::FAILURE
        }
    }
}
