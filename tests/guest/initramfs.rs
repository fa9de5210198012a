//! The guest's root: a shell, the tools of two file systems, and files with known checksums.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kernel::Kernel;
use crate::tool::{self, Missing};

/// Programs, besides the shell and its commands.
const PROGRAMS: [&str; 4] = ["mkfs.ext4", "e2fsck", "mkfs.xfs", "xfs_repair"];

/// What the guest runs: file name in the guest, content.
const SCRIPTS: [(&str, &str); 6] = [
    ("init", include_str!("init.sh")),
    ("steps.sh", include_str!("steps.sh")),
    ("fill", include_str!("fill.sh")),
    ("verify", include_str!("verify.sh")),
    ("again", include_str!("again.sh")),
    ("live", include_str!("live.sh")),
];

/// Sizes of the files: around those of sectors, blocks and pages of the map, and some large ones.
const SIZES: [usize; 16] = [
    0,
    1,
    511,
    512,
    513,
    1024,
    4095,
    4096,
    4097,
    65_536,
    65_537,
    300_001,
    1 << 20,
    (1 << 20) + 1,
    (2 << 20) - 4096,
    5 << 20,
];

/// An archive that the kernel unpacks into memory.
pub struct Initramfs {
    /// The archive.
    pub archive: PathBuf,
    payload_bytes: u64,
}

impl Initramfs {
    /// Builds it in a new directory.
    pub fn build(dir: &Path, kernel: &Kernel) -> Result<Self, Missing> {
        let root = dir.join("root");
        for name in ["bin", "dev", "proc", "sys", "etc", "modules", "payload", "ext4", "xfs"] {
            fs::create_dir_all(root.join(name)).expect("room");
        }
        kernel.install_modules(&root.join("modules"))?;
        fs::copy(static_busybox()?, root.join("bin/busybox")).expect("room");
        for program in PROGRAMS {
            install(&root, program)?;
        }
        if Path::new("/etc/mke2fs.conf").is_file() {
            fs::copy("/etc/mke2fs.conf", root.join("etc/mke2fs.conf")).expect("room");
        }
        for (name, content) in SCRIPTS {
            let file = root.join(name);
            fs::write(&file, content).expect("room");
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        write_payload(&root);
        let archive = dir.join("initramfs.cpio");
        pack(&root, &archive);
        Ok(Self { archive, payload_bytes: SIZES.iter().sum::<usize>() as u64 })
    }

    /// Bytes of all files with known checksums.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }
}

/// One that needs no libraries.
fn static_busybox() -> Result<PathBuf, Missing> {
    let file = tool::find("busybox")?;
    match libraries(&file).is_empty() {
        true => Ok(file),
        false => Err(Missing { what: "a static busybox".to_owned(), package: "busybox-static" }),
    }
}

/// Copies a program into the root, and its libraries to where it looks for them.
fn install(root: &Path, program: &str) -> Result<(), Missing> {
    let file = tool::find(program)?;
    fs::copy(&file, root.join("bin").join(program)).expect("room");
    for library in libraries(&file) {
        let target = root.join(library.strip_prefix("/").expect("libraries are absolute"));
        fs::create_dir_all(target.parent().expect("a directory")).expect("room");
        fs::copy(&library, target).expect("room");
    }
    Ok(())
}

/// The libraries of a program, its loader among them; none if it is static.
fn libraries(file: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(file).stderr(Stdio::null()).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(|word| PathBuf::from(word.trim_end_matches(':'))).collect()
}

/// Writes the files that the guest copies to its disks, and their checksums.
fn write_payload(root: &Path) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for (n, size) in SIZES.into_iter().enumerate() {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        fs::write(root.join(format!("payload/{n:02}")), &bytes[..size]).expect("room");
    }
    let names = (0..SIZES.len()).map(|n| format!("{n:02}"));
    let mut command = Command::new("sha256sum");
    let sums = tool::output(command.args(names).current_dir(root.join("payload")));
    fs::write(root.join("payload.sha256"), sums).expect("room");
}

/// Packs a directory as the kernel wants it.
fn pack(root: &Path, archive: &Path) {
    let script = "find . | cpio --quiet -o -H newc --owner 0:0 > \"$0\"";
    tool::output(Command::new("sh").args(["-c", script]).arg(archive).current_dir(root));
}
