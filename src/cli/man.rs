//! `krait man`.

use super::output;
use crate::error::Error;

/// Prints the manual page of the program, or of the command that the words name, as roff.
///
/// # Errors
/// If there is no such command.
pub(super) fn print(mut command: clap::Command, words: &[String]) -> Result<(), Error> {
    command.build();
    let mut found = &command;
    for word in words {
        let unknown = || Error::NoCommand { words: words.join(" ") };
        found = found.find_subcommand(word).ok_or_else(unknown)?;
    }
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(found.clone());
    let man = man.source(concat!("krait ", env!("CARGO_PKG_VERSION"))).manual("Krait");
    man.render(&mut page).expect("memory takes what is written");
    output::print(&String::from_utf8_lossy(&page))
}
