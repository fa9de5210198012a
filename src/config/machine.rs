//! What the machine offers, as far as its control groups let this process have it.

use std::fs;
use std::path::{Path, PathBuf};

use super::size::ByteSize;

/// Memory and processors that this process may use.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Installed memory, or less where a control group says so.
    pub memory: ByteSize,
    /// Processors: the affinity mask, or less where a control group's quota says so.
    pub cpus: u16,
    /// Free bytes of the file system that a path is on, or will be on once it is made.
    pub free_disk: fn(&Path) -> Option<ByteSize>,
}

/// Assumed where `/proc` says nothing.
const FALLBACK_MEMORY: ByteSize = ByteSize::gib(1);

impl Machine {
    /// Looks at the machine that this process runs on.
    #[must_use]
    pub fn detect() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            memory: memory(Path::new("/")),
            cpus: u16::try_from(cpus).unwrap_or(u16::MAX),
            free_disk,
        }
    }
}

/// Free bytes for an unprivileged user on the file system of `path` or of its nearest parent.
fn free_disk(path: &Path) -> Option<ByteSize> {
    let stat = path.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok())?;
    Some(ByteSize(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

/// The least of installed memory and the limits of all control groups above this process, read
/// from `proc` and `sys/fs/cgroup` below `root`.
fn memory(root: &Path) -> ByteSize {
    let installed = installed_memory(root).unwrap_or(FALLBACK_MEMORY);
    cgroup_limit_files(root)
        .iter()
        .filter_map(|file| read_number(file))
        .map(ByteSize)
        .fold(installed, ByteSize::min)
}

/// `MemTotal` of `/proc/meminfo`.
fn installed_memory(root: &Path) -> Option<ByteSize> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse().ok().map(ByteSize::kib)
}

/// Every file that may hold a memory limit for this process: its group's and those above it, for
/// control groups of version 2 and 1. Inside a container the named group may not be visible; the
/// mount's own root is then the container's group, and is always among the files.
fn cgroup_limit_files(root: &Path) -> Vec<PathBuf> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mount = root.join("sys/fs/cgroup");
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (base, names): (PathBuf, &[&str]) = match controllers {
            "" => (mount.clone(), &["memory.max", "memory.high"]),
            list if list.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), &["memory.limit_in_bytes"])
            }
            _ => continue,
        };
        let group = base.join(group.trim_start_matches('/'));
        for dir in group.ancestors().take_while(|dir| dir.starts_with(&base)) {
            files.extend(names.iter().map(|name| dir.join(name)));
        }
    }
    files
}

/// A file with one number; `max` and other words are none.
fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with the given files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");

    #[test]
    fn without_control_groups_memory_is_what_is_installed() {
        assert_eq!(memory(root(&[MEMINFO]).path()), ByteSize::gib(16));
        assert_eq!(memory(root(&[]).path()), FALLBACK_MEMORY);
    }

    #[test]
    fn the_tightest_group_of_version_2_on_the_way_up_counts() {
        let root = root(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/krait.service\n"),
            ("sys/fs/cgroup/system.slice/krait.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/system.slice/memory.high", "2147483648\n"),
        ]);
        assert_eq!(memory(root.path()), ByteSize::gib(2));
    }

    #[test]
    fn a_container_that_sees_only_its_own_root_group_is_limited_by_it() {
        let root = root(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/../../docker/abc\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ]);
        assert_eq!(memory(root.path()), ByteSize::mib(512));
    }

    #[test]
    fn groups_of_version_1_count_and_their_no_limit_does_not() {
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let groups = ("proc/self/cgroup", "5:cpu,memory:/a\n1:name=systemd:/b\n");
        let limited = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
        assert_eq!(memory(root(&[MEMINFO, groups, unlimited]).path()), ByteSize::gib(16));
        assert_eq!(memory(root(&[MEMINFO, groups, unlimited, limited]).path()), ByteSize::gib(1));
    }

    #[test]
    fn free_disk_looks_at_the_nearest_parent_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_disk(&dir.path().join("not/made/yet")).is_some());
    }
}
