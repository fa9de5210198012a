use futures_lite::future::block_on;
use wal::{BLOCK_BYTES, Epoch, Extent, HoleKind, Incarnation, VolumeId};

use super::*;
use crate::catalog::{NewVolume, create};
use crate::chunk::ChunkBuilder;
use crate::ids::VolumeName;
use crate::map_object::MapObjectBuilder;
use crate::memory::MemoryStore;
use crate::page::{MapPage, PageRun};
use crate::promises::Promises;

const VOLUME: VolumeId = VolumeId([7; 16]);

const FAR: PageIndex = PageIndex(1024);

fn id(n: u64) -> ChunkId {
    ChunkId::new(Incarnation(1), n).unwrap()
}

fn change(first: u64, blocks: u64, is_zeros: bool) -> Change {
    Change { first: Lba(first), blocks, is_zeros }
}

struct World {
    store: MemoryStore,
    /// Pages 0 and 1024: blocks 0..8 and the first far block are in chunk 1, blocks 50..60 are zeros.
    base: Manifest,
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::new();
        let new = NewVolume {
            name: VolumeName::new("vm").unwrap(),
            id: VOLUME,
            size_bytes: 5 << 30,
            stripe_shift: 10,
            promises: Promises::default(),
            created_unix_ms: 0,
        };
        let mut base = block_on(create(&store, new)).unwrap();
        base.incarnation = Incarnation(1);
        let world = Self { store, base };
        let (mut near, mut far) = (MapPage::new(), MapPage::new());
        near.put_data(0, id(1), PayloadBlock(0), &[0; 8]);
        near.put_zero(PageRun::new(50, 10).unwrap());
        far.put_data(0, id(1), PayloadBlock(8), &[0; 1]);
        let directory = world.fold(2, &[(PageIndex(0), near), (FAR, far)]);
        let base = Manifest { directory, ..world.base };
        Self { base, ..world }
    }

    /// Stores pages; each of them has a segment of its own.
    fn fold(&self, object: u64, pages: &[(PageIndex, MapPage)]) -> Vec<(SegmentIndex, PageRef)> {
        let mut builder = MapObjectBuilder::new(VOLUME, id(object));
        let mut directory = Vec::new();
        for (index, page) in pages {
            let mut segment = DirectorySegment::new(SegmentIndex::of(*index));
            segment.set(*index, builder.push_page(*index, page));
            directory.push((segment.index(), builder.push_segment(&segment).unwrap()));
        }
        block_on(self.store.put(&id(object).map_name(VOLUME), builder.finish())).unwrap();
        directory
    }

    /// The base with one more unfolded chunk: data at some blocks, and holes.
    fn with(&self, n: u64, data: &[u64], holes: &[(HoleKind, u64, u64)]) -> Manifest {
        let layout = Layout::new(10, 2).unwrap();
        let mut chunk = ChunkBuilder::new(VOLUME, id(n), layout, Epoch(n));
        for &lba in data {
            assert_eq!(chunk.push_data(Lba(lba), &[n as u8; BLOCK_BYTES]), 1);
        }
        for &(kind, lba, count) in holes {
            assert!(chunk.push_hole(kind, Extent::new(Lba(lba), count).unwrap(), None));
        }
        let (bytes, _) = chunk.finish();
        block_on(self.store.put(&id(n).chunk_name(VOLUME), bytes)).unwrap();
        Manifest { unfolded: vec![id(n)], ..self.base.clone() }
    }

    fn diff(&self, older: &Manifest, newer: &Manifest) -> Vec<Change> {
        let mut told = Vec::new();
        block_on(diff(&self.store, older, newer, |change| told.push(change))).unwrap();
        told
    }
}

#[test]
fn what_was_written_and_trimmed_is_told_both_ways() {
    let world = World::new();
    let holes =
        [(HoleKind::Discard, 4, 1), (HoleKind::Zero, 5, 1), (HoleKind::Discard, 2048, 1 << 19)];
    let newer = world.with(3, &[1, 2, 51, 1023, 1024], &holes);
    let forth =
        [change(1, 2, false), change(4, 2, true), change(51, 1, false), change(1023, 2, false)];
    assert_eq!(world.diff(&world.base, &newer), forth);
    let back =
        [change(1, 2, false), change(4, 2, false), change(51, 1, true), change(1023, 2, true)];
    assert_eq!(world.diff(&newer, &world.base), back);
    assert_eq!(world.diff(&newer, &newer), []);
}

#[test]
fn zeros_and_holes_are_the_same_and_so_is_what_was_only_folded() {
    let world = World::new();
    let holes = [(HoleKind::Discard, 50, 10), (HoleKind::Zero, 70, 5)];
    assert_eq!(world.diff(&world.base, &world.with(3, &[], &holes)), []);
    let unfolded = world.with(4, &[3, 4], &[]);
    let mut page = MapPage::new();
    page.put_data(0, id(1), PayloadBlock(0), &[0; 8]);
    page.put_data(3, id(4), PayloadBlock(0), &[0; 2]);
    let mut directory = world.fold(5, &[(PageIndex(0), page)]);
    directory.push(world.base.directory[1]);
    let folded = Manifest { directory, ..world.base.clone() };
    assert_eq!(world.diff(&unfolded, &folded), []);
    assert_eq!(world.diff(&world.base, &folded), [change(3, 2, false)]);
}

#[test]
fn what_both_have_is_not_read_and_what_is_behind_the_end_is_not_told() {
    let world = World::new();
    let newer = world.with(3, &[FAR.first_block().0 + 1, FAR.first_block().0 + 2], &[]);
    let size_bytes = (FAR.first_block().0 + 2) * BLOCK_BYTES as u64;
    let newer = Manifest { size_bytes, ..newer };
    let told = world.diff(&world.base, &newer);
    assert_eq!(told, [change(FAR.first_block().0 + 1, 1, false)]);
    // The chunk of the page is never asked for, and nor is the page that they share.
    let near = PageIndex(0);
    let mut damaged = world.base.clone();
    damaged.directory[0].1.crc ^= 1;
    let told = world.diff(&damaged, &Manifest { unfolded: vec![id(3)], ..damaged.clone() });
    assert_eq!(told, [change(FAR.first_block().0 + 1, 2, false)]);
    let touched = world.with(6, &[near.first_block().0], &[]);
    let touched = Manifest { directory: damaged.directory.clone(), ..touched };
    let read = block_on(diff(&world.store, &damaged, &touched, |_| ()));
    assert!(read.is_err(), "what cannot be read is no change and no lack of one");
}
