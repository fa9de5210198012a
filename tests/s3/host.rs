//! Hosts with data directories of their own, and one bucket.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use krait::sim::random::Random;
use nbd::ReplyMode;
use s3_test_server::{ACCESS_KEY, Options, SECRET_KEY, TestServer};

use crate::client::Client;
use crate::crew::Work;
use crate::server::{Place, Server};

pub const BUCKET: &str = "krait-test";

pub const MIB: u64 = 1 << 20;

/// Settings of most servers: small enough that all that happens happens often.
pub const SMALL: &str = "--cores=2 --memory=256M --wal-segment=1M --wal-cap=64M --rpo-bytes=8M \
                         --rpo-seconds=1";

/// What `rpo` is there.
pub const RPO: Duration = Duration::from_secs(1);

/// What one upload may take on a busy machine: of 8 MiB, and of what came meanwhile.
pub const UPLOAD: Duration = Duration::from_secs(3);

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket of its own.
pub fn bucket() -> TestServer {
    TestServer::start(Options::default()).expect("a free port")
}

/// A host, and its own way to the bucket.
pub struct Host {
    pub place: Place,
    pub door: TestServer,
}

impl Host {
    /// A new host with an empty disk.
    pub fn new(bucket: &TestServer) -> Self {
        let door = bucket.beside(Options::default()).expect("a free port");
        let place = Place::new(vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("KRAIT_STORE", format!("s3://{BUCKET}/of/krait")),
            ("KRAIT_S3_ENDPOINT", door.endpoint()),
        ]);
        Self { place, door }
    }

    /// Runs a command that must end well, and returns what it prints.
    #[track_caller]
    pub fn run(&self, words: &str) -> String {
        let Output { status, stdout, stderr } = self.place.run(words);
        assert!(status.success(), "{words}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("text")
    }

    /// Runs a command that must end well once the server has seen its last client go.
    #[track_caller]
    pub fn run_when_free(&self, words: &str) {
        let begun = Instant::now();
        loop {
            let output = self.place.run(words);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => return,
                Some(5) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
                _ => panic!("{words}: {said}"),
            }
        }
    }

    /// Runs a command that must fail; returns its exit code and what it says.
    #[track_caller]
    pub fn fail(&self, words: &str) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = self.place.run(words);
        let said = String::from_utf8(stderr).expect("text");
        assert!(!status.success(), "{words}: {said}");
        (status.code(), said)
    }

    /// What `volume status` says of the volume, in JSON.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.run("volume status vm --json")).expect("JSON")
    }
}

pub fn connect(server: &mut Server, clients: usize) -> Vec<Client> {
    let connect = |_| server.connect("vm", ReplyMode::Extended).expect("the server serves it");
    (0..clients).map(connect).collect()
}

/// Reads all of the volume back in a life that has just begun, and judges it as a whole.
pub fn read_back(work: &Work, client: &mut Client) {
    work.read_back(client, 0, 1).expect("all can be read");
    if let Err(violation) = work.judge().judge_image() {
        panic!("{violation}");
    }
}

/// Ends connections when it is dropped, also by a test that fails.
struct HangUp(Vec<UnixStream>);

impl Drop for HangUp {
    fn drop(&mut self) {
        // Fails for those that are gone already.
        self.0.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

/// Has clients work while something else happens.
pub fn load<T>(work: &Work, clients: Vec<Client>, seed: u64, during: impl FnOnce() -> T) -> T {
    let streams = clients.iter().map(|client| client.stream.try_clone().expect("a socket"));
    let hang_up = HangUp(streams.collect());
    thread::scope(|scope| {
        let labour = |(n, mut client): (u64, Client)| {
            let mut random = Random::stream(seed + n, "client");
            scope.spawn(move || work.labour(&mut client, &mut random, u64::MAX))
        };
        let workers: Vec<_> = (0..).zip(clients).map(labour).collect();
        let hang_up = hang_up;
        let result = during();
        drop(hang_up);
        for worker in workers {
            let ended = worker.join().expect("no client panics");
            let error = ended.expect_err("they work on until they are cut off");
            assert!(error.kind() != std::io::ErrorKind::InvalidData, "{error}");
        }
        result
    })
}
