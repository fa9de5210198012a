use futures_lite::future::block_on;

use super::*;
use crate::conformance;
use crate::limits::MAX_OPEN_FILES;

fn open(root: &std::path::Path) -> FileStore {
    FileStore::open(root, Workers::start(2).unwrap()).unwrap()
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

#[test]
fn conforms() {
    let root = tempfile::tempdir().unwrap();
    block_on(conformance::suite(&open(root.path()), 300));
}

#[test]
fn exactly_one_of_many_threads_makes_an_object() {
    let root = tempfile::tempdir().unwrap();
    conformance::race(&open(root.path()), 16, 200);
}

#[test]
fn exactly_one_of_many_openings_makes_an_object() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (open(root.path()), open(root.path()));
    block_on(async {
        for n in 0..20 {
            let object = name(&format!("race/{n}"));
            let both = futures_lite::future::zip(
                one.put_if_absent(&object, vec![1; 10]),
                other.put_if_absent(&object, vec![2; 10]),
            );
            let (first, second) = both.await;
            assert_ne!(first.is_ok(), second.is_ok());
            let winner = if first.is_ok() { 1 } else { 2 };
            assert_eq!(one.get_range(&object, 0..10).await.unwrap(), vec![winner; 10]);
        }
    });
}

#[test]
fn objects_outlive_the_handle_and_lie_where_they_are_called() {
    let root = tempfile::tempdir().unwrap();
    let below = root.path().join("made/by/opening");
    block_on(open(&below).put(&name("a/b.c"), vec![5; 3])).unwrap();
    assert_eq!(std::fs::read(below.join("a/b.c")).unwrap(), [5; 3]);
    let listed = block_on(open(&below).list("")).unwrap();
    assert_eq!(listed, [(name("a/b.c"), 3)]);
}

#[test]
fn what_dead_openings_left_is_swept_and_the_living_are_spared() {
    let root = tempfile::tempdir().unwrap();
    let alive = open(root.path());
    let dead = root.path().join("~tmp/99-0");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("lock"), []).unwrap();
    std::fs::write(dead.join("0"), [1; 100]).unwrap();
    assert_eq!(block_on(alive.list("")).unwrap(), [], "leftovers are no objects");
    let next = open(root.path());
    assert!(!dead.exists());
    block_on(alive.put(&name("a"), vec![1])).expect("its staging directory is still there");
    block_on(next.put(&name("b"), vec![1])).unwrap();
    let staged = || std::fs::read_dir(root.path().join("~tmp")).unwrap().count();
    assert_eq!(staged(), 3, "two openings and the lock");
    drop((alive, next));
    assert_eq!(staged(), 1);
}

#[test]
fn staged_files_do_not_pile_up() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    block_on(async {
        store.put(&name("a"), vec![1]).await.unwrap();
        store.put_if_absent(&name("b"), vec![1]).await.unwrap();
        store.put_if_absent(&name("b"), vec![1]).await.unwrap_err();
        store.put(&name("a/b"), vec![1]).await.unwrap_err();
        // A file where a directory is.
        store.put(&name("d/e"), vec![1]).await.unwrap();
        store.put(&name("d"), vec![1]).await.unwrap_err();
    });
    let own = std::fs::read_dir(root.path().join("~tmp")).unwrap();
    let own = own.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    assert_eq!(std::fs::read_dir(own).unwrap().count(), 1, "the lock alone");
}

#[test]
fn open_files_are_bounded_and_small_objects_are_not_kept() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    block_on(async {
        for n in 0..MAX_OPEN_FILES + 10 {
            // Written behind the store's back: this is about reading.
            std::fs::write(root.path().join(n.to_string()), vec![n as u8; 5000]).unwrap();
            let bytes = store.get_range(&name(&n.to_string()), 4999..5000).await.unwrap();
            assert_eq!(bytes, [n as u8]);
        }
        assert_eq!(store.directory.open_files(), MAX_OPEN_FILES);
        store.delete(&name("100")).await.unwrap();
        assert_eq!(store.directory.open_files(), MAX_OPEN_FILES - 1);
        std::fs::write(root.path().join("small"), [1; 4096]).unwrap();
        store.get_range(&name("small"), 0..1).await.unwrap();
        assert_eq!(store.directory.open_files(), MAX_OPEN_FILES - 1);
    });
}

#[test]
fn a_file_cut_short_behind_the_store_is_a_short_object() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    block_on(async {
        store.put(&name("a"), vec![1; 10_000]).await.unwrap();
        store.get_range(&name("a"), 0..10_000).await.unwrap();
        let file = std::fs::File::options().write(true).open(root.path().join("a")).unwrap();
        file.set_len(5000).unwrap();
        let error = store.get_range(&name("a"), 0..10_000).await.unwrap_err();
        assert!(matches!(error, StoreError::Range { len: 5000, .. }), "{error}");
    });
}

#[test]
fn after_a_failed_sync_nothing_is_written_but_all_is_read() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    block_on(async {
        store.put(&name("a"), vec![1]).await.unwrap();
        store.directory.fail();
        let error = store.put(&name("b"), vec![1]).await.unwrap_err();
        assert!(error.to_string().contains("opened again"), "{error}");
        store.put_if_absent(&name("b"), vec![1]).await.unwrap_err();
        // Its own sync succeeds, and proves nothing.
        store.delete(&name("c")).await.unwrap_err();
        assert_eq!(store.get_range(&name("a"), 0..1).await.unwrap(), [1]);
        open(root.path()).put(&name("b"), vec![1]).await.unwrap();
    });
}

#[test]
fn listing_never_leaves_the_root() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("outside"), [1]).unwrap();
    let store = open(&root.path().join("store"));
    for prefix in ["../", "/", "/etc/", "a//", "./"] {
        assert_eq!(block_on(store.list(prefix)).unwrap(), [], "{prefix}");
    }
}

#[test]
fn who_only_looks_makes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let look = |path: &std::path::Path| FileStore::open_to_read(path, Workers::start(1).unwrap());
    assert!(matches!(look(&root.path().join("none")), Err(StoreError::Io { .. })));
    let store = look(root.path()).unwrap();
    assert!(block_on(store.list("")).unwrap().is_empty());
    assert!(root.path().read_dir().unwrap().next().is_none(), "nothing was made");
    block_on(store.put(&name("a"), vec![1])).unwrap();
    assert_eq!(block_on(open(root.path()).get_range(&name("a"), 0..1)).unwrap(), [1]);
}
