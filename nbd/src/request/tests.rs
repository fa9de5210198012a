use super::{Command, Decoded, ProtocolError, Rejection, decode};
use crate::export::{ByteRange, ContextId, Cookie, Negotiated, ReplyMode, Tag};
use crate::{Errno, limits, wire};

const SIZE: u64 = 1 << 40;

fn negotiated(mode: ReplyMode) -> Negotiated {
    let base_allocation = mode.has_chunks().then_some(ContextId(1));
    let export = "disk".to_owned();
    Negotiated { export, size: SIZE, read_only: false, mode, base_allocation, tls: false }
}

/// A compact request by hand, so that a mistake in the client codec cannot hide one here.
fn compact(flags: u16, command: u16, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&command.to_be_bytes());
    bytes.extend_from_slice(&7u64.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

fn extended(flags: u16, command: u16, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = 0x21e4_1c71u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&command.to_be_bytes());
    bytes.extend_from_slice(&7u64.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

fn served(negotiated: &Negotiated, input: &[u8]) -> (Command, u32) {
    match decode(negotiated, input) {
        Ok(Decoded::Command { header_bytes, tag, command, payload_bytes }) => {
            assert_eq!(header_bytes, negotiated.mode.request_bytes());
            assert_eq!(tag.cookie, Cookie(7));
            (command, payload_bytes)
        }
        other => panic!("not served: {other:?}"),
    }
}

fn refused(negotiated: &Negotiated, input: &[u8]) -> (Rejection, u32) {
    match decode(negotiated, input) {
        Ok(Decoded::Refused { header_bytes, tag, skip_payload, rejection }) => {
            assert_eq!(header_bytes, negotiated.mode.request_bytes());
            assert_eq!(tag.cookie, Cookie(7));
            (rejection, skip_payload)
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_command_is_read_with_its_flags() {
    let peer = negotiated(ReplyMode::Structured);
    let range = ByteRange::new(512, 1024);
    let ask = |flags, command| served(&peer, &compact(flags, command, 512, 1024));
    assert_eq!(ask(0, 0), (Command::Read { range, unfragmented: false }, 0));
    assert_eq!(ask(4, 0), (Command::Read { range, unfragmented: true }, 0));
    assert_eq!(ask(0, 1), (Command::Write { range, fua: false }, 1024));
    assert_eq!(ask(1, 1), (Command::Write { range, fua: true }, 1024));
    assert_eq!(ask(1, 4), (Command::Trim { range, fua: true }, 0));
    assert_eq!(ask(0, 5), (Command::Cache { range }, 0));
    let zeroes = |fua, no_hole, fast| Command::WriteZeroes { range, fua, no_hole, fast };
    assert_eq!(ask(0, 6), (zeroes(false, false, false), 0));
    assert_eq!(ask(1, 6), (zeroes(true, false, false), 0));
    assert_eq!(ask(2, 6), (zeroes(false, true, false), 0));
    assert_eq!(ask(16, 6), (zeroes(false, false, true), 0));
    assert_eq!(ask(0, 7), (Command::BlockStatus { range, one: false }, 0));
    assert_eq!(ask(8, 7), (Command::BlockStatus { range, one: true }, 0));
    assert_eq!(served(&peer, &compact(0, 3, 0, 0)), (Command::Flush, 0));
    assert_eq!(served(&peer, &compact(0, 2, 0, 0)), (Command::Disconnect, 0));
}

#[test]
fn fua_is_taken_by_every_command_because_clients_set_it_everywhere() {
    let peer = negotiated(ReplyMode::Structured);
    for command in [0, 1, 4, 5, 6, 7] {
        served(&peer, &compact(1, command, 0, 512));
    }
    assert_eq!(served(&peer, &compact(1, 3, 0, 0)), (Command::Flush, 0));
}

#[test]
fn flags_of_other_commands_are_refused() {
    let peer = negotiated(ReplyMode::Structured);
    let cases: [(u16, &[u16]); 7] = [
        (0, &[2, 8, 16, 32, 1 << 15]),
        (1, &[2, 4, 8, 16, 32]),
        (3, &[2, 4, 8, 16, 32]),
        (4, &[2, 4, 8, 16, 32]),
        (5, &[2, 4, 8, 16, 32]),
        (6, &[4, 8, 32]),
        (7, &[2, 4, 16, 32]),
    ];
    for (command, flags) in cases {
        for flag in flags {
            let length = if command == 3 { 0 } else { 512 };
            let skip = if command == 1 { 512 } else { 0 };
            let found = refused(&peer, &compact(*flag, command, 0, length));
            assert_eq!(found, (Rejection::UnknownFlag, skip), "flag {flag} of command {command}");
        }
    }
    let simple = negotiated(ReplyMode::Simple);
    assert_eq!(refused(&simple, &compact(4, 0, 0, 512)), (Rejection::UnknownFlag, 0));
}

#[test]
fn an_unknown_command_is_refused() {
    let peer = negotiated(ReplyMode::Structured);
    for command in [8, 9, 0xffff] {
        assert_eq!(refused(&peer, &compact(0, command, 0, 512)), (Rejection::UnknownCommand, 0));
    }
    assert_eq!(Rejection::UnknownCommand.errno(), Errno::Invalid);
}

#[test]
fn a_read_only_export_refuses_every_write_and_serves_the_rest() {
    let mut peer = negotiated(ReplyMode::Structured);
    peer.read_only = true;
    assert_eq!(refused(&peer, &compact(0, 1, 0, 512)), (Rejection::ReadOnly, 512));
    assert_eq!(refused(&peer, &compact(0, 4, 0, 512)), (Rejection::ReadOnly, 0));
    assert_eq!(refused(&peer, &compact(0, 6, 0, 512)), (Rejection::ReadOnly, 0));
    assert_eq!(Rejection::ReadOnly.errno(), Errno::Perm);
    for command in [0, 5, 7] {
        served(&peer, &compact(0, command, 0, 512));
    }
    assert_eq!(served(&peer, &compact(0, 3, 0, 0)), (Command::Flush, 0));
}

#[test]
fn beyond_the_end_is_no_space_for_what_stores_and_invalid_for_the_rest() {
    let peer = negotiated(ReplyMode::Structured);
    for offset in [SIZE - 511, SIZE, SIZE + 1, u64::MAX - 511, u64::MAX] {
        assert_eq!(refused(&peer, &compact(0, 1, offset, 512)), (Rejection::BeyondEnd, 512));
        assert_eq!(refused(&peer, &compact(0, 6, offset, 512)), (Rejection::BeyondEnd, 0));
        for command in [0, 4, 5, 7] {
            let found = refused(&peer, &compact(0, command, offset, 512));
            assert_eq!(found, (Rejection::OutOfRange, 0));
        }
    }
    assert_eq!(Rejection::BeyondEnd.errno(), Errno::NoSpace);
    assert_eq!(Rejection::OutOfRange.errno(), Errno::Invalid);
    for command in [0, 1, 4, 5, 6, 7] {
        served(&peer, &compact(0, command, SIZE - 512, 512));
    }
}

#[test]
fn one_payload_is_served_and_one_byte_more_is_refused() {
    let peer = negotiated(ReplyMode::Structured);
    let most = limits::MAX_PAYLOAD;
    served(&peer, &compact(0, 0, 0, most));
    assert_eq!(served(&peer, &compact(0, 1, 0, most)).1, most);
    assert_eq!(refused(&peer, &compact(0, 0, 0, most + 1)), (Rejection::TooLong, 0));
    assert_eq!(refused(&peer, &compact(4, 0, 0, most + 1)), (Rejection::TooLongUnfragmented, 0));
    assert_eq!(refused(&peer, &compact(0, 1, 0, most + 1)), (Rejection::TooLong, most + 1));
    assert_eq!(Rejection::TooLongUnfragmented.errno(), Errno::Overflow);
    for command in [4, 5, 6, 7] {
        served(&peer, &compact(0, command, 0, u32::MAX));
    }
}

#[test]
fn a_payload_that_is_not_worth_skipping_closes_the_connection() {
    let peer = negotiated(ReplyMode::Simple);
    let most = limits::MAX_SKIPPED_PAYLOAD;
    assert_eq!(refused(&peer, &compact(0, 1, 0, most)), (Rejection::TooLong, most));
    let error = ProtocolError::PayloadTooLong { command: 1, length: u64::from(most) + 1 };
    assert_eq!(decode(&peer, &compact(0, 1, 0, most + 1)), Err(error));
    let peer = negotiated(ReplyMode::Extended);
    for command in [0u16, 1, 7, 99] {
        let length = u64::from(limits::MAX_PAYLOAD) + 1;
        let error = ProtocolError::PayloadTooLong { command, length };
        assert_eq!(decode(&peer, &extended(32, command, 0, length)), Err(error));
    }
}

#[test]
fn requests_for_zero_bytes_do_nothing_but_a_status_has_no_empty_reply() {
    let peer = negotiated(ReplyMode::Structured);
    for command in [0, 1, 4, 5, 6] {
        for offset in [0, SIZE] {
            assert_eq!(served(&peer, &compact(0, command, offset, 0)), (Command::Nothing, 0));
        }
    }
    assert_eq!(refused(&peer, &compact(0, 7, 0, 0)), (Rejection::EmptyStatus, 0));
    assert_eq!(refused(&peer, &compact(0, 0, SIZE + 1, 0)), (Rejection::OutOfRange, 0));
}

#[test]
fn a_flush_has_no_range() {
    let peer = negotiated(ReplyMode::Simple);
    assert_eq!(refused(&peer, &compact(0, 3, 1, 0)), (Rejection::FlushRange, 0));
    assert_eq!(refused(&peer, &compact(0, 3, 0, 1)), (Rejection::FlushRange, 0));
}

#[test]
fn a_status_needs_a_context() {
    let mut peer = negotiated(ReplyMode::Structured);
    peer.base_allocation = None;
    assert_eq!(refused(&peer, &compact(0, 7, 0, 512)), (Rejection::NoContext, 0));
    let simple = negotiated(ReplyMode::Simple);
    assert_eq!(refused(&simple, &compact(0, 7, 0, 512)), (Rejection::NoContext, 0));
}

#[test]
fn goodbye_is_goodbye_whatever_its_fields_say() {
    let peer = negotiated(ReplyMode::Extended);
    let input = extended(0xffff, 2, u64::MAX, u64::MAX);
    assert_eq!(served(&peer, &input), (Command::Disconnect, 0));
}

#[test]
fn extended_lengths_have_64_bits() {
    let peer = negotiated(ReplyMode::Extended);
    let range = ByteRange::new(0, SIZE);
    let trim = Command::Trim { range, fua: false };
    assert_eq!(served(&peer, &extended(0, 4, 0, SIZE)), (trim, 0));
    let status = Command::BlockStatus { range, one: true };
    assert_eq!(served(&peer, &extended(8, 7, 0, SIZE)), (status, 0));
    assert_eq!(refused(&peer, &extended(0, 6, 1, u64::MAX)), (Rejection::BeyondEnd, 0));
    assert_eq!(refused(&peer, &extended(0, 0, 0, SIZE)), (Rejection::TooLong, 0));
}

#[test]
fn an_extended_write_must_announce_its_payload() {
    let peer = negotiated(ReplyMode::Extended);
    let range = ByteRange::new(0, 512);
    let write = Command::Write { range, fua: true };
    assert_eq!(served(&peer, &extended(33, 1, 0, 512)), (write, 512));
    assert_eq!(refused(&peer, &extended(0, 1, 0, 512)), (Rejection::MissingPayload, 0));
}

#[test]
fn an_extended_payload_that_does_not_belong_is_skipped() {
    let peer = negotiated(ReplyMode::Extended);
    for command in [0, 3, 4, 5, 6, 7] {
        let found = refused(&peer, &extended(32, command, 0, 512));
        assert_eq!(found, (Rejection::UnexpectedPayload, 512));
    }
    assert_eq!(refused(&peer, &extended(32, 99, 0, 512)), (Rejection::UnknownCommand, 512));
}

#[test]
fn the_magic_number_must_be_that_of_the_negotiated_form() {
    let bad = |mode, input: &[u8]| match decode(&negotiated(mode), input) {
        Err(ProtocolError::BadMagic { found }) => found,
        other => panic!("accepted: {other:?}"),
    };
    let mut input = compact(0, 0, 0, 512);
    input.extend_from_slice(&[0; 4]);
    assert_eq!(bad(ReplyMode::Extended, &input), wire::NBD_REQUEST_MAGIC);
    let input = extended(0, 0, 0, 512);
    assert_eq!(bad(ReplyMode::Structured, &input), wire::NBD_EXTENDED_REQUEST_MAGIC);
    assert_eq!(bad(ReplyMode::Simple, &[0; 28]), 0);
}

#[test]
fn a_short_header_asks_for_the_rest() {
    for (mode, input) in
        [(ReplyMode::Simple, compact(0, 0, 0, 512)), (ReplyMode::Extended, extended(0, 0, 0, 512))]
    {
        let peer = negotiated(mode);
        for cut in 0..input.len() {
            let more = Decoded::NeedMore { bytes: input.len() };
            assert_eq!(decode(&peer, &input[..cut]), Ok(more));
        }
    }
}

#[test]
fn the_tag_carries_cookie_and_offset_even_when_refused() {
    let peer = negotiated(ReplyMode::Extended);
    let expected = Tag { cookie: Cookie(7), offset: u64::MAX };
    match decode(&peer, &extended(0, 0, u64::MAX, 512)) {
        Ok(Decoded::Refused { tag, .. }) => assert_eq!(tag, expected),
        other => panic!("not refused: {other:?}"),
    }
}
