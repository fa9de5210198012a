use std::rc::Rc;

use futures_lite::future::block_on;
use wal::{Epoch, Incarnation};

use super::create::CloneError;
use super::*;
use crate::catalog::NewVolume;
use crate::error::FormatError;
use crate::ids::{ChunkId, ManifestSeq, VolumeName};
use crate::manifest::{Cut, Manifest};
use crate::memory::MemoryStore;
use crate::promises::Promises;
use crate::sealed;
use crate::snapshot::{Snapshot, SnapshotId};
use crate::stepped::{Stepped, SteppedStore, every_order};

const SOURCE: VolumeId = VolumeId([7; 16]);
const CLONE: VolumeId = VolumeId([8; 16]);

fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

fn snap(text: &str) -> SnapshotName {
    SnapshotName::new(text).unwrap()
}

fn turn(n: u8) -> SnapshotId {
    SnapshotId([0xd0 + n; 16])
}

fn at(incarnation: u64, n: u64) -> ChunkId {
    ChunkId::new(Incarnation(incarnation), n).unwrap()
}

/// A store with the volume `vm1` and its snapshot `a`.
fn world() -> MemoryStore {
    let store = MemoryStore::new();
    block_on(async {
        let new = NewVolume {
            name: name("vm1"),
            id: SOURCE,
            size_bytes: 1 << 30,
            stripe_shift: 10,
            promises: Promises::default(),
            created_unix_ms: 5,
        };
        let mut manifest = catalog::create(&store, new).await.unwrap();
        manifest.incarnation = Incarnation(3);
        manifest.owner = [9; 16];
        manifest.tenure = Incarnation(2);
        manifest.salt = 44;
        manifest.cut = Cut {
            incarnation: Incarnation(3),
            epoch: Epoch(6),
            positions: vec![(wal::ShardId(0), wal::Lsn(4))],
        };
        manifest.unfolded = vec![at(3, 1)];
        snapshot_of(&store, &manifest, "a").await;
    });
    store
}

async fn snapshot_of(store: &MemoryStore, manifest: &Manifest, text: &str) {
    let (seq, manifest) = (ManifestSeq(4), manifest.clone());
    let id = SnapshotId([1; 16]);
    let made = Snapshot { id, name: snap(text), created_unix_ms: 77, seq, manifest };
    crate::snapshot::put(store, &made).await.unwrap();
}

fn new(text: &str, id: VolumeId) -> NewClone {
    let (source, snapshot) = ((SOURCE, name("vm1")), snap("a"));
    NewClone { name: name(text), id, source, snapshot, created_unix_ms: 9 }
}

fn delete_snapshot<S: ObjectStore>(
    store: &S,
    n: u8,
) -> impl Future<Output = Result<(), SnapshotError>> + use<S> {
    let store = store.clone();
    async move { crate::snapshot::delete(&store, (SOURCE, &name("vm1")), &snap("a"), turn(n)).await }
}

fn objects(store: &MemoryStore) -> Vec<String> {
    let all = block_on(store.list("")).unwrap();
    all.into_iter().map(|(object, _)| object.to_string()).collect()
}

#[test]
fn a_clone_begins_as_its_snapshot_and_belongs_to_nobody() {
    let store = world();
    let made = block_on(create(&store, new("vm2", CLONE))).unwrap();
    let (seq, found) = block_on(crate::manifest::load(&store, CLONE)).unwrap().unwrap();
    assert_eq!((seq, &found), (ManifestSeq::FIRST, &made));
    assert_eq!(made.unfolded, [at(3, 1)]);
    assert_eq!((made.size_bytes, made.owner, made.tenure), (1 << 30, [0; 16], Incarnation(3)));
    assert_eq!((made.cut.epoch, made.cut.positions.len()), (Epoch(6), 0));
    assert_eq!(made.lineage().writer(at(3, 1)), SOURCE);
    assert_eq!(made.lineage().writer(at(4, 1)), CLONE);
    let parent = made.parent.clone().unwrap();
    assert_eq!((parent.volume, parent.name), (SOURCE, snap("a")));
    assert_eq!(block_on(catalog::find(&store, &name("vm2"))).unwrap(), Some(CLONE));
    block_on(create(&store, new("vm2", CLONE))).expect("the same again, as after a lost answer");
    let pins = block_on(pins(&store, SOURCE)).unwrap();
    assert_eq!((pins.live.len(), pins.dead.len()), (1, 0));
}

#[test]
fn what_clones_need_is_not_deleted() {
    let store = world();
    block_on(async {
        create(&store, new("vm2", CLONE)).await.unwrap();
        create(&store, new("vm3", VolumeId([9; 16]))).await.unwrap();
        let before = objects(&store);
        let error = delete_snapshot(&store, 0).await.unwrap_err();
        let text = "snapshot vm1@a is needed by the clones vm2, vm3: delete what was cloned first";
        assert_eq!(error.to_string(), text);
        for snapshots in [false, true] {
            let error = delete_volume(&store, &name("vm1"), snapshots, turn(0)).await.unwrap_err();
            assert!(error.to_string().starts_with("volume vm1 is needed by the clones"), "{error}");
        }
        assert_eq!(objects(&store), before, "nothing changed");
        for (text, id) in [("vm2", CLONE), ("vm3", VolumeId([9; 16]))] {
            let deleted = delete_volume(&store, &name(text), false, turn(0)).await.unwrap();
            assert_eq!(deleted, Some(id));
        }
        let error = delete_volume(&store, &name("vm1"), false, turn(0)).await.unwrap_err();
        assert!(error.to_string().contains("has 1 snapshots: add --snapshots"), "{error}");
        delete_volume(&store, &name("vm1"), true, turn(0)).await.unwrap();
    });
    assert_eq!(objects(&store), Vec::<String>::new());
}

#[test]
fn the_snapshot_that_was_made_for_a_clone_goes_with_it() {
    let store = world();
    let hidden = SnapshotName::of_clone(CLONE);
    block_on(async {
        let of = crate::snapshot::read(&store, SOURCE, &snap("a")).await.unwrap().unwrap();
        let made = Snapshot { id: SnapshotId([5; 16]), name: hidden.clone(), ..of };
        crate::snapshot::put(&store, &made).await.unwrap();
        create(&store, NewClone { snapshot: hidden.clone(), ..new("vm2", CLONE) }).await.unwrap();
        delete_volume(&store, &name("vm2"), false, turn(0)).await.unwrap();
        assert_eq!(crate::snapshot::read(&store, SOURCE, &hidden).await.unwrap(), None);
        // One that a crash left is nobody's.
        crate::snapshot::put(&store, &made).await.unwrap();
        delete_snapshot(&store, 1).await.unwrap();
        delete_volume(&store, &name("vm1"), false, turn(0)).await.unwrap();
    });
    assert_eq!(objects(&store), Vec::<String>::new());
}

#[test]
fn refusals_leave_nothing_behind() {
    let store = world();
    let before = objects(&store);
    let missing = NewClone { snapshot: snap("b"), ..new("vm2", CLONE) };
    let error = block_on(create(&store, missing)).unwrap_err();
    assert!(error.to_string().starts_with("volume vm1 has no snapshot b"), "{error}");
    let error = block_on(create(&store, new("vm1", CLONE))).unwrap_err();
    assert!(matches!(error, CloneError::Exists { .. }), "{error}");
    assert_eq!(objects(&store), before);
    let marker = format!("volumes/{SOURCE}/deleting/a/{}", turn(9));
    block_on(store.put(&ObjectName::new(marker).unwrap(), vec![1])).unwrap();
    let error = block_on(create(&store, new("vm2", CLONE))).unwrap_err();
    assert!(matches!(error, CloneError::Snapshot(SnapshotError::Deleting { .. })), "{error}");
    assert_eq!(objects(&store).len(), before.len() + 1);
}

#[test]
fn too_deep_is_refused() {
    let store = world();
    block_on(async {
        let mut of = crate::snapshot::read(&store, SOURCE, &snap("a")).await.unwrap().unwrap();
        for n in 0..crate::limits::MAX_ANCESTORS {
            let (volume, last) = (VolumeId((n as u128 + 1).to_le_bytes()), n as u64 + 1);
            of.manifest.ancestors =
                of.manifest.ancestors.descend(volume, Incarnation(last)).unwrap();
        }
        of.manifest.incarnation = Incarnation(2000);
        let deep = Snapshot { id: SnapshotId([6; 16]), name: snap("deep"), ..of };
        crate::snapshot::put(&store, &deep).await.unwrap();
        let before = objects(&store);
        let new = NewClone { snapshot: snap("deep"), ..new("vm2", CLONE) };
        let error = create(&store, new).await.unwrap_err();
        assert!(error.to_string().contains("as deep as clones of clones go"), "{error}");
        assert_eq!(objects(&store), before);
    });
}

/// What must hold whatever happened: a clone that somebody was told of has its snapshot, and what
/// has no name leads nowhere.
fn judge(store: &MemoryStore, made: bool, deleted: bool) {
    assert!(!(made && deleted), "a clone was made of a snapshot that was deleted");
    let has_snapshot = objects(store).contains(&snap("a").object_name(SOURCE).to_string());
    let has_name = block_on(catalog::find(store, &name("vm2"))).unwrap().is_some();
    assert_eq!(has_name, made, "who is told of a failure has no clone");
    assert!(has_snapshot || !made);
    assert!(!(deleted && has_snapshot));
    let pins = block_on(pins(store, SOURCE)).unwrap();
    assert_eq!(pins.live.len(), usize::from(made));
}

#[test]
fn cloning_against_deleting_in_every_order() {
    let make = || {
        let store = SteppedStore(world());
        let cloning = {
            let store = store.clone();
            async move { create(&store, new("vm2", CLONE)).await.is_ok() }
        };
        let deleting = delete_snapshot(&store, 0);
        let deleting = async move { deleting.await.is_ok() };
        (store.0, Stepped::new(cloning), Stepped::new(deleting))
    };
    let seen = Rc::new(std::cell::RefCell::new([0_u64; 3]));
    let orders = every_order(make, |store, made, deleted| {
        judge(store, made, deleted);
        let kind = if made { 0 } else { 1 + usize::from(!deleted) };
        seen.borrow_mut()[kind] += 1;
        // The next attempt heals whatever is left.
        match block_on(delete_snapshot(store, 1)) {
            Ok(()) => assert!(!made),
            Err(SnapshotError::NotFound { .. }) => assert!(deleted),
            Err(SnapshotError::Needed { .. }) => assert!(made),
            Err(other) => panic!("{other}"),
        }
        assert!(objects(store).iter().all(|object| !object.contains("/deleting/")));
    });
    let [made, deleted, neither] = *seen.borrow();
    assert!(orders > 1000 && made > 0 && deleted > 0 && neither > 0, "{orders}: {seen:?}");
}

#[test]
fn a_cut_off_at_any_step_is_healed_by_the_next_attempt() {
    for steps in 0.. {
        let store = SteppedStore(world());
        let (mine, inner) = (store.clone(), store.0.clone());
        let cloning = async move { create(&mine, new("vm2", CLONE)).await.is_ok() };
        let mut cloning = Stepped::new(cloning);
        let ended = (0..steps).any(|_| cloning.step());
        drop(cloning);
        let has_name = block_on(catalog::find(&inner, &name("vm2"))).unwrap().is_some();
        match block_on(delete_snapshot(&inner, 1)) {
            Ok(()) => assert!(!has_name),
            Err(SnapshotError::Needed { .. }) => assert!(has_name),
            Err(other) => panic!("{other}"),
        }
        if !has_name {
            let pins = block_on(pins(&inner, SOURCE)).unwrap();
            assert_eq!((pins.live.len(), pins.dead.len()), (0, 0));
        }
        if ended {
            break;
        }
    }
    for steps in 0.. {
        let store = SteppedStore(world());
        let inner = store.0.clone();
        let mut deleting = Stepped::new(delete_snapshot(&store, 0));
        let ended = (0..steps).any(|_| deleting.step());
        drop(deleting);
        // It may be cloned as long as no deletion was begun, and never after that...
        let cloned = block_on(create(&inner, new("vm2", CLONE)));
        let begun = objects(&inner).iter().any(|object| object.contains("/deleting/"));
        assert_eq!(cloned.is_ok(), steps < 3 && !begun, "{steps}");
        // ... and deleting goes on where it was cut off.
        let finished = block_on(delete_snapshot(&inner, 1));
        match finished {
            Ok(()) => assert!(cloned.is_err()),
            Err(SnapshotError::Needed { .. }) => assert!(cloned.is_ok()),
            Err(SnapshotError::NotFound { .. }) => assert!(ended),
            Err(other) => panic!("{other}"),
        }
        assert!(objects(&inner).iter().all(|object| !object.contains("/deleting/")));
        if ended {
            break;
        }
    }
}

#[test]
fn deleting_a_volume_against_cloning_it_in_many_orders() {
    let make = || {
        let store = SteppedStore(world());
        let cloning = {
            let store = store.clone();
            async move { create(&store, new("vm2", CLONE)).await.is_ok() }
        };
        let deleting = {
            let store = store.clone();
            async move { delete_volume(&store, &name("vm1"), true, turn(0)).await.is_ok() }
        };
        (store.0, Stepped::new(cloning), Stepped::new(deleting))
    };
    for seed in 0..3000_u64 {
        let (store, mut cloning, mut deleting) = make();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while cloning.outcome.is_none() || deleting.outcome.is_none() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state & 1 == 0 {
                cloning.step()
            } else {
                deleting.step()
            };
        }
        let (made, deleted) = (cloning.finish(), deleting.finish());
        assert!(!(made && deleted), "seed {seed}");
        if made {
            assert!(objects(&store).contains(&snap("a").object_name(SOURCE).to_string()));
            assert_eq!(block_on(catalog::find(&store, &name("vm1"))).unwrap(), Some(SOURCE));
        }
        if deleted {
            assert_eq!(block_on(catalog::find(&store, &name("vm2"))).unwrap(), None);
        }
    }
}

#[test]
fn unsound_pins_are_refused_by_name_and_keep_what_they_may_pin() {
    let store = world();
    block_on(create(&store, new("vm2", CLONE))).unwrap();
    let pin = block_on(pins(&store, SOURCE)).unwrap().live.remove(0);
    let (object, bytes) = (pin.object_name(), pin.encode());
    assert_eq!(Pin::decode(&bytes).unwrap(), pin);
    let cases: [(usize, &[u8], &str); 5] = [
        (72, &[0], "name of length"),
        (73, &[0], "snapshot name of length"),
        (74, &[1], "reserved"),
        (80, b"A", "name of length"),
        (83, b"A", "snapshot name of length"),
    ];
    for (at, value, field) in cases {
        let mut bad = bytes.clone();
        bad[at..at + value.len()].copy_from_slice(value);
        sealed::seal(&mut bad);
        match Pin::decode(&bad) {
            Err(FormatError::Field { field: found, .. }) => assert_eq!(found, field, "{at}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    let what = "pin of a clone";
    let error = Pin::decode_as(&bytes, CLONE, &object).unwrap_err();
    assert_eq!(error, FormatError::Identity { what, field: "volume" });
    let other = Pin { clone: SOURCE, ..pin.clone() };
    let error = Pin::decode_as(&other.encode(), SOURCE, &object).unwrap_err();
    assert_eq!(error, FormatError::Identity { what, field: "clone" });
    block_on(async {
        store.put(&object, vec![0; 99]).await.unwrap();
        assert!(delete_snapshot(&store, 0).await.is_err());
        assert!(delete_volume(&store, &name("vm1"), true, turn(0)).await.is_err());
        let found = crate::snapshot::read(&store, SOURCE, &snap("a")).await.unwrap();
        assert!(found.is_some(), "what cannot be read may be a clone");
    });
}
