//! A volume to be made: its name and size, checked.

use std::fmt;
use std::str::FromStr;

use chunk::limits::MAX_VOLUME_BYTES;
use chunk::{VolumeName, VolumeNameError};
use wal::SECTOR_BYTES;

use super::size::{ByteSize, SizeError};

/// Size of a volume: whole sectors, at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VolumeSize(ByteSize);

/// The unit of volumes.
const SECTOR: ByteSize = ByteSize(SECTOR_BYTES as u64);

/// Largest volume.
pub const MAX_VOLUME: ByteSize = ByteSize(MAX_VOLUME_BYTES);

/// Why a size is not one of a volume.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VolumeSizeError {
    /// Not a size at all.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// Nothing, or too much.
    #[error("a volume has {SECTOR} to {MAX_VOLUME}, not {size}")]
    Range {
        /// The size.
        size: ByteSize,
    },
    /// Not whole sectors.
    #[error("{size} bytes are not whole sectors of {SECTOR}: choose {suggestion}", size = size.0)]
    Sectors {
        /// The size.
        size: ByteSize,
        /// The next size that is.
        suggestion: String,
    },
}

impl VolumeSize {
    /// Checks a size.
    ///
    /// # Errors
    /// If no volume can have it.
    pub fn new(size: ByteSize) -> Result<Self, VolumeSizeError> {
        if size < SECTOR || size > MAX_VOLUME {
            return Err(VolumeSizeError::Range { size });
        }
        if !size.0.is_multiple_of(SECTOR.0) {
            let suggestion = size.round_up(SECTOR).written();
            return Err(VolumeSizeError::Sectors { size, suggestion });
        }
        Ok(Self(size))
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> ByteSize {
        self.0
    }
}

impl FromStr for VolumeSize {
    type Err = VolumeSizeError;

    fn from_str(text: &str) -> Result<Self, VolumeSizeError> {
        Self::new(text.parse()?)
    }
}

impl fmt::Display for VolumeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A volume to be made if it is missing, written `NAME=SIZE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewVolume {
    /// Its name.
    pub name: VolumeName,
    /// Its size.
    pub size: VolumeSize,
}

/// Why a text is not a volume to be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NewVolumeError {
    /// No `=`.
    #[error("write NAME=SIZE, such as demo=1G")]
    Syntax,
    /// The part before it.
    #[error(transparent)]
    Name(#[from] VolumeNameError),
    /// The part after it.
    #[error(transparent)]
    Size(#[from] VolumeSizeError),
}

impl FromStr for NewVolume {
    type Err = NewVolumeError;

    fn from_str(text: &str) -> Result<Self, NewVolumeError> {
        let (name, size) = text.split_once('=').ok_or(NewVolumeError::Syntax)?;
        Ok(Self { name: name.parse()?, size: size.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_whole_sectors() {
        assert_eq!("1G".parse::<VolumeSize>().unwrap().bytes(), ByteSize::gib(1));
        assert_eq!("256T".parse::<VolumeSize>().unwrap().bytes(), MAX_VOLUME);
        let refusal = |text: &str| text.parse::<VolumeSize>().unwrap_err().to_string();
        assert_eq!(refusal("10000"), "10000 bytes are not whole sectors of 512 B: choose 10K");
        for text in ["0", "511", "257T"] {
            assert!(refusal(text).starts_with("a volume has 512 B to 256 TiB, not "), "{text}");
        }
    }

    #[test]
    fn a_new_volume_is_a_name_and_a_size() {
        let new: NewVolume = "demo=1G".parse().unwrap();
        assert_eq!((new.name.as_str(), new.size.bytes()), ("demo", ByteSize::gib(1)));
        assert_eq!("demo".parse::<NewVolume>(), Err(NewVolumeError::Syntax));
        assert!(matches!("De=1G".parse::<NewVolume>(), Err(NewVolumeError::Name(_))));
        assert!(matches!("de=1".parse::<NewVolume>(), Err(NewVolumeError::Size(_))));
    }
}
