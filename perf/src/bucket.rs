//! A bucket's own speed, and what Krait makes of it: uploads against parallel puts, cold sequential
//! reads against parallel gets, all against one server in one run.

mod host;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use chunk::{ObjectName, ObjectStore as _, StoreError};
use futures_lite::future::block_on;
use s3::{BucketName, Environment, S3Config, S3ConfigError, S3Store, S3Threads, Timeouts};
use s3_test_server::{ACCESS_KEY, Fault, Options, Rule, SECRET_KEY, TestServer};
use thiserror::Error;

use crate::clock;
use crate::command::CommandError;
use crate::operations::LoadError;
use crate::scenario::ScenarioError;
use crate::size::ByteSize;
use host::Host;

/// Bytes of a raw put, as of a chunk.
const PUT: u64 = 4 << 20;

/// Bytes of a raw get, as of the largest read that Krait makes of a chunk.
const GET: u64 = 1 << 20;

/// Threads of the raw client.
const THREADS: usize = 2;

const BUCKET: &str = "perf";

/// The part of the raw rate that Krait is to reach.
pub const BAR: f64 = 0.85;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Krait's binary.
    pub krait: String,
    /// Memory of its servers.
    pub memory: ByteSize,
    /// Requests under way at a time.
    pub parallel: usize,
    /// Bytes that go each way in each round.
    pub bytes: u64,
    /// Rounds that count; there is one more before them.
    pub rounds: usize,
    /// How late the server answers.
    pub latency: Duration,
    /// Core of the client.
    pub core: usize,
}

/// Rates of one round in MiB per second.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Of the raw requests.
    pub raw: f64,
    /// Of Krait.
    pub krait: f64,
}

impl Pair {
    /// What Krait makes of the bucket's speed.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.krait / self.raw
    }
}

/// Rates of one round.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Uploading.
    pub upload: Pair,
    /// Reading what is nowhere but in the bucket.
    pub read: Pair,
}

/// Why it was not measured.
#[derive(Debug, Error)]
pub enum BucketError {
    /// A process or directory.
    #[error("cannot use {what}")]
    Io {
        /// What.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The raw client's settings.
    #[error(transparent)]
    Config(#[from] S3ConfigError),
    /// A raw request.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The workload.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A command of Krait's.
    #[error(transparent)]
    Command(#[from] CommandError),
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> BucketError {
    move |source| BucketError::Io { what, source }
}

fn rate(bytes: u64, span: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / span.as_secs_f64()
}

/// Measures on a server of its own. Raw requests and Krait take turns, so that what else the machine
/// does hits both. The round before those that count makes the connections and touches the memory.
pub fn measure(setup: &Setup) -> Result<Vec<Rates>, BucketError> {
    let options = Options { buckets: vec![BUCKET.to_owned()], ..Options::default() };
    let bucket = TestServer::start(options).map_err(io_error("an S3 server"))?;
    if !setup.latency.is_zero() {
        bucket.faults().add(Rule::all(Fault::Delay(setup.latency)));
    }
    let store = raw_client(&bucket, setup.parallel)?;
    let scratch = tempfile::tempdir().map_err(io_error("a directory"))?;
    let endpoint = bucket.endpoint();
    let writer = Host::start(setup, &endpoint, scratch.path(), "writer")?;
    let reader = Host::start(setup, &endpoint, scratch.path(), "reader")?;
    let mut rounds = Vec::new();
    for round in 0..=setup.rounds {
        let volume = format!("bench{round}");
        let raw = raw(setup, PUT, |place| {
            let body = Bytes::from(vec![place as u8; PUT as usize]);
            block_on(store.put(&raw_name(round, place), body))
        })?;
        let upload = Pair { raw, krait: rate(setup.bytes, writer.upload(&volume)?) };
        let raw = self::raw(setup, GET, |place| {
            let (name, at) = (raw_name(round, place / (PUT / GET)), place % (PUT / GET) * GET);
            block_on(store.get_range(&name, at..at + GET)).map(drop)
        })?;
        let read = Pair { raw, krait: rate(setup.bytes, reader.read(&volume)?) };
        rounds.push(Rates { upload, read });
    }
    rounds.remove(0);
    Ok(rounds)
}

fn raw_name(round: usize, place: u64) -> ObjectName {
    ObjectName::new(format!("raw/{round}/{place}")).expect("a sound name")
}

fn raw_client(bucket: &TestServer, connections: usize) -> Result<S3Store, BucketError> {
    let threads = S3Threads::start(THREADS).map_err(io_error("threads"))?;
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let config = S3Config {
        bucket: BucketName::new(BUCKET)?,
        prefix: None,
        endpoint: Some(bucket.endpoint().parse()?),
        region: None,
        path_style: None,
        ca_file: None,
        accept_self_signed: false,
        profile: None,
        connections,
        timeouts: Timeouts::default(),
        environment: Environment::of(keys),
    };
    Ok(S3Store::new(&config, &threads)?)
}

/// Does as many raw requests as there are pieces, so many at a time; returns MiB per second.
fn raw(
    setup: &Setup,
    piece: u64,
    request: impl Fn(u64) -> Result<(), StoreError> + Sync,
) -> Result<f64, BucketError> {
    let next = AtomicU64::new(0);
    let begun = clock::now();
    thread::scope(|scope| {
        let work = || loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= setup.bytes / piece {
                return Ok(());
            }
            request(place)?;
        };
        let workers: Vec<_> = (0..setup.parallel).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })
    .map(|()| rate(setup.bytes, begun.elapsed()))
    .map_err(BucketError::Store)
}
