use super::{BlockStatus, Last, Replies};
use crate::client::{Reply, ReplyDecoded, decode_reply};
use crate::export::{ByteRange, ContextId, Cookie, ReplyMode, Tag};
use crate::{Errno, limits, wire};

const MODES: [ReplyMode; 3] = [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended];
const TAG: Tag = Tag { cookie: Cookie(0x1122_3344_5566_7788), offset: 0x1000 };

fn encode(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn message(mode: ReplyMode, bytes: &[u8]) -> (bool, Reply<'_>) {
    match decode_reply(mode, bytes) {
        Ok(ReplyDecoded::Message { bytes: used, cookie, done, reply }) => {
            assert_eq!(used, bytes.len());
            assert_eq!(cookie, TAG.cookie);
            (done, reply)
        }
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn ok_and_error_are_read_back_in_every_mode() {
    for mode in MODES {
        let replies = Replies::new(mode);
        let bytes = encode(|out| replies.ok(TAG, out));
        assert_eq!(message(mode, &bytes), (true, Reply::Ok));
        let bytes = encode(|out| replies.error(TAG, Errno::NoSpace, "full", out));
        let text: &[u8] = if mode.has_chunks() { b"full" } else { b"" };
        let error = Reply::Error { errno: Errno::NoSpace, at: None, message: text };
        assert_eq!(message(mode, &bytes), (true, error));
    }
}

#[test]
fn an_error_with_an_offset_keeps_it_where_chunks_exist() {
    for mode in MODES {
        let replies = Replies::new(mode);
        let bytes = encode(|out| replies.error_at(TAG, Errno::Io, 0x1200, "rot", Last::Yes, out));
        let at = mode.has_chunks().then_some(0x1200);
        let text: &[u8] = if mode.has_chunks() { b"rot" } else { b"" };
        let error = Reply::Error { errno: Errno::Io, at, message: text };
        assert_eq!(message(mode, &bytes), (true, error));
    }
}

#[test]
fn data_headers_have_the_announced_size_and_the_range() {
    let range = ByteRange::new(TAG.offset, u64::from(limits::MAX_PAYLOAD));
    for mode in MODES {
        let replies = Replies::new(mode);
        let bytes = encode(|out| replies.data(TAG, range, Last::Yes, out));
        assert_eq!(bytes.len(), replies.data_header_bytes());
        let expected = if mode.has_chunks() { Reply::Data { range } } else { Reply::Ok };
        assert_eq!(message(mode, &bytes), (true, expected));
    }
}

#[test]
fn holes_and_unfinished_replies_are_read_back() {
    let range = ByteRange::new(TAG.offset + 512, 512);
    for mode in [ReplyMode::Structured, ReplyMode::Extended] {
        let bytes = encode(|out| Replies::new(mode).hole(TAG, range, Last::No, out));
        assert_eq!(message(mode, &bytes), (false, Reply::Hole { range }));
    }
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let text = "ä".repeat(limits::MAX_MESSAGE);
    let mode = ReplyMode::Structured;
    let bytes = encode(|out| Replies::new(mode).error(TAG, Errno::Io, &text, out));
    match message(mode, &bytes) {
        (true, Reply::Error { message, .. }) => {
            assert!(message.len() <= limits::MAX_MESSAGE);
            assert!(std::str::from_utf8(message).is_ok());
        }
        other => panic!("no error: {other:?}"),
    }
    let odd = format!("a{text}");
    let bytes = encode(|out| Replies::new(mode).error(TAG, Errno::Io, &odd, out));
    match message(mode, &bytes) {
        (true, Reply::Error { message, .. }) => {
            assert_eq!(message.len(), limits::MAX_MESSAGE - 1);
            assert!(std::str::from_utf8(message).is_ok());
        }
        other => panic!("no error: {other:?}"),
    }
}

fn statuses(mode: ReplyMode, runs: &[BlockStatus]) -> Vec<BlockStatus> {
    let context = ContextId(1);
    let bytes = encode(|out| Replies::new(mode).status(TAG, context, runs.iter().copied(), out));
    match message(mode, &bytes) {
        (true, Reply::Status { context: found, runs }) => {
            assert_eq!(found, context);
            runs.collect()
        }
        other => panic!("no status: {other:?}"),
    }
}

#[test]
fn statuses_are_read_back() {
    let runs = [
        BlockStatus { length: 4096, state: 0 },
        BlockStatus { length: 512, state: wire::NBD_STATE_HOLE | wire::NBD_STATE_ZERO },
    ];
    for mode in [ReplyMode::Structured, ReplyMode::Extended] {
        assert_eq!(statuses(mode, &runs), runs);
    }
}

#[test]
fn a_run_of_more_than_32_bits_is_cut_and_ends_a_structured_status_only() {
    let runs = [BlockStatus { length: 1 << 44, state: 3 }, BlockStatus { length: 4096, state: 0 }];
    assert_eq!(statuses(ReplyMode::Extended, &runs), runs);
    let cut = BlockStatus { length: (1 << 32) - 4096, state: 3 };
    assert_eq!(statuses(ReplyMode::Structured, &runs), [cut]);
    let exact = [BlockStatus { length: (1 << 32) - 4096, state: 3 }, runs[1]];
    assert_eq!(statuses(ReplyMode::Structured, &exact), exact);
}

#[test]
fn a_status_has_a_bounded_number_of_descriptors() {
    let runs = vec![BlockStatus { length: 512, state: 0 }; limits::MAX_STATUS_DESCRIPTORS + 1];
    for mode in [ReplyMode::Structured, ReplyMode::Extended] {
        assert_eq!(statuses(mode, &runs).len(), limits::MAX_STATUS_DESCRIPTORS);
    }
}

#[test]
fn encoding_appends_and_touches_nothing_before() {
    for mode in [ReplyMode::Structured, ReplyMode::Extended] {
        let mut out = vec![0xaa; 3];
        let run = BlockStatus { length: 512, state: 0 };
        Replies::new(mode).status(TAG, ContextId(1), [run], &mut out);
        assert_eq!(out[..3], [0xaa; 3]);
        message(mode, &out[3..]);
    }
}

#[test]
#[should_panic(expected = "at least one descriptor")]
fn a_status_without_runs_is_our_bug() {
    Replies::new(ReplyMode::Extended).status(TAG, ContextId(1), [], &mut Vec::new());
}

#[test]
#[should_panic(expected = "sends its zeroes")]
fn a_hole_in_a_simple_reply_is_our_bug() {
    let range = ByteRange::new(0, 512);
    Replies::new(ReplyMode::Simple).hole(TAG, range, Last::Yes, &mut Vec::new());
}
