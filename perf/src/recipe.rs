//! How each server is started, and which workloads it takes part in.

use std::path::Path;

use thiserror::Error;

use crate::scenario::Scenario;
use crate::size::ByteSize;

/// Name of the export that is measured.
pub const EXPORT: &str = "bench";

/// Where a server keeps the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In its own memory: it cannot keep a flush.
    Memory,
    /// In one raw file that the harness creates.
    File,
    /// In a directory of its own making.
    Directory,
}

/// Which workloads a server takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All but those whose reads go to the disk.
    All,
    /// Those whose writes are durable one by one, and those whose reads go to the disk.
    Durable,
    /// Those whose writes are not.
    Unflushed,
    /// Those whose reads go to the disk.
    Uncached,
}

/// A server that can be started.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Row name.
    pub name: String,
    /// Where the volume lives.
    pub storage: Storage,
    /// Workloads.
    pub role: Role,
    /// Export to ask for.
    pub export: &'static str,
    /// The ratios are those of this server to the others.
    pub subject: bool,
    /// Krait's binary, where that is what starts: it has commands beside the server.
    pub binary: Option<String>,
    words: Vec<String>,
}

/// A command that cannot be run.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecipeError {
    /// Not one of the peers.
    #[error("peer `{0}` is not known; known are qemu-nbd, nbdkit-file, nbdkit-memory")]
    Peer(String),
    /// A command without the place where the socket goes.
    #[error("the command `{0}` must hold {{socket}}; {{dir}} and {{size}} are replaced as well")]
    NoSocket(String),
}

impl Recipe {
    /// The servers behind one peer name. qemu-nbd stands twice: with the page cache for unflushed
    /// workloads, with direct I/O on io_uring for durable ones, which is its faster way in each.
    pub fn peers(name: &str) -> Result<Vec<Self>, RecipeError> {
        let qemu = "qemu-nbd -t -e 0 -x bench -f raw -k {socket}";
        let peer = |name: &str, storage, role, export, command: &str| Self {
            name: name.to_owned(),
            storage,
            role,
            export,
            subject: false,
            binary: None,
            words: split(command),
        };
        Ok(match name {
            "qemu-nbd" => vec![
                peer(
                    "qemu-nbd writeback",
                    Storage::File,
                    Role::Unflushed,
                    EXPORT,
                    &format!("{qemu} --cache=writeback {{dir}}/volume.img"),
                ),
                peer(
                    "qemu-nbd direct",
                    Storage::File,
                    Role::Durable,
                    EXPORT,
                    &format!("{qemu} --cache=none --aio=io_uring {{dir}}/volume.img"),
                ),
            ],
            "nbdkit-file" => vec![peer(
                "nbdkit file",
                Storage::File,
                Role::All,
                "",
                "nbdkit -f -U {socket} file {dir}/volume.img",
            )],
            "nbdkit-memory" => vec![peer(
                "nbdkit memory",
                Storage::Memory,
                Role::Unflushed,
                "",
                "nbdkit -f -U {socket} memory {size}",
            )],
            other => return Err(RecipeError::Peer(other.to_owned())),
        })
    }

    /// Krait by the path of its binary, on `cores` cores or as many as it chooses.
    #[must_use]
    pub fn krait(binary: &str, cores: Option<u32>) -> Self {
        match cores {
            None => Self::krait_with("krait", binary, ""),
            Some(cores) => {
                let option = format!("--cores {cores}");
                Self::krait_with(&format!("krait {option}"), binary, &option)
            }
        }
    }

    /// Krait by the path of its binary, with more options, split at spaces.
    #[must_use]
    pub fn krait_with(name: &str, binary: &str, options: &str) -> Self {
        let mut words = vec![binary.to_owned()];
        let serve = "serve --data-dir {dir}/data --listen unix:{socket} --create bench={size}";
        words.extend(split(serve).into_iter().chain(split(options)));
        Self { binary: Some(binary.to_owned()), ..Self::subject(name.to_owned(), words) }
    }

    /// Krait with the least memory, for reads that are to reach the store.
    #[must_use]
    pub fn krait_uncached(binary: &str) -> Self {
        let recipe = Self::krait_with("krait uncached", binary, "--memory 256M");
        Self { role: Role::Uncached, ..recipe }
    }

    /// Krait by a whole command line, split at spaces.
    pub fn krait_command(command: &str) -> Result<Self, RecipeError> {
        if command.contains("{socket}") {
            Ok(Self::subject("krait".to_owned(), split(command)))
        } else {
            Err(RecipeError::NoSocket(command.to_owned()))
        }
    }

    fn subject(name: String, words: Vec<String>) -> Self {
        let (storage, role) = (Storage::Directory, Role::All);
        Self { name, storage, role, export: EXPORT, subject: true, binary: None, words }
    }

    /// Whether this server takes part in `scenario`.
    #[must_use]
    pub fn runs(&self, scenario: &Scenario) -> bool {
        match self.role {
            Role::All => !scenario.uncached,
            Role::Durable => scenario.durable() || scenario.uncached,
            Role::Unflushed => !scenario.durable() && !scenario.uncached,
            Role::Uncached => scenario.uncached,
        }
    }

    /// Disk space that a volume of `size` may take, generously.
    #[must_use]
    pub fn disk_bytes(&self, size: ByteSize) -> u64 {
        match self.storage {
            Storage::Memory => 0,
            Storage::File => size.bytes(),
            // Log and chunks of overwritten data stand beside the volume for a while.
            Storage::Directory => size.bytes().saturating_mul(6),
        }
    }

    /// The command line with its places filled in.
    #[must_use]
    pub fn words(&self, dir: &Path, socket: &Path, size: ByteSize) -> Vec<String> {
        let fill = |word: &String| {
            word.replace("{dir}", &dir.to_string_lossy())
                .replace("{socket}", &socket.to_string_lossy())
                .replace("{size}", &size.to_string())
        };
        self.words.iter().map(fill).collect()
    }
}

fn split(command: &str) -> Vec<String> {
    command.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(recipe: &Recipe) -> String {
        recipe.words(Path::new("/a b"), Path::new("/s"), ByteSize::new(1 << 30)).join("|")
    }

    #[test]
    fn commands_are_filled_in_word_by_word() {
        let krait = Recipe::krait("/bin/krait", Some(2));
        let expected = "/bin/krait|serve|--data-dir|/a b/data|--listen|unix:/s|--create|bench=1G";
        assert_eq!(line(&krait), format!("{expected}|--cores|2"));
        assert_eq!(krait.name, "krait --cores 2");
        let other = Recipe::krait_command("k {socket} {dir}").expect("valid");
        assert_eq!(line(&other), "k|/s|/a b");
    }

    #[test]
    fn unknown_peers_and_commands_without_socket_are_refused() {
        assert_eq!(Recipe::peers("x").map(drop), Err(RecipeError::Peer("x".to_owned())));
        let refused = Recipe::krait_command("k serve").map(drop);
        assert_eq!(refused, Err(RecipeError::NoSocket("k serve".to_owned())));
    }

    #[test]
    fn each_peer_runs_where_it_can_keep_its_word() {
        let durable = Scenario::load("writeflush-4k-qd1").expect("built in");
        let plain = Scenario::load("randwrite-4k-qd1").expect("built in");
        let uncached = Scenario::load("randread-4k-qd32-uncached").expect("built in");
        let krait = [Recipe::krait("k", None), Recipe::krait_uncached("k")];
        assert_eq!(
            krait.map(|k| (k.runs(&plain), k.runs(&uncached))),
            [(true, false), (false, true)]
        );
        let runs = |name| -> Vec<_> {
            let peers = Recipe::peers(name).expect("known");
            peers.iter().map(|p| (p.runs(&plain), p.runs(&durable))).collect()
        };
        assert_eq!(runs("qemu-nbd"), [(true, false), (false, true)]);
        assert_eq!(runs("nbdkit-file"), [(true, true)]);
        assert_eq!(runs("nbdkit-memory"), [(true, false)]);
    }
}
