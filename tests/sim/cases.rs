//! Cases: what a world comes upon too seldom, played out on the simulated disk and store.
//!
//! Each runs with the simulation, and is the way to find the bug that is planted for it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use chunk::ids::volume_prefix;
use chunk::snapshot::read_header;
use chunk::{Manifest, ObjectName, ObjectStore, Promises, SnapshotId, SnapshotName, VolumeName};
use chunk::{catalog, manifest_log};
use futures_lite::future;
use krait::engine::core::Core;
use krait::engine::limits::Tuning;
use krait::engine::mesh::CoreId;
use krait::engine::snapshot::NewSnapshot;
use krait::engine::volume::Volume;
use krait::sim::disk::DiskFaults;
use krait::sim::{Bucket, Budget, Drive, Executor, Host, PowerLoss, Scenario, SimEnv};
use wal::runtime::Runtime as _;
use wal::{BLOCK_BYTES, VolumeId};

const VOLUME: VolumeId = VolumeId([7; 16]);
const BLOCKS: u64 = 4096;
const SEED: u64 = 3;

type Found<T = ()> = Result<T, String>;
type HostCore = Rc<Core<SimEnv>>;

/// What it shows, and how.
pub type Case = (&'static str, fn() -> Found);

/// All of them.
pub const ALL: &[Case] = &[
    ("a cut of nothing gives back what is covered", a_cut_of_nothing_gives_back_what_is_covered),
    ("a lost volume is not opened as it was", a_lost_volume_is_not_opened_as_it_was),
    ("epochs do not fall behind a mark", epochs_do_not_fall_behind_a_mark),
    ("a snapshot that was made is there", a_snapshot_that_was_made_is_there),
    ("a snapshot that was taken back is not there", a_snapshot_that_was_taken_back_is_not_there),
    ("a map that cannot be folded has its limit", a_map_that_cannot_be_folded_has_its_limit),
    ("a full disk goes on by uploads", a_full_disk_goes_on_by_uploads),
];

/// Writes stay in memory until they are flushed, segments are small, and cuts come when they are asked
/// for.
fn tuning() -> Tuning {
    Tuning {
        cache_blocks: 1024,
        unlogged_blocks: 700,
        cut_unlogged_blocks: u64::MAX,
        pace_least: u64::MAX,
        absorb_after: Duration::ZERO,
        segment_blocks: 24,
        segments: 100,
        rpo_age: Duration::from_secs(36_000),
        fold_chunks: 2,
        unfolded_chunks: 8,
        ..Tuning::default()
    }
}

/// Hosts that have one bucket, and one core each.
struct Land {
    executor: Executor,
    bucket: Bucket,
}

/// A host with its disk.
struct Post {
    host: Host,
    drive: Drive,
    core: HostCore,
}

impl Land {
    /// With a volume of which nothing is written.
    fn new() -> Self {
        let executor = Executor::new(SEED, false);
        let bucket = Bucket::new(&executor, SEED);
        let land = Self { executor, bucket };
        let first = land.post(0);
        land.run(&first, async |core| {
            let new = catalog::NewVolume {
                name: VolumeName::new("world").expect("a name"),
                id: VOLUME,
                size_bytes: BLOCKS * BLOCK_BYTES as u64,
                stripe_shift: wal::layout::MIN_STRIPE_SHIFT,
                promises: Promises::default(),
                created_unix_ms: 0,
            };
            catalog::create(&core.store, new).await.expect("a sound store");
        });
        land
    }

    /// A host of this number with an empty disk.
    fn post(&self, number: u8) -> Post {
        self.boot(number, Drive::new(&self.executor, SEED + u64::from(number)))
    }

    fn boot(&self, number: u8, drive: Drive) -> Post {
        let sizes = Scenario::calm().tuning;
        let host = Host::boot(&self.executor, &drive, &self.bucket, 1, sizes, BLOCKS);
        let part = host.cores[0].clone();
        let mesh = host.mesh().remove(0);
        let id = [number + 1; 16];
        let core = Core::new(part.disk, part.store, part.runtime.clone(), mesh, tuning(), id);
        part.runtime.spawn(core.clone().serve());
        Post { host, drive, core }
    }

    /// Does something on the core of a host, to its end.
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        post: &Post,
        work: impl FnOnce(HostCore) -> F,
    ) -> T {
        let done = Rc::new(RefCell::new(None));
        let (work, place) = (work(post.core.clone()), done.clone());
        self.executor.spawn(post.host.process(), CoreId(0), async move {
            let result = work.await;
            place.replace(Some(result));
        });
        let budget = Budget { steps: 10_000_000, span: Duration::from_secs(36_000) };
        self.executor.run(budget, || done.borrow().is_some()).expect("it ends");
        done.take().expect("it ended")
    }

    /// The process dies, and another one begins.
    fn kill(&self, post: Post, number: u8) -> Post {
        self.executor.kill(post.host.process());
        self.bucket.settle_kill(post.host.process());
        post.drive.settle_power_loss(PowerLoss::KeepAll);
        self.boot(number, post.drive)
    }
}

async fn write(volume: &Volume<SimEnv>, first: u64, byte: u8, blocks: usize) {
    let body = Bytes::from(vec![byte; blocks * BLOCK_BYTES]);
    volume.write(first * BLOCK_BYTES as u64, body).await.expect("a sound volume");
}

async fn expect(volume: &Volume<SimEnv>, first: u64, byte: u8) -> Found {
    let read = volume.read(first * BLOCK_BYTES as u64, BLOCK_BYTES).await;
    match read.expect("a sound volume").first() {
        Some(found) if *found == byte => Ok(()),
        found => Err(format!("block {first} begins with {found:?} instead of {byte}")),
    }
}

/// A flush logs what a cut is being sealed of from memory; the next cut, of nothing, gives that back.
pub fn a_cut_of_nothing_gives_back_what_is_covered() -> Found {
    let land = Land::new();
    let post = land.post(0);
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.expect("it opens");
        write(&volume, 0, 1, 1).await;
        volume.flush().await.expect("a sound disk");
        let drain = async || core.drain(volume.number()).await.expect("a sound store");
        drain().await;
        // Some segments, in memory only.
        write(&volume, 0, 2, 200).await;
        let epoch = volume.shared().epoch();
        let flush = async {
            while volume.shared().epoch() == epoch {
                core.runtime.pause().await;
            }
            volume.flush().await.expect("a sound disk");
        };
        future::zip(drain(), flush).await;
        drain().await;
        core.runtime.sleep(Duration::from_secs(1)).await;
        write(&volume, 0, 3, 1).await;
        volume.flush().await.expect("a sound disk");
    });
    let post = land.kill(post, 0);
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.map_err(|error| error.to_string())?;
        expect(&volume, 0, 3).await?;
        expect(&volume, 199, 2).await
    })
}

/// A host that lost a volume, and did not notice as nobody wrote to it, opens it again when it was given
/// back.
pub fn a_lost_volume_is_not_opened_as_it_was() -> Found {
    let land = Land::new();
    let [one, other] = [land.post(0), land.post(1)];
    land.run(&one, async |core| {
        let volume = core.attach(VOLUME).await.expect("it opens");
        write(&volume, 0, 1, 1).await;
        core.drain(volume.number()).await.expect("a sound store");
    });
    land.run(&other, async |core| {
        let volume = core.take_over(VOLUME).await.expect("it opens");
        write(&volume, 0, 2, 1).await;
        core.shut(VOLUME).await.expect("a sound store");
    });
    land.run(&one, async |core| {
        let volume = core.attach(VOLUME).await.map_err(|error| error.to_string())?;
        expect(&volume, 0, 2).await
    })
}

/// An epoch ends, and what tells the shard is late; meanwhile its log, which is idle, gets a mark of the
/// next one, and then what was written before.
pub fn epochs_do_not_fall_behind_a_mark() -> Found {
    let land = Land::new();
    let post = land.post(0);
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.expect("it opens");
        write(&volume, 0, 1, 1).await;
        volume.flush().await.expect("a sound disk");
        core.runtime.sleep(Duration::from_millis(4500)).await;
        write(&volume, 1, 2, 1).await;
        volume.shared().end_epoch();
        core.runtime.sleep(Duration::from_secs(2)).await;
        volume.flush().await.expect("a sound disk");
    });
    let post = land.kill(post, 0);
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.map_err(|error| error.to_string())?;
        expect(&volume, 0, 1).await?;
        expect(&volume, 1, 2).await
    })
}

fn new_snapshot() -> NewSnapshot {
    NewSnapshot {
        id: SnapshotId([1; 16]),
        name: SnapshotName::new("before").expect("a name"),
        created_unix_ms: 1,
        patience: Duration::from_secs(100),
    }
}

/// The deletion of a snapshot was cut off after it was gone: its name is not free.
pub fn a_snapshot_that_was_made_is_there() -> Found {
    let land = Land::new();
    let post = land.post(0);
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.expect("it opens");
        let new = new_snapshot();
        let marker = format!("{}deleting/{}/00", volume_prefix(VOLUME), new.name);
        let marker = ObjectName::new(marker).expect("a name");
        core.store.put(&marker, vec![1]).await.expect("a sound store");
        write(&volume, 0, 1, 1).await;
        let made = core.snapshot(volume.number(), new.clone()).await;
        core.settle(VOLUME).await.expect("a sound store");
        let found = read_header(&core.store, VOLUME, &new.name).await.expect("a sound store");
        match (made, found) {
            (Ok(_), None) => Err("the snapshot was made, and is not there".to_owned()),
            _ => Ok(()),
        }
    })
}

/// A snapshot is taken back at any time on its way to the store.
pub fn a_snapshot_that_was_taken_back_is_not_there() -> Found {
    for millis in 0..40 {
        let land = Land::new();
        let post = land.post(0);
        land.run(&post, async move |core| {
            let volume = core.attach(VOLUME).await.expect("it opens");
            write(&volume, 0, 1, 1).await;
            let made = core.snapshot(volume.number(), new_snapshot()).await.expect("it is made");
            core.runtime.sleep(Duration::from_millis(millis)).await;
            core.take_back(volume.number(), &made).await.expect("a sound store");
            core.settle(VOLUME).await.expect("a sound store");
            core.runtime.sleep(Duration::from_secs(10)).await;
            let found = read_header(&core.store, VOLUME, &made.name).await.expect("it is sound");
            match found {
                Some(_) => {
                    Err(format!("a snapshot is there that was taken back after {millis} ms"))
                }
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

/// A map page is damaged, so that the map cannot be folded, while more and more is written elsewhere.
pub fn a_map_that_cannot_be_folded_has_its_limit() -> Found {
    let land = Land::new();
    let post = land.post(0);
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.expect("it opens");
        for byte in 1..4 {
            write(&volume, 0, byte, 1).await;
            core.drain(volume.number()).await.expect("a sound store");
        }
        core.runtime.sleep(Duration::from_secs(5)).await;
    });
    let objects = land.bucket.objects();
    let maps: Vec<_> = objects.into_iter().filter(|(name, _)| name.contains("/maps/")).collect();
    assert!(!maps.is_empty(), "it was folded");
    for (name, bytes) in &maps {
        land.bucket.tamper(name, Some(vec![0xAA; *bytes as usize]));
    }
    let unfolded = land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.expect("it is open");
        for block in 1..20 {
            write(&volume, block, 9, 1).await;
            volume.flush().await.expect("a sound disk");
            let drain = async { core.drain(volume.number()).await.expect("it goes on") };
            future::or(drain, core.runtime.sleep(Duration::from_secs(10))).await;
        }
        let newest = manifest_log::latest(&core.store, VOLUME).await.expect("a sound store");
        let (_, body) = newest.expect("a volume");
        Manifest::decode(&body).expect("it is sound").1.unfolded.len()
    });
    if unfolded > tuning().unfolded_chunks {
        return Err(format!("{unfolded} chunks are not folded"));
    }
    land.run(&post, async |core| {
        let volume = core.attach(VOLUME).await.expect("it is open");
        expect(&volume, 19, 9).await
    })
}

/// The disk is too small for the log, no cut falls due by itself for hours, and whoever writes flushes.
pub fn a_full_disk_goes_on_by_uploads() -> Found {
    for segments in 2..6 {
        let land = Land::new();
        let post = land.post(0);
        let segment = u64::from(tuning().segment_blocks) * BLOCK_BYTES as u64;
        let capacity = Some(post.drive.used() + segments * segment + segment / 2);
        post.drive.set_faults(DiskFaults { capacity, ..DiskFaults::default() });
        land.run(&post, async move |core| {
            let volume = core.attach(VOLUME).await.expect("it opens");
            for round in 0..200u64 {
                let some = async {
                    let (at, body) =
                        (round * 17 % 4000 * BLOCK_BYTES as u64, vec![1; 10 * BLOCK_BYTES]);
                    // Who is told that there is no space tries again.
                    while volume.write(at, Bytes::from(body.clone())).await.is_err() {
                        core.runtime.sleep(Duration::from_millis(100)).await;
                    }
                    volume.flush().await.map_err(|error| error.to_string())
                };
                let late = async {
                    core.runtime.sleep(Duration::from_secs(60)).await;
                    Err(format!("with {segments} segments flush {round} takes a minute"))
                };
                future::or(some, late).await?;
            }
            Ok::<_, String>(())
        })?;
    }
    Ok(())
}
