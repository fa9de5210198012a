//! Reply streams cut at every place, and broken ones.

use nbd::wire::{NBD_CMD_FLAG_FUA, NBD_CMD_WRITE};

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Data(u64, Option<u64>, Vec<u8>),
    Hole(u64, u64, u32),
    Fail(u64, u32),
    Done(u64),
}

/// Collects events; data of one cookie is joined so that the cuts do not matter.
struct Collector {
    seen: Vec<Seen>,
    read_length: u32,
}

impl ReplySink for Collector {
    type Error = WireError;

    fn simple_payload(&mut self, cookie: u64) -> Result<u32, WireError> {
        if cookie == 99 { Err(WireError::Cookie(cookie)) } else { Ok(self.read_length) }
    }

    fn data(
        &mut self,
        cookie: u64,
        at: Option<u64>,
        skip: u32,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        match self.seen.last_mut() {
            Some(Seen::Data(same, _, joined)) if *same == cookie && skip > 0 => {
                assert_eq!(joined.len(), skip as usize);
                joined.extend_from_slice(bytes);
            }
            _ => self.seen.push(Seen::Data(cookie, at, bytes.to_vec())),
        }
        Ok(())
    }

    fn hole(&mut self, cookie: u64, offset: u64, length: u32) -> Result<(), WireError> {
        self.seen.push(Seen::Hole(cookie, offset, length));
        Ok(())
    }

    fn fail(&mut self, cookie: u64, error: u32) -> Result<(), WireError> {
        self.seen.push(Seen::Fail(cookie, error));
        Ok(())
    }

    fn done(&mut self, cookie: u64) -> Result<(), WireError> {
        self.seen.push(Seen::Done(cookie));
        Ok(())
    }
}

fn simple(error: u32, cookie: u64) -> Vec<u8> {
    let mut bytes = NBD_SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(error.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes
}

fn chunk(flags: u16, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = NBD_STRUCTURED_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn data_chunk(flags: u16, cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    chunk(flags, 1, cookie, &[&offset.to_be_bytes()[..], data].concat())
}

/// Offers the stream in pieces of `step` bytes, as a socket would.
fn parse(stream: &[u8], step: usize, read_length: u32) -> Result<Vec<Seen>, WireError> {
    let mut sink = Collector { seen: Vec::new(), read_length };
    let mut parser = ReplyParser::default();
    let mut pending = Vec::new();
    for piece in stream.chunks(step) {
        pending.extend_from_slice(piece);
        let used = parser.feed(&pending, &mut sink)?;
        pending.drain(..used);
    }
    assert!(pending.is_empty(), "left over: {pending:?}");
    Ok(sink.seen)
}

#[test]
fn request_header_has_the_layout_of_the_specification() {
    let header = request(NBD_CMD_FLAG_FUA, NBD_CMD_WRITE, 0x0102, 0x3000, 0x1000);
    let expected = [
        0x25, 0x60, 0x95, 0x13, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0x30, 0, 0,
        0, 0x10, 0,
    ];
    assert_eq!(header, expected);
}

#[test]
fn a_stream_means_the_same_however_it_is_cut() {
    let hole = [&4096u64.to_be_bytes()[..], &512u32.to_be_bytes()[..]].concat();
    let error = [&5u32.to_be_bytes()[..], &2u16.to_be_bytes()[..], b"io"].concat();
    let stream = [
        simple(0, 1),
        data_chunk(0, 2, 0, &[7; 100]),
        data_chunk(1, 3, 8192, &[8; 50]),
        chunk(0, 2, 2, &hole),
        chunk(1, 0, 2, &[]),
        chunk(1, 0x8001, 4, &error),
        simple(28, 5),
    ]
    .concat();
    let expected = vec![
        Seen::Done(1),
        Seen::Data(2, Some(0), vec![7; 100]),
        Seen::Data(3, Some(8192), vec![8; 50]),
        Seen::Done(3),
        Seen::Hole(2, 4096, 512),
        Seen::Done(2),
        Seen::Fail(4, 5),
        Seen::Done(4),
        Seen::Fail(5, 28),
        Seen::Done(5),
    ];
    for step in [1, 2, 7, 16, 20, 28, 64, 1000] {
        assert_eq!(parse(&stream, step, 0).as_ref(), Ok(&expected), "step {step}");
    }
}

#[test]
fn a_simple_reply_to_a_read_carries_its_data() {
    let stream = [simple(0, 1), vec![9; 40], simple(0, 2), vec![6; 40]].concat();
    let expected = vec![
        Seen::Data(1, None, vec![9; 40]),
        Seen::Done(1),
        Seen::Data(2, None, vec![6; 40]),
        Seen::Done(2),
    ];
    for step in [1, 3, 16, 56, 500] {
        assert_eq!(parse(&stream, step, 40).as_ref(), Ok(&expected), "step {step}");
    }
}

#[test]
fn broken_streams_are_refused_by_name() {
    let long = vec![0; MAX_MESSAGE_BYTES as usize + 1];
    let length = |kind, length| Err(WireError::ChunkLength { kind, length });
    assert_eq!(parse(&[0; 16], 16, 0), Err(WireError::Magic(0)));
    assert_eq!(parse(&simple(0, 99), 16, 0), Err(WireError::Cookie(99)));
    assert_eq!(parse(&chunk(1, 9, 1, &[]), 64, 0), Err(WireError::ChunkType(9)));
    assert_eq!(parse(&chunk(1, 0, 1, &[0]), 64, 0), length(0, 1));
    assert_eq!(parse(&chunk(0, 0, 1, &[]), 64, 0), length(0, 0));
    assert_eq!(parse(&chunk(1, 1, 1, &[0; 8]), 64, 0), length(1, 8));
    assert_eq!(parse(&chunk(1, 2, 1, &[0; 11]), 64, 0), length(2, 11));
    assert_eq!(parse(&chunk(1, 0x8001, 1, &[0; 5]), 64, 0), length(0x8001, 5));
    assert_eq!(
        parse(&chunk(1, 0x8001, 1, &long), 1 << 20, 0),
        length(0x8001, MAX_MESSAGE_BYTES + 1)
    );
}
