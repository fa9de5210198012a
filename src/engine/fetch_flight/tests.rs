//! One request for many readers, and an end to waiting.

use std::cell::Cell;
use std::future::Future;

use chunk::catalog::{NewVolume, create};
use chunk::{ChunkBuilder, Compression, Fencing, Manifest, MemoryStore, Promises, VolumeName};
use futures_lite::future::block_on;
use wal::{Epoch, Incarnation, Layout};

use super::*;
use crate::engine::fetch_health::StoreState;
use crate::engine::lease::Lease;
use crate::sim::store::StoreFaults;
use crate::sim::{Bucket, Budget, Drive, Executor, Host, Scenario, SimEnv};

const VOLUME: VolumeId = VolumeId([7; 16]);
const OUTAGE: Duration = Duration::from_secs(3600);

fn chunk() -> ChunkId {
    ChunkId::new(Incarnation(1), 5).unwrap()
}

fn manifest() -> Manifest {
    let new = NewVolume {
        name: VolumeName::new("world").unwrap(),
        id: VOLUME,
        size_bytes: 1 << 24,
        stripe_shift: wal::layout::MIN_STRIPE_SHIFT,
        promises: Promises::default(),
        created_unix_ms: 0,
    };
    block_on(create(&MemoryStore::default(), new)).unwrap()
}

/// A core and the store, in which chunk 5 has 100 blocks of payload and nothing behind them.
struct Bench {
    executor: Executor,
    bucket: Bucket,
    host: Host,
    core: Rc<Core<SimEnv>>,
    shared: Arc<Shared>,
}

impl Bench {
    fn new() -> Self {
        let executor = Executor::new(3, false);
        let (drive, bucket) = (Drive::new(&executor, 3), Bucket::new(&executor, 3));
        let end = payload_range(PayloadBlock(0), 100).end;
        bucket.tamper(chunk().chunk_name(VOLUME).as_str(), Some(vec![1; end as usize]));
        let tuning = Scenario::draw(3).tuning;
        let host = Host::boot(&executor, &drive, &bucket, 1, tuning, 4096);
        let part = host.cores[0].clone();
        let mesh = host.mesh().remove(0);
        let tuning = crate::engine::limits::Tuning::default();
        let core = Core::new(part.disk, part.store, part.runtime, mesh, tuning, [1; 16]);
        let layout = Layout::new(wal::layout::MIN_STRIPE_SHIFT, 1).unwrap();
        let lease = Lease::new(Fencing::Contact, Duration::ZERO);
        let shared = Shared::new(&manifest(), layout, lease, Epoch(1));
        Self { executor, bucket, host, core, shared: Arc::new(shared) }
    }

    /// Runs something on the core to its end; returns how long it took.
    fn run<F: Future<Output = ()> + 'static>(
        &self,
        work: impl FnOnce(Rc<Core<SimEnv>>, Arc<Shared>) -> F,
    ) -> Duration {
        let (ended, begun) = (Rc::new(Cell::new(false)), self.executor.now());
        let (work, end) = (work(self.core.clone(), self.shared.clone()), ended.clone());
        self.executor.spawn(self.host.process(), crate::engine::mesh::CoreId(0), async move {
            work.await;
            end.set(true);
        });
        let budget = Budget { steps: 1_000_000, span: OUTAGE };
        self.executor.run(budget, || ended.get()).expect("it ends");
        self.executor.now() - begun
    }

    fn put(&self, object: Vec<u8>) {
        self.bucket.tamper(chunk().chunk_name(VOLUME).as_str(), Some(object));
    }

    fn down(&self) {
        let outage = Some((Duration::ZERO, OUTAGE));
        self.bucket.set_faults(StoreFaults { outage, ..Default::default() });
    }
}

/// Block `n` of a chunk that compresses, and of one that does not.
fn block(n: u32, is_noise: bool) -> Vec<u8> {
    let mut state = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if is_noise { (state >> 32) as u8 } else { n as u8 + 1 }
    };
    (0..BLOCK_BYTES).map(|_| next()).collect()
}

fn blocks(range: Range<u32>) -> Vec<u8> {
    range.flat_map(|n| block(n, (32..48).contains(&n))).collect()
}

/// A bench whose chunk 5 has 100 blocks in frames, the third of them as they are.
fn compressed() -> (Bench, Vec<u8>) {
    let mut bench = Bench::new();
    let layout = Layout::new(wal::layout::MIN_STRIPE_SHIFT, 1).unwrap();
    let mut chunk = ChunkBuilder::new(VOLUME, chunk(), layout, Epoch(1));
    assert_eq!(chunk.push_data(wal::Lba(0), &blocks(0..100)), 100);
    let (object, index) = chunk.finish_as(Compression::Lz4);
    assert!(index.frames().is_compressed(0) && !index.frames().is_compressed(2));
    bench.put(object.clone());
    let shared = Arc::get_mut(&mut bench.shared).expect("nobody else has it");
    shared.compressed_since = Some(Incarnation(1));
    (bench, object)
}

#[test]
fn blocks_of_a_compressed_chunk_are_fetched_by_frames_once_its_header_is_known() {
    let (bench, _) = compressed();
    bench.run(async |core, shared| {
        let key = (VOLUME, super::tests::chunk());
        let one = core.fetch_range(&shared, key.1, 20..21, 20..21);
        let other = core.fetch_range(&shared, key.1, 30..70, 30..70);
        assert!(core.frame_tables.get(key).is_none());
        assert_eq!(*landed(&one).await.expect("it is there"), blocks(20..21));
        assert_eq!(*landed(&other).await.expect("it is there"), blocks(30..70));
        assert!(core.frame_tables.get(key).is_some_and(|frames| frames.payload_blocks() == 100));
        let end = core.fetch_range(&shared, key.1, 99..100, 96..128);
        assert_eq!(*landed(&end).await.expect("it is there"), blocks(96..100));
        let beyond = core.fetch_range(&shared, key.1, 99..101, 96..128);
        let missing = landed(&beyond).await;
        assert!(matches!(missing, Err(VolumeError::Corrupt { .. })), "{missing:?}");
    });
}

#[test]
fn a_damaged_header_or_frame_is_an_error_and_never_bytes() {
    let (bench, object) = compressed();
    let mut frame = object.clone();
    frame[chunk::limits::CHUNK_HEADER_BYTES] ^= 0xf0;
    let mut header = object.clone();
    header[130] ^= 1;
    for damaged in [header, frame] {
        bench.put(damaged);
        bench.run(async |core, shared| {
            let flight = core.fetch_range(&shared, super::tests::chunk(), 3..4, 3..4);
            match landed(&flight).await {
                Err(VolumeError::Corrupt { .. }) => {}
                // A checksum tells.
                Ok(bytes) => assert_ne!(*bytes, blocks(3..4)),
                Err(other) => panic!("{other}"),
            }
        });
    }
}

async fn landed(flight: &RangeFlight) -> Result<Rc<Vec<u8>>, VolumeError> {
    let signal = Rc::new(Signal::default());
    flight.flight.tell(&signal);
    signal.until(|| flight.flight.outcome()).await
}

#[test]
fn two_readers_of_the_same_blocks_make_one_request() {
    Bench::new().run(async |core, shared| {
        let first = core.fetch_range(&shared, chunk(), 8..16, 0..32);
        let second = core.fetch_range(&shared, chunk(), 12..20, 0..32);
        assert!(Rc::ptr_eq(&first, &second));
        let other = core.fetch_range(&shared, chunk(), 30..34, 30..34);
        assert!(!Rc::ptr_eq(&first, &other), "the first one does not bring all of it");
        assert!(core.fetches.find(VOLUME, chunk(), 33).is_ok_and(|f| Rc::ptr_eq(&f, &other)));
        assert!(matches!(core.fetches.find(VOLUME, chunk(), 40), Err(u32::MAX)));
        let bytes = landed(&second).await.expect("it is there");
        assert_eq!(bytes.len(), 32 * BLOCK_BYTES);
        assert!(landed(&other).await.is_ok());
        let later = core.fetch_range(&shared, chunk(), 8..16, 0..32);
        assert!(!Rc::ptr_eq(&first, &later), "what has landed is not kept");
        assert!(landed(&later).await.is_ok());
    });
}

#[test]
fn a_read_that_goes_beyond_the_object_brings_what_there_is() {
    Bench::new().run(async |core, shared| {
        let flight = core.fetch_range(&shared, chunk(), 97..100, 96..128);
        let bytes = landed(&flight).await.expect("all that is wanted is there");
        assert_eq!(bytes.len(), 4 * BLOCK_BYTES);
        let flight = core.fetch_range(&shared, chunk(), 97..101, 96..128);
        let missing = landed(&flight).await;
        assert!(
            matches!(missing, Err(VolumeError::Corrupt { .. })),
            "never part of what is wanted"
        );
    });
}

#[test]
fn while_the_store_is_down_a_fetch_fails_in_bounded_time_and_the_store_counts_as_down() {
    let bench = Bench::new();
    bench.down();
    let span = bench.run(async |core, shared| {
        let flight = core.fetch_range(&shared, chunk(), 0..1, 0..1);
        let deadline = core.runtime.now() + READ_TIMEOUT;
        let signal = Rc::new(Signal::default());
        flight.flight.tell(&signal);
        let outcome = core.until(&signal, deadline, || flight.flight.outcome()).await;
        assert!(outcome.is_none_or(|outcome| outcome.is_err()));
        assert_eq!(core.health.borrow().state(), StoreState::Down);
    });
    assert!(span <= READ_TIMEOUT + Duration::from_secs(1), "{span:?}");
    assert!(span >= READ_TIMEOUT / 2, "it may come back: {span:?}");
}
