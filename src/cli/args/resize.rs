//! What can be typed of the size of a volume.

use chunk::VolumeName;
use clap::Args;

use super::JsonOption;
use crate::config::{VolumeSize, Wait};

#[derive(Args, Debug)]
pub(in crate::cli) struct ResizeOptions {
    /// Its name
    pub(in crate::cli) name: VolumeName,
    /// Its new size, such as 40G
    pub(in crate::cli) size: VolumeSize,
    /// Let it shrink: what is behind the new end is destroyed
    #[arg(long)]
    pub(in crate::cli) danger_discard_tail: bool,
    /// How long to wait for the store: a number with s, m or h, 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(in crate::cli) timeout: Wait,
    #[command(flatten)]
    pub(in crate::cli) json: JsonOption,
}
