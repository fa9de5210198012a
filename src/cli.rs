//! The command line: what can be typed, and how outcomes are told.

mod args;
mod clone;
mod completion;
mod config;
mod diff;
mod flatten;
mod gc;
mod group;
mod help;
pub mod inspect;
mod logging;
mod man;
mod output;
mod plain_disk;
mod progress;
mod s3_options;
mod serve;
pub mod sfs;
mod snapshot;
pub mod transfer;
mod usage;
pub mod volume;

use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::config::{Resolved, Settings};
use crate::control::LockError;
use crate::control::limits::START_TIMEOUT;
use crate::error::Error;
use args::{Cli, Command, ConfigCommand};

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage::tell(&error),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// The command line as clap knows it.
fn command() -> clap::Command {
    Cli::command().after_help(help::exit_codes())
}

fn run(cli: &Cli) -> Result<(), Error> {
    match &cli.command {
        Command::Serve { serving, create, replace } => {
            let resolved = load(cli, Some(serving), logging::Kind::Server)?;
            serve::serve(&resolved.settings, (create, *replace), serve::serve_nbd)
        }
        Command::Volume { command } => {
            let settings = one_shot(cli)?;
            beside_a_server(|| volume::run(&settings, command))
        }
        Command::Snapshot { command } => {
            let settings = one_shot(cli)?;
            beside_a_server(|| snapshot::run(&settings, command))
        }
        Command::Clone { command } => {
            let settings = one_shot(cli)?;
            beside_a_server(|| clone::run(&settings, command))
        }
        Command::Gc { dry_run, volume, json, command } => {
            let wish = gc::Wish::of(*dry_run, command.as_ref())?;
            let settings = one_shot(cli)?;
            beside_a_server(|| gc::run(&settings, wish, volume.as_ref(), *json))
        }
        Command::Import { name, image, size, resume, replace, json } => {
            let settings = one_shot(cli)?;
            let (size, resume, replace, json) = (*size, *resume, *replace, json.json);
            let wish = transfer::Import { name, image, size, resume, replace, json };
            beside_a_server(|| transfer::import(&settings, &wish))
        }
        Command::Export { from, image, resume, overwrite, json } => {
            let settings = one_shot(cli)?;
            let (resume, overwrite, json) = (*resume, *overwrite, json.json);
            let wish = transfer::Export { from, image, resume, overwrite, json };
            beside_a_server(|| transfer::export(&settings, &wish))
        }
        Command::Sfs { command } => {
            let settings = one_shot(cli)?;
            beside_a_server(|| sfs::run(&settings, command))
        }
        Command::Inspect { file, json } => inspect::inspect(file, json.json),
        Command::Man { command: words } => man::print(command(), words),
        Command::Completion { shell } => completion::print(*shell, command()),
        Command::Config { command: ConfigCommand::Explain { serving, json } } => {
            let resolved = load(cli, Some(serving), logging::Kind::OneShot)?;
            config::explain(&resolved, json.json)
        }
    }
}

/// Runs a command that a server carries out if there is one. A command that saw none, and then found
/// somebody else in the data directory, has done nothing yet: a server has just started, and the
/// command begins anew.
#[expect(clippy::disallowed_methods, reason = "a command has no executor")]
fn beside_a_server(command: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
    let begun = Instant::now();
    match command() {
        // For one that does not answer it has waited long enough.
        Err(Error::Lock(LockError::Held { .. })) if begun.elapsed() < START_TIMEOUT => command(),
        done => done,
    }
}

/// As [`load`], for a command that serves nobody.
fn one_shot(cli: &Cli) -> Result<Settings, Error> {
    Ok(load(cli, None, logging::Kind::OneShot)?.settings)
}

/// Resolves the settings of a command and starts its log.
fn load(
    cli: &Cli,
    serving: Option<&args::ServingOptions>,
    kind: logging::Kind,
) -> Result<Resolved, Error> {
    for stray in crate::config::source::stray_variables(variable_names()) {
        let hint =
            stray.suggestion.map_or_else(String::new, |name| format!(": did you mean {name}?"));
        output::complain(&format!("warning: {} is not a setting{hint}", stray.name));
    }
    let promises = match &cli.command {
        Command::Volume { command: args::VolumeCommand::Create { promises, .. } } => Some(promises),
        _ => None,
    };
    let resolved = crate::config::load(&cli.global.flags(serving, promises))?;
    logging::start(&resolved, kind);
    Ok(resolved)
}

/// Names in the environment, as far as they are text.
fn variable_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_command_that_meets_somebody_in_the_data_directory_begins_anew_once() {
        let held = || LockError::Held { data_dir: "d".into(), holder: None };
        let tries = Cell::new(0);
        let meets = |others: u32| {
            tries.set(0);
            beside_a_server(|| {
                tries.set(tries.get() + 1);
                if tries.get() <= others { Err(held().into()) } else { Ok(()) }
            })
        };
        assert!(meets(1).is_ok());
        assert!(matches!(meets(9), Err(Error::Lock(LockError::Held { .. }))));
        assert_eq!(tries.get(), 2);
    }
}
