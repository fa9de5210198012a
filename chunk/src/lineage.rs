//! Whose objects a volume's map refers to.
//!
//! A clone begins with the map of a snapshot: the same page references and chunk ids, which name
//! objects of the volume that was cloned. A chunk id has the incarnation of its writer in it, and
//! a clone goes on counting where the snapshot stood. So one number per ancestor tells whose object
//! an id is: all up to that incarnation that no earlier ancestor has. A map of any depth costs a
//! search in this short table, in memory, and no request more than a map of depth 0.

use std::sync::Arc;

use wal::planted::{self, Bug};
use wal::{Incarnation, VolumeId};

use crate::error::FormatError;
use crate::ids::{ChunkId, MAX_INCARNATION};
use crate::limits::MAX_ANCESTORS;
use crate::sealed::{Reader, Writer};
use crate::snapshot::{SnapshotId, SnapshotName};
use crate::store::ObjectName;

/// A volume whose objects others may refer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ancestor {
    /// The volume.
    pub volume: VolumeId,
    /// The last incarnation whose objects are its own.
    pub last: Incarnation,
}

/// What a clone was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The volume.
    pub volume: VolumeId,
    /// The snapshot of it.
    pub snapshot: SnapshotId,
    /// The snapshot's name.
    pub name: SnapshotName,
}

/// The ancestors of a volume that have objects, by rising incarnations.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ancestors(Vec<Ancestor>);

/// Bytes of one ancestor.
pub(crate) const ANCESTOR_BYTES: usize = 24;

impl Ancestors {
    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Ancestor> + '_ {
        self.0.iter().copied()
    }

    /// Number of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the volume has written all that it refers to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a clone of a volume that has these, taken in this incarnation of it; `None` if they
    /// are too many. A volume that has written nothing is passed over: nobody refers to it.
    #[must_use]
    pub fn descend(&self, volume: VolumeId, last: Incarnation) -> Option<Self> {
        let mut all = self.0.clone();
        let written = all.last().map_or(Incarnation(0), |newest| newest.last);
        assert!(written <= last, "a clone goes on counting where the snapshot stood");
        if last > written {
            all.push(Ancestor { volume, last });
        }
        (all.len() <= MAX_ANCESTORS).then_some(Self(all))
    }

    /// Checks what must hold in a manifest of `volume` that `newest` wrote.
    pub(crate) fn check(
        &self,
        what: &'static str,
        volume: VolumeId,
        newest: Incarnation,
    ) -> Result<(), FormatError> {
        let must = |holds: bool, field: &'static str, value: u64| {
            if holds { Ok(()) } else { Err(FormatError::Field { what, field, value }) }
        };
        let count = self.0.len();
        must(count <= MAX_ANCESTORS, "number of ancestors", count as u64)?;
        let mut before = Incarnation(0);
        for (n, ancestor) in self.0.iter().enumerate() {
            let last = ancestor.last;
            let rises = before < last && last <= newest && last <= MAX_INCARNATION;
            must(rises, "ancestor's incarnation", last.0)?;
            let is_other = |other: &Ancestor| other.volume != ancestor.volume;
            let is_new = ancestor.volume != volume && self.0[..n].iter().all(is_other);
            must(is_new, "ancestor", n as u64)?;
            before = last;
        }
        Ok(())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        for ancestor in &self.0 {
            out.bytes(&ancestor.volume.0);
            out.u64(ancestor.last.0);
        }
    }

    pub(crate) fn read(fields: &mut Reader<'_>, count: u16) -> Result<Self, FormatError> {
        let mut all = Vec::new();
        for _ in 0..count {
            let volume = VolumeId(fields.array()?);
            all.push(Ancestor { volume, last: Incarnation(fields.u64()?) });
        }
        Ok(Self(all))
    }
}

/// Tells whose an object is. Cheap to clone, the same on all cores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lineage {
    own: VolumeId,
    ancestors: Arc<[Ancestor]>,
}

impl Lineage {
    /// That of a volume with these ancestors.
    #[must_use]
    pub fn new(own: VolumeId, ancestors: &Ancestors) -> Self {
        Self { own, ancestors: ancestors.0.as_slice().into() }
    }

    /// That of a volume that was not cloned.
    #[must_use]
    pub fn single(own: VolumeId) -> Self {
        Self { own, ancestors: Arc::new([]) }
    }

    /// The volume itself.
    #[must_use]
    pub fn own(&self) -> VolumeId {
        self.own
    }

    /// The volume that wrote an object.
    #[must_use]
    pub fn writer(&self, id: ChunkId) -> VolumeId {
        if self.ancestors.is_empty() || planted::is(Bug::CloneOwnsAll) {
            return self.own;
        }
        let at = self.ancestors.partition_point(|ancestor| ancestor.last < id.incarnation());
        self.ancestors.get(at).map_or(self.own, |ancestor| ancestor.volume)
    }

    /// Where a chunk is.
    #[must_use]
    pub fn chunk_name(&self, id: ChunkId) -> ObjectName {
        id.chunk_name(self.writer(id))
    }

    /// Where an object of map pages is.
    #[must_use]
    pub fn map_name(&self, id: ChunkId) -> ObjectName {
        id.map_name(self.writer(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(n: u8) -> VolumeId {
        VolumeId([n; 16])
    }

    fn id(incarnation: u64) -> ChunkId {
        ChunkId::new(Incarnation(incarnation), 5).unwrap()
    }

    #[test]
    fn an_object_is_its_writers() {
        let first = Ancestors::default().descend(volume(1), Incarnation(3)).unwrap();
        // The second was never written to, the third was opened four times.
        let second = first.descend(volume(2), Incarnation(3)).unwrap();
        let third = second.descend(volume(3), Incarnation(7)).unwrap();
        assert_eq!((first.len(), second.len(), third.len()), (1, 1, 2));
        let lineage = Lineage::new(volume(4), &third);
        let writers: Vec<_> = (1..10).map(|n| lineage.writer(id(n)).0[0]).collect();
        assert_eq!(writers, [1, 1, 1, 3, 3, 3, 3, 4, 4]);
        assert_eq!(lineage.chunk_name(id(2)), id(2).chunk_name(volume(1)));
        assert_eq!(lineage.map_name(id(8)), id(8).map_name(volume(4)));
        assert_eq!(lineage.own(), volume(4));
        let single = Lineage::single(volume(9));
        assert_eq!(single.writer(id(1)), volume(9));
        assert_eq!(single, Lineage::new(volume(9), &Ancestors::default()));
    }

    #[test]
    fn a_volume_that_was_never_opened_is_no_ancestor() {
        let none = Ancestors::default().descend(volume(1), Incarnation(0)).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn the_depth_is_bounded() {
        let id = |n: usize| VolumeId((n as u128).to_le_bytes());
        let mut ancestors = Ancestors::default();
        for n in 1..=MAX_ANCESTORS {
            ancestors = ancestors.descend(id(n), Incarnation(n as u64)).unwrap();
        }
        let next = Incarnation(MAX_ANCESTORS as u64 + 1);
        ancestors.check("test", id(0), next).unwrap();
        assert_eq!(ancestors.descend(id(0), next), None);
        assert!(ancestors.descend(id(0), Incarnation(MAX_ANCESTORS as u64)).is_some());
    }

    #[test]
    fn unsound_tables_are_refused_by_name() {
        let of = |all: &[(u8, u64)]| {
            let one = |&(n, last)| Ancestor { volume: volume(n), last: Incarnation(last) };
            let table = Ancestors(all.iter().map(one).collect());
            match table.check("test", volume(9), Incarnation(10)) {
                Ok(()) => "sound",
                Err(FormatError::Field { field, .. }) => field,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(of(&[(1, 1), (2, 10)]), "sound");
        assert_eq!(of(&[(1, 0)]), "ancestor's incarnation");
        assert_eq!(of(&[(1, 2), (2, 2)]), "ancestor's incarnation");
        assert_eq!(of(&[(1, 11)]), "ancestor's incarnation");
        assert_eq!(of(&[(9, 1)]), "ancestor");
        assert_eq!(of(&[(1, 1), (1, 2)]), "ancestor");
    }
}
