//! Typing mistakes, told in one line.

use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;

use super::output;
use crate::error::ErrorKind;

/// Prints the help or version that was asked for, or what is wrong with what was typed.
pub(super) fn tell(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ClapKind::DisplayHelp | ClapKind::DisplayVersion => {
            drop(error.print());
            ExitCode::SUCCESS
        }
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(error.print());
            ExitCode::from(ErrorKind::Invalid.exit_code())
        }
        _ => {
            output::complain(&one_line(&error.to_string()));
            ExitCode::from(ErrorKind::Invalid.exit_code())
        }
    }
}

/// The first paragraph of a report of clap, its first tip if it has one, and where help is.
fn one_line(report: &str) -> String {
    let mut lines = report.lines();
    let first = lines.next().unwrap_or_default();
    let mut parts = vec![first.strip_prefix("error: ").unwrap_or(first).trim().to_owned()];
    let rest = lines.by_ref().take_while(|line| !line.trim().is_empty());
    parts[0].extend(rest.map(|line| format!(" {}", line.trim())));
    let tip = report.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    parts.extend(tip.map(str::to_owned));
    let usage = report.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("krait");
    let words = usage.split(' ').take_while(|word| !word.starts_with(['<', '[', '-', '{']));
    let command = words.collect::<Vec<_>>().join(" ");
    parts.push(format!("see `{command} --help`"));
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> String {
        one_line(&super::super::command().try_get_matches_from(words).unwrap_err().to_string())
    }

    #[test]
    fn typing_mistakes_are_one_line_with_what_to_do() {
        let text = typed(&["krait", "config", "explain", "--memroy", "1G"]);
        assert!(text.starts_with("unexpected argument '--memroy' found: "), "{text}");
        assert!(text.contains("'--memory'") && text.ends_with("see `krait config explain --help`"));
        let text = typed(&["krait", "completion"]);
        assert!(
            text.contains("<SHELL>") && text.ends_with("see `krait completion --help`"),
            "{text}"
        );
        let text = typed(&["krait", "confg"]);
        assert!(text.contains("'config'") && text.lines().count() == 1, "{text}");
    }
}
