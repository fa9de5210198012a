//! `krait completion`.

use clap_complete::Shell;

use super::output;
use crate::error::Error;

/// Prints the completion script of a shell.
pub(super) fn print(shell: Shell, mut command: clap::Command) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "krait", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
