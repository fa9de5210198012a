//! `PROTOCOL.md` against the code: every hex block is compared with what is encoded, and read back.

use std::collections::BTreeMap;

use nbd::client::{
    ClientHandshake, Flags, Reply, ReplyDecoded, Request, Session, Wishes, decode_reply,
};
use nbd::{
    BlockStatus, ByteRange, Command, Config, ContextId, Cookie, Decoded, Errno, ExportInfo,
    ExportSummary, Handshake, Last, Negotiated, Refusal, Replies, ReplyMode, Step, Tag, TlsPolicy,
    decode, wire,
};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");
const TAG: Tag = Tag { cookie: Cookie(0x0102_0304_0506_0708), offset: 0x1000 };
const RANGE: ByteRange = ByteRange { offset: 0x1000, length: 0x200 };
const HOLE: ByteRange = ByteRange { offset: 0x1200, length: 0x200 };
const RUNS: [BlockStatus; 2] =
    [BlockStatus { length: 0x1000, state: 0 }, BlockStatus { length: 0x2000, state: 3 }];

type Blocks = BTreeMap<String, Vec<u8>>;

/// The hex blocks of the document by name.
fn blocks() -> Blocks {
    let mut blocks = Blocks::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    for line in DOCUMENT.lines() {
        if let Some(name) = line.strip_prefix("```hex ") {
            open = Some((name.to_owned(), Vec::new()));
        } else if line == "```" {
            if let Some((name, bytes)) = open.take() {
                assert!(blocks.insert(name.clone(), bytes).is_none(), "{name} is there twice");
            }
        } else if let Some((name, bytes)) = &mut open {
            for pair in line.split('#').next().unwrap_or("").split_whitespace() {
                let byte = u8::from_str_radix(pair, 16);
                bytes.push(byte.unwrap_or_else(|error| panic!("{name}: {pair}: {error}")));
            }
        }
    }
    blocks
}

fn export() -> ExportInfo {
    let mut export = ExportInfo::new("disk", 1 << 30);
    export.description = "a disk".to_owned();
    export
}

/// Feeds a session to the server and gives what each of its answers added.
fn serve(session: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut handshake = Handshake::new(Config { tls: TlsPolicy::Unsupported }, &mut out);
    let mut answers = vec![std::mem::take(&mut out)];
    for input in session {
        let mut rest = *input;
        loop {
            let advance = handshake.advance(rest, &mut out);
            rest = &rest[advance.consumed..];
            match advance.step {
                Step::ListExports => {
                    let line = ExportSummary { name: "disk", description: "a disk" };
                    handshake.answer_list([line], &mut out);
                }
                Step::FindExport { name, .. } if name == "disk" => {
                    handshake.answer_export(&export(), &mut out);
                }
                Step::FindExport { .. } => handshake.refuse(Refusal::UnknownExport, &mut out),
                Step::NeedInput { .. } | Step::Transmission(_) => break,
                step => panic!("unexpected: {step:?}"),
            }
        }
        answers.push(std::mem::take(&mut out));
    }
    answers
}

/// Cuts a stream of option replies into single ones.
fn cut(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    while !stream.is_empty() {
        let length = u32::from_be_bytes(stream[16..20].try_into().expect("4 bytes")) as usize;
        let (reply, rest) = stream.split_at(20 + length);
        replies.push(reply.to_vec());
        stream = rest;
    }
    replies
}

fn option(code: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = wire::NBD_OPT_MAGIC.to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// What the server says in the handshake.
fn server_blocks(expected: &mut Blocks) {
    let all = option(6, b"\0\0\0\x04disk\0\x03\0\x01\0\x02\0\x03");
    let session: Vec<&[u8]> = vec![
        b"\0\0\0\x03",
        b"IHAVEOPT\0\0\0\x0b\0\0\0\0",
        b"IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x04nope\0\0",
        b"IHAVEOPT\0\0\0\x03\0\0\0\0",
        &all,
        b"IHAVEOPT\0\0\0\x0a\0\0\0\x1f\0\0\0\x04disk\0\0\0\x01\0\0\0\x0fbase:allocation",
    ];
    let answers = serve(&session);
    let mut put = |name: &str, bytes: &[u8]| expected.insert(name.to_owned(), bytes.to_vec());
    put("greeting", &answers[0]);
    put("option-reply-ack", &answers[2]);
    put("option-reply-error", &answers[3]);
    put("option-reply-server", &cut(&answers[4])[0]);
    let infos = cut(&answers[5]);
    for (number, name) in ["export", "name", "description", "block-size"].iter().enumerate() {
        put(&format!("option-reply-info-{name}"), &infos[number]);
    }
    put("option-reply-meta-context", &cut(&answers[6])[0]);
    let answers = serve(&[b"\0\0\0\x03", b"IHAVEOPT\0\0\0\x01\0\0\0\x04disk"]);
    put("option-export-name", b"IHAVEOPT\0\0\0\x01\0\0\0\x04disk");
    put("export-name-answer", &answers[2]);
}

/// What the client says in the handshake.
fn client_blocks(expected: &mut Blocks) {
    let wishes =
        Wishes { export: "disk".to_owned(), mode: ReplyMode::Extended, base_allocation: true };
    let mut client = ClientHandshake::new(wishes);
    let mut says = |input: &[u8]| {
        let mut out = Vec::new();
        client.advance(input, &mut out).expect("a good server");
        out
    };
    let first = says(b"NBDMAGICIHAVEOPT\0\x03");
    expected.insert("client-flags".to_owned(), first[..4].to_vec());
    expected.insert("option-extended-headers".to_owned(), first[4..].to_vec());
    let ack = |option: u8| {
        let mut reply = wire::NBD_REP_MAGIC.to_be_bytes().to_vec();
        reply.extend_from_slice(&[0, 0, 0, option, 0, 0, 0, 1, 0, 0, 0, 0]);
        reply
    };
    expected.insert("option-set-meta-context".to_owned(), says(&ack(11)));
    expected.insert("option-go".to_owned(), says(&ack(10)));
}

fn session(mode: ReplyMode) -> Session {
    Session { size: 1 << 50, flags: 0, mode, base_allocation: None, block_sizes: None }
}

/// Name, framing, request, flags and meaning of every request in the document.
fn requests() -> Vec<(&'static str, ReplyMode, Request, Flags, Command)> {
    let (compact, extended) = (ReplyMode::Structured, ReplyMode::Extended);
    let write = Command::Write { range: RANGE, fua: true };
    let big = ByteRange::new(0x1000, 1 << 40);
    let zeroes = Command::WriteZeroes { range: big, fua: false, no_hole: false, fast: true };
    let read = Command::Read { range: RANGE, unfragmented: true };
    let (df, fast) = (Flags(wire::NBD_CMD_FLAG_DF), Flags(wire::NBD_CMD_FLAG_FAST_ZERO));
    vec![
        ("request-read", compact, Request::Read(RANGE), df, read),
        ("request-write", compact, Request::Write(RANGE), Flags::FUA, write),
        ("extended-request-write", extended, Request::Write(RANGE), Flags::FUA, write),
        ("extended-request-write-zeroes", extended, Request::WriteZeroes(big), fast, zeroes),
    ]
}

fn encode(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn reply_blocks(expected: &mut Blocks) {
    let mut put = |name: String, bytes| expected.insert(name, bytes);
    let simple = Replies::new(ReplyMode::Simple);
    put("simple-reply-ok".to_owned(), encode(|out| simple.ok(TAG, out)));
    let bytes = encode(|out| simple.error(TAG, Errno::NoSpace, "full", out));
    put("simple-reply-error".to_owned(), bytes);
    for (name, mode) in [("structured", ReplyMode::Structured), ("extended", ReplyMode::Extended)] {
        let replies = Replies::new(mode);
        let mut put = |kind: &str, bytes| put(format!("{name}-reply-{kind}"), bytes);
        put("none", encode(|out| replies.ok(TAG, out)));
        put("offset-data", encode(|out| replies.data(TAG, RANGE, Last::Yes, out)));
        put("offset-hole", encode(|out| replies.hole(TAG, HOLE, Last::No, out)));
        put("block-status", encode(|out| replies.status(TAG, ContextId(1), RUNS, out)));
        put("error", encode(|out| replies.error(TAG, Errno::NoSpace, "full", out)));
        let error = |out: &mut _| replies.error_at(TAG, Errno::Io, 0x1200, "rot", Last::Yes, out);
        put("error-offset", encode(error));
    }
}

#[test]
fn the_document_shows_what_is_encoded() {
    let mut expected = Blocks::new();
    server_blocks(&mut expected);
    client_blocks(&mut expected);
    for (name, mode, request, flags, _) in requests() {
        let bytes = encode(|out| session(mode).encode(TAG.cookie, request, flags, out));
        expected.insert(name.to_owned(), bytes);
    }
    reply_blocks(&mut expected);
    let found = blocks();
    for (name, bytes) in &expected {
        assert_eq!(found.get(name), Some(bytes), "{name}");
    }
    let unknown: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "no code for {unknown:?}");
}

#[test]
fn the_documents_requests_are_decoded_as_it_says() {
    let blocks = blocks();
    for (name, mode, _, _, meaning) in requests() {
        let negotiated = Negotiated {
            export: "disk".to_owned(),
            size: 1 << 50,
            read_only: false,
            mode,
            base_allocation: None,
            tls: false,
        };
        match decode(&negotiated, &blocks[name]) {
            Ok(Decoded::Command { tag, command, .. }) => {
                assert_eq!((tag, command), (TAG, meaning), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn the_documents_replies_are_decoded_as_it_says() {
    let blocks = blocks();
    for (prefix, mode) in [
        ("simple-reply-", ReplyMode::Simple),
        ("structured-reply-", ReplyMode::Structured),
        ("extended-reply-", ReplyMode::Extended),
    ] {
        for (name, bytes) in &blocks {
            let Some(kind) = name.strip_prefix(prefix) else { continue };
            let reply = match decode_reply(mode, bytes) {
                Ok(ReplyDecoded::Message { bytes: used, cookie, reply, .. }) => {
                    assert_eq!((used, cookie), (bytes.len(), TAG.cookie), "{name}");
                    reply
                }
                other => panic!("{name}: {other:?}"),
            };
            match (kind, reply) {
                ("ok" | "none", Reply::Ok) => {}
                ("error", Reply::Error { errno: Errno::NoSpace, at: None, .. }) => {}
                ("error-offset", Reply::Error { errno: Errno::Io, at: Some(0x1200), .. }) => {}
                ("offset-data", Reply::Data { range }) => assert_eq!(range, RANGE),
                ("offset-hole", Reply::Hole { range }) => assert_eq!(range, HOLE),
                ("block-status", Reply::Status { runs, .. }) => {
                    assert_eq!(runs.collect::<Vec<_>>(), RUNS);
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_document_names_every_constant_that_is_handled() {
    let errors = 0x8000_0000..0x8000_0010u32;
    let chunks = (0..8u16).chain(0x8000..0x8004);
    let mut names: Vec<&str> = Errno::ALL.iter().map(|errno| errno.name()).collect();
    names.extend((0..16).map(wire::option_name));
    names.extend((0..16).chain(errors).map(wire::option_reply_name));
    names.extend((0..16).map(wire::info_name));
    names.extend((0..16).map(wire::command_name));
    names.extend(chunks.map(wire::chunk_name));
    for name in names {
        let quoted = format!("`{name}`");
        assert!(name == "unknown" || DOCUMENT.contains(&quoted), "{name} is not in the document");
    }
}
