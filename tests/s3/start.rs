//! A bucket that is down, or not there, when the server starts.

use std::thread;
use std::time::Duration;

use nbd::ReplyMode;
use rustix::process::{Signal, kill_process};
use s3_test_server::{Fault, Rule};

use crate::alone;
use crate::host::{Host, SMALL, bucket, connect};

#[test]
fn a_server_waits_for_a_bucket_that_is_down_and_serves_when_it_is_back() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 64M");
    host.door.down();
    let mut server = host.place.serve(SMALL);
    // Not before the first look has ended.
    thread::sleep(Duration::from_secs(7));
    let (code, said) = host.fail("volume status vm");
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("waits for its store") || said.contains("did not answer"), "{said}");
    host.door.up();
    drop(connect(&mut server, 1));
    assert!(server.stop().success());

    // SIGTERM ends the wait.
    host.door.down();
    let mut server = host.place.serve(SMALL);
    thread::sleep(Duration::from_secs(1));
    kill_process(server.pid(), Signal::TERM).expect("it waits");
    let early = server.connect("vm", ReplyMode::Extended).err().expect("nothing is served");
    assert!(early.to_string().contains("exit status: 0"), "{early}");
}

#[test]
fn commands_that_need_a_bucket_that_is_down_end_with_the_code_for_trying_again() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 64M");
    host.run("volume create other --size 64M");
    let mut server = host.place.serve(&format!("{SMALL} --s3-operation-seconds=2"));
    drop(connect(&mut server, 1));
    host.door.down();
    for words in [
        "volume list",
        "volume info other",
        "volume attach other",
        "volume attach vm",
        "volume resize other 128M",
        "volume create new --size 64M",
        "volume delete other --yes",
        "snapshot list vm",
        "snapshot create other before",
        "clone create copy --from other",
        "gc --dry-run",
    ] {
        let (code, said) = host.fail(words);
        assert_eq!(code, Some(9), "{words}: {said}");
    }
    host.door.up();
    host.run("volume attach other");
    assert!(server.stop().success());
}

#[test]
fn wrong_keys_and_a_missing_bucket_end_the_start_with_one_line() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    let (code, said) = host.fail("serve --store s3://not-there");
    assert!(code.is_some_and(|code| code != 0) && said.contains("NoSuchBucket"), "{code:?} {said}");
    host.door.faults().add(Rule::all(Fault::Status(403)));
    let (code, said) = host.fail("serve");
    assert!(code.is_some() && said.contains("denies access"), "{code:?} {said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("krait: ")).count(), 1, "{said}");
}
