//! Bytes of a manifest.

use wal::{Epoch, Incarnation, Lsn, ShardId, VolumeId};

use super::{Cut, Manifest, WHAT};
use crate::directory::{PageRef, SegmentIndex};
use crate::error::FormatError;
use crate::ids::{ChunkId, ManifestSeq, VolumeName};
use crate::limits::MAX_MANIFEST_BYTES;
use crate::lineage::{ANCESTOR_BYTES, Ancestors, Parent};
use crate::promises::{Durability, Fencing, LeaseTerm, Promises};
use crate::sealed::{Reader, Sealed, Writer, frame_features};
use crate::snapshot::{SnapshotId, SnapshotName};

/// The volume is a clone, or has ancestors: the part about them stands at the end.
const LINEAGE: u64 = 1;

/// Chunks may be compressed: which ones stands behind all else.
const COMPRESSION: u64 = 2;

const MANIFEST: Sealed =
    Sealed { what: WHAT, magic: *b"KRTMANIF", version: 1, features: LINEAGE | COMPRESSION };

/// The fixed part of a manifest, not checked.
struct RawManifest<'a> {
    features: u64,
    volume: [u8; 16],
    seq: u64,
    size_bytes: u64,
    incarnation: u64,
    owner: [u8; 16],
    salt: u64,
    created_unix_ms: u64,
    cut_incarnation: u64,
    cut_epoch: u64,
    parent: [u8; 32],
    stripe_shift: u8,
    name_bytes: u8,
    positions: u16,
    segments: u32,
    unfolded: u32,
    durability: u8,
    reserved: u8,
    lease_seconds: u16,
    tenure: u64,
    rest: Reader<'a>,
}

impl<'a> RawManifest<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (mut fields, _) = MANIFEST.open(bytes)?;
        Ok(Self {
            features: frame_features(bytes),
            volume: fields.array()?,
            seq: fields.u64()?,
            size_bytes: fields.u64()?,
            incarnation: fields.u64()?,
            owner: fields.array()?,
            salt: fields.u64()?,
            created_unix_ms: fields.u64()?,
            cut_incarnation: fields.u64()?,
            cut_epoch: fields.u64()?,
            parent: fields.array()?,
            stripe_shift: fields.u8()?,
            name_bytes: fields.u8()?,
            positions: fields.u16()?,
            segments: fields.u32()?,
            unfolded: fields.u32()?,
            durability: fields.u8()?,
            reserved: fields.u8()?,
            lease_seconds: fields.u16()?,
            tenure: fields.u64()?,
            rest: fields,
        })
    }

    fn check(self) -> Result<(ManifestSeq, Manifest), FormatError> {
        let mut rest = self.rest;
        let has_lineage = self.features & LINEAGE != 0;
        let parent = u64::from(self.parent.iter().any(|&byte| byte != 0));
        if !has_lineage {
            rest.must_be_zero("parent", parent)?;
        }
        rest.must_be_zero("reserved", self.reserved.into())?;
        if self.seq == 0 {
            return Err(rest.field("number", 0));
        }
        let promises = promises(&rest, self.durability, self.lease_seconds)?;
        let name = rest.take(self.name_bytes.into())?;
        let name = std::str::from_utf8(name).ok().and_then(|name| VolumeName::new(name).ok());
        let name = name.ok_or_else(|| rest.field("name of length", self.name_bytes.into()))?;
        let mut positions = Vec::with_capacity(self.positions.into());
        for _ in 0..self.positions {
            positions.push((ShardId(rest.u16()?), Lsn(rest.u64()?)));
        }
        // Counts are not trusted with memory: a short body ends the loops.
        let mut directory = Vec::new();
        for _ in 0..self.segments {
            directory.push((SegmentIndex(rest.u32()?), PageRef::read(&mut rest)?));
        }
        let mut unfolded = Vec::new();
        for _ in 0..self.unfolded {
            let raw = rest.u64()?;
            unfolded.push(ChunkId::from_raw(raw).ok_or_else(|| rest.field("unfolded chunk", raw))?);
        }
        let (parent, ancestors) = match has_lineage {
            true => read_lineage(&mut rest, self.parent)?,
            false => (None, Ancestors::default()),
        };
        let compressed_since = match self.features & COMPRESSION != 0 {
            true => Some(Incarnation(rest.u64()?)),
            false => None,
        };
        rest.finish()?;
        let manifest = Manifest {
            volume: VolumeId(self.volume),
            name,
            size_bytes: self.size_bytes,
            stripe_shift: self.stripe_shift,
            promises,
            created_unix_ms: self.created_unix_ms,
            incarnation: Incarnation(self.incarnation),
            owner: self.owner,
            tenure: Incarnation(self.tenure),
            salt: self.salt,
            cut: Cut {
                incarnation: Incarnation(self.cut_incarnation),
                epoch: Epoch(self.cut_epoch),
                positions,
            },
            directory,
            unfolded,
            parent,
            ancestors,
            compressed_since,
        };
        manifest.check()?;
        Ok((ManifestSeq(self.seq), manifest))
    }
}

/// Reads the part about parent and ancestors; `parent` is what the fixed part has of it.
fn read_lineage(
    rest: &mut Reader<'_>,
    parent: [u8; 32],
) -> Result<(Option<Parent>, Ancestors), FormatError> {
    let (count, name_bytes, zero) = (rest.u16()?, rest.u8()?, rest.u8()?);
    rest.must_be_zero("reserved", zero.into())?;
    let name = rest.take(name_bytes.into())?;
    let name = std::str::from_utf8(name).ok().and_then(|name| SnapshotName::parse(name).ok());
    let ancestors = Ancestors::read(rest, count)?;
    let (volume, snapshot) = parent.split_at(16);
    let half = |bytes: &[u8]| bytes.try_into().expect("a half has 16 bytes");
    match (parent == [0; 32], name) {
        (true, None) if name_bytes == 0 && !ancestors.is_empty() => Ok((None, ancestors)),
        (false, Some(name)) => {
            let (volume, snapshot) = (VolumeId(half(volume)), SnapshotId(half(snapshot)));
            Ok((Some(Parent { volume, snapshot, name }), ancestors))
        }
        _ => Err(rest.field("snapshot name of length", name_bytes.into())),
    }
}

fn write_lineage(out: &mut Writer, parent: Option<&Parent>, ancestors: &Ancestors) {
    let name = parent.map_or("", |parent| parent.name.as_str());
    out.u16(ancestors.len() as u16);
    out.u8(name.len() as u8);
    out.u8(0);
    out.bytes(name.as_bytes());
    ancestors.write(out);
}

/// What a volume promises, from its two fields.
fn promises(rest: &Reader, durability: u8, seconds: u16) -> Result<Promises, FormatError> {
    let known = Durability::from_code(durability);
    let durability = known.ok_or_else(|| rest.field("durability", durability.into()))?;
    let fencing = match seconds {
        0 => Fencing::Contact,
        _ => LeaseTerm::new(seconds.into())
            .map(Fencing::Lease)
            .map_err(|_| rest.field("seconds of a lease", seconds.into()))?,
    };
    Ok(Promises { durability, fencing })
}

impl Manifest {
    /// The bytes of this manifest as number `seq` of its volume.
    ///
    /// # Panics
    /// If a field breaks its rules: our bug, as [`Self::decode`] would refuse it.
    #[must_use]
    pub fn encode(&self, seq: ManifestSeq) -> Vec<u8> {
        self.check().expect("only sound manifests are written");
        let has_lineage = self.parent.is_some() || !self.ancestors.is_empty();
        let lineage = if has_lineage { LINEAGE } else { 0 };
        let features = lineage | self.compressed_since.map_or(0, |_| COMPRESSION);
        let lists = self.directory.len() * 24 + self.unfolded.len() * 8;
        let capacity = 512 + lists + self.ancestors.len() * ANCESTOR_BYTES;
        let mut out = MANIFEST.begin_with(features, capacity);
        out.bytes(&self.volume.0);
        out.u64(seq.0);
        out.u64(self.size_bytes);
        out.u64(self.incarnation.0);
        out.bytes(&self.owner);
        out.u64(self.salt);
        out.u64(self.created_unix_ms);
        out.u64(self.cut.incarnation.0);
        out.u64(self.cut.epoch.0);
        match &self.parent {
            Some(parent) => out.bytes(&[parent.volume.0, parent.snapshot.0].concat()),
            None => out.zeros(32),
        }
        out.u8(self.stripe_shift);
        out.u8(self.name.as_str().len() as u8);
        out.u16(self.cut.positions.len() as u16);
        out.u32(self.directory.len() as u32);
        out.u32(self.unfolded.len() as u32);
        out.u8(self.promises.durability.code());
        out.u8(0);
        out.u16(self.promises.fencing.lease().map_or(0, LeaseTerm::seconds));
        out.u64(self.tenure.0);
        out.bytes(self.name.as_str().as_bytes());
        for (shard, lsn) in &self.cut.positions {
            out.u16(shard.0);
            out.u64(lsn.0);
        }
        for (segment, place) in &self.directory {
            out.u32(segment.0);
            place.write(&mut out);
        }
        for id in &self.unfolded {
            out.u64(id.raw());
        }
        if has_lineage {
            write_lineage(&mut out, self.parent.as_ref(), &self.ancestors);
        }
        if let Some(since) = self.compressed_since {
            out.u64(since.0);
        }
        let (bytes, _) = out.seal();
        assert!(bytes.len() <= MAX_MANIFEST_BYTES);
        bytes
    }

    /// Reads a manifest and its number.
    ///
    /// # Errors
    /// If the bytes are not exactly one sound manifest.
    pub fn decode(bytes: &[u8]) -> Result<(ManifestSeq, Self), FormatError> {
        RawManifest::decode(bytes)?.check()
    }

    /// As [`Self::decode`], for the bytes that should be number `seq` of `volume`.
    ///
    /// # Errors
    /// As [`Self::decode`], and if it is another manifest.
    pub fn decode_as(
        bytes: &[u8],
        volume: VolumeId,
        seq: ManifestSeq,
    ) -> Result<Self, FormatError> {
        let (found, manifest) = Self::decode(bytes)?;
        if manifest.volume != volume {
            return Err(FormatError::Identity { what: WHAT, field: "volume" });
        }
        if found != seq {
            return Err(FormatError::Identity { what: WHAT, field: "number" });
        }
        Ok(manifest)
    }
}
