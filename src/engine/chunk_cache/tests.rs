//! The cache on a simulated disk.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use wal::Incarnation;

use super::*;
use crate::sim::{Budget, Drive, Executor, PowerLoss, SimDisk};

const SIZE: CacheSize = CacheSize { slabs: 2, slab_slots: 3 };
const VOLUME: VolumeId = VolumeId([9; 16]);

fn chunk(number: u64) -> ChunkKey {
    (VOLUME, ChunkId::new(Incarnation(1), number).unwrap())
}

fn content(tag: u8, blocks: u32) -> Vec<u8> {
    (0..blocks).flat_map(|block| [tag ^ block as u8; BLOCK_BYTES]).collect()
}

type Cache = Rc<ChunkCache<SimDisk>>;

struct Bench {
    executor: Executor,
    drive: Drive,
}

impl Bench {
    fn new() -> Self {
        let executor = Executor::new(1, false);
        let drive = Drive::new(&executor, 1);
        Self { executor, drive }
    }

    /// Runs a process with a cache of its own, opened, to its end.
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        (size, core, cores): (CacheSize, u16, u16),
        work: impl FnOnce(Cache, SimDisk) -> F + 'static,
    ) -> T {
        let process = self.executor.start_process();
        let disk = self.drive.attach(process);
        let place: Rc<RefCell<Option<T>>> = Rc::default();
        let result = Rc::clone(&place);
        self.executor.spawn(process, CoreId(core), async move {
            let cache = Rc::new(ChunkCache::new(size, CoreId(core)));
            cache.open(&disk, cores).await;
            place.replace(Some(work(cache, disk).await));
        });
        let budget = Budget { steps: 1_000_000, span: Duration::from_secs(600) };
        self.executor.run(budget, || result.borrow().is_some()).expect("it ends");
        self.executor.kill(process);
        self.drive.settle_kill(process);
        result.take().expect("it has ended")
    }
}

const ONE: (CacheSize, u16, u16) = (SIZE, 0, 1);

async fn holds(cache: &Cache, number: u64, blocks: Range<u32>, wanted: &[u8]) -> bool {
    cache.read(chunk(number), blocks).await.is_some_and(|found| *found == *wanted)
}

#[test]
fn what_was_filled_is_found_also_after_a_restart() {
    let bench = Bench::new();
    bench.run(ONE, async |cache, disk| {
        cache.fill(&disk, chunk(1), 0, &content(1, 40)).await;
        assert_eq!(cache.look(chunk(1), 0), (true, 32));
        assert_eq!(cache.look(chunk(1), 38), (true, 2));
        assert_eq!(cache.look(chunk(1), 40), (false, 24));
        assert_eq!(cache.look(chunk(2), 5), (false, 27));
        assert!(holds(&cache, 1, 3..5, &content(1, 40)[3 * BLOCK_BYTES..5 * BLOCK_BYTES]).await);
        assert_eq!(cache.bytes(), 40 * BLOCK_BYTES as u64);
    });
    bench.run(ONE, async |cache, _| {
        assert!(holds(&cache, 1, 32..40, &content(1, 40)[32 * BLOCK_BYTES..]).await);
        assert_eq!(cache.bytes(), 40 * BLOCK_BYTES as u64);
    });
}

/// Fewer writes, not fewer slots: what lies side by side in chunk and file goes with one.
#[test]
fn slots_that_lie_side_by_side_are_filled_by_one_write_and_read_back_alone() {
    let bench = Bench::new();
    let size = CacheSize { slabs: 2, slab_slots: 6 };
    bench.run((size, 0, 1), async |cache, disk| {
        // From the middle of a slot to the middle of another one, over the end of a file.
        let bytes = content(1, 9 * 32 + 7);
        cache.fill(&disk, chunk(1), 20, &bytes).await;
        cache.fill(&disk, chunk(2), 0, &content(2, 32)).await;
        for block in 0..9 * 32 + 7 {
            let wanted = &bytes[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES];
            let at = 20 + block as u32;
            assert!(holds(&cache, 1, at..at + 1, wanted).await, "block {at}");
        }
        assert!(holds(&cache, 2, 0..32, &content(2, 32)).await);
        assert_eq!(cache.counts().filled, 11);
        assert!(!cache.look(chunk(1), 19).0, "nothing was written before it");
        assert!(!cache.look(chunk(1), 20 + 9 * 32 + 7).0, "nor behind it");
    });
    // Of slots: 4, 2 up to the end of the file, 4, and 1 of another chunk; and 3 of tables.
    assert_eq!(bench.drive.calls(crate::sim::disk::Call::Write), 7);
    bench.run((size, 0, 1), async |cache, _| {
        let held = cache.bytes();
        assert_eq!(held, (9 * 32 + 7 + 32) * BLOCK_BYTES as u64, "the tables tell of all");
    });
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_the_disk_holds_no_more_than_was_said() {
    let bench = Bench::new();
    bench.run(ONE, async |cache, disk| {
        for number in 1..=6 {
            cache.fill(&disk, chunk(number), 0, &content(number as u8, 32)).await;
        }
        assert!(holds(&cache, 1, 0..32, &content(1, 32)).await, "six slots hold six");
        cache.fill(&disk, chunk(7), 0, &content(7, 32)).await;
        assert!(!cache.look(chunk(2), 0).0, "it was not looked at");
        for number in [1, 3, 4, 5, 6, 7] {
            assert!(holds(&cache, number, 0..32, &content(number as u8, 32)).await, "{number}");
        }
        assert_eq!(cache.bytes(), 6 * 32 * BLOCK_BYTES as u64);
    });
    assert!(bench.drive.used() <= SIZE.bytes());
}

#[test]
fn what_is_pinned_stays_when_others_want_its_room_but_not_from_its_own_volume() {
    let bench = Bench::new();
    bench.run(ONE, async |cache, disk| {
        let other = |number| (VolumeId([8; 16]), ChunkId::new(Incarnation(1), number).unwrap());
        cache.pin(&[VOLUME]);
        for number in 1..=4 {
            cache.fill(&disk, chunk(number), 0, &content(number as u8, 32)).await;
        }
        for number in 1..=20 {
            cache.fill(&disk, other(number), 0, &content(1, 32)).await;
        }
        for number in 1..=4 {
            assert!(cache.look(chunk(number), 0).0, "chunk {number}");
        }
        assert!(cache.look(other(19), 0).0 && cache.look(other(20), 0).0, "the rest is theirs");
        for number in 5..=20 {
            cache.fill(&disk, chunk(number), 0, &content(number as u8, 32)).await;
        }
        assert!(!cache.look(other(20), 0).0 && !cache.look(chunk(14), 0).0);
        assert!((15..=20).all(|number| cache.look(chunk(number), 0).0));
        cache.fill(&disk, other(30), 0, &content(1, 32)).await;
        assert!(!cache.look(other(30), 0).0, "there is nothing left for others");
    });
}

#[test]
fn what_is_not_used_for_its_time_goes_also_from_the_tables() {
    let bench = Bench::new();
    let count = async |cache: &Cache| {
        let mut next = Some(0);
        while let Some(first) = next {
            next = cache.age(first).await;
        }
    };
    bench.run(ONE, async move |cache, disk| {
        for number in 1..=3 {
            cache.fill(&disk, chunk(number), 0, &content(number as u8, 32)).await;
        }
        for _ in 0..CACHE_AGES {
            count(&cache).await;
        }
        assert!(holds(&cache, 1, 0..32, &content(1, 32)).await, "not yet");
        cache.fill(&disk, chunk(4), 0, &content(4, 32)).await;
        count(&cache).await;
        let left = |number: u64| cache.look(chunk(number), 0).0;
        assert_eq!([1, 2, 3, 4].map(left), [true, false, false, true], "the used ones stay");
    });
    bench.run(ONE, async move |cache, _| {
        assert_eq!(cache.bytes(), 2 * 32 * BLOCK_BYTES as u64, "what went does not come back");
        cache.pin(&[VOLUME]);
        for _ in 0..3 * CACHE_AGES {
            count(&cache).await;
        }
        assert_eq!(cache.bytes(), 2 * 32 * BLOCK_BYTES as u64, "pinned ones do not age");
    });
}

#[test]
fn a_forgotten_slot_is_gone_and_can_be_filled_again() {
    let bench = Bench::new();
    bench.run(ONE, async |cache, disk| {
        cache.fill(&disk, chunk(1), 0, &content(1, 64)).await;
        cache.forget(chunk(1), 40);
        assert!(cache.read(chunk(1), 40..41).await.is_none());
        assert!(holds(&cache, 1, 0..32, &content(1, 32)).await, "the other slot stays");
        cache.fill(&disk, chunk(1), 40, &content(5, 1)).await;
        assert!(holds(&cache, 1, 40..41, &content(5, 1)).await);
        assert_eq!(cache.look(chunk(1), 41), (false, 23));
        assert_eq!(cache.counts().rejected, 1);
    });
}

#[test]
fn any_power_loss_leaves_a_cache_that_opens() {
    for mode in PowerLoss::ALL {
        let bench = Bench::new();
        bench.run(ONE, async |cache, disk| {
            for number in 1..10 {
                cache.fill(&disk, chunk(number), 0, &content(number as u8, 32)).await;
            }
        });
        bench.drive.settle_power_loss(mode);
        bench.run(ONE, async |cache, disk| {
            cache.fill(&disk, chunk(20), 0, &content(20, 32)).await;
            assert!(holds(&cache, 20, 0..32, &content(20, 32)).await);
        });
    }
}

#[test]
fn files_of_another_size_and_of_cores_that_are_gone_are_removed() {
    let bench = Bench::new();
    for core in 0..3 {
        bench.run((SIZE, core, 3), async move |cache, disk| {
            for number in 0..6 {
                cache.fill(&disk, chunk(number), 0, &content(1, 32)).await;
            }
        });
    }
    assert_eq!(bench.drive.used(), 3 * SIZE.bytes());
    let smaller = CacheSize { slabs: 1, ..SIZE };
    bench.run((smaller, 0, 2), async |cache, _| {
        assert_eq!(cache.bytes(), 3 * 32 * BLOCK_BYTES as u64, "what still fits stays");
    });
    let names: Vec<_> = bench.drive.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["cache/0-0.slab", "cache/1-0.slab", "cache/1-1.slab"]);
    let other = CacheSize { slabs: 1, slab_slots: 4 };
    bench.run((other, 0, 2), async |cache, _| assert_eq!(cache.bytes(), 0));
}

#[test]
fn a_full_or_failing_disk_leaves_a_smaller_cache() {
    let bench = Bench::new();
    let faults = crate::sim::disk::DiskFaults {
        capacity: Some(files::slab_bytes(3) + 5),
        ..Default::default()
    };
    bench.drive.set_faults(faults);
    bench.run(ONE, async |cache, disk| {
        for number in 0..9 {
            cache.fill(&disk, chunk(number), 0, &content(number as u8, 32)).await;
            assert!(holds(&cache, number, 0..32, &content(number as u8, 32)).await, "{number}");
        }
        assert_eq!(cache.bytes(), 3 * 32 * BLOCK_BYTES as u64);
    });
}
