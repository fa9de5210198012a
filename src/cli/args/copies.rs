//! What can be typed of snapshots and clones.

use chunk::{SnapshotName, VolumeName};
use clap::Subcommand;

use super::JsonOption;
use crate::cli::clone::Source;
use crate::cli::help;
use crate::config::Wait;

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum SnapshotCommand {
    /// Make a snapshot of a volume: all that was acknowledged before the call is in it
    #[command(after_long_help = help::SNAPSHOT_CREATE)]
    Create {
        /// The volume, and the name of the snapshot; with --group the name alone. It has 1 to 64 of
        /// a-z, 0-9, '.', '_' and '-', a letter or digit at both ends
        #[arg(value_names = ["VOLUME", "NAME"], num_args = 1..=2, required = true)]
        what: Vec<SnapshotName>,
        /// Snapshots of this name of all these volumes, at one instant
        #[arg(long, value_name = "VOLUME,VOLUME", value_delimiter = ',')]
        group: Vec<VolumeName>,
        /// How long it may take: a number with s, m or h, 1s to 1h
        #[arg(long, value_name = "TIME", default_value = "60s")]
        timeout: Wait,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List the snapshots of a volume, and what was cloned from each
    #[command(after_long_help = help::SNAPSHOT_LIST)]
    List {
        /// The volume
        volume: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Print the ranges that changed between two snapshots, or since one
    #[command(after_long_help = help::SNAPSHOT_DIFF)]
    Diff {
        /// The volume
        volume: VolumeName,
        /// The snapshot to begin with
        from: SnapshotName,
        /// The snapshot to compare with it [default: the volume's newest cut]
        to: Option<SnapshotName>,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Delete a snapshot; refused while clones need it or clients read it
    #[command(after_long_help = help::SNAPSHOT_DELETE)]
    Delete {
        /// The volume
        volume: VolumeName,
        /// The snapshot
        name: SnapshotName,
        #[command(flatten)]
        json: JsonOption,
    },
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum CloneCommand {
    /// Create a volume that begins as a snapshot of another one, or as that one is now
    #[command(after_long_help = help::CLONE_CREATE)]
    Create {
        /// Its name: 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit at both ends
        name: VolumeName,
        /// What to clone: VOLUME@SNAPSHOT, or VOLUME for that volume as it is now
        #[arg(long, value_name = "VOLUME[@SNAPSHOT]")]
        from: Source,
        /// How long to wait for the store: a number with s, m or h, 1s to 1h
        #[arg(long, value_name = "TIME", default_value = "60s")]
        timeout: Wait,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Copy what a clone shares with what it was made of, which is free to go then
    #[command(after_long_help = help::CLONE_FLATTEN)]
    Flatten {
        /// The clone
        name: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
}
