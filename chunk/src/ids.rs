//! Names of everything that is kept in an object store.

use std::fmt;
use std::num::NonZeroU64;

use wal::{Incarnation, VolumeId};

use crate::store::ObjectName;

const SEQUENCE_BITS: u32 = 40;
const INCARNATION_BITS: u32 = 24;
const _: () = assert!(SEQUENCE_BITS + INCARNATION_BITS == u64::BITS);

/// Highest incarnation that a volume can have: so many openings are not reached in any life.
pub const MAX_INCARNATION: Incarnation = Incarnation((1 << INCARNATION_BITS) - 1);

/// Identity of a chunk or map object, unique for ever within its volume: the incarnation of the
/// opening that wrote it (24 bits) above a sequence number within that opening (40 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(NonZeroU64);

impl ChunkId {
    /// Returns `None` if a part does not fit, or the incarnation is 0, in which nobody writes.
    #[must_use]
    pub fn new(incarnation: Incarnation, sequence: u64) -> Option<Self> {
        let fits = incarnation <= MAX_INCARNATION && sequence >> SEQUENCE_BITS == 0;
        if fits { Self::from_raw((incarnation.0 << SEQUENCE_BITS) | sequence) } else { None }
    }

    /// The opening that wrote it.
    #[must_use]
    pub fn incarnation(self) -> Incarnation {
        Incarnation(self.0.get() >> SEQUENCE_BITS)
    }

    /// Its number within that opening.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0.get() & ((1 << SEQUENCE_BITS) - 1)
    }

    /// Both parts in one number, as it is stored.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0.get()
    }

    /// Reads what [`Self::raw`] gives; `None` if the incarnation in it is 0.
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        if raw >> SEQUENCE_BITS == 0 { None } else { NonZeroU64::new(raw).map(Self) }
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let well_formed = text.len() == 16 && text.bytes().all(digit);
        if well_formed { Self::from_raw(u64::from_str_radix(text, 16).ok()?) } else { None }
    }

    /// Where a volume keeps this chunk.
    #[must_use]
    pub fn chunk_name(self, volume: VolumeId) -> ObjectName {
        object(format!("{}chunks/{self}", volume_prefix(volume)))
    }

    /// Where a volume keeps this object of map pages.
    #[must_use]
    pub fn map_name(self, volume: VolumeId) -> ObjectName {
        object(format!("{}maps/{self}", volume_prefix(volume)))
    }
}

impl fmt::Display for ChunkId {
    /// 16 lower-case hexadecimal digits: 6 of the incarnation, 10 of the sequence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

/// Number of a block in the payload of a chunk, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PayloadBlock(pub u32);

impl fmt::Display for PayloadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a manifest within its volume, from 1, without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ManifestSeq(pub u64);

impl ManifestSeq {
    /// The one that makes a volume.
    pub const FIRST: Self = Self(1);

    /// The one after this one.
    ///
    /// # Panics
    /// After 2^64 manifests.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a volume has fewer than 2^64 manifests"))
    }

    /// Where a volume keeps this manifest.
    #[must_use]
    pub fn object_name(self, volume: VolumeId) -> ObjectName {
        object(format!("{}{self}", manifest_prefix(volume)))
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit());
        let seq = if well_formed { text.parse().ok()? } else { 0 };
        (seq > 0).then_some(Self(seq))
    }
}

impl fmt::Display for ManifestSeq {
    /// 20 decimal digits, so that names sort as numbers do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

/// What the names of all objects of a volume start with.
#[must_use]
pub fn volume_prefix(volume: VolumeId) -> String {
    format!("volumes/{volume}/")
}

/// What the names of a volume's manifests start with.
#[must_use]
pub fn manifest_prefix(volume: VolumeId) -> String {
    format!("{}manifests/", volume_prefix(volume))
}

/// What the names of the objects that name volumes start with.
pub const NAMES_PREFIX: &str = "names/";

/// A user's name for a volume: 1 to 64 lower-case letters, digits, `.`, `_` and `-`, starting and
/// ending with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VolumeName(String);

/// Why some text is not a volume name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VolumeNameError {
    /// No text at all.
    #[error("a volume name cannot be empty")]
    Empty,
    /// More text than fits.
    #[error("a volume name has at most {} characters, this has {length}", VolumeName::MAX_BYTES)]
    TooLong {
        /// Bytes of the text.
        length: usize,
    },
    /// A character that names do not have.
    #[error("a volume name has only a-z, 0-9, '.', '_' and '-', not {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
    /// Punctuation at an end.
    #[error("a volume name starts and ends with one of a-z and 0-9, not with {found:?}")]
    Edge {
        /// The character there.
        found: char,
    },
}

impl VolumeName {
    /// Longest name in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks the grammar.
    ///
    /// # Errors
    /// Says what a name may be.
    pub fn new(text: impl Into<String>) -> Result<Self, VolumeNameError> {
        let text = text.into();
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = |c: char| alphanumeric(c) || matches!(c, '.' | '_' | '-');
        let edges = [text.chars().next(), text.chars().next_back()];
        if let Some(found) = text.chars().find(|&c| !fits(c)) {
            return Err(VolumeNameError::Character { found });
        }
        if text.len() > Self::MAX_BYTES {
            return Err(VolumeNameError::TooLong { length: text.len() });
        }
        for edge in edges {
            match edge {
                None => return Err(VolumeNameError::Empty),
                Some(found) if !alphanumeric(found) => {
                    return Err(VolumeNameError::Edge { found });
                }
                Some(_) => {}
            }
        }
        Ok(Self(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The object that says which volume has this name.
    #[must_use]
    pub fn object_name(&self) -> ObjectName {
        object(format!("{NAMES_PREFIX}{self}"))
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for VolumeName {
    type Err = VolumeNameError;

    fn from_str(text: &str) -> Result<Self, VolumeNameError> {
        Self::new(text)
    }
}

fn object(name: String) -> ObjectName {
    ObjectName::new(name).expect("made of digits and checked names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_ids_reject_what_does_not_fit() {
        let id = ChunkId::new(Incarnation(7), 9).unwrap();
        assert_eq!((id.incarnation(), id.sequence()), (Incarnation(7), 9));
        assert_eq!(id.to_string(), "0000070000000009");
        assert_eq!(ChunkId::parse(&id.to_string()), Some(id));
        assert!(ChunkId::new(MAX_INCARNATION, (1 << 40) - 1).is_some());
        assert_eq!(ChunkId::new(MAX_INCARNATION.next(), 0), None);
        assert_eq!(ChunkId::new(Incarnation(1), 1 << 40), None);
        assert_eq!(ChunkId::new(Incarnation(0), 5), None);
        assert_eq!(ChunkId::from_raw(5), None);
        for bad in ["", "000007000000000", "000007000000000A", "+000070000000009"] {
            assert_eq!(ChunkId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn object_names_are_as_documented() {
        let volume = VolumeId([0xab; 16]);
        let id = ChunkId::new(Incarnation(1), 2).unwrap();
        let hex = "ab".repeat(16);
        assert_eq!(
            id.chunk_name(volume).as_str(),
            format!("volumes/{hex}/chunks/0000010000000002")
        );
        assert_eq!(id.map_name(volume).as_str(), format!("volumes/{hex}/maps/0000010000000002"));
        assert_eq!(
            ManifestSeq(12).object_name(volume).as_str(),
            format!("volumes/{hex}/manifests/00000000000000000012")
        );
        let name = VolumeName::new("vm-1.root_disk").unwrap();
        assert_eq!(name.object_name().as_str(), "names/vm-1.root_disk");
    }

    #[test]
    fn manifest_numbers_have_one_spelling() {
        assert_eq!(ManifestSeq::parse("00000000000000000012"), Some(ManifestSeq(12)));
        assert_eq!(
            ManifestSeq::parse(&ManifestSeq(u64::MAX).to_string()),
            Some(ManifestSeq(u64::MAX))
        );
        for bad in ["12", "00000000000000000000", "99999999999999999999", "+0000000000000000012"] {
            assert_eq!(ManifestSeq::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn volume_names_say_what_they_may_be() {
        assert!(VolumeName::new("a").is_ok());
        assert!(VolumeName::new("a".repeat(64)).is_ok());
        assert_eq!(VolumeName::new(""), Err(VolumeNameError::Empty));
        assert_eq!(VolumeName::new("a".repeat(65)), Err(VolumeNameError::TooLong { length: 65 }));
        for (text, found) in [("aBc", 'B'), ("a/b", '/'), ("ä", 'ä'), ("a b", ' ')] {
            assert_eq!(VolumeName::new(text), Err(VolumeNameError::Character { found }));
        }
        for (text, found) in [("-a", '-'), ("a.", '.'), ("..", '.')] {
            assert_eq!(VolumeName::new(text), Err(VolumeNameError::Edge { found }));
        }
    }
}
