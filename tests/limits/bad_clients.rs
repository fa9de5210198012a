//! Bad clients beside an honest one.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use krait::sim::Random;
use nbd::client::{Flags, Request};
use nbd::{ByteRange, ReplyMode, wire};

use crate::client::Client;
use crate::process::peak;
use crate::server::Place;
use crate::{ALONE, GIB, KIB, MIB, flush, noise, read, succeed, write};

/// The smallest memory cap.
const MEMORY: u64 = 256 * MIB;

/// Longest that the honest client ever waits for one reply.
const HONEST: Duration = Duration::from_secs(5);

/// Longest that it waits for memory which others hold by a trickle.
const TRICKLED: Duration = Duration::from_secs(30);

/// A server ends a connection that makes no sense within this time.
const ENDED: Duration = Duration::from_secs(10);

/// What a rude client sends is read within this time, or not at all.
const PUSHED: Duration = Duration::from_secs(1);

/// Sends what it likes; the server may hang up at any time, or not read on.
fn tell(stream: &mut UnixStream, bytes: &[u8]) {
    if let Err(error) = stream.write_all(bytes) {
        let hung_up = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::WouldBlock];
        assert!(hung_up.contains(&error.kind()), "{error}");
    }
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the server accepts");
    stream.set_write_timeout(Some(PUSHED)).expect("a timeout");
    stream.set_read_timeout(Some(ENDED)).expect("a timeout");
    stream
}

/// Reads until the server hangs up, which must be soon.
fn must_end(mut stream: UnixStream, why: &str) {
    let ended = io::copy(&mut stream, &mut io::sink());
    let reset = |error: &io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(ended.as_ref().map_or_else(reset, |_| true), "{why}: still open, {ended:?}");
}

/// A connection up to its options.
fn greeted(socket: &Path) -> UnixStream {
    let mut stream = connect(socket);
    stream.read_exact(&mut [0; wire::GREETING_BYTES]).expect("a greeting");
    tell(&mut stream, &3u32.to_be_bytes());
    stream
}

fn option(option: u32, length: u32, data: &[u8]) -> Vec<u8> {
    let head = wire::NBD_OPT_MAGIC.to_be_bytes();
    [&head[..], &option.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// A compact request as it never should be.
fn request(magic: u32, command: u16, offset: u64, length: u32) -> Vec<u8> {
    let (magic, flags, command) = (magic.to_be_bytes(), [0; 2], command.to_be_bytes());
    let (offset, length) = (offset.to_be_bytes(), length.to_be_bytes());
    [&magic[..], &flags, &command, &[7; 8], &offset, &length].concat()
}

fn session(socket: &Path, mode: ReplyMode) -> Client {
    let client = Client::connect(socket, "vm", mode).expect("the server accepts");
    client.stream.set_write_timeout(Some(PUSHED)).expect("a timeout");
    client.stream.set_read_timeout(Some(ENDED)).expect("a timeout");
    client
}

fn bad_handshakes(socket: &Path, random: &mut Random, held: &mut Vec<UnixStream>) {
    for _ in 0..20 {
        drop(connect(socket));
        let mut garbage = connect(socket);
        tell(&mut garbage, &noise(random.bits(), 64 * KIB));
        must_end(garbage, "garbage");
        let mut garbage = greeted(socket);
        tell(&mut garbage, &noise(random.bits(), 64 * KIB));
        must_end(garbage, "garbage for options");
        let mut half = greeted(socket);
        let whole = option(wire::NBD_OPT_GO, 8, &[0, 0, 0, 2, b'v', b'm', 0, 0]);
        tell(&mut half, &whole[..random.below(whole.len() as u64) as usize]);
        held.push(half);
    }
    for length in [u32::MAX, 1 << 31, (1 << 20) + 1] {
        let mut large = greeted(socket);
        tell(&mut large, &option(wire::NBD_OPT_GO, length, &noise(1, MIB)));
        must_end(large, "an endless option");
    }
    let mut large = greeted(socket);
    for _ in 0..8 {
        tell(&mut large, &option(wire::NBD_OPT_INFO, 1 << 20, &noise(1, MIB)));
    }
    held.push(large);
    let mut many = greeted(socket);
    let list = option(wire::NBD_OPT_LIST, 0, &[]);
    tell(&mut many, &list.repeat(3000));
    must_end(many, "thousands of options");
}

fn bad_requests(socket: &Path, random: &mut Random) {
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        let mut garbage = session(socket, mode).stream;
        tell(&mut garbage, &noise(random.bits(), 256 * KIB));
        must_end(garbage, "garbage for requests");
    }
    let magic = wire::NBD_REQUEST_MAGIC;
    let mut wrong = session(socket, ReplyMode::Simple).stream;
    tell(&mut wrong, &request(magic ^ 1, wire::NBD_CMD_READ, 0, 512));
    must_end(wrong, "a wrong magic");
    let mut endless = session(socket, ReplyMode::Simple).stream;
    tell(&mut endless, &request(magic, wire::NBD_CMD_WRITE, 0, u32::MAX));
    tell(&mut endless, &noise(1, MIB));
    must_end(endless, "a write of 4 GiB");
    // These make sense to the protocol, so that they are refused and the connection goes on.
    let mut client = session(socket, ReplyMode::Extended);
    let ranges = [(0, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1), (GIB, 1), (0, 3 * GIB)];
    let kinds = [Request::Read, Request::Trim, Request::WriteZeroes, Request::Cache];
    for (offset, length) in ranges {
        for kind in kinds {
            let request = kind(ByteRange::new(offset, length));
            let mut header = Vec::new();
            client.session.encode(nbd::Cookie(1 << 60), request, Flags::NONE, &mut header);
            client.stream.write_all(&header).expect("the connection goes on");
            let mut reply = [0; wire::EXTENDED_REPLY_BYTES];
            client.stream.read_exact(&mut reply).expect("a reply");
            let length = u64::from_be_bytes(reply[24..32].try_into().expect("8 bytes"));
            let kind = u16::from_be_bytes([reply[6], reply[7]]);
            assert!(kind & wire::NBD_REPLY_TYPE_FLAG_ERROR != 0, "{request:?} was not refused");
            client.stream.read_exact(&mut vec![0; length as usize]).expect("its reason");
        }
    }
    read(&mut client, 0, 4096);
}

/// Goes away with all kinds of requests under way, or stays and takes no reply.
fn rude(socket: &Path, random: &mut Random, held: &mut Vec<UnixStream>) {
    for round in 0..12 {
        let mut client = session(socket, ReplyMode::Extended);
        for _ in 0..random.within(1..100) {
            let range = ByteRange::new(random.below(GIB / 2) + GIB / 4, random.within(1..MIB));
            let sent = match random.below(3) {
                0 => client.send(Request::Read(range), Flags::NONE, &[]),
                1 => client.send(Request::Flush, Flags::NONE, &[]),
                _ => client.send(Request::Trim(range), Flags::NONE, &[]),
            };
            sent.expect("a request");
        }
        if round % 3 == 0 {
            held.push(client.stream);
        }
    }
    for _ in 0..6 {
        let mut client = session(socket, ReplyMode::Simple);
        let whole = request(wire::NBD_REQUEST_MAGIC, wire::NBD_CMD_WRITE, GIB / 2, 32 << 20);
        tell(&mut client.stream, &whole);
        tell(&mut client.stream, &noise(1, random.within(1..32) * MIB));
        if random.chance(2) {
            held.push(client.stream);
        }
    }
    // Many large replies that nobody takes.
    for _ in 0..4 {
        let mut client = session(socket, ReplyMode::Simple);
        for _ in 0..64 {
            let read = request(wire::NBD_REQUEST_MAGIC, wire::NBD_CMD_READ, 0, 16 << 20);
            tell(&mut client.stream, &read);
        }
        held.push(client.stream);
    }
}

/// Writes, reads and flushes its own part of the volume until told to stop; the slowest reply.
fn honest(client: &mut Client, stop: &AtomicBool) -> (u64, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let (at, body) = (rounds % 512 * 128 * KIB, noise(rounds, 64 * KIB));
        let mut timed = |work: &mut dyn FnMut()| {
            let started = Instant::now();
            work();
            slowest = slowest.max(started.elapsed());
        };
        timed(&mut || write(client, at, &body));
        timed(&mut || flush(client));
        timed(&mut || assert!(read(client, at, 64 * KIB) == body, "round {rounds}"));
        rounds += 1;
    }
    (rounds, slowest)
}

#[test]
fn bad_clients_harm_nobody_but_themselves() {
    let _alone = ALONE.lock();
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=vm=1G --memory=256M --cores=2");
    let mut client = server.connect("vm", ReplyMode::Extended).expect("a server");
    // So that large reads find data.
    for at in (0..64).step_by(16) {
        write(&mut client, at * MIB, &noise(at, 16 * MIB));
    }
    let stop = AtomicBool::new(false);
    let socket = place.socket();
    let (rounds, slowest) = thread::scope(|scope| {
        let stop = &stop;
        let honest = scope.spawn(move || honest(&mut client, stop));
        let bad = scope.spawn(move || {
            let mut random = Random::stream(5, "bad clients");
            // Connections that stay open until the end.
            let mut held = Vec::new();
            let started = Instant::now();
            for round in 1..=2 {
                bad_handshakes(&socket, &mut random, &mut held);
                bad_requests(&socket, &mut random);
                rude(&socket, &mut random, &mut held);
                eprintln!("round {round} of bad clients done after {:?}", started.elapsed());
            }
        });
        let bad = bad.join();
        stop.store(true, Ordering::Relaxed);
        let honest = honest.join();
        bad.expect("the server treats bad clients as it should");
        honest.expect("the honest client is unharmed")
    });
    let most = peak(&server);
    eprintln!(
        "{rounds} rounds of the honest client, the slowest reply after {slowest:?}; {} MiB of memory",
        most >> 20
    );
    assert!(most <= MEMORY + MEMORY / 10, "{} MiB of memory", most >> 20);
    assert!(slowest <= HONEST, "the slowest reply came after {slowest:?}");
    let mut late = server.connect("vm", ReplyMode::Simple).expect("the server accepts");
    succeed(late.call(Request::Read(ByteRange::new(0, 512)), Flags::NONE, &[]));
    drop(late);
    assert!(server.stop().success());
}

#[test]
fn a_trickle_of_huge_writes_does_not_keep_the_memory_from_others() {
    let _alone = ALONE.lock();
    let place = Place::new(Vec::new());
    let mut server = place.serve("--create=vm=1G --memory=256M --cores=2");
    let mut client = server.connect("vm", ReplyMode::Extended).expect("a server");
    let socket = place.socket();
    let stop = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        for _ in 0..4 {
            let mut trickle = session(&socket, ReplyMode::Simple).stream;
            let huge = request(wire::NBD_REQUEST_MAGIC, wire::NBD_CMD_WRITE, GIB / 2, 32 << 20);
            tell(&mut trickle, &huge);
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    tell(&mut trickle, &[0; 100]);
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        let honest = scope.spawn(|| {
            let (started, body) = (Instant::now(), noise(9, 8 * MIB));
            write(&mut client, 0, &body);
            assert!(read(&mut client, 0, 8 * MIB) == body);
            started.elapsed()
        });
        let took = honest.join();
        stop.store(true, Ordering::Relaxed);
        took.expect("the honest client is served")
    });
    eprintln!("8 MiB written and read beside four trickles in {took:?}");
    assert!(took <= TRICKLED, "8 MiB took {took:?}");
    assert!(server.stop().success());
}
