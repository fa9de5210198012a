//! Clients that speak most of the protocol, and break the rest of it: streams of real clients that
//! were changed, and sentences that no client says. Beside them honest clients, which nothing of
//! that may harm.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use krait::sim::Random;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, Cookie, ReplyMode, wire};

use super::client::Client;
use super::crew::Work;
use super::server::{Place, Server};
use super::{ALONE, mutate, number, seed};

/// How long, unless told otherwise.
const SECONDS: u64 = 10;

/// Clients that break the protocol at a time, and honest ones.
const BAD: u64 = 4;
const HONEST: u64 = 2;

/// Requests of an honest client between two looks at the clock.
const STINT: u64 = 20;

/// Memory of the server, and a tenth.
const MOST_MIB: u64 = 256 + 25;

/// Longest time that an honest client waits for all of a stint: others fill the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a broken client waits for what the server says.
const LISTENS: Duration = Duration::from_millis(5);

/// Streams of real clients to the export `vm`.
fn real_streams() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds/session");
    let mut paths: Vec<_> =
        fs::read_dir(dir).expect("seeds").map(|file| file.expect("a file").path()).collect();
    paths.sort();
    // The first byte is for another use.
    paths.iter().map(|path| fs::read(path).expect("a seed")[1..].to_vec()).collect()
}

fn number_of_bytes(random: &mut Random) -> u64 {
    let odd = [0, 1, 511, 4096, 1 << 20, 1 << 25, (1 << 25) + 1, 1 << 26, u64::MAX >> 32, u64::MAX];
    match random.below(3) {
        0 => *random.pick(&odd),
        1 => random.scaled(1..1 << 20),
        _ => random.below(64) * 4096,
    }
}

/// An option: mostly one that there is, mostly with data that it takes.
fn option(random: &mut Random) -> Vec<u8> {
    let code = random.below(12) as u32;
    let names: [&[u8]; 5] = [b"vm", b"", b"nobody", &[0xFF; 5], &[b'x'; 5000]];
    let name = *random.pick(&names);
    let mut data = Vec::new();
    match code {
        wire::NBD_OPT_INFO | wire::NBD_OPT_GO => {
            data.extend((name.len() as u32).to_be_bytes());
            data.extend(name);
            let wanted = random.below(4) as u16;
            data.extend(wanted.to_be_bytes());
            (0..wanted).for_each(|kind| data.extend(kind.to_be_bytes()));
        }
        wire::NBD_OPT_SET_META_CONTEXT | wire::NBD_OPT_LIST_META_CONTEXT => {
            data.extend((name.len() as u32).to_be_bytes());
            data.extend(name);
            let queries: [&[u8]; 3] = [b"base:allocation", b"base:", b"qemu:x"];
            data.extend((queries.len() as u32).to_be_bytes());
            for query in queries {
                data.extend((query.len() as u32).to_be_bytes());
                data.extend(query);
            }
        }
        _ if random.chance(4) => data.extend(name),
        _ => {}
    }
    if random.chance(4) {
        data.truncate(random.below(data.len() as u64 + 1) as usize);
    }
    let told = if random.chance(8) { number_of_bytes(random) as u32 } else { data.len() as u32 };
    let head = wire::NBD_OPT_MAGIC.to_be_bytes();
    [&head[..], &code.to_be_bytes(), &told.to_be_bytes(), &data].concat()
}

/// Options of any kind in any order.
fn handshake(random: &mut Random) -> Vec<u8> {
    let mut all = (random.below(4) as u32).to_be_bytes().to_vec();
    (0..random.within(1..20)).for_each(|_| all.extend(option(random)));
    all
}

/// A request with a field of it that may be anything, and with as much payload as it says, or not.
fn request(client: &Client, random: &mut Random) -> Vec<u8> {
    let mut range = ByteRange::new(number_of_bytes(random), number_of_bytes(random));
    if client.session.mode != ReplyMode::Extended {
        // There is no room for more.
        range.length = range.length.min(u32::MAX.into());
    }
    let kinds = [
        Request::Read(range),
        Request::Write(range),
        Request::Trim(range),
        Request::WriteZeroes(range),
        Request::Cache(range),
        Request::Flush,
    ];
    let kind = *random.pick(&kinds);
    let mut bytes = Vec::new();
    client.session.encode(Cookie(random.below(4)), kind, Flags::NONE, &mut bytes);
    if random.chance(3) {
        // Flags and command, behind the magic number.
        let at = random.within(4..8) as usize;
        bytes[at] = random.bits() as u8;
    }
    if random.chance(20) {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
    if let Request::Write(range) = kind {
        let payload = range.length.min(1 << 20) as usize;
        let payload =
            if random.chance(4) { random.below(payload as u64 + 1) as usize } else { payload };
        bytes.resize(bytes.len() + payload, 7);
    }
    bytes
}

/// Says something, and listens a little; the server may hang up at any time.
fn say(stream: &mut UnixStream, bytes: &[u8]) -> bool {
    let told = stream.write_all(bytes).is_ok();
    let mut heard = [0; 64 << 10];
    loop {
        match stream.read(&mut heard) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return told && error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// One connection that breaks the protocol in some way.
fn misbehave(socket: &Path, streams: &[Vec<u8>], random: &mut Random) {
    let patience = |stream: &UnixStream| {
        stream.set_read_timeout(Some(LISTENS)).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    };
    match random.below(3) {
        0 => {
            let mut stream = UnixStream::connect(socket).expect("the server accepts");
            patience(&stream);
            say(&mut stream, &mutate::input(streams, random));
        }
        1 => {
            let mut stream = UnixStream::connect(socket).expect("the server accepts");
            patience(&stream);
            for piece in handshake(random).chunks(random.scaled(1..2000) as usize).take(50) {
                if !say(&mut stream, piece) {
                    break;
                }
            }
        }
        _ => {
            let modes = [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended];
            let connected = Client::connect(socket, "vm", *random.pick(&modes));
            let mut client = connected.expect("the server accepts");
            patience(&client.stream);
            for _ in 0..random.within(1..40) {
                let bytes = request(&client, random);
                if !say(&mut client.stream, &bytes) {
                    break;
                }
            }
        }
    }
}

/// Works until it is over; returns the slowest stint.
fn honest(socket: &Path, work: &Work, over: &AtomicBool, random: &mut Random) -> Duration {
    let mut client = Client::connect(socket, "honest", ReplyMode::Extended).expect("a server");
    let mut slowest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        work.labour(&mut client, random, STINT).expect("an honest client is served");
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

fn peak_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a known field");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") >> 10
}

#[test]
fn clients_that_break_the_protocol_harm_no_honest_one() {
    let _alone = ALONE.lock();
    let seconds = number("KRAIT_GRAMMAR_SECONDS").unwrap_or(SECONDS);
    let mut random = Random::stream(seed(), "grammar");
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=vm=64M --create=honest=64M --memory=256M --cores=2");
    drop(server.connect("honest", ReplyMode::Simple).expect("a server"));
    let mib = 2048;
    let mut work = Work::new(vec![0..mib, 8192 - mib / 2..8192 + mib]);
    work.largest = vec![16, 64, 512];
    let (streams, socket, over) = (real_streams(), place.socket(), AtomicBool::new(false));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (sessions, slowest) = thread::scope(|scope| {
        let (streams, socket, over, work) = (&streams, &socket, &over, &work);
        let mut stream = |of: &str| Random::stream(random.bits(), of);
        let good: Vec<_> = (0..HONEST)
            .map(|_| stream("honest"))
            .map(|mut random| scope.spawn(move || honest(socket, work, over, &mut random)))
            .collect();
        let bad: Vec<_> = (0..BAD)
            .map(|_| stream("bad"))
            .map(|mut random| {
                scope.spawn(move || {
                    let mut sessions = 0u64;
                    while Instant::now() < end {
                        misbehave(socket, streams, &mut random);
                        sessions += 1;
                    }
                    sessions
                })
            })
            .collect();
        let bad: Vec<_> = bad.into_iter().map(|bad| bad.join()).collect();
        over.store(true, Ordering::Relaxed);
        let good: Vec<_> = good.into_iter().map(|good| good.join()).collect();
        let slowest = good.into_iter().map(|good| good.expect("honest clients are unharmed")).max();
        let sessions = bad.into_iter().map(|bad| bad.expect("the server accepts")).sum::<u64>();
        (sessions, slowest.expect("one at least"))
    });
    let most = peak_mib(&server);
    assert_eq!(work.refused.load(Ordering::Relaxed), 0, "no honest command may fail");
    assert!(most <= MOST_MIB, "{most} MiB of memory");
    assert!(slowest <= PATIENCE, "{STINT} honest commands took {slowest:?}");
    let mut client = server.connect("honest", ReplyMode::Extended).expect("the server accepts");
    work.read_back(&mut client, 0, 1).expect("all can be read");
    drop(client);
    assert!(server.stop().success());
    eprintln!(
        "tried {seconds} seconds of broken clients: {sessions} sessions, memory {most} MiB at most, \
         {STINT} honest commands took {} ms at most",
        slowest.as_millis()
    );
}
