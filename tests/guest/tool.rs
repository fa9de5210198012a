//! Programs of this machine that the test needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Something that this machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("{what} is missing (Debian: {package})")]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// The package that has it.
    pub package: &'static str,
}

/// Directories with programs for administrators, which a user's path may not have.
const ADMIN_DIRS: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// Packages of the programs.
const PACKAGES: [(&str, &str); 9] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("nbdinfo", "libnbd-bin"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
    ("busybox", "busybox-static"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("xfs_repair", "xfsprogs"),
];

/// Where a program is.
pub fn find(name: &str) -> Result<PathBuf, Missing> {
    let path = std::env::var("PATH").unwrap_or_default() + ":" + ADMIN_DIRS;
    let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let package = PACKAGES.iter().find(|(tool, _)| *tool == name);
        Missing { what: name.to_owned(), package: package.map_or("coreutils", |found| found.1) }
    })
}

/// Whether all these programs are there.
pub fn all(names: &[&str]) -> Result<(), Missing> {
    names.iter().try_for_each(|name| find(name).map(drop))
}

/// Runs a program that must succeed, and returns its standard output.
pub fn output(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.output().expect("the program is there");
    let complaint = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}: {complaint}");
    stdout
}

/// As [`output`], as text.
pub fn text(command: &mut Command) -> String {
    String::from_utf8(output(command)).expect("it prints text")
}
