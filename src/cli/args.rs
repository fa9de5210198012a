//! What can be typed.

mod copies;
mod promises;
mod resize;
mod serving;
mod sfs;

use std::path::PathBuf;

use chunk::VolumeName;
use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

use super::clone::Source;
use super::help;
use super::s3_options::S3Options;
use crate::config::key::Key;
use crate::config::{Flags, NewVolume, VolumeSize, Wait};

pub(super) use copies::{CloneCommand, SnapshotCommand};
pub(super) use promises::PromiseOptions;
pub(super) use resize::ResizeOptions;
pub(super) use serving::ServingOptions;
pub(super) use sfs::SfsCommand;

/// Virtual disks for KVM hosts, served over NBD from a local write-ahead log and kept in an
/// object store.
///
/// Every option below can also stand in the environment or in a TOML file; the command line wins
/// over the environment, the environment over the file. `krait config explain` shows what counts
/// and why.
///
/// Sizes are numbers with a suffix: K, M, G, T, P or KiB, MiB, ... are powers of 1024, no suffix is
/// bytes, fractions such as 1.5G are fine.
#[derive(Parser, Debug)]
#[command(name = "krait", version, arg_required_else_help = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: GlobalOptions,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(super) struct GlobalOptions {
    /// Configuration file [default: krait.toml, or else /etc/krait/krait.toml] [env: KRAIT_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Directory of the write-ahead logs, the cache and the default store [default: krait-data in
    /// the working directory] [env: KRAIT_DATA_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,

    /// Object store: file:///path, s3://bucket/prefix or memory: [default: file://DATA_DIR/store] [env: KRAIT_STORE]
    #[arg(long, value_name = "URL", global = true)]
    store: Option<String>,

    /// Cores to serve on [default: all that this process may use] [env: KRAIT_CORES]
    #[arg(long, value_name = "N", global = true)]
    cores: Option<String>,

    /// Memory to stay under, at least 256M [default: a quarter of what this process may use, 256M
    /// to 8G] [env: KRAIT_MEMORY]
    #[arg(long, value_name = "SIZE", global = true)]
    memory: Option<String>,

    #[command(flatten)]
    s3: S3Options,

    /// Log more: -v for debug, -vv for trace [env: KRAIT_LOG]
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

/// How output is written.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct JsonOption {
    /// Print JSON for programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Serve all volumes of the store over NBD until SIGTERM or SIGINT
    ///
    /// Every volume is an export of its name. Stays in the foreground and logs to standard error.
    #[command(after_long_help = help::SERVE)]
    Serve {
        #[command(flatten)]
        serving: ServingOptions,
        /// Make this volume first, if it is missing; may be given several times
        #[arg(long, value_name = "NAME=SIZE")]
        create: Vec<NewVolume>,
        /// Take the place of the server that runs on this data directory, if one does, on the same
        /// sockets; clients that connect again go on
        #[arg(long)]
        replace: bool,
    },
    /// Create, list, look at, move, check and delete volumes
    Volume {
        #[command(subcommand)]
        command: VolumeCommand,
    },
    /// Make, list and delete snapshots: named, read-only states of a volume
    Snapshot {
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// Make clones: volumes that begin as a snapshot of another one
    Clone {
        #[command(subcommand)]
        command: CloneCommand,
    },
    /// Remove what no volume and no snapshot needs any more, or tell what that is
    #[command(after_long_help = help::GC, arg_required_else_help = true)]
    Gc {
        /// Only tell what there is to do
        #[arg(long, global = true)]
        dry_run: bool,
        /// This volume only [default: all volumes of the store]
        #[arg(long, value_name = "NAME", global = true)]
        volume: Option<VolumeName>,
        /// Print JSON for programs
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: Option<GcCommand>,
    },
    /// Make a volume of an image: a file, a block device, or what comes through a pipe
    #[command(after_long_help = help::IMPORT)]
    Import {
        /// Name of the volume, which is made: 1 to 54 of a-z, 0-9, '.', '_' and '-'
        name: VolumeName,
        /// The image; - for standard input
        image: PathBuf,
        /// Size of the volume, not less than that of the image [default: that of the image]
        #[arg(long)]
        size: Option<VolumeSize>,
        /// Go on with an import that was cut off, from this byte on
        #[arg(long, value_name = "OFFSET")]
        resume: Option<u64>,
        /// When all of the image is in the store, delete the volume that has the name now
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Write a volume or a snapshot to an image
    #[command(after_long_help = help::EXPORT)]
    Export {
        /// VOLUME@SNAPSHOT, or VOLUME for that volume as it is now
        #[arg(value_name = "VOLUME[@SNAPSHOT]")]
        from: Source,
        /// The image: a file, which is made, or a block device; - for standard output
        image: PathBuf,
        /// Go on with an export that was cut off, from this byte on
        #[arg(long, value_name = "OFFSET")]
        resume: Option<u64>,
        /// Replace what is in the file or device
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Put a directory into a volume and read it back: the simple file system
    #[command(after_long_help = help::SFS)]
    Sfs {
        #[command(subcommand)]
        command: SfsCommand,
    },
    /// Show what a file or object of Krait's says: a WAL segment, chunk, map object, manifest or
    /// snapshot
    #[command(after_long_help = help::INSPECT)]
    Inspect {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the manual page of the program or of a command, as roff
    #[command(after_long_help = help::MAN)]
    Man {
        /// Words of a command, such as: volume drain
        command: Vec<String>,
    },
    /// Print the completion script of a shell
    #[command(after_long_help = help::COMPLETION)]
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum VolumeCommand {
    /// Create a volume; it reads as zeros and takes no space until it is written
    #[command(after_long_help = help::CREATE)]
    Create {
        /// Its name: 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit at both ends
        name: VolumeName,
        /// Its size, such as 20G
        #[arg(long, value_name = "SIZE")]
        size: VolumeSize,
        #[command(flatten)]
        promises: PromiseOptions,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List all volumes of the store
    #[command(after_long_help = help::LIST)]
    List {
        #[command(flatten)]
        json: JsonOption,
    },
    /// Print what the store knows of a volume
    #[command(after_long_help = help::INFO)]
    Info {
        /// Its name
        name: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Print how a volume is: where its data are on their way to the store, and its clients
    #[command(after_long_help = help::STATUS)]
    Status {
        /// Its name
        name: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Verify every checksum and reference of a volume
    #[command(after_long_help = help::CHECK)]
    Check {
        /// Its name
        name: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Wait until everything that was acknowledged of a volume is in the object store
    #[command(after_long_help = help::DRAIN)]
    Drain {
        /// Its name
        name: VolumeName,
        /// How long to wait: a number with s, m or h, 1s to 1h
        #[arg(long, value_name = "TIME", default_value = "60s")]
        timeout: Wait,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Open a volume for this host, also one that another host lost or gave back
    #[command(after_long_help = help::ATTACH)]
    Attach {
        /// Its name
        name: VolumeName,
        /// Take it from the host that has it: what that host has not uploaded is lost
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Upload all of a volume and let any host open it; refused while clients are connected to it
    #[command(after_long_help = help::DETACH)]
    Detach {
        /// Its name
        name: VolumeName,
        /// How long to wait: a number with s, m or h, 1s to 1h
        #[arg(long, value_name = "TIME", default_value = "60s")]
        timeout: Wait,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Remove what is kept aside of a volume's log since another host took the volume over
    #[command(after_long_help = help::DROP_LOG)]
    DropLog {
        /// Its name
        name: VolumeName,
        /// Nobody needs it any more
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Give a volume another size; clients go on while it grows
    #[command(after_long_help = help::RESIZE)]
    Resize(ResizeOptions),
    /// Delete a volume and all its data; refused while clients are connected to it or clones need it
    #[command(after_long_help = help::DELETE)]
    Delete {
        /// Its name
        name: VolumeName,
        /// Do not ask; needed where there is no terminal to ask on
        #[arg(long)]
        yes: bool,
        /// Delete its snapshots as well
        #[arg(long)]
        snapshots: bool,
        #[command(flatten)]
        json: JsonOption,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum GcCommand {
    /// Remove garbage, and compact what little is needed of
    #[command(after_long_help = help::GC)]
    Run,
}

#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Print every setting, its value, where it came from and its limits
    #[command(after_long_help = help::EXPLAIN)]
    Explain {
        #[command(flatten)]
        serving: ServingOptions,
        #[command(flatten)]
        json: JsonOption,
    },
}

impl GlobalOptions {
    /// The settings that were typed.
    pub(super) fn flags(
        &self,
        serving: Option<&ServingOptions>,
        promises: Option<&PromiseOptions>,
    ) -> Flags {
        let level = match self.verbose {
            0 => None,
            1 => Some("debug".to_owned()),
            _ => Some("trace".to_owned()),
        };
        let mut values = Vec::new();
        let mut add = |key, text: &Option<String>| {
            values.extend(text.iter().map(|text| (key, vec![text.clone()])));
        };
        add(Key::DataDir, &self.data_dir);
        add(Key::Store, &self.store);
        add(Key::Cores, &self.cores);
        add(Key::Memory, &self.memory);
        add(Key::Log, &level);
        self.s3.each(&mut add);
        if let Some(promises) = promises {
            promises.each(&mut add);
        }
        if let Some(serving) = serving {
            values.extend(serving.values());
        }
        Flags { config: self.config.clone(), values }
    }
}
