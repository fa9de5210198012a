//! A server, a store on it, and what tests ask of both.

use std::sync::LazyLock;
use std::time::Duration;

use chunk::{ObjectName, RemoteCause, StoreError};
use futures_lite::future::block_on;
use s3::{BucketName, Environment, S3Config, S3Store, S3Threads, Timeouts};
use s3_test_server::{ACCESS_KEY, Options, SECRET_KEY, TestServer};

pub const BUCKET: &str = "krait-test";

/// Threads that all tests share.
pub static THREADS: LazyLock<S3Threads> = LazyLock::new(|| S3Threads::start(1).expect("a thread"));

pub fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("tests use names by the grammar")
}

pub fn server() -> TestServer {
    TestServer::start(Options::default()).expect("a free port")
}

pub fn keys() -> Environment {
    Environment::of([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
}

/// A configuration that gives up soon enough for tests.
pub fn config(server: &TestServer) -> S3Config {
    let mut config = S3Config::new(BucketName::new(BUCKET).expect("a name"));
    config.prefix = Some(name("deep/prefix"));
    config.endpoint = Some(server.endpoint().parse().expect("an endpoint"));
    config.environment = keys();
    config.timeouts = Timeouts {
        connect: Duration::from_millis(500),
        read: Duration::from_millis(500),
        attempt: Duration::from_secs(1),
        operation: Duration::from_secs(10),
    };
    config
}

/// The same, for tests that wait for the end.
pub fn impatient(server: &TestServer) -> S3Config {
    let mut config = config(server);
    config.timeouts = Timeouts {
        connect: Duration::from_millis(100),
        read: Duration::from_millis(150),
        attempt: Duration::from_millis(300),
        operation: Duration::from_millis(800),
    };
    config
}

pub fn open(config: &S3Config) -> S3Store {
    S3Store::new(config, &THREADS).expect("the configuration is fine")
}

/// A store on a server.
pub fn store(server: &TestServer) -> S3Store {
    open(&config(server))
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    block_on(future)
}

/// Why a call failed on the network.
pub fn cause<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> RemoteCause {
    match outcome {
        Err(StoreError::Remote { failure, .. }) => failure.cause,
        other => panic!("no failure of the network: {other:?}"),
    }
}

/// The bytes of an object of the store, as the server has them.
pub fn stored(server: &TestServer, object: &str) -> Option<Vec<u8>> {
    server.object(BUCKET, &format!("deep/prefix/{object}")).map(|body| body.to_vec())
}

/// Bytes that differ from place to place.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}
