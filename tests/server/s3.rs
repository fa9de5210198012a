//! Volumes in a bucket, over real HTTP.

use s3_test_server::{ACCESS_KEY, Fault, Options, Rule, SECRET_KEY, TestServer};

use crate::fixture::{Home, now, pause};

const BUCKET: &str = "krait-test";
const STORE: &str = "s3://krait-test/some/prefix";

/// A directory whose server finds keys and the store in its environment.
fn home(bucket: &TestServer, secret: &str) -> Home {
    Home::new()
        .with_variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .with_variable("AWS_SECRET_ACCESS_KEY", secret)
        .with_variable("KRAIT_STORE", STORE)
        .with_variable("KRAIT_S3_ENDPOINT", bucket.endpoint())
}

fn bucket() -> TestServer {
    TestServer::start(Options::default()).expect("a free port")
}

const WRITE: &str =
    "for n in range(32):\n    h.pwrite(bytes([n + 1]) * 70000, n * 1000000)\nh.flush()\n";
const READ: &str =
    "for n in range(32):\n    assert h.pread(70000, n * 1000000) == bytes([n + 1]) * 70000, n\n";

/// Runs a command that must end well, and returns what it prints.
fn run(home: &Home, arguments: &[&str]) -> String {
    let output = home.krait().args(arguments).output().expect("the program");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a server that must not start, and returns why and its exit code.
fn refused(home: &Home) -> (String, Option<i32>) {
    let output = home.krait().args(["serve"]).output().expect("the program");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

#[test]
fn what_was_written_to_a_volume_in_a_bucket_is_there_after_a_restart() {
    let bucket = bucket();
    let home = home(&bucket, SECRET_KEY).with_variable("KRAIT_VOLUME_COMPRESSION", "none");
    let server = home.serve("64M");
    if !server.nbdsh(WRITE) {
        return;
    }
    assert!(server.stop().success());
    let keys = bucket.keys(BUCKET);
    assert!(keys.iter().all(|key| key.starts_with("some/prefix/")), "{keys:?}");
    let bytes: usize =
        keys.iter().filter_map(|key| bucket.object(BUCKET, key)).map(|b| b.len()).sum();
    assert!(bytes > 32 * 70_000, "{bytes} bytes are in the bucket");
    assert!(run(&home, &["volume", "list"]).contains("demo"));
    assert!(run(&home, &["volume", "check", "demo"]).contains("demo"));
    assert!(home.serve("64M").nbdsh(READ));
}

#[test]
fn flushed_writes_survive_a_kill_and_a_bucket_with_faults() {
    let bucket = bucket();
    for fault in [Fault::Status(500), Fault::Status(503), Fault::ResetAfter, Fault::Truncate] {
        bucket.faults().add(Rule::all(fault).at(25));
    }
    let home = home(&bucket, SECRET_KEY);
    for round in 0..3 {
        let server = home.serve_with("64M", &["--rpo-seconds", "1"]);
        if !server.nbdsh(if round == 0 { WRITE } else { READ }) {
            return;
        }
        let deadline = now() + std::time::Duration::from_millis(1500);
        while now() < deadline {
            pause();
        }
        server.kill();
    }
    assert!(bucket.faults().hits() > 0, "there were faults");
}

#[test]
fn a_store_that_ignores_conditions_is_refused_by_name_unless_it_was_accepted() {
    let options = Options { ignores_conditions: true, ..Options::default() };
    let bucket = TestServer::start(options).expect("a free port");
    let home = home(&bucket, SECRET_KEY);
    let (said, code) = refused(&home);
    for part in [&bucket.endpoint(), "If-None-Match", "accept_unconditional_put", "[danger]"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert_eq!(code, Some(2));
    assert_eq!(bucket.keys(BUCKET), [""; 0]);
    let server = home.serve_with("64M", &["--danger-accept-unconditional-put", "true"]);
    assert!(server.stop().success());
}

#[test]
fn a_wrong_secret_ends_the_start_with_a_clear_error_and_stays_secret() {
    let bucket = bucket();
    let (said, code) = refused(&home(&bucket, "not-the-secret"));
    assert!(said.contains("denies access") && said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(!said.contains("not-the-secret"), "{said}");
    assert_eq!(code, Some(8));
}
