//! The cache on the local disk: what was read once is not asked for again after a restart, and what
//! has rotten there comes from the bucket.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nbd::ByteRange;
use nbd::client::{Flags, Request};

use crate::alone;
use crate::client::Client;
use crate::host::{Host, MIB, PATIENCE, bucket, connect};

/// Several times what memory caches at the settings below.
const BYTES: u64 = 48 * MIB;

const SETTINGS: &str = "--cores=2 --memory=256M --wal-segment=1M --wal-cap=64M --cache-disk=1G";

/// Where the payload of a file of the cache begins, and bytes of one slot; see its format.
const TABLE: u64 = 32 << 10;
const SLOT: u64 = 128 << 10;

/// Slots of each file that rot.
const ROTTEN: u64 = 20;

fn content(mib: u64) -> Vec<u8> {
    let block = |n: u64| (0..4096).map(move |at| (mib * 31 + n * 7 + at) as u8);
    (0..MIB / 4096).flat_map(block).collect()
}

fn read_all(client: &mut Client) {
    for mib in 0..BYTES / MIB {
        let range = ByteRange::new(mib * MIB, MIB);
        let read = client.call(Request::Read(range), Flags::NONE, &[]).expect("a connection");
        assert!(read.expect("it can be read") == content(mib), "MiB {mib}");
    }
}

/// Bytes of chunks that were read through the door of a host.
fn fetched(host: &Host) -> u64 {
    let reads = host.door.reads();
    reads.iter().filter(|read| read.path.contains("/chunks/")).map(|read| read.bytes).sum()
}

/// What the status says of the cache: bytes, reads answered, reads that found it rotten.
fn cache(host: &Host) -> (u64, u64, u64) {
    let status = host.status();
    let number = |name: &str| status[name].as_u64().unwrap_or_else(|| panic!("{name}: {status:#}"));
    (number("disk_cached_bytes"), number("disk_cache_hits"), number("disk_cache_rotten"))
}

/// One life of a server on the host, in which all is read; returns what the cache did.
fn life(host: &Host) -> (u64, u64, u64) {
    let mut server = host.place.serve(SETTINGS);
    read_all(&mut connect(&mut server, 1)[0]);
    let begun = Instant::now();
    while cache(host).0 < BYTES {
        assert!(begun.elapsed() < PATIENCE, "all that was read is kept: {:?}", cache(host));
        std::thread::sleep(Duration::from_millis(20));
    }
    let did = cache(host);
    server.kill();
    did
}

fn rot(host: &Host) {
    let mut files = 0;
    for file in fs::read_dir(host.place.data.join("cache")).expect("a cache") {
        let file = File::options().read(true).write(true).open(file.expect("a file").path());
        let file = file.expect("a file");
        for slot in 0..ROTTEN {
            let (mut byte, at) = ([0], TABLE + slot * SLOT + 7 * 4096 + slot);
            file.read_exact_at(&mut byte, at).expect("payload");
            file.write_all_at(&[!byte[0]], at).expect("payload");
        }
        files += 1;
    }
    assert_eq!(files, 2, "one for each core");
}

#[test]
fn what_was_read_once_survives_restarts_and_rot_without_being_fetched_again_in_whole() {
    let _alone = alone();
    let bucket = bucket();
    let maker = Host::new(&bucket);
    maker.run("volume create vm --size 256M");
    let mut server = maker.place.serve(SETTINGS);
    let mut client = connect(&mut server, 1).remove(0);
    for mib in 0..BYTES / MIB {
        let write = Request::Write(ByteRange::new(mib * MIB, MIB));
        let answer = client.call(write, Flags::NONE, &content(mib)).expect("a connection");
        answer.expect("the server writes");
    }
    drop(client);
    maker.run_when_free("volume detach vm");
    server.kill();

    let host = Host::new(&bucket);
    let (_, _, rotten) = life(&host);
    let cold = fetched(&host);
    assert!(cold >= BYTES && rotten == 0, "{cold} bytes, {rotten} rotten");

    let (_, hits, rotten) = life(&host);
    let warm = fetched(&host) - cold;
    // An opening reads what is in the chunks that its map does not know yet.
    assert!(warm < MIB && hits > 0 && rotten == 0, "{warm} bytes, {hits} hits, {rotten} rotten");

    rot(&host);
    let before = fetched(&host);
    let (_, _, rotten) = life(&host);
    let healed = fetched(&host) - before;
    assert!(rotten >= ROTTEN, "{rotten} rotten");
    assert!(healed > warm && healed < BYTES / 2, "{healed} bytes of {BYTES}");

    let before = fetched(&host);
    let (_, _, rotten) = life(&host);
    let again = fetched(&host) - before;
    assert!(again < MIB && rotten == 0, "{again} bytes, {rotten} rotten");
    eprintln!(
        "{BYTES} bytes: {cold} fetched at first, {warm} after a restart, {healed} after rot, {again} \
         after that"
    );
}
