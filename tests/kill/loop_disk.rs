//! A small ext4 of its own, mounted from a file.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

/// A file system in a file. Unmounted when it is dropped.
pub struct LoopDisk {
    dir: tempfile::TempDir,
    /// Where its files are.
    pub mount: PathBuf,
}

/// Runs a command, and says why it failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl LoopDisk {
    /// An empty one of so many bytes. `None` where this is not permitted, which is a failure in
    /// continuous integration only.
    pub fn new(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mount = dir.path().join("mount");
        fs::create_dir(&mount).expect("a directory");
        let image = dir.path().join("image");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("a file");
        let disk = Self { dir, mount };
        let made = run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        if let Err(reason) = made.and_then(|()| disk.attach()) {
            assert!(std::env::var_os("CI").is_none(), "no loop-mounted disk: {reason}");
            eprintln!("skipped, as there is no loop-mounted disk: {reason}");
            return None;
        }
        Some(disk)
    }

    /// Mounts it, now or again.
    pub fn attach(&self) -> Result<(), String> {
        let image = self.dir.path().join("image");
        run(Command::new("mount")
            .args(["-o", "loop,errors=remount-ro"])
            .args([&image, &self.mount]))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let mounted = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        if mounted.contains(&*self.mount.to_string_lossy()) {
            let done = Command::new("umount").arg("--lazy").arg(&self.mount).status();
            assert!(done.is_ok_and(|status| status.success()) || thread::panicking());
        }
    }
}
