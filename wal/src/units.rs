//! Newtypes with a unit: everything countable has one meaning, here.

use std::fmt;

/// Bytes of one block, the unit of the extent map.
pub const BLOCK_BYTES: usize = 4096;

/// Bytes of one sector, the smallest unit that a client may address.
pub const SECTOR_BYTES: usize = 512;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this one.
            ///
            /// # Panics
            /// When the counter is exhausted: our bug, as none of them can be by any real load.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect(concat!(stringify!($name), " exhausted")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// Address of a block within a volume, in blocks of [`BLOCK_BYTES`].
    Lba(u64)
}
counter! {
    /// Address of a block within the part of a volume that one shard owns (see [`crate::Layout`]).
    ShardBlock(u64)
}
counter! {
    /// Position in one shard's log: the number of a record, from 1, without gaps within one
    /// incarnation. 0 stands for "before the first record".
    Lsn(u64)
}
counter! {
    /// Volume-wide counter stamped on every record; never falls along a shard's log and never
    /// falls over incarnations. The set {epoch ≤ k} over all shards is the cut k.
    Epoch(u64)
}
counter! {
    /// Fencing number of one opening of a volume for writing.
    Incarnation(u64)
}
counter! {
    /// Number of one use of a segment file, unique within a shard and incarnation; a recycled
    /// file gets a new one.
    SegmentId(u64)
}
counter! {
    /// Number of a shard within a server, from 0.
    ShardId(u16)
}

/// Identity of a volume for all time; its name may be given to another one later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct VolumeId(pub [u8; 16]);

impl fmt::Display for VolumeId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl VolumeId {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(id))
    }
}

/// A non-empty run of blocks `[lba, lba + count)` of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    lba: Lba,
    count: u64,
}

impl Extent {
    /// Returns `None` for an empty run or one that leaves the 64-bit address space.
    #[must_use]
    pub fn new(lba: Lba, count: u64) -> Option<Self> {
        (count > 0 && lba.0.checked_add(count).is_some()).then_some(Self { lba, count })
    }

    /// First block.
    #[must_use]
    pub fn lba(self) -> Lba {
        self.lba
    }

    /// Number of blocks, at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        self.count
    }

    /// The block after the last one.
    #[must_use]
    pub fn end(self) -> Lba {
        Lba(self.lba.0 + self.count)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.lba, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_id_round_trips_through_its_text() {
        let id = VolumeId(*b"0123456789abcdef");
        assert_eq!(VolumeId::parse(&id.to_string()), Some(id));
        assert_eq!(VolumeId::parse("00"), None);
        assert_eq!(VolumeId::parse(&"G".repeat(32)), None);
        assert_eq!(VolumeId::parse(&"A".repeat(32)), None, "one spelling only");
    }

    #[test]
    fn extents_are_never_empty_and_never_wrap() {
        assert_eq!(Extent::new(Lba(5), 0), None);
        assert_eq!(Extent::new(Lba(u64::MAX), 1), None);
        assert_eq!(Extent::new(Lba(5), 3).map(Extent::end), Some(Lba(8)));
    }
}
