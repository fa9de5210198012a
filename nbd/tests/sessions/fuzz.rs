//! Arbitrary and mutated bytes: nothing panics, nothing grows without bound, and how a stream is cut
//! into pieces does not matter.

use std::sync::{Arc, Mutex};

use nbd::client::{ClientHandshake, Flags, Request, Session, Wishes, decode_reply};
use nbd::{
    ByteRange, Command, ContextId, Cookie, Decoded, Negotiated, ReplyMode, Tag, decode, limits,
    wire,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::memory_server::{Disk, MemoryServer, SharedDisk};
use super::scripts::{SIZE, Script, check, script};

fn disk() -> SharedDisk {
    Arc::new(Mutex::new(Disk::new(SIZE as usize)))
}

/// What a server did with a stream.
#[derive(Debug, PartialEq)]
struct Transcript {
    output: Vec<u8>,
    closed: bool,
    disk: Vec<u8>,
}

/// Feeds a stream in pieces of the given lengths, over and over.
fn feed(stream: &[u8], pieces: &[usize]) -> Transcript {
    let disk = disk();
    let mut output = Vec::new();
    let mut server = MemoryServer::new(disk.clone(), &mut output);
    let mut rest = stream;
    for piece in pieces.iter().cycle() {
        if rest.is_empty() || server.is_closed() {
            break;
        }
        let (now, later) = rest.split_at(usize::min(*piece, rest.len()));
        server.receive(now, &mut output);
        rest = later;
    }
    let closed = server.is_closed();
    let disk = disk.lock().expect("no panic").bytes.clone();
    Transcript { output, closed, disk }
}

/// One change to a valid stream.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Truncate(Index),
    /// Puts a large or special number over four bytes.
    Number(Index, u32),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let special = prop_oneof![
        Just(0u32),
        Just(1),
        Just(limits::MAX_PAYLOAD),
        Just(limits::MAX_PAYLOAD + 1),
        Just(limits::MAX_OPTION_DATA + 1),
        Just(u32::MAX),
        0..16u32,
    ];
    prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (any::<Index>(), 1..40usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        1 => (any::<Index>(), 1..64usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        3 => (any::<Index>(), special).prop_map(|(at, number)| Mutation::Number(at, number)),
    ]
}

fn mutate(stream: &mut Vec<u8>, mutation: &Mutation) {
    if stream.len() < 4 {
        return;
    }
    let end = |at: usize, count: usize| usize::min(at + count, stream.len());
    match mutation {
        Mutation::Flip(at, bit) => {
            let at = at.index(stream.len());
            stream[at] ^= 1 << bit;
        }
        Mutation::Insert(at, bytes) => {
            let at = at.index(stream.len());
            stream.splice(at..at, bytes.iter().copied());
        }
        Mutation::Remove(at, count) => {
            let at = at.index(stream.len());
            stream.drain(at..end(at, *count));
        }
        Mutation::Repeat(at, count) => {
            let at = at.index(stream.len());
            let bytes = stream[at..end(at, *count)].to_vec();
            stream.splice(at..at, bytes);
        }
        Mutation::Truncate(at) => stream.truncate(at.index(stream.len())),
        Mutation::Number(at, number) => {
            let at = at.index(stream.len() - 3);
            stream[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
    }
}

/// Mutations near the front hit the handshake, which payloads would otherwise hide.
fn small_payloads(mut script: Script) -> Script {
    for operation in &mut script.operations {
        if let Request::Write(range) = &mut operation.request {
            range.length %= 64;
        }
    }
    script
}

fn negotiated(mode: ReplyMode) -> Negotiated {
    let base_allocation = mode.has_chunks().then_some(ContextId(1));
    let export = String::new();
    Negotiated { export, size: u64::MAX, read_only: false, mode, base_allocation, tls: false }
}

fn mode() -> impl Strategy<Value = ReplyMode> {
    prop_oneof![Just(ReplyMode::Simple), Just(ReplyMode::Structured), Just(ReplyMode::Extended)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn client_and_server_agree_on_every_session(script in script()) {
        let (stream, session) = script.record(&disk());
        let (silent, _) = Script { operations: vec![], ..script.clone() }.record(&disk());
        let handshake = feed(&silent, &[usize::MAX]).output.len();
        let transcript = feed(&stream, &[usize::MAX]);
        prop_assert!(transcript.closed, "the goodbye was understood");
        check(&script, &session, &transcript.output[handshake..]);
    }

    #[test]
    fn how_a_stream_is_cut_does_not_matter(
        script in script(),
        pieces in prop::collection::vec(1..5000usize, 1..20),
    ) {
        let (stream, _) = script.record(&disk());
        let whole = feed(&stream, &[usize::MAX]);
        prop_assert_eq!(&feed(&stream, &pieces), &whole);
    }

    #[test]
    fn a_stream_in_single_bytes_gives_the_same(script in script().prop_map(small_payloads)) {
        let (stream, _) = script.record(&disk());
        prop_assert_eq!(feed(&stream, &[1]), feed(&stream, &[usize::MAX]));
    }

    #[test]
    fn mutated_sessions_neither_panic_nor_depend_on_their_pieces(
        script in script().prop_map(small_payloads),
        mutations in prop::collection::vec(mutation(), 1..6),
        pieces in prop::collection::vec(1..200usize, 1..10),
    ) {
        let (mut stream, _) = script.record(&disk());
        for mutation in &mutations {
            mutate(&mut stream, mutation);
        }
        let whole = feed(&stream, &[usize::MAX]);
        prop_assert_eq!(&feed(&stream, &pieces), &whole);
        // A request of 28 bytes can ask for all of the disk, and nothing for more.
        let most = (stream.len() / 16 + 2) * (SIZE as usize + 512);
        prop_assert!(whole.output.len() <= most);
    }

    #[test]
    fn arbitrary_options_are_answered_in_proportion(
        options in prop::collection::vec((0..13u32, prop::collection::vec(any::<u8>(), 0..60)), 0..40),
        tail in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut stream = vec![0, 0, 0, 3];
        for (code, data) in &options {
            stream.extend_from_slice(&wire::NBD_OPT_MAGIC.to_be_bytes());
            stream.extend_from_slice(&code.to_be_bytes());
            stream.extend_from_slice(&(data.len() as u32).to_be_bytes());
            stream.extend_from_slice(data);
        }
        stream.extend_from_slice(&tail);
        let transcript = feed(&stream, &[usize::MAX]);
        prop_assert!(transcript.output.len() <= 64 + 16 * stream.len());
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        feed(&bytes, &[7]);
        let mut client = ClientHandshake::new(Wishes {
            export: String::new(),
            mode: ReplyMode::Extended,
            base_allocation: true,
        });
        let _ = client.advance(&bytes, &mut Vec::new());
    }

    #[test]
    fn arbitrary_headers_are_survived_on_both_sides(
        mode in mode(),
        command in 0..10u16,
        flags in 0..64u16,
        kind in prop_oneof![0..8u16, 0x8000..0x8004u16],
        rest in prop::collection::vec(prop_oneof![2 => Just(0u8), 1 => any::<u8>()], 0..80),
    ) {
        let (request, reply) = match mode {
            ReplyMode::Simple => (wire::NBD_REQUEST_MAGIC, wire::NBD_SIMPLE_REPLY_MAGIC),
            ReplyMode::Structured => (wire::NBD_REQUEST_MAGIC, wire::NBD_STRUCTURED_REPLY_MAGIC),
            ReplyMode::Extended => (wire::NBD_EXTENDED_REQUEST_MAGIC, wire::NBD_EXTENDED_REPLY_MAGIC),
        };
        let mut input = request.to_be_bytes().to_vec();
        input.extend_from_slice(&flags.to_be_bytes());
        input.extend_from_slice(&command.to_be_bytes());
        input.extend_from_slice(&rest);
        if let Ok(Decoded::Command { command, payload_bytes, .. }) = decode(&negotiated(mode), &input) {
            let write = matches!(command, Command::Write { .. });
            prop_assert!(payload_bytes == 0 || write);
            prop_assert!(payload_bytes <= limits::MAX_PAYLOAD);
        }
        let mut input = reply.to_be_bytes().to_vec();
        input.extend_from_slice(&(flags & 1).to_be_bytes());
        input.extend_from_slice(&kind.to_be_bytes());
        input.extend_from_slice(&rest);
        let _ = decode_reply(mode, &input);
    }

    #[test]
    fn requests_survive_the_wire(
        mode in mode(),
        cookie in any::<u64>(),
        offset in 0..1u64 << 62,
        length in 1..u64::from(limits::MAX_PAYLOAD),
        fua in any::<bool>(),
    ) {
        let session =
            Session { size: u64::MAX, flags: 0, mode, base_allocation: None, block_sizes: None };
        let range = ByteRange::new(offset, length);
        let flags = if fua { Flags::FUA } else { Flags::NONE };
        let mut cases = vec![
            (Request::Read(range), Command::Read { range, unfragmented: false }),
            (Request::Write(range), Command::Write { range, fua }),
            (Request::Trim(range), Command::Trim { range, fua }),
            (Request::Cache(range), Command::Cache { range }),
            (Request::WriteZeroes(range), Command::WriteZeroes { range, fua, no_hole: false, fast: false }),
            (Request::Flush, Command::Flush),
            (Request::Disconnect, Command::Disconnect),
        ];
        if mode.has_chunks() {
            cases.push((Request::BlockStatus(range), Command::BlockStatus { range, one: false }));
        }
        for (request, expected) in cases {
            let mut bytes = Vec::new();
            session.encode(Cookie(cookie), request, flags, &mut bytes);
            let ranged = !matches!(request, Request::Flush | Request::Disconnect);
            let tag = Tag { cookie: Cookie(cookie), offset: if ranged { offset } else { 0 } };
            let carried = if matches!(request, Request::Write(_)) { length as u32 } else { 0 };
            let decoded = Decoded::Command {
                header_bytes: bytes.len(),
                tag,
                command: expected,
                payload_bytes: carried,
            };
            prop_assert_eq!(decode(&negotiated(mode), &bytes), Ok(decoded));
        }
    }
}
