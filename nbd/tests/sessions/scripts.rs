//! Valid sessions made from seeds, and what must come of them.

use std::collections::HashMap;

use nbd::client::{
    ClientHandshake, ClientStep, Flags, Reply, ReplyDecoded, Request, Session, Wishes, decode_reply,
};
use nbd::{ByteRange, Cookie, Errno, ReplyMode, wire};
use proptest::prelude::*;

use super::memory_server::{MemoryServer, SharedDisk};

/// Size of the export in sessions made here, in bytes.
pub const SIZE: u64 = 64 << 10;

/// One request of a script.
#[derive(Debug, Clone)]
pub struct Operation {
    pub request: Request,
    pub flags: Flags,
    /// The data of a WRITE.
    pub fill: u8,
}

/// What a client says from its first byte to its last.
#[derive(Debug, Clone)]
pub struct Script {
    pub wishes: Wishes,
    pub operations: Vec<Operation>,
}

fn operation() -> impl Strategy<Value = Operation> {
    let range =
        (0..SIZE + 4096, 0..24u64 << 10).prop_map(|(at, length)| ByteRange::new(at, length));
    (0..8u8, range, prop::bits::u16::between(0, 6), any::<bool>(), any::<u8>()).prop_map(
        |(command, range, flags, plain, fill)| {
            let request = match command {
                0 | 1 => Request::Read(range),
                2 | 3 => Request::Write(range),
                4 => Request::Trim(range),
                5 => Request::WriteZeroes(range),
                6 => Request::BlockStatus(range),
                _ => Request::Flush,
            };
            // Half of the requests carry no flags, so that enough of them succeed. The flag for
            // payloads belongs to the codec.
            let flags = if plain { 0 } else { flags & !wire::NBD_CMD_FLAG_PAYLOAD_LEN };
            Operation { request, flags: Flags(flags), fill }
        },
    )
}

/// Scripts in all framings, with and without a context.
pub fn script() -> impl Strategy<Value = Script> {
    let mode = prop_oneof![
        Just(ReplyMode::Simple),
        Just(ReplyMode::Structured),
        Just(ReplyMode::Extended)
    ];
    let export = prop_oneof![4 => Just(""), 1 => Just("disk"), 1 => Just("rom")];
    let operations = prop::collection::vec(operation(), 0..24);
    (mode, export, any::<bool>(), operations).prop_map(
        |(mode, export, base_allocation, operations)| {
            let export = export.to_owned();
            Script { wishes: Wishes { export, mode, base_allocation }, operations }
        },
    )
}

impl Script {
    /// All bytes of the client, found by talking to a server, and its session.
    pub fn record(&self, disk: &SharedDisk) -> (Vec<u8>, Session) {
        let mut from_server = Vec::new();
        let mut server = MemoryServer::new(disk.clone(), &mut from_server);
        let mut client = ClientHandshake::new(self.wishes.clone());
        let (mut bytes, mut said) = (Vec::new(), 0);
        let session = loop {
            let advance = client.advance(&from_server, &mut bytes).expect("a session");
            from_server.drain(..advance.consumed);
            if let ClientStep::Connected(session) = advance.step {
                break session;
            }
            assert!(said < bytes.len(), "the client waits for nothing");
            server.receive(&bytes[said..], &mut from_server);
            said = bytes.len();
        };
        let negotiated = server.negotiated().expect("both sides are through");
        assert_eq!(negotiated.mode, session.mode);
        assert_eq!(negotiated.base_allocation, session.base_allocation);
        for (number, operation) in self.operations.iter().enumerate() {
            let cookie = Cookie(number as u64);
            session.encode(cookie, operation.request, operation.flags, &mut bytes);
            if let Request::Write(range) = operation.request {
                bytes.resize(bytes.len() + range.length as usize, operation.fill);
            }
        }
        session.encode(Cookie(u64::MAX), Request::Disconnect, Flags::NONE, &mut bytes);
        (bytes, session)
    }
}

/// What the replies said of one request.
#[derive(Debug, Default)]
struct Outcome {
    error: Option<Errno>,
    parts: Vec<(ByteRange, Option<Vec<u8>>)>,
    described: u64,
    done: bool,
}

/// Reads all replies of a session and compares them with what a disk of bytes would have done.
pub fn check(script: &Script, session: &Session, replies: &[u8]) {
    let outcomes = read_replies(script, session, replies);
    let mut disk = vec![0u8; SIZE as usize];
    for (number, operation) in script.operations.iter().enumerate() {
        let outcome = &outcomes[&(number as u64)];
        assert!(outcome.done, "request {number} has its whole reply");
        let expected = expected_error(session, operation);
        assert_eq!(outcome.error, expected, "request {number}: {operation:?}");
        if expected.is_some() {
            continue;
        }
        let slice =
            |range: ByteRange| range.offset as usize..(range.offset + range.length) as usize;
        match operation.request {
            Request::Write(range) => disk[slice(range)].fill(operation.fill),
            Request::WriteZeroes(range) | Request::Trim(range) => disk[slice(range)].fill(0),
            Request::Read(range) => {
                let mut seen = 0;
                for (part, data) in &outcome.parts {
                    assert!(range.covers(*part), "{part:?} lies in {range:?}");
                    seen += part.length;
                    match data {
                        Some(data) => assert_eq!(data[..], disk[slice(*part)]),
                        None => assert!(disk[slice(*part)].iter().all(|byte| *byte == 0)),
                    }
                }
                assert_eq!(seen, range.length, "every byte came once");
            }
            Request::BlockStatus(range) => {
                assert!(outcome.described > 0 && outcome.described <= range.length);
            }
            Request::Flush | Request::Cache(_) | Request::Disconnect => {}
        }
    }
}

fn read_replies(script: &Script, session: &Session, replies: &[u8]) -> HashMap<u64, Outcome> {
    let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
    let mut rest = replies;
    while !rest.is_empty() {
        let (bytes, cookie, done, reply) = match decode_reply(session.mode, rest) {
            Ok(ReplyDecoded::Message { bytes, cookie, done, reply }) => {
                (bytes, cookie, done, reply)
            }
            other => panic!("no reply: {other:?}"),
        };
        rest = &rest[bytes..];
        let request = script.operations[cookie.0 as usize].request;
        let outcome = outcomes.entry(cookie.0).or_default();
        assert!(!outcome.done, "nothing follows the end");
        outcome.done = done;
        let mut take = |range: ByteRange| {
            let (data, after) = rest.split_at(range.length as usize);
            rest = after;
            (range, Some(data.to_vec()))
        };
        match (reply, request) {
            (Reply::Ok, Request::Read(range)) if !session.mode.has_chunks() => {
                outcome.parts.push(take(range));
            }
            (Reply::Ok, _) => {}
            (Reply::Error { errno, .. }, _) => outcome.error = Some(errno),
            (Reply::Data { range }, _) => outcome.parts.push(take(range)),
            (Reply::Hole { range }, _) => outcome.parts.push((range, None)),
            (Reply::Status { context, runs }, _) => {
                assert_eq!(Some(context), session.base_allocation);
                outcome.described = runs.map(|run| run.length).sum();
            }
        }
    }
    outcomes
}

/// The rules once more, told from the client's side.
fn expected_error(session: &Session, operation: &Operation) -> Option<Errno> {
    let chunks = session.mode.has_chunks();
    let (allowed, range) = match operation.request {
        Request::Read(range) if chunks => (wire::NBD_CMD_FLAG_DF, range),
        Request::WriteZeroes(range) => {
            (wire::NBD_CMD_FLAG_NO_HOLE | wire::NBD_CMD_FLAG_FAST_ZERO, range)
        }
        Request::BlockStatus(range) => (wire::NBD_CMD_FLAG_REQ_ONE, range),
        Request::Read(range) | Request::Write(range) => (0, range),
        Request::Trim(range) | Request::Cache(range) => (0, range),
        Request::Flush | Request::Disconnect => (0, ByteRange::new(0, 0)),
    };
    let flags = operation.flags.0 & !wire::NBD_CMD_FLAG_FUA;
    let stores = matches!(operation.request, Request::Write(_) | Request::WriteZeroes(_));
    let status = matches!(operation.request, Request::BlockStatus(_));
    let fast_allocation = wire::NBD_CMD_FLAG_NO_HOLE | wire::NBD_CMD_FLAG_FAST_ZERO;
    if flags & !allowed != 0 {
        Some(Errno::Invalid)
    } else if session.read_only() && (stores || matches!(operation.request, Request::Trim(_))) {
        Some(Errno::Perm)
    } else if status && (session.base_allocation.is_none() || range.length == 0) {
        Some(Errno::Invalid)
    } else if range.offset + range.length > SIZE {
        Some(if stores { Errno::NoSpace } else { Errno::Invalid })
    } else if range.length > 0 && stores && flags == fast_allocation {
        Some(Errno::NotSupported)
    } else {
        None
    }
}
