use std::cell::Cell;

use futures_lite::future::block_on;
use wal::{BLOCK_BYTES, Epoch, Extent, HoleKind, Incarnation, Layout, ShardId};

use super::*;
use crate::catalog::{NewVolume, create};
use crate::chunk::{ChunkBuilder, ChunkIndex, Compression, payload_range};
use crate::directory::DirectorySegment;
use crate::hooked::{Call, HookedStore};
use crate::ids::VolumeName;
use crate::manifest::Cut;
use crate::manifest_log::publish;
use crate::map_object::MapObjectBuilder;
use crate::memory::MemoryStore;
use crate::page::{MapPage, PageRun};
use crate::promises::Promises;
use crate::snapshot::{Snapshot, SnapshotId};

const VOLUME: VolumeId = VolumeId([7; 16]);

fn id(n: u64) -> ChunkId {
    ChunkId::new(Incarnation(1), n).unwrap()
}

fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK_BYTES]
}

fn chunk(n: u64) -> ChunkBuilder {
    ChunkBuilder::new(VOLUME, id(n), Layout::new(10, 2).unwrap(), Epoch(n))
}

async fn put_chunk(store: &MemoryStore, chunk: ChunkBuilder) -> ChunkIndex {
    let (bytes, index) = chunk.finish();
    store.put(&index.info().id.chunk_name(VOLUME), bytes).await.unwrap();
    index
}

/// A volume of 5 GiB. Chunk 1 is folded into page 0 (blocks 0..4) and page 1024 (block 0). Chunks
/// 2 and 3 are unfolded: 2 overwrites block 1 and has block 100, 3 discards block 2 and, of shard
/// 1, blocks 2048..6144; block 50 is a zero in the page.
struct World {
    store: MemoryStore,
    page: MapPage,
    far: MapPage,
    manifest: Manifest,
}

const FAR: PageIndex = PageIndex(1024);

fn world() -> World {
    world_in(MemoryStore::new())
}

fn world_in(store: MemoryStore) -> World {
    let manifest = block_on(async {
        let new = NewVolume {
            name: VolumeName::new("vm").unwrap(),
            id: VOLUME,
            size_bytes: 5 << 30,
            stripe_shift: 10,
            promises: Promises::default(),
            created_unix_ms: 0,
        };
        let mut manifest = create(&store, new).await.unwrap();
        manifest.incarnation = Incarnation(1);
        manifest.cut = Cut { incarnation: Incarnation(1), ..Cut::default() };
        manifest
    });
    let (page, far) = block_on(async {
        let mut folded = chunk(1);
        assert_eq!(folded.push_data(Lba(0), &[block(1), block(2), block(3), block(4)].concat()), 4);
        assert_eq!(folded.push_data(FAR.first_block(), &block(5)), 1);
        let index = put_chunk(&store, folded).await;
        let (mut page, mut far) = (MapPage::new(), MapPage::new());
        page.put_data(0, id(1), PayloadBlock(0), &index.crcs()[..4]);
        page.put_zero(PageRun::new(50, 1).unwrap());
        far.put_data(0, id(1), PayloadBlock(4), &index.crcs()[4..]);
        let mut newer = chunk(2);
        assert_eq!(newer.push_data(Lba(1), &block(6)), 1);
        assert_eq!(newer.push_data(Lba(100), &block(7)), 1);
        put_chunk(&store, newer).await;
        let mut newest = chunk(3);
        let extent = |lba, count| Extent::new(Lba(lba), count).unwrap();
        assert!(newest.push_hole(HoleKind::Discard, extent(2, 1), None));
        assert!(newest.push_hole(HoleKind::Discard, extent(2048, 4096), Some(ShardId(1))));
        put_chunk(&store, newest).await;
        (page, far)
    });
    World { store, page, far, manifest }
}

impl World {
    /// Stores the pages and publishes the manifest with them.
    fn publish(&mut self) {
        let mut object = MapObjectBuilder::new(VOLUME, id(4));
        let mut near = DirectorySegment::new(SegmentIndex(0));
        near.set(PageIndex(0), object.push_page(PageIndex(0), &self.page));
        let mut far = DirectorySegment::new(SegmentIndex(1));
        far.set(FAR, object.push_page(FAR, &self.far));
        self.manifest.directory = vec![
            (SegmentIndex(0), object.push_segment(&near).unwrap()),
            (SegmentIndex(1), object.push_segment(&far).unwrap()),
        ];
        self.manifest.unfolded = vec![id(2), id(3)];
        let seq = ManifestSeq(2);
        block_on(async {
            self.store.put(&id(4).map_name(VOLUME), object.finish()).await.unwrap();
            let (_, before) = latest(&self.store, VOLUME).await.unwrap().unwrap();
            publish(&self.store, VOLUME, seq, self.manifest.encode(seq), &before).await.unwrap();
        });
    }

    fn check(&self) -> CheckReport {
        block_on(check(&self.store, VOLUME, |_| {}))
    }

    /// The problems, as text.
    fn problems(&self) -> Vec<String> {
        self.check().problems.iter().map(ToString::to_string).collect()
    }

    /// Changes a byte of an object.
    fn damage(&self, object: &ObjectName, at: u64) {
        block_on(async {
            let len = self.store.head(object).await.unwrap();
            let mut body = self.store.get_range(object, 0..len).await.unwrap();
            body[at as usize] ^= 1;
            self.store.put(object, body).await.unwrap();
        });
    }
}

#[test]
fn a_sound_volume_is_clean_and_counted() {
    let mut world = world();
    world.publish();
    let stray = id(9).chunk_name(VOLUME);
    block_on(world.store.put(&stray, vec![1; 10])).unwrap();
    let mut told = 0;
    let report = block_on(check(&world.store, VOLUME, |_| told += 1));
    assert!(report.is_clean(), "{:?}", report.problems);
    // Blocks 0 and 3 and the far one of chunk 1 are seen, 1 and 2 are hidden.
    let counts = Counts { segments: 2, pages: 2, unfolded: 2, chunks: 2, blocks: 5, snapshots: 0 };
    assert_eq!(report.counts, counts);
    assert_eq!(report.manifest, Some(ManifestSeq(2)));
    assert_eq!(report.older_manifests, 1);
    assert_eq!(report.orphans, Some(vec![(stray, 10)]));
    assert_eq!(told, 7);
}

#[test]
fn damaged_blocks_are_named_if_they_can_be_seen() {
    let mut world = world();
    world.publish();
    let object = id(1).chunk_name(VOLUME);
    // Of blocks 1 and 2 newer versions are in chunks 2 and 3.
    world.damage(&object, payload_range(PayloadBlock(1), 1).start);
    world.damage(&object, payload_range(PayloadBlock(2), 1).start);
    assert_eq!(world.problems(), [""; 0]);
    world.damage(&object, payload_range(PayloadBlock(3), 1).start + 4095);
    world.damage(&id(2).chunk_name(VOLUME), payload_range(PayloadBlock(1), 1).start);
    let expected = [
        format!("block 3: block 3 of chunk {} does not match its checksum", id(1)),
        format!("block 100: block 1 of chunk {} does not match its checksum", id(2)),
    ];
    assert_eq!(world.problems(), expected);
}

#[test]
fn missing_and_damaged_objects_are_named() {
    let with = |change: &dyn Fn(&World)| {
        let mut world = world();
        world.publish();
        change(&world);
        (world.problems(), world.check().orphans.is_some())
    };
    let delete = |world: &World, object: ObjectName| {
        block_on(world.store.delete(&object)).unwrap();
    };
    let (problems, known) = with(&|w| delete(w, id(1).chunk_name(VOLUME)));
    assert!(problems.len() == 1 && problems[0].contains("no such object") && known);
    let (problems, _) = with(&|w| delete(w, id(2).chunk_name(VOLUME)));
    assert!(problems[0].starts_with(&format!("chunk {}", id(2))), "{problems:?}");
    let (problems, _) = with(&|w| w.damage(&id(3).chunk_name(VOLUME), 4096));
    assert!(problems.len() == 1 && problems[0].contains("chunk index"), "{problems:?}");
    let (problems, known) = with(&|w| delete(w, id(4).map_name(VOLUME)));
    assert!(problems.len() == 2 && problems[1].starts_with("directory segment 1"));
    assert!(!known, "what nobody refers to is not known");
    let (problems, known) = with(&|w| w.damage(&id(4).map_name(VOLUME), 40));
    assert!(problems[0].starts_with("map page 0") && !known, "{problems:?}");
    let (problems, _) = with(&|w| w.damage(&ManifestSeq(2).object_name(VOLUME), 60));
    assert_eq!(problems, ["manifest 00000000000000000002: manifest: the checksum does not match"]);
    let (problems, _) = with(&|w| {
        delete(w, ManifestSeq(2).object_name(VOLUME));
        delete(w, ManifestSeq(1).object_name(VOLUME));
    });
    assert_eq!(problems, [format!("volume {VOLUME} has no manifest")]);
}

#[test]
fn a_block_that_is_owned_twice_or_lies_outside_is_named() {
    let mut world = world();
    let crc = world.page.get(3).2[0];
    world.page.put_data(200, id(1), PayloadBlock(3), &[crc]);
    world.far.put_zero(PageRun::new(1023, 1).unwrap());
    world.manifest.size_bytes = (4 << 30) + 4096 * 1000;
    world.publish();
    let expected = [
        "block 1049599 is mapped but beyond the end of the volume".to_owned(),
        format!("blocks 3 and 200 both own block 3 of chunk {}", id(1)),
        format!("block 200: block 3 of chunk {} does not match its checksum", id(1)),
    ];
    assert_eq!(world.problems(), expected);
}

#[test]
fn a_chunk_that_speaks_twice_of_a_block_is_named() {
    let mut world = world();
    block_on(async {
        let mut twice = chunk(2);
        assert_eq!(twice.push_data(Lba(1), &block(6)), 1);
        assert!(twice.push_hole(HoleKind::Zero, Extent::new(Lba(0), 5).unwrap(), None));
        put_chunk(&world.store, twice).await;
    });
    world.publish();
    assert_eq!(
        world.problems(),
        [format!("chunk {}: its entries [0, 5) and [1, 2) overlap", id(2))]
    );
}

#[test]
fn a_reference_behind_the_payload_is_named() {
    let mut world = world();
    world.page.put_data(200, id(1), PayloadBlock(1000), &[5]);
    world.publish();
    let problems = world.problems();
    let expected = format!("block 200: block 1000 of chunk {} does not match its checksum", id(1));
    assert_eq!(problems, [expected]);
}

#[test]
fn damage_to_a_compressed_frame_names_its_blocks_and_no_others() {
    let mut world = world();
    let mut packed = chunk(2);
    for n in 0..40 {
        assert_eq!(packed.push_data(Lba(3000 + n), &block(n as u8 + 1)), 1);
    }
    let (bytes, index) = packed.finish_as(Compression::Lz4);
    assert!(index.frames().is_framed());
    block_on(world.store.put(&id(2).chunk_name(VOLUME), bytes)).unwrap();
    world.publish();
    assert_eq!(world.problems(), [""; 0]);
    let second = index.frames().range(16..32);
    // The token in front, and a distance in its middle.
    for at in [second.start, second.start + 8] {
        world.damage(&id(2).chunk_name(VOLUME), at);
        let problems = world.problems();
        let named = |n: u64| {
            let start = format!("block {}: block {n} of chunk", 3000 + n);
            problems.iter().any(|problem| problem.starts_with(&start))
        };
        assert!(!problems.is_empty() && problems.len() <= 16, "{problems:?}");
        assert!((16..32).any(named) && !(0..16).chain(32..40).any(named), "{problems:?}");
        world.damage(&id(2).chunk_name(VOLUME), at);
    }
}

#[test]
fn batches_find_what_one_batch_finds() {
    let mut world = world();
    world.publish();
    world.damage(&id(1).chunk_name(VOLUME), payload_range(PayloadBlock(3), 1).start);
    let one = block_on(check_newest(&world.store, VOLUME, 1, &mut |_| {}));
    let all = world.check();
    assert_eq!(one.problems.len(), all.problems.len());
    assert_eq!((one.counts.blocks, one.counts.chunks), (5, 5));
    assert_eq!((all.counts.blocks, all.counts.chunks), (5, 2));
}

#[test]
fn a_volume_that_moves_on_under_the_check_is_checked_again() {
    let moved = Cell::new(false);
    let store = HookedStore::new(move |store, call| {
        // The first get reads the manifest.
        if call == Call::GetRange && !moved.replace(true) {
            block_on(async {
                let (seq, body) = latest(store, VOLUME).await.unwrap().unwrap();
                let mut manifest = Manifest::decode_as(&body, VOLUME, seq).unwrap();
                manifest.unfolded.clear();
                let next = manifest.encode(seq.next());
                publish(store, VOLUME, seq.next(), next, &body).await.unwrap();
                store.delete(&id(2).chunk_name(VOLUME)).await.unwrap();
            });
        }
    });
    let mut world = world_in(store.inner.clone());
    world.publish();
    let report = block_on(check(&store, VOLUME, |_| {}));
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(report.manifest, Some(ManifestSeq(3)));
}

#[test]
fn problems_are_bounded() {
    let mut report = CheckReport::default();
    for _ in 0..MAX_PROBLEMS + 5 {
        report.problem(Problem::NoManifest { volume: VOLUME });
    }
    assert_eq!((report.problems.len(), report.more_problems), (MAX_PROBLEMS, 5));
}

/// Makes a snapshot of what the world has published.
fn take(world: &World, text: &str) -> Snapshot {
    let (seq, manifest) = block_on(crate::manifest::load(&world.store, VOLUME)).unwrap().unwrap();
    let name = SnapshotName::new(text).unwrap();
    let made = Snapshot { id: SnapshotId([1; 16]), name, created_unix_ms: 0, seq, manifest };
    block_on(snapshot::put(&world.store, &made)).unwrap();
    made
}

#[test]
fn what_a_snapshot_holds_is_checked_once_and_is_no_orphan() {
    let mut world = world();
    world.publish();
    take(&world, "a");
    // The volume goes on without the folded part, which the snapshot alone has now.
    let mut manifest = world.manifest.clone();
    manifest.directory.clear();
    let (seq, before) = (ManifestSeq(3), world.manifest.encode(ManifestSeq(2)));
    block_on(publish(&world.store, VOLUME, seq, manifest.encode(seq), &before)).unwrap();
    let report = world.check();
    assert!(report.is_clean(), "{:?}", report.problems);
    // Those of the first test, as the two of chunk 2 are in both.
    assert_eq!((report.counts.snapshots, report.counts.blocks), (1, 5));
    assert_eq!(report.orphans, Some(vec![]));
    world.damage(&id(1).chunk_name(VOLUME), payload_range(PayloadBlock(0), 1).start);
    assert_eq!(
        world.problems(),
        ["snapshot a: block 0: block 0 of chunk 0000010000000001 does not match its checksum"]
    );
    let name = SnapshotName::new("a").unwrap().object_name(VOLUME);
    world.damage(&name, 40);
    let problems = world.problems();
    assert_eq!(problems, [format!("{name}: snapshot: the checksum does not match")]);
    assert_eq!(world.check().orphans, None, "what it refers to is not known");
}

#[test]
fn a_clone_is_checked_where_its_ancestors_wrote() {
    let mut world = world();
    world.publish();
    let made = take(&world, "a");
    let (name, clone) = (VolumeName::new("vm2").unwrap(), VolumeId([8; 16]));
    let source = (VOLUME, VolumeName::new("vm").unwrap());
    let new = crate::clones::NewClone {
        name,
        id: clone,
        source,
        snapshot: made.name,
        created_unix_ms: 0,
    };
    block_on(crate::clones::create(&world.store, new)).unwrap();
    let report = block_on(check(&world.store, clone, |_| {}));
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.counts.pages, report.counts.blocks), (2, 5));
    assert_eq!(report.orphans, Some(vec![]));
    block_on(world.store.delete(&id(1).chunk_name(VOLUME))).unwrap();
    let report = block_on(check(&world.store, clone, |_| {}));
    let text = report.problems[0].to_string();
    let missing = id(1).chunk_name(VOLUME);
    assert!(text.contains(missing.as_str()) && text.ends_with("no such object"), "{text}");
}
