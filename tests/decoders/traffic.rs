//! What real clients and a real server say and write: every decoder takes it as it is.
//!
//! `KRAIT_WRITE_SEEDS=1` makes of it the seeds in `tests/fuzz/seeds`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use chunk::{ChunkId, MapObjectBuilder, MapPage, PageIndex, PageRef, PageRun, PayloadBlock};
use chunk::{DirectorySegment, SegmentIndex};
use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode};
use wal::{BLOCK_BYTES, Incarnation, VolumeId};

use super::client::Client;
use super::fuzz::TARGETS;
use super::seed_dir;
use super::server::Place;
use super::tap::Tap;

/// Most bytes of a segment that make a seed: the first records.
const LOG_BYTES: usize = 8 * BLOCK_BYTES;

/// Largest object that makes a seed.
const OBJECT_BYTES: usize = 40 << 10;

/// Most seeds of one kind.
const MOST: usize = 8;

/// Inputs by target.
type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn with(first: u8, bytes: &[u8]) -> Vec<u8> {
    [&[first], bytes].concat()
}

/// Our own client, in each framing.
fn talk(socket: &Path) {
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        let mut client = Client::connect(socket, "vm", mode).expect("the server accepts");
        let mut call = |request, flags, body: &[u8]| {
            client.call(request, flags, body).expect("a reply").expect("no error")
        };
        let at = |block: u64, blocks: u64| ByteRange::new(block << 12, blocks << 12);
        call(Request::Write(at(0, 1)), Flags::NONE, &[1; 4096]);
        call(Request::Write(ByteRange::new(4608, 512)), Flags::FUA, &[2; 512]);
        call(Request::Trim(at(8, 4)), Flags::NONE, &[]);
        call(Request::WriteZeroes(at(1, 1)), Flags::NONE, &[]);
        call(Request::Flush, Flags::NONE, &[]);
        call(Request::Cache(at(0, 2)), Flags::NONE, &[]);
        // This client finds no data behind simple replies.
        if mode.has_chunks() {
            call(Request::Read(at(0, 2)), Flags::NONE, &[]);
        }
    }
}

/// Clients of others, those that there are.
fn others_talk(socket: &Path) {
    let uri = format!("nbd+unix:///vm?socket={}", socket.display());
    let tools: [&[&str]; 4] = [
        &["nbdinfo", &uri],
        &["nbdinfo", "--map", &uri],
        &["qemu-img", "info", &uri],
        &["qemu-io", "-f", "raw", "-c", "write -P 7 64k 4k", "-c", "read 0 4k", &uri],
    ];
    for words in tools {
        let ran = Command::new("timeout").arg("20").args(words).output();
        eprintln!("{}: {:?}", words[0], ran.map(|output| output.status.code()));
    }
}

fn objects(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            objects(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

/// The target for an object of this path.
fn target_of(path: &str) -> Option<&'static str> {
    let kinds = [
        ("/chunks/", "chunk"),
        ("/manifests/", "manifest"),
        ("/maps/", "map_object"),
        ("/snapshots/", "snapshot"),
        ("/clones/", "clone_pin"),
        ("/names/", "volume_name"),
    ];
    kinds.into_iter().find(|(part, _)| path.contains(part)).map(|(_, target)| target)
}

/// Pages and segments of every kind, as a volume has them that was written for long.
fn maps(seeds: &mut Seeds) {
    let (volume, id) = (VolumeId([7; 16]), ChunkId::new(Incarnation(3), 8).expect("in range"));
    let mut object = MapObjectBuilder::new(volume, id);
    let mut segment = DirectorySegment::new(SegmentIndex(2));
    for (n, count) in [(0u16, 1u16), (1, 64), (2, 1)] {
        let mut page = MapPage::new();
        page.put_data(5 * n, id, PayloadBlock(u32::from(n)), &vec![0x1234_5678; count.into()]);
        page.put_zero(PageRun::new(512 + n, 16).expect("within a page"));
        let index = PageIndex(2048 + u64::from(n));
        let place: PageRef = object.push_page(index, &page).expect("room");
        segment.set(index, Some(place));
    }
    object.push_segment(&segment).expect("room");
    let bytes = object.finish();
    let mut at = 0;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 24..at + 28].try_into().expect("four bytes"));
        let part = bytes[at..at + length as usize].to_vec();
        at += part.len();
        seeds.entry("map_page").or_default().push(part);
    }
    seeds.entry("map_object").or_default().push(bytes);
}

fn stored(place: &Place, seeds: &mut Seeds) {
    let mut found = Vec::new();
    objects(&place.data.join("store"), &mut found);
    for (path, bytes) in found {
        if let Some(target) = target_of(&path).filter(|_| bytes.len() <= OBJECT_BYTES) {
            seeds.entry(target).or_default().push(bytes);
        }
    }
    let mut logs = Vec::new();
    objects(&place.data.join("wal"), &mut logs);
    for (_, mut bytes) in logs.into_iter().filter(|(path, _)| path.ends_with(".wal")) {
        bytes.truncate(LOG_BYTES);
        let records = bytes.chunks(BLOCK_BYTES).filter(|block| block.starts_with(b"KraitWAL"));
        // What follows the last field is zero, and is added by the target.
        let short = |block: &[u8]| block[..512].to_vec();
        let records: Vec<_> = records.map(short).collect();
        if !records.is_empty() {
            seeds.entry("log_record").or_default().extend(records);
            seeds.entry("log_segment").or_default().push(bytes);
        }
    }
}

fn said(tap: &Tap, seeds: &mut Seeds) {
    for talk in tap.talks().iter().filter(|talk| !talk.client.is_empty()) {
        for target in ["handshake", "session"] {
            seeds.entry(target).or_default().push(with(6, &talk.client));
        }
        // Behind the client's flags stand options: magic, code, length, data.
        let mut compact = vec![0];
        let mut rest = &talk.client[4..];
        while rest.starts_with(&nbd::wire::NBD_OPT_MAGIC.to_be_bytes()) && rest.len() >= 16 {
            let length = usize::from(rest[15]).min(rest.len() - 16);
            compact.extend([rest[11], length as u8]);
            compact.extend(&rest[16..16 + length]);
            rest = &rest[16 + length..];
        }
        seeds.entry("options").or_default().push(compact);
        let extended = rest.starts_with(&nbd::wire::NBD_EXTENDED_REQUEST_MAGIC.to_be_bytes());
        let choice = if extended { 0x20 + 2 } else { 0x20 + 1 };
        seeds.entry("requests").or_default().push(with(choice + 4, rest));
        seeds.entry("replies").or_default().push(with(choice & 3, &talk.server));
        let magic = nbd::wire::NBD_STRUCTURED_REPLY_MAGIC.to_be_bytes();
        let wide = nbd::wire::NBD_EXTENDED_REPLY_MAGIC.to_be_bytes();
        let first = talk.server.windows(4).position(|four| four == magic || four == wide);
        if let Some(first) = first {
            let framing = if extended { 0x11 } else { 0x10 };
            seeds.entry("replies").or_default().push(with(framing, &talk.server[first..]));
        }
    }
}

/// Runs a server, lets clients talk to it, and collects what was said and written.
fn collect() -> Seeds {
    let mut seeds = Seeds::new();
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=vm=64M --memory=256M --cores=2 --wal-segment=1M");
    drop(server.connect("vm", ReplyMode::Simple).expect("a server"));
    let socket = place.socket().with_file_name("tap");
    let tap = Tap::new(&socket, &place.socket());
    let run = |words: &str| {
        let output = place.run(words);
        assert!(output.status.success(), "{words}: {output:?}");
    };
    talk(&socket);
    run("volume drain vm");
    run("snapshot create vm kept");
    run("clone create other --from vm@kept");
    others_talk(&socket);
    talk(&socket);
    said(&tap, &mut seeds);
    // A log that ends, and one that breaks off.
    assert!(server.stop().success());
    let mut server = place.serve("--memory=256M --cores=1");
    let mut client = server.connect("vm", ReplyMode::Simple).expect("a server");
    for n in 0..4 {
        let range = ByteRange::new(n << 14, 8192);
        let mut call = |request, flags, body: &[u8]| {
            client.call(request, flags, body).expect("a reply").expect("no error")
        };
        call(Request::Trim(range), Flags::NONE, &[]);
        call(Request::WriteZeroes(range), Flags::NONE, &[]);
        call(Request::Write(range), Flags::FUA, &[n as u8; 8192]);
    }
    server.kill();
    stored(&place, &mut seeds);
    maps(&mut seeds);
    seeds
}

#[test]
fn every_decoder_takes_what_real_clients_and_servers_write() {
    let mut seeds = collect();
    for (target, decode) in TARGETS {
        let inputs = seeds.get_mut(target).unwrap_or_else(|| panic!("nothing for {target}"));
        inputs.dedup();
        inputs.iter().for_each(|input| decode(input));
        if std::env::var_os("KRAIT_WRITE_SEEDS").is_none() {
            continue;
        }
        let dir = seed_dir(target);
        fs::create_dir_all(&dir).expect("a directory");
        // A few of all: the first and the last differ most.
        let step = inputs.len().div_ceil(MOST);
        for (number, input) in inputs.iter().step_by(step).enumerate() {
            fs::write(dir.join(number.to_string()), input).expect("room for a seed");
        }
    }
}
