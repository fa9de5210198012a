//! A bucket's own speed, and what Krait makes of it: uploads against parallel puts, cold sequential
//! reads against parallel gets, all against one server in one run.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunk::{ObjectName, ObjectStore as _, StoreError};
use futures_lite::future::block_on;
use s3::{BucketName, Environment, S3Config, S3ConfigError, S3Store, S3Threads, Timeouts};
use s3_test_server::{ACCESS_KEY, Fault, Options, Rule, SECRET_KEY, TestServer};
use thiserror::Error;

use crate::clock;
use crate::limits::START_SECONDS;
use crate::load::Client;
use crate::operations::LoadError;
use crate::pinned::pinned;
use crate::scenario::{Scenario, ScenarioError};
use crate::size::ByteSize;
use crate::uri::Uri;

/// Bytes of a raw put, as of a chunk.
const PUT: u64 = 4 << 20;

/// Bytes of a raw get, as of the largest read that Krait makes of a chunk.
const GET: u64 = 1 << 20;

/// Threads of the raw client.
const THREADS: usize = 2;

/// Part of the volume that a timed read takes at the raw speed: it must not reach the end, where it
/// would begin again with what is cached by then.
const READ_PART: f64 = 0.7;

const BUCKET: &str = "perf";

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Krait's binary.
    pub krait: String,
    /// Requests under way at a time.
    pub parallel: usize,
    /// Bytes that go each way.
    pub bytes: u64,
    /// How late the server answers.
    pub latency: Duration,
    /// Core of the client.
    pub core: usize,
}

/// Pairs of rates in MiB per second: raw, then Krait's.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Uploading.
    pub upload: (f64, f64),
    /// Reading what is nowhere but in the bucket.
    pub read: (f64, f64),
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
    #[error("`krait {words}` failed: {said}")]
    Krait {
        /// What was asked.
        words: String,
        /// What it said.
        said: String,
    },
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> BucketError {
    move |source| BucketError::Io { what, source }
}

fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / since.elapsed().as_secs_f64()
}

/// Measures once, on a server of its own.
pub fn measure(plan: &Plan) -> Result<Rates, BucketError> {
    let options = Options { buckets: vec![BUCKET.to_owned()], ..Options::default() };
    let bucket = TestServer::start(options).map_err(io_error("an S3 server"))?;
    if !plan.latency.is_zero() {
        bucket.faults().add(Rule::all(Fault::Delay(plan.latency)));
    }
    let store = raw_client(&bucket, plan.parallel)?;
    let raw_upload = raw(plan, PUT, |place| {
        let body = Bytes::from(vec![place as u8; PUT as usize]);
        block_on(store.put(&raw_name(place), body))
    })?;
    let raw_read = raw(plan, GET, |place| {
        let (name, at) = (raw_name(place / (PUT / GET)), place % (PUT / GET) * GET);
        block_on(store.get_range(&name, at..at + GET)).map(drop)
    })?;
    let scratch = tempfile::tempdir().map_err(io_error("a directory"))?;
    let krait = Krait { plan, endpoint: bucket.endpoint(), dir: scratch.path() };
    let upload = krait.upload()?;
    let read = krait.read(raw_read)?;
    Ok(Rates { upload: (raw_upload, upload), read: (raw_read, read) })
}

fn raw_name(place: u64) -> ObjectName {
    ObjectName::new(format!("raw/{place}")).expect("a sound name")
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
    plan: &Plan,
    piece: u64,
    request: impl Fn(u64) -> Result<(), StoreError> + Sync,
) -> Result<f64, BucketError> {
    let next = AtomicU64::new(0);
    let begun = clock::now();
    thread::scope(|scope| {
        let work = || loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= plan.bytes / piece {
                return Ok(());
            }
            request(place)?;
        };
        let workers: Vec<_> = (0..plan.parallel).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })
    .map(|()| rate(plan.bytes, begun))
    .map_err(BucketError::Store)
}

/// The server under test and its commands.
struct Krait<'a> {
    plan: &'a Plan,
    endpoint: String,
    dir: &'a Path,
}

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Krait<'_> {
    fn command(&self, host: &str, words: &str) -> Command {
        let mut command = Command::new(&self.plan.krait);
        command.args(words.split_whitespace()).arg("--data-dir").arg(self.dir.join(host));
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("KRAIT_S3_ENDPOINT", &self.endpoint);
        command.env("KRAIT_STORE", format!("s3://{BUCKET}/krait"));
        command
    }

    fn run(&self, host: &str, words: &str) -> Result<(), BucketError> {
        let output = self.command(host, words).output().map_err(io_error("krait"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(BucketError::Krait { words: words.to_owned(), said })
    }

    /// Starts a server whose log takes everything before anything is uploaded.
    fn serve(&self, host: &str) -> Result<(Running, Uri), BucketError> {
        let socket = self.dir.join(format!("{host}.sock"));
        let (log, rpo) = (self.plan.bytes * 4, self.plan.bytes * 2);
        let words = format!(
            "serve --cores=1 --memory=2G --wal-cap={log} --rpo-bytes={rpo} --rpo-seconds=3600"
        );
        let mut command = self.command(host, &words);
        command.arg(format!("--listen=unix:{}", socket.display()));
        let child = command.stderr(Stdio::null()).spawn().map_err(io_error("krait"))?;
        let running = Running(child);
        let begun = clock::now();
        while !socket.exists() {
            if begun.elapsed().as_secs() > START_SECONDS {
                let said = "it does not listen".to_owned();
                return Err(BucketError::Krait { words, said });
            }
            clock::pause(Duration::from_millis(10));
        }
        Ok((running, Uri::unix(socket, "bench")))
    }

    /// Writes everything into the log, then has it uploaded; returns MiB per second of that.
    fn upload(&self) -> Result<f64, BucketError> {
        let bytes = self.plan.bytes;
        self.run("writer", &format!("volume create bench --size {bytes}"))?;
        let (server, uri) = self.serve("writer")?;
        let scenario = Scenario::load("seqwrite-1m")?;
        pinned(self.plan.core, || Client::new(1).prefill(&scenario, &uri))?;
        let begun = clock::now();
        self.run("writer", "volume drain bench --timeout 10m")?;
        let upload = rate(bytes, begun);
        drop(server);
        Ok(upload)
    }

    /// Reads on a host that has nothing of the volume; returns MiB per second.
    fn read(&self, raw: f64) -> Result<f64, BucketError> {
        self.run("reader", "volume attach bench --force")?;
        let (server, uri) = self.serve("reader")?;
        let mut scenario = Scenario::load("seqread-1m")?;
        let seconds = READ_PART * (self.plan.bytes >> 20) as f64 / raw;
        scenario.region = Some(ByteSize::new(self.plan.bytes));
        (scenario.seconds, scenario.warmup_seconds) = (seconds, 0.0);
        let measured = pinned(self.plan.core, || Client::new(1).run(&scenario, &uri, None))?;
        drop(server);
        Ok(measured.megabytes_per_second * 1e6 / f64::from(1 << 20))
    }
}
