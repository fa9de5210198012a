//! What can be typed.

mod copies;
mod promises;
mod resize;

use std::path::PathBuf;

use chunk::VolumeName;
use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

use super::help;
use super::s3_options::S3Options;
use crate::config::key::Key;
use crate::config::{Flags, NewVolume, VolumeSize, Wait};

pub(super) use copies::{CloneCommand, SnapshotCommand};
pub(super) use promises::PromiseOptions;
pub(super) use resize::ResizeOptions;

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

/// Options of the commands that serve, or explain how they would.
#[derive(Args, Debug)]
pub(super) struct ServingOptions {
    /// Where NBD clients connect: unix:PATH or tcp:HOST:PORT; may be given several times [default:
    /// unix:DATA_DIR/nbd.sock] [env: KRAIT_LISTEN, separated by commas]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// A volume that no client may write to; may be given several times [default: none] [env:
    /// KRAIT_READ_ONLY, separated by commas]
    #[arg(long, value_name = "NAME")]
    read_only: Vec<String>,

    /// Most bytes of the write-ahead log of one volume [default: a tenth of the free disk, 256M to
    /// 4G] [env: KRAIT_WAL_CAP]
    #[arg(long, value_name = "SIZE")]
    wal_cap: Option<String>,

    /// Bytes of one segment file of the write-ahead log [default: 16M] [env: KRAIT_WAL_SEGMENT]
    #[arg(long, value_name = "SIZE")]
    wal_segment: Option<String>,

    /// Age of data outside of the object store that starts an upload [default: 10] [env:
    /// KRAIT_RPO_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    rpo_seconds: Option<String>,

    /// Amount of data outside of the object store that starts an upload [default: 64M for a bucket,
    /// else half of the log or a quarter of the memory, an eighth below 2G] [env:
    /// KRAIT_RPO_BYTES]
    #[arg(long, value_name = "SIZE")]
    rpo_bytes: Option<String>,

    /// How long garbage stays in the store before it is removed, at least 40 [default: 60] [env:
    /// KRAIT_GC_GRACE_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    gc_grace_seconds: Option<String>,

    /// Most bytes of the cache of chunks on the local disk [default: for an S3 store a tenth of the
    /// free disk, 8G at most; otherwise none] [env: KRAIT_CACHE_DISK]
    #[arg(long, value_name = "SIZE")]
    cache_disk: Option<String>,

    /// What goes from that cache: with `lru`, when it is full, what was not used for longest; with
    /// `ttl=30m` also what was not used for half an hour [default: lru] [env: KRAIT_CACHE_POLICY]
    #[arg(long, value_name = "POLICY")]
    cache_policy: Option<String>,

    /// A volume whose chunks stay in that cache when others want their room; repeat for several
    /// [env: KRAIT_CACHE_PIN, separated by commas]
    #[arg(long, value_name = "VOLUME")]
    cache_pin: Vec<String>,

    #[command(flatten)]
    promises: PromiseOptions,
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
            add(Key::WalCap, &serving.wal_cap);
            add(Key::WalSegment, &serving.wal_segment);
            add(Key::RpoSeconds, &serving.rpo_seconds);
            add(Key::RpoBytes, &serving.rpo_bytes);
            add(Key::GcGrace, &serving.gc_grace_seconds);
            add(Key::CacheDisk, &serving.cache_disk);
            add(Key::CachePolicy, &serving.cache_policy);
            serving.promises.each(&mut add);
            if !serving.listen.is_empty() {
                values.push((Key::Listen, serving.listen.clone()));
            }
            if !serving.cache_pin.is_empty() {
                values.push((Key::CachePin, serving.cache_pin.clone()));
            }
            if !serving.read_only.is_empty() {
                values.push((Key::ReadOnly, serving.read_only.clone()));
            }
        }
        Flags { config: self.config.clone(), values }
    }
}
