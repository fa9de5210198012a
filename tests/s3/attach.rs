//! Moving a volume from host to host by the commands alone.

use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode};

use crate::alone;
use crate::client::Client;
use crate::host::{Host, SMALL, bucket, connect};

const BLOCK: ByteRange = ByteRange { offset: 8192, length: 4096 };

fn write(client: &mut Client, byte: u8) {
    let body = [byte; BLOCK.length as usize];
    let written = client.call(Request::Write(BLOCK), Flags::FUA, &body);
    assert!(written.expect("a connection").is_ok());
}

fn reads(client: &mut Client, byte: u8) {
    let read = client.call(Request::Read(BLOCK), Flags::NONE, &[]).expect("a connection");
    assert_eq!(read, Ok(vec![byte; BLOCK.length as usize]));
}

#[test]
fn a_volume_moves_without_force_once_it_was_given_back() {
    let _alone = alone();
    let bucket = bucket();
    let [one, other] = [Host::new(&bucket), Host::new(&bucket)];
    one.run("volume create vm --size 64M");
    let mut first = one.place.serve(SMALL);
    let mut client = connect(&mut first, 1).remove(0);
    write(&mut client, 1);
    let (code, said) = one.fail("volume detach vm");
    assert!(code == Some(5) && said.contains("in use"), "{said}");
    // Attached already is fine.
    assert!(one.run("volume attach vm").contains("attached volume vm"));
    let (code, said) = other.fail("volume attach vm");
    assert_eq!(code, Some(10), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let host = one.status()["host"].as_str().expect("a host").to_owned();
    assert!(said.contains(&host) && said.contains("detach") && said.contains("--force"), "{said}");
    let text = other.run("volume status vm");
    assert!(text.contains("another host has it") && text.contains(&host), "{text}");
    drop(client);
    one.run_when_free("volume detach vm");
    let text = one.run("volume status vm");
    assert!(text.contains("none has it, any may open it"), "{text}");

    // Without a server it is opened for the next one, and nobody else may have it.
    assert!(other.run("volume attach vm --json").contains("\"attached\": true"));
    assert!(other.run("volume status vm").contains("this one"));
    let (code, _) = one.fail("volume attach vm");
    assert_eq!(code, Some(10));
    let mut second = other.place.serve(SMALL);
    let mut client = connect(&mut second, 1).remove(0);
    reads(&mut client, 1);
    write(&mut client, 2);
    drop(client);
    // The end of a server gives back what it has.
    assert!(second.stop().success());
    one.run("volume attach vm");
    let mut client = connect(&mut first, 1).remove(0);
    reads(&mut client, 2);
    drop(client);
    assert!(first.stop().success());
    assert!(one.run("volume detach vm").contains("detached"), "alone, too");
}

#[test]
fn a_host_that_lost_a_volume_gets_it_back_without_a_restart_and_keeps_its_log_aside() {
    let _alone = alone();
    let bucket = bucket();
    let [one, other] = [Host::new(&bucket), Host::new(&bucket)];
    one.run("volume create vm --size 64M");
    let never_published = SMALL.replace("--rpo-seconds=1", "--rpo-seconds=3600");
    let mut first = one.place.serve(&never_published);
    let mut guest = connect(&mut first, 1).remove(0);
    write(&mut guest, 1);
    assert!(one.run("volume drain vm").contains("drained"));
    write(&mut guest, 2);
    other.run("volume attach vm --force");
    // The loser does not know yet, and says whose the volume is all the same.
    let status = one.status();
    assert_eq!(
        (&status["state"], &status["is_own"]),
        (&"serving".into(), &false.into()),
        "{status}"
    );
    let (code, said) = one.fail("volume drop-log vm --yes");
    assert!(code == Some(5) && said.contains("finds out"), "{said}");
    let (code, _) = one.fail("volume drain vm");
    assert_eq!(code, Some(10), "a drain finds out");
    assert_eq!(one.status()["state"], "fenced");
    let refused = guest.call(Request::Flush, Flags::NONE, &[]).expect("the connection stays");
    assert_eq!(refused, Err(nbd::Errno::Shutdown));

    let mut second = other.place.serve(SMALL);
    let mut client = connect(&mut second, 1).remove(0);
    reads(&mut client, 1);
    write(&mut client, 3);
    drop(client);
    other.run_when_free("volume detach vm");
    // Given back: no force is needed, though this server was fenced.
    let said = one.run("volume attach vm");
    assert!(said.contains("kept aside"), "{said}");
    let mut client = first.connect("vm", ReplyMode::Extended).expect("it is ours again");
    reads(&mut client, 3);
    write(&mut client, 4);
    let status = one.status();
    let kept = status["kept_aside_bytes"].as_u64().expect("a number");
    assert!(kept > 0 && kept < status["wal_bytes"].as_u64().expect("a number"), "{status}");
    let (code, said) = one.fail("volume drop-log vm");
    assert!(code == Some(2) && said.contains("--yes"), "{said}");
    assert!(one.run("volume drop-log vm --yes").contains("removed"));
    first.kill();
    let mut first = one.place.serve(SMALL);
    reads(&mut connect(&mut first, 1).remove(0), 4);
    let refused = other.fail("volume attach vm").1;
    assert!(refused.contains("has volume vm"), "{refused}");
    drop(second);
}

#[test]
fn a_host_that_did_not_notice_that_it_lost_a_volume_finds_out_before_it_opens_it() {
    let _alone = alone();
    let bucket = bucket();
    let [one, other] = [Host::new(&bucket), Host::new(&bucket)];
    one.run("volume create vm --size 64M");
    let [mut first, mut second] = [one.place.serve(SMALL), other.place.serve(SMALL)];
    for (by_command, byte) in [(true, 1), (false, 2)] {
        let mut client = connect(&mut first, 1).remove(0);
        write(&mut client, byte);
        drop(client);
        one.run_when_free("volume drain vm");
        // Nobody writes here, so nothing is published that would meet the other host.
        other.run("volume attach vm --force");
        let mut client = connect(&mut second, 1).remove(0);
        reads(&mut client, byte);
        write(&mut client, byte + 10);
        drop(client);
        if by_command {
            let (code, said) = one.fail("volume detach vm");
            assert!(code == Some(10) && said.contains("has volume vm"), "{said}");
        } else {
            let refused = first.connect("vm", ReplyMode::Extended).err().expect("it is lost");
            assert!(refused.to_string().contains("has it since"), "{refused}");
        }
        other.run_when_free("volume detach vm");
        if by_command {
            one.run("volume attach vm");
        }
        let mut client = connect(&mut first, 1).remove(0);
        reads(&mut client, byte + 10);
        write(&mut client, byte + 20);
        drop(client);
        reads(&mut connect(&mut first, 1).remove(0), byte + 20);
    }
    // Nobody deletes what another host has.
    let [beside, alone] = [&other, &Host::new(&bucket)];
    for host in [beside, alone] {
        let (code, said) = host.fail("volume delete vm --yes");
        assert!(code == Some(10) && said.contains("delete or detach it there"), "{said}");
    }
    reads(&mut connect(&mut first, 1).remove(0), 22);
    one.run_when_free("volume detach vm");
    other.run("volume delete vm --yes");
    assert_eq!(one.fail("volume info vm").0, Some(3));
}
