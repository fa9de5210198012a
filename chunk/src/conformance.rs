//! What every object store must do, as a suite that each of them runs in its tests.
//!
//! All functions panic at the first thing that a store does wrong.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Barrier;
use std::task::Poll;

use futures_lite::future::block_on;

use crate::limits::MAX_CHUNK_BYTES;
use crate::store::{ObjectName, ObjectStore, StoreError};

/// Objects that are put side by side where there are many.
const MANY_AT_ONCE: usize = 16;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("the suite uses names by the grammar")
}

/// Runs everything but the race on an empty store, with `many` objects in the largest listing.
/// Leaves the store empty.
pub async fn suite<S: ObjectStore>(store: &S, many: usize) {
    missing_objects(store).await;
    empty_objects(store).await;
    ranges(store).await;
    replacing(store).await;
    conditional(store).await;
    listing(store).await;
    odd_names(store).await;
    large_objects(store).await;
    many_objects(store, many).await;
    assert_eq!(store.list("").await.expect("list"), [], "everything was deleted");
}

async fn get<S: ObjectStore>(store: &S, object: &ObjectName) -> Vec<u8> {
    let len = store.head(object).await.expect("head");
    store.get_range(object, 0..len).await.expect("get")
}

/// Reading what is not there is an error of its own, deleting it is fine.
pub async fn missing_objects<S: ObjectStore>(store: &S) {
    for object in [name("missing"), name("missing/deep/down")] {
        let read = store.get_range(&object, 0..0).await;
        assert!(matches!(read, Err(StoreError::NotFound { .. })), "{read:?}");
        let head = store.head(&object).await;
        assert!(matches!(head, Err(StoreError::NotFound { .. })), "{head:?}");
        store.delete(&object).await.expect("deleting what is missing is fine");
    }
    assert_eq!(store.list("missing").await.expect("list"), []);
}

/// An object may have no bytes.
pub async fn empty_objects<S: ObjectStore>(store: &S) {
    let object = name("empty/object");
    store.put(&object, Vec::new()).await.expect("put");
    assert_eq!(store.head(&object).await.expect("head"), 0);
    assert_eq!(store.get_range(&object, 0..0).await.expect("get"), []);
    let past = store.get_range(&object, 0..1).await;
    assert!(matches!(past, Err(StoreError::Range { len: 0, .. })), "{past:?}");
    assert_eq!(store.list("empty/").await.expect("list"), [(object.clone(), 0)]);
    store.delete(&object).await.expect("delete");
}

/// A range is answered exactly or not at all.
pub async fn ranges<S: ObjectStore>(store: &S) {
    for len in [100u64, 10_000] {
        let object = name("range/object");
        let body: Vec<u8> = (0..len).map(|n| n as u8).collect();
        store.put(&object, body.clone()).await.expect("put");
        for range in [0..len, 0..1, len - 1..len, 7..93, len..len, 0..0] {
            let expected = &body[range.start as usize..range.end as usize];
            assert_eq!(store.get_range(&object, range).await.expect("get"), expected);
        }
        for range in [0..len + 1, len..len + 1, len + 5..len + 9, 0..u64::MAX] {
            let past = store.get_range(&object, range.clone()).await;
            let right = matches!(&past, Err(StoreError::Range { len: l, range: r, .. })
                if *l == len && *r == range);
            assert!(right, "{range:?}: {past:?}");
        }
        store.delete(&object).await.expect("delete");
    }
}

/// A put replaces an object whole, for readers that have read it before too.
pub async fn replacing<S: ObjectStore>(store: &S) {
    let object = name("replace/object");
    for len in [10_000, 20_000, 5_000, 0, 9_000] {
        let body = vec![(len / 1000) as u8; len];
        store.put(&object, body.clone()).await.expect("put");
        assert_eq!(get(store, &object).await, body);
        let listed = store.list("replace/").await.expect("list");
        assert_eq!(listed, [(object.clone(), len as u64)]);
    }
    store.delete(&object).await.expect("delete");
    let read = store.get_range(&object, 0..1).await;
    assert!(matches!(read, Err(StoreError::NotFound { .. })), "{read:?}");
}

/// A conditional put never replaces, and a name is free again once its object is deleted.
pub async fn conditional<S: ObjectStore>(store: &S) {
    let object = name("conditional/object");
    for n in 0..3 {
        store.put_if_absent(&object, vec![n; 5000]).await.expect("the name is free");
        for body in [vec![n; 5000], vec![9; 3], Vec::new()] {
            let taken = store.put_if_absent(&object, body).await;
            assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
        }
        assert_eq!(get(store, &object).await, vec![n; 5000]);
        store.delete(&object).await.expect("delete");
    }
    store.put(&object, vec![1]).await.expect("put");
    let taken = store.put_if_absent(&object, vec![2]).await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
    store.delete(&object).await.expect("delete");
}

/// A prefix is any beginning of a name, and the order is that of the whole names' bytes.
pub async fn listing<S: ObjectStore>(store: &S) {
    let names = ["l/a", "l/b-c", "l/b.c", "l/b/c", "l/b/d/e", "l/b0", "l/c/x", "lb"];
    for (n, text) in names.iter().enumerate() {
        store.put(&name(text), vec![0; n]).await.expect("put");
    }
    let cases = [
        ("l", 0..8),
        ("l/", 0..7),
        ("l/b", 1..6),
        ("l/b/", 3..5),
        ("l/b/d", 4..5),
        ("l/b/d/e", 4..5),
        ("l/b/d/e/", 0..0),
        ("l/c", 6..7),
        ("lb", 7..8),
        ("m", 0..0),
        ("l/zz/top", 0..0),
    ];
    for (prefix, range) in cases {
        let expected: Vec<_> = range.map(|n: usize| (name(names[n]), n as u64)).collect();
        assert_eq!(store.list(prefix).await.expect("list"), expected, "prefix {prefix:?}");
    }
    for text in names {
        store.delete(&name(text)).await.expect("delete");
    }
}

/// Every name that the grammar allows works.
pub async fn odd_names<S: ObjectStore>(store: &S) {
    let long = format!("{}/{}", "x".repeat(255), "y".repeat(255));
    let deep = ["d"; 256].join("/");
    let names = ["-", "_", "...", ".hidden", "a..b", "A", "1", "-rf/-"]
        .into_iter()
        .chain([long.as_str(), deep.as_str()]);
    let mut objects: Vec<_> = names.map(name).collect();
    for (n, object) in objects.iter().enumerate() {
        store.put_if_absent(object, vec![n as u8; n + 1]).await.expect("put");
    }
    for (n, object) in objects.iter().enumerate() {
        assert_eq!(get(store, object).await, vec![n as u8; n + 1], "{object}");
    }
    let listed = store.list("").await.expect("list");
    objects.sort();
    assert_eq!(listed.iter().map(|(object, _)| object.clone()).collect::<Vec<_>>(), objects);
    for object in &objects {
        store.delete(object).await.expect("delete");
    }
}

/// Objects of the size of a chunk, read in blocks.
pub async fn large_objects<S: ObjectStore>(store: &S) {
    let objects: Vec<_> = (0..3).map(|n| name(&format!("large/{n}"))).collect();
    for (n, object) in objects.iter().enumerate() {
        let body: Vec<u8> = (0..MAX_CHUNK_BYTES).map(|at| (at / 4096 + n) as u8).collect();
        store.put(object, body).await.expect("put");
    }
    for (n, object) in objects.iter().enumerate() {
        for block in (0..MAX_CHUNK_BYTES / 4096).step_by(37) {
            let start = block as u64 * 4096;
            let bytes = store.get_range(object, start..start + 4096).await.expect("get");
            assert_eq!(bytes, vec![(block + n) as u8; 4096]);
        }
        store.delete(object).await.expect("delete");
    }
}

/// A listing is complete and in order however long it is, and many objects are deleted at once.
pub async fn many_objects<S: ObjectStore>(store: &S, many: usize) {
    let object = |n: usize| name(&format!("many/{}/{n:08}", n % 3));
    for first in (0..many).step_by(MANY_AT_ONCE) {
        let some = first..(first + MANY_AT_ONCE).min(many);
        let puts = some.map(|n| async move { store.put(&object(n), vec![0; n % 7]).await });
        for put in together(puts.collect()).await {
            put.expect("put");
        }
    }
    let listed = store.list("many/").await.expect("list");
    let mut expected: Vec<_> = (0..many).map(|n| (object(n), (n % 7) as u64)).collect();
    expected.sort();
    assert_eq!(listed, expected);
    let third = store.list("many/1/").await.expect("list");
    assert!(third.iter().eq(expected.iter().filter(|(o, _)| o.as_str().starts_with("many/1/"))));
    let mut names: Vec<_> = listed.into_iter().map(|(object, _)| object).collect();
    let kept = names.pop();
    names.push(name("many/missing"));
    store.delete_many(&names).await.expect("delete many");
    store.delete_many(&[]).await.expect("delete none");
    let left = store.list("many/").await.expect("list");
    assert!(left.iter().map(|(object, _)| object).eq(kept.iter()), "only one is left");
    store.delete_many(kept.as_slice()).await.expect("delete one");
}

/// Runs futures side by side and returns their results in order.
async fn together<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    poll_fn(|context| {
        for (future, result) in &mut running {
            if result.is_none()
                && let Poll::Ready(value) = Pin::new(future).poll(context)
            {
                *result = Some(value);
            }
        }
        match running.iter().all(|(_, result)| result.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    running.into_iter().map(|(_, result)| result.expect("all are ready")).collect()
}

/// Of `racers` threads that make the same object, exactly one succeeds, `rounds` times, and the
/// object is the winner's. Leaves the objects behind.
pub fn race<S: ObjectStore + Send>(store: &S, racers: usize, rounds: usize) {
    let barrier = Barrier::new(racers);
    let object = |round: usize| name(&format!("race/{round:06}"));
    let run = |store: S, racer: usize| {
        let mut won = Vec::new();
        for round in 0..rounds {
            barrier.wait();
            match block_on(store.put_if_absent(&object(round), vec![racer as u8; 100 + racer])) {
                Ok(()) => won.push(round),
                Err(StoreError::Exists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        won
    };
    let run = &run;
    let mut winners = vec![None; rounds];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..racers)
            .map(|racer| {
                let store = store.clone();
                let builder = std::thread::Builder::new().name(format!("racer-{racer}"));
                builder.spawn_scoped(scope, move || run(store, racer)).expect("a thread")
            })
            .collect();
        for (racer, thread) in threads.into_iter().enumerate() {
            for round in thread.join().expect("the store returns errors") {
                assert_eq!(winners[round].replace(racer), None, "two winners of round {round}");
            }
        }
    });
    for (round, winner) in winners.into_iter().enumerate() {
        let winner = winner.expect("each round has a winner");
        let body = block_on(get(store, &object(round)));
        assert_eq!(body, vec![winner as u8; 100 + winner], "the object is the winner's");
    }
}
