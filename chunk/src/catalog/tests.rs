use futures_lite::future::block_on;

use super::*;
use crate::hooked::{Call, HookedStore};
use crate::manifest_log::latest;
use crate::memory::MemoryStore;
use crate::sealed;

fn new(name: &str, id: u8) -> NewVolume {
    NewVolume {
        name: VolumeName::new(name).unwrap(),
        id: VolumeId([id; 16]),
        size_bytes: 1 << 30,
        stripe_shift: 10,
        promises: Promises::default(),
        created_unix_ms: 5,
    }
}

fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

async fn delete(
    store: &MemoryStore,
    name: &VolumeName,
) -> Result<Option<VolumeId>, crate::clones::DeleteError> {
    crate::clones::delete_volume(store, name, false, crate::snapshot::SnapshotId([1; 16])).await
}

async fn names(store: &MemoryStore) -> Vec<(String, u8)> {
    let listed = list(store).await.unwrap();
    listed.into_iter().map(Result::unwrap).map(|(name, id)| (name.to_string(), id.0[0])).collect()
}

#[test]
fn volumes_are_created_found_listed_and_deleted() {
    let store = MemoryStore::new();
    block_on(async {
        let manifest = create(&store, new("b", 2)).await.unwrap();
        create(&store, new("a", 1)).await.unwrap();
        assert_eq!(names(&store).await, [("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(find(&store, &name("b")).await.unwrap(), Some(VolumeId([2; 16])));
        assert_eq!(find(&store, &name("c")).await.unwrap(), None);
        let (seq, body) = latest(&store, VolumeId([2; 16])).await.unwrap().unwrap();
        assert_eq!(Manifest::decode(&body).unwrap(), (seq, manifest));

        assert_eq!(delete(&store, &name("b")).await.unwrap(), Some(VolumeId([2; 16])));
        assert_eq!(delete(&store, &name("b")).await.unwrap(), None);
        assert_eq!(names(&store).await, [("a".into(), 1)]);
        assert_eq!(store.list("").await.unwrap().len(), 2, "nothing of b is left");
    });
}

#[test]
fn a_taken_name_is_refused_and_leaves_nothing() {
    let store = MemoryStore::new();
    block_on(async {
        create(&store, new("a", 1)).await.unwrap();
        let error = create(&store, new("a", 2)).await.unwrap_err();
        assert!(matches!(error, CreateError::Exists { .. }), "{error}");
        assert_eq!(store.list("").await.unwrap().len(), 2);
        create(&store, new("a", 1)).await.expect("the same volume again is no conflict");
    });
}

#[test]
fn a_name_that_is_taken_in_the_last_moment_is_refused_and_leaves_nothing() {
    let other = VolumeId([1; 16]);
    let store = HookedStore::new(move |store, call| {
        if call == Call::PutIfAbsent && block_on(store.list("")).unwrap().len() == 1 {
            let body = encode_name(&name("a"), other);
            block_on(store.put(&name("a").object_name(), body)).unwrap();
        }
    });
    block_on(async {
        let error = create(&store, new("a", 2)).await.unwrap_err();
        assert!(matches!(error, CreateError::Exists { .. }), "{error}");
        assert_eq!(find(&store, &name("a")).await.unwrap(), Some(other));
        assert_eq!(store.list("").await.unwrap().len(), 1, "the name alone");
    });
}

#[test]
fn a_name_that_cannot_be_read_back_costs_no_manifest() {
    let store = HookedStore::new(move |store, call| {
        if call == Call::PutIfAbsent && block_on(store.list("")).unwrap().len() == 1 {
            let mut damaged = encode_name(&name("a"), VolumeId([2; 16]));
            damaged[40] ^= 1;
            block_on(store.put(&name("a").object_name(), damaged)).unwrap();
        }
    });
    block_on(async {
        let error = create(&store, new("a", 2)).await.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Retry), "{error}");
        assert!(latest(&store, VolumeId([2; 16])).await.unwrap().is_some(), "it stays");
        store
            .put(&name("a").object_name(), encode_name(&name("a"), VolumeId([2; 16])))
            .await
            .unwrap();
        create(&store, new("a", 2)).await.expect("the answer was wrong, not the name");
    });
}

#[test]
fn impossible_geometry_is_refused() {
    let store = MemoryStore::new();
    block_on(async {
        for size_bytes in [0, 511, (256 << 40) + 512] {
            let error = create(&store, NewVolume { size_bytes, ..new("a", 1) }).await.unwrap_err();
            assert!(matches!(error, CreateError::Size { .. }), "{error}");
        }
        for stripe_shift in [9, 21] {
            let error =
                create(&store, NewVolume { stripe_shift, ..new("a", 1) }).await.unwrap_err();
            assert!(matches!(error, CreateError::Stripe { .. }), "{error}");
        }
    });
}

#[test]
fn a_power_cut_while_creating_or_deleting_leaves_an_unnamed_volume() {
    let store = MemoryStore::new();
    block_on(async {
        create(&store, new("a", 1)).await.unwrap();
        create(&store, new("b", 2)).await.unwrap();
        assert_eq!(unnamed(&store).await.unwrap(), []);
        store.delete(&name("b").object_name()).await.unwrap();
        assert_eq!(unnamed(&store).await.unwrap(), [VolumeId([2; 16])]);
        create(&store, new("b", 2)).await.expect("creating goes on where it stopped");
        store.delete(&name("b").object_name()).await.unwrap();
        delete_objects(&store, VolumeId([2; 16])).await.unwrap();
        assert_eq!(unnamed(&store).await.unwrap(), []);
        assert_eq!(names(&store).await, [("a".into(), 1)]);
    });
}

#[test]
fn a_damaged_name_is_reported_and_hides_no_other() {
    let store = MemoryStore::new();
    block_on(async {
        create(&store, new("a", 1)).await.unwrap();
        create(&store, new("b", 2)).await.unwrap();
        store.put(&name("a").object_name(), vec![0; 50]).await.unwrap();
        store.put(&ObjectName::new("names/Not-A-Name").unwrap(), vec![]).await.unwrap();
        let listed = list(&store).await.unwrap();
        assert!(matches!(listed[0], Err(NameError::Grammar { .. })));
        assert!(matches!(listed[1], Err(NameError::Read(_))));
        assert_eq!(listed[2].as_ref().unwrap().0, name("b"));
        assert!(delete(&store, &name("a")).await.is_err());
        assert!(unnamed(&store).await.is_err());
    });
}

#[test]
fn names_that_are_not_their_own_are_refused() {
    let what = "volume name";
    let good = encode_name(&name("abc"), VolumeId([1; 16]));
    assert_eq!(decode_name(&good, &name("abc")), Ok(VolumeId([1; 16])));
    let other = FormatError::Identity { what, field: "name" };
    assert_eq!(decode_name(&good, &name("abd")), Err(other));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        sealed::seal(&mut bytes);
        decode_name(&bytes, &name("abc")).unwrap_err()
    };
    assert_eq!(with(&|b| b.push(0)), FormatError::Length { what, need: 0, have: 1 });
    assert_eq!(with(&|b| b[48] = 4), FormatError::Length { what, need: 4, have: 3 });
    assert_eq!(with(&|b| b[0] = 4), FormatError::Magic { what });
    let mut bad = good.clone();
    bad[40] ^= 1;
    assert_eq!(decode_name(&bad, &name("abc")), Err(FormatError::Checksum { what }));
}
