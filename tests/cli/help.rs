//! Help and manual pages.

use super::*;

/// Every command that does something, with a word that its help must have beyond its options.
const COMMANDS: [(&str, &str); 16] = [
    ("snapshot create", "krait snapshot create vm1 before-upgrade"),
    ("snapshot list", "Exit code 6"),
    ("snapshot delete", "Exit code 5"),
    ("clone create", "--from vm1@before-upgrade"),
    ("serve", "krait serve --create demo=1G"),
    ("volume create", "krait volume create vm1 --size 20G"),
    ("volume list", "Exit code 6"),
    ("volume info", "krait volume status"),
    ("volume status", "`syncing`"),
    ("volume drain", "Exit code 9"),
    ("volume check", "6: something is damaged"),
    ("volume delete", "Asks on a terminal"),
    ("inspect", "krait inspect"),
    ("config explain", "krait config explain"),
    ("completion", "krait completion bash"),
    ("man", "krait man | man -l -"),
];

#[test]
fn the_help_of_every_command_has_examples_or_says_more_than_its_options() {
    let shell = Shell::new();
    for (command, part) in COMMANDS {
        let help = shell.ok(&format!("{command} --help"));
        says(&help, part);
        says(&help, "KRAIT_DATA_DIR");
        let long = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "krait {command} --help");
    }
    let help = shell.ok("serve --help");
    for variable in ["KRAIT_LISTEN", "KRAIT_READ_ONLY", "KRAIT_WAL_CAP", "KRAIT_RPO_SECONDS"] {
        says(&help, variable);
    }
}

#[test]
fn manual_pages_are_made_of_the_help() {
    let shell = Shell::new();
    let page = shell.ok("man");
    for part in [".TH krait 1", ".SH SYNOPSIS", "krait\\-volume", "Exit codes:"] {
        says(&page, part);
    }
    let page = shell.ok("man volume drain");
    for part in [".TH krait-volume-drain 1", "\\-\\-timeout", "Exit code 9"] {
        says(&page, part);
    }
    let line = shell.fails(2, "man volume brew");
    says(&line, "no command `krait volume brew`");
}
