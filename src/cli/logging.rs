//! The log, on standard error.

use log::LevelFilter;

use crate::config::Resolved;
use crate::config::key::Key;

/// What logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A command that ends soon: warnings, unless a level was asked for.
    OneShot,
    /// The server: the level of the settings.
    Server,
}

/// Starts the log of this process.
pub(super) fn start(resolved: &Resolved, kind: Kind) {
    let level = match kind {
        Kind::OneShot if !is_asked_for(resolved) => resolved.settings.log.min(LevelFilter::Warn),
        Kind::OneShot | Kind::Server => resolved.settings.log,
    };
    env_logger::Builder::new().filter_level(level).format_target(false).init();
}

/// Whether the level was written anywhere.
fn is_asked_for(resolved: &Resolved) -> bool {
    let log = Key::Log.name();
    resolved.explained.iter().any(|line| line.key == log && line.source != "default")
}
