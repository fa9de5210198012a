//! What can be typed of the simple file system.

use std::path::PathBuf;

use chunk::VolumeName;
use clap::Subcommand;

use super::JsonOption;

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum SfsCommand {
    /// Put files, directories and links into a volume, in place of what an earlier put left there
    Put {
        /// The directory
        dir: PathBuf,
        /// The volume, which must be there
        #[arg(long)]
        volume: VolumeName,
        /// Also if the volume has something else in it
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List what is in a volume
    Ls {
        /// The volume
        volume: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Write all of it to a directory, which must be empty or missing
    Get {
        /// The volume
        volume: VolumeName,
        /// The directory
        dir: PathBuf,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Read all of it and compare it with its checksums
    Verify {
        /// The volume
        volume: VolumeName,
        #[command(flatten)]
        json: JsonOption,
    },
}
