//! The kernel of the guest, and those of its modules that it needs for its disks.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{self, Missing};

/// Drivers and file systems of the guest. The checksum is asked for by ext4 and xfs when they
/// mount, so no table of dependencies names it.
const WANTED: [&str; 5] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "xfs"];

/// One that newer kernels have built in without listing it.
const OPTIONAL: &str = "crc32c_generic";

const PACKAGE: &str = "linux-image-amd64";

/// A kernel with its modules.
pub struct Kernel {
    /// The image to boot.
    pub image: PathBuf,
    /// Module files, each after those that it depends on.
    modules: Vec<PathBuf>,
}

impl Kernel {
    /// The last one in `/boot` that has modules.
    pub fn find() -> Result<Self, Missing> {
        let missing = || Missing { what: "a kernel in /boot".to_owned(), package: PACKAGE };
        let entries = fs::read_dir("/boot").map_err(|_| missing())?;
        let mut images: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        images.sort();
        images.into_iter().rev().find_map(Self::with_modules).ok_or_else(missing)
    }

    fn with_modules(image: PathBuf) -> Option<Self> {
        let version = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
        fs::File::open(&image).ok()?;
        let dir = Path::new("/lib/modules").join(version);
        let table = Table::read(&dir)?;
        let mut paths = Vec::new();
        for name in WANTED {
            table.load(name, &mut paths).or((name == OPTIONAL).then_some(()))?;
        }
        Some(Self { image, modules: paths.iter().map(|path| dir.join(path)).collect() })
    }

    /// Puts the modules into a directory, uncompressed and numbered in the order of loading.
    pub fn install_modules(&self, dir: &Path) -> Result<(), Missing> {
        for (n, file) in self.modules.iter().enumerate() {
            let bytes = match file.extension().and_then(|ext| ext.to_str()) {
                Some("xz") => tool::output(Command::new(tool::find("xz")?).arg("-dc").arg(file)),
                _ => fs::read(file).expect("modules can be read"),
            };
            fs::write(dir.join(format!("{n:02}.ko")), bytes).expect("room");
        }
        Ok(())
    }
}

/// What `depmod` found out.
struct Table {
    /// Path of each module and of those it depends on, by its name.
    modules: HashMap<String, Vec<String>>,
    /// Names of those that are part of the image.
    builtin: Vec<String>,
}

impl Table {
    fn read(dir: &Path) -> Option<Self> {
        let mut modules = HashMap::new();
        for line in fs::read_to_string(dir.join("modules.dep")).ok()?.lines() {
            let (path, needs) = line.split_once(':')?;
            let paths = [path].into_iter().chain(needs.split_whitespace());
            modules.insert(name_of(path), paths.map(str::to_owned).collect());
        }
        let builtin = fs::read_to_string(dir.join("modules.builtin")).unwrap_or_default();
        Some(Self { modules, builtin: builtin.lines().map(name_of).collect() })
    }

    /// Adds the path of a module behind those of what it needs; none if there is no such module.
    fn load(&self, name: &str, paths: &mut Vec<String>) -> Option<()> {
        if self.builtin.iter().any(|builtin| builtin == name) {
            return Some(());
        }
        let (path, needs) = self.modules.get(name)?.split_first()?;
        for need in needs {
            self.load(&name_of(need), paths)?;
        }
        if !paths.contains(path) {
            paths.push(path.clone());
        }
        Some(())
    }
}

/// `virtio_blk` of `kernel/drivers/block/virtio_blk.ko.xz`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}
