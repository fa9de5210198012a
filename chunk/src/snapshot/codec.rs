//! Bytes of a snapshot.

use wal::VolumeId;

use super::{Snapshot, SnapshotHeader, SnapshotId, SnapshotName};
use crate::error::FormatError;
use crate::ids::{ManifestSeq, VolumeName};
use crate::limits::MAX_MANIFEST_BYTES;
use crate::manifest::Manifest;
use crate::sealed::{Sealed, frame_crc};

const SNAPSHOT: Sealed = Sealed { what: "snapshot", magic: *b"KRTSNAPS", version: 1, features: 0 };

/// Bytes of a snapshot before its manifest.
pub const HEADER_BYTES: usize = 192;

const FIXED_BYTES: usize = 104;

// The longest name fits.
const _: () = assert!(FIXED_BYTES + VolumeName::MAX_BYTES <= HEADER_BYTES);

/// Where the manifest is, and which.
struct Behind {
    bytes: u32,
    crc: u32,
}

impl SnapshotHeader {
    fn encode(&self, behind: &Behind) -> Vec<u8> {
        let mut out = SNAPSHOT.begin(HEADER_BYTES);
        out.bytes(&self.volume.0);
        out.bytes(&self.id.0);
        out.u64(self.created_unix_ms);
        out.u64(self.seq.0);
        out.u64(self.size_bytes);
        out.u32(behind.bytes);
        out.u32(behind.crc);
        out.u8(self.name.as_str().len() as u8);
        out.zeros(7);
        out.bytes(self.name.as_str().as_bytes());
        out.seal_padded(HEADER_BYTES)
    }

    fn decode(bytes: &[u8]) -> Result<(Self, Behind), FormatError> {
        let (mut fields, _) = SNAPSHOT.open(bytes)?;
        let volume = VolumeId(fields.array()?);
        let id = SnapshotId(fields.array()?);
        let (created_unix_ms, seq) = (fields.u64()?, fields.u64()?);
        let size_bytes = fields.u64()?;
        let behind = Behind { bytes: fields.u32()?, crc: fields.u32()? };
        let name_bytes = fields.u8()?;
        let zero: [u8; 7] = fields.array()?;
        let name = fields.take(name_bytes.into())?;
        let name = std::str::from_utf8(name).ok().and_then(|name| SnapshotName::parse(name).ok());
        let name = name.ok_or_else(|| fields.field("name of length", name_bytes.into()))?;
        if bytes.len() != HEADER_BYTES {
            return Err(fields.field("length", bytes.len() as u64));
        }
        if seq == 0 {
            return Err(fields.field("number of the manifest", 0));
        }
        if behind.bytes as usize > MAX_MANIFEST_BYTES {
            return Err(fields.field("bytes of the manifest", behind.bytes.into()));
        }
        fields.must_be_zero("reserved", zero.iter().map(|&byte| u64::from(byte)).sum())?;
        fields.finish_padded()?;
        let seq = ManifestSeq(seq);
        Ok((Self { volume, id, name, created_unix_ms, seq, size_bytes }, behind))
    }

    /// Reads the first [`HEADER_BYTES`] of the snapshot of this name.
    ///
    /// # Errors
    /// If the bytes are not such a header, or that of another snapshot.
    pub fn decode_as(
        bytes: &[u8],
        volume: VolumeId,
        name: &SnapshotName,
    ) -> Result<Self, FormatError> {
        let (header, _) = Self::decode(bytes)?;
        header.must_be(volume, name)?;
        Ok(header)
    }

    fn must_be(&self, volume: VolumeId, name: &SnapshotName) -> Result<(), FormatError> {
        let other = |field| Err(FormatError::Identity { what: SNAPSHOT.what, field });
        match (self.volume == volume, self.name == *name) {
            (true, true) => Ok(()),
            (false, _) => other("volume"),
            (true, false) => other("name"),
        }
    }
}

impl Snapshot {
    /// The object's bytes.
    ///
    /// # Panics
    /// If the manifest breaks its rules.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let manifest = self.manifest.encode(self.seq);
        let crc = frame_crc(&manifest).expect("a manifest has a frame");
        let mut bytes = self.header().encode(&Behind { bytes: manifest.len() as u32, crc });
        bytes.extend_from_slice(&manifest);
        bytes
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// If the bytes are not exactly one sound snapshot.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let what = SNAPSHOT.what;
        let (header, rest) = bytes.split_at(HEADER_BYTES.min(bytes.len()));
        let (header, behind) = SnapshotHeader::decode(header)?;
        let (need, have) = (u64::from(behind.bytes), rest.len() as u64);
        if need != have {
            return Err(FormatError::Length { what, need, have });
        }
        if frame_crc(rest) != Some(behind.crc) {
            return Err(FormatError::Identity { what, field: "manifest" });
        }
        let manifest = Manifest::decode_as(rest, header.volume, header.seq)?;
        if manifest.size_bytes != header.size_bytes {
            return Err(FormatError::Field { what, field: "size", value: header.size_bytes });
        }
        let SnapshotHeader { id, name, created_unix_ms, seq, .. } = header;
        Ok(Self { id, name, created_unix_ms, seq, manifest })
    }

    /// As [`Self::decode`], for the bytes that should be the snapshot of this name.
    ///
    /// # Errors
    /// As [`Self::decode`], and if it is another one.
    pub fn decode_as(
        bytes: &[u8],
        volume: VolumeId,
        name: &SnapshotName,
    ) -> Result<Self, FormatError> {
        let snapshot = Self::decode(bytes)?;
        snapshot.header().must_be(volume, name)?;
        Ok(snapshot)
    }
}
