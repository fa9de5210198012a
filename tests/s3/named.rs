//! Snapshots that are made while the bucket takes no data.

use hyper::Method;
use nbd::ByteRange;
use nbd::client::{Flags, Request};
use s3_test_server::{Fault, Rule};

use crate::alone;
use crate::client::Client;
use crate::host::{Host, SMALL, bucket, connect};

const BYTES: u32 = 1 << 20;

fn write(client: &mut Client, byte: u8) {
    let range = ByteRange { offset: 0, length: BYTES.into() };
    let content = vec![byte; BYTES as usize];
    for (request, body) in [(Request::Write(range), &content[..]), (Request::Flush, &[])] {
        client.call(request, Flags::NONE, body).expect("a connection").expect("it is done");
    }
}

fn read(client: &mut Client) -> Vec<u8> {
    let range = ByteRange { offset: 0, length: BYTES.into() };
    client.call(Request::Read(range), Flags::NONE, &[]).expect("a connection").expect("it is read")
}

#[test]
fn a_snapshot_made_while_the_bucket_takes_nothing_survives_a_kill_and_comes_to_it_later() {
    let _alone = alone();
    let bucket = bucket();
    let host = Host::new(&bucket);
    host.run("volume create vm --size 64M");
    let mut server = host.place.serve(SMALL);
    let mut client = connect(&mut server, 1).remove(0);
    write(&mut client, 1);
    host.run("volume drain vm");
    let refused = Rule::all(Fault::Status(503)).on(Method::PUT).containing("/chunks/");
    host.door.faults().add(refused);
    for (byte, name) in [(2, "two"), (3, "three")] {
        write(&mut client, byte);
        host.run(&format!("snapshot create vm {name}"));
    }
    write(&mut client, 4);
    let stored = |listed: &str, name: &str| {
        let row = listed.lines().find(|row| row.starts_with(name)).expect("it is listed");
        row.split_whitespace().last().expect("a state").to_owned()
    };
    let listed = host.run("snapshot list vm");
    assert_eq!((stored(&listed, "two"), stored(&listed, "three")), ("soon".into(), "soon".into()));
    let (code, said) = host.fail("snapshot create vm two");
    assert_eq!(code, Some(4), "{said}");
    server.kill();

    let listed = host.run("snapshot list vm");
    assert_eq!((stored(&listed, "two"), stored(&listed, "three")), ("soon".into(), "soon".into()));
    let (code, said) = host.fail("snapshot delete vm two");
    assert!(code == Some(9) && said.contains("`krait volume drain vm`"), "{said}");
    host.door.faults().clear();
    let mut server = host.place.serve(SMALL);
    for (export, byte) in [("vm@three", 3), ("vm@two", 2), ("vm", 4)] {
        let mut client = server.connect(export, nbd::ReplyMode::Extended).expect("it is served");
        assert!(read(&mut client).iter().all(|found| *found == byte), "{export}");
    }
    let listed = host.run("snapshot list vm");
    assert_eq!((stored(&listed, "two"), stored(&listed, "three")), ("yes".into(), "yes".into()));
    host.run("snapshot delete vm three");
    assert!(server.stop().success());
    let listed = host.run("snapshot list vm");
    assert!(!listed.contains("three"), "what was deleted does not come again: {listed}");
}
