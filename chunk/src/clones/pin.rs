//! A pin and its bytes.

use wal::VolumeId;

use super::snapshot_pin_prefix;
use crate::error::FormatError;
use crate::ids::VolumeName;
use crate::sealed::Sealed;
use crate::snapshot::{SnapshotName, object};
use crate::store::ObjectName;

const PIN: Sealed = Sealed { what: "pin of a clone", magic: *b"KRTCLONE", version: 1, features: 0 };

/// No pin is longer.
pub(super) const MAX_PIN_BYTES: u64 = 32 + 48 + 2 * VolumeName::MAX_BYTES as u64;

/// Says that a volume is or may become a clone of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// The volume that has the snapshot.
    pub volume: VolumeId,
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The clone.
    pub clone: VolumeId,
    /// The name that it has once it is there.
    pub name: VolumeName,
    /// When its making began, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

impl Pin {
    /// Where it is kept.
    #[must_use]
    pub fn object_name(&self) -> ObjectName {
        object(format!("{}{}", snapshot_pin_prefix(self.volume, &self.snapshot), self.clone))
    }

    /// The pin's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = PIN.begin(MAX_PIN_BYTES as usize);
        out.bytes(&self.volume.0);
        out.bytes(&self.clone.0);
        out.u64(self.created_unix_ms);
        out.u8(self.name.as_str().len() as u8);
        out.u8(self.snapshot.as_str().len() as u8);
        out.zeros(6);
        out.bytes(self.name.as_str().as_bytes());
        out.bytes(self.snapshot.as_str().as_bytes());
        out.seal().0
    }

    /// Reads a pin.
    ///
    /// # Errors
    /// If the bytes are not exactly one sound pin.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut fields, _) = PIN.open(bytes)?;
        let (volume, clone) = (VolumeId(fields.array()?), VolumeId(fields.array()?));
        let created_unix_ms = fields.u64()?;
        let (name_bytes, snapshot_bytes) = (fields.u8()?, fields.u8()?);
        let zero: [u8; 6] = fields.array()?;
        fields.must_be_zero("reserved", zero.iter().map(|&byte| u64::from(byte)).sum())?;
        let name = fields.take(name_bytes.into())?;
        let name = std::str::from_utf8(name).ok().and_then(|name| VolumeName::new(name).ok());
        let name = name.ok_or_else(|| fields.field("name of length", name_bytes.into()))?;
        let text = fields.take(snapshot_bytes.into())?;
        let text = std::str::from_utf8(text).ok().and_then(|text| SnapshotName::parse(text).ok());
        let snapshot =
            text.ok_or_else(|| fields.field("snapshot name of length", snapshot_bytes.into()))?;
        fields.finish()?;
        Ok(Self { volume, snapshot, clone, name, created_unix_ms })
    }

    /// As [`Self::decode`], for the object of this name of this volume.
    ///
    /// # Errors
    /// As [`Self::decode`], and if it is another pin.
    pub fn decode_as(
        bytes: &[u8],
        volume: VolumeId,
        name: &ObjectName,
    ) -> Result<Self, FormatError> {
        let pin = Self::decode(bytes)?;
        if pin.volume != volume {
            return Err(FormatError::Identity { what: PIN.what, field: "volume" });
        }
        if pin.object_name() != *name {
            return Err(FormatError::Identity { what: PIN.what, field: "clone" });
        }
        Ok(pin)
    }
}
