use super::{ClientError, ClientHandshake, ClientStep, Wishes};
use crate::export::{ContextId, ReplyMode};
use crate::{limits, wire};

const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\0\x03";

fn wishes() -> Wishes {
    Wishes { export: "disk".to_owned(), mode: ReplyMode::Extended, base_allocation: true }
}

fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = wire::NBD_REP_MAGIC.to_be_bytes().to_vec();
    for field in [option, kind, u32::try_from(data.len()).expect("short")] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(data);
    bytes
}

fn greeted() -> ClientHandshake {
    let mut client = ClientHandshake::new(wishes());
    let mut out = Vec::new();
    let advance = client.advance(GREETING, &mut out).expect("a good greeting");
    assert_eq!(advance.consumed, GREETING.len());
    assert_eq!(out[..4], [0, 0, 0, 3]);
    assert_eq!(out[4..], *b"IHAVEOPT\0\0\0\x0b\0\0\0\0");
    client
}

#[test]
fn an_old_server_gets_the_framing_it_knows() {
    let mut client = greeted();
    let mut out = Vec::new();
    for option in [wire::NBD_OPT_EXTENDED_HEADERS, wire::NBD_OPT_STRUCTURED_REPLY] {
        client.advance(&reply(option, wire::NBD_REP_ERR_UNSUP, b"what?"), &mut out).expect("less");
    }
    let mut last =
        reply(wire::NBD_OPT_GO, wire::NBD_REP_INFO, &[0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1]);
    last.extend(reply(wire::NBD_OPT_GO, wire::NBD_REP_INFO, &[0, 99, 1]));
    last.extend(reply(wire::NBD_OPT_GO, wire::NBD_REP_ACK, &[]));
    match client.advance(&last, &mut out).expect("a session").step {
        ClientStep::Connected(session) => {
            assert_eq!((session.mode, session.size, session.flags), (ReplyMode::Simple, 512, 1));
            assert_eq!((session.base_allocation, session.block_sizes), (None, None));
        }
        step => panic!("no session: {step:?}"),
    }
}

#[test]
fn a_context_is_taken_with_the_id_the_server_gives() {
    let mut client = greeted();
    let mut out = Vec::new();
    let mut input = reply(wire::NBD_OPT_EXTENDED_HEADERS, wire::NBD_REP_ACK, &[]);
    let set = wire::NBD_OPT_SET_META_CONTEXT;
    input.extend(reply(set, wire::NBD_REP_META_CONTEXT, b"\0\0\0\x2abase:allocation"));
    input.extend(reply(set, wire::NBD_REP_ACK, &[]));
    let mut export = vec![0, 0];
    export.extend_from_slice(&[0; 10]);
    input.extend(reply(wire::NBD_OPT_GO, wire::NBD_REP_INFO, &export));
    input.extend(reply(wire::NBD_OPT_GO, wire::NBD_REP_ACK, &[]));
    match client.advance(&input, &mut out).expect("a session").step {
        ClientStep::Connected(session) => {
            assert_eq!(session.base_allocation, Some(ContextId(42)));
            assert_eq!(session.mode, ReplyMode::Extended);
        }
        step => panic!("no session: {step:?}"),
    }
}

#[test]
fn foreign_greetings_are_refused() {
    let greet = |bytes: &[u8]| {
        ClientHandshake::new(wishes()).advance(bytes, &mut Vec::new()).expect_err("refused")
    };
    assert_eq!(greet(b"HTTP/1.1 400 Bad Request"), ClientError::NotNewstyle);
    assert_eq!(greet(b"NBDMAGICIHAVEOPT\0\0"), ClientError::NotFixed);
}

#[test]
fn replies_that_make_no_sense_are_refused() {
    let option = wire::NBD_OPT_EXTENDED_HEADERS;
    let answer = |bytes: &[u8]| greeted().advance(bytes, &mut Vec::new()).expect_err("refused");
    assert_eq!(answer(&[0; 20]), ClientError::BadReplyMagic);
    let found = wire::NBD_OPT_GO;
    let wrong = ClientError::WrongOption { sent: option, found };
    assert_eq!(answer(&reply(found, wire::NBD_REP_ACK, &[])), wrong);
    let malformed = ClientError::Malformed { option };
    assert_eq!(answer(&reply(option, wire::NBD_REP_INFO, &[0, 0])), malformed);
    let mut long = reply(option, wire::NBD_REP_ACK, &[]);
    let length = limits::MAX_CLIENT_OPTION_REPLY + 1;
    long[16..].copy_from_slice(&length.to_be_bytes());
    assert_eq!(answer(&long), ClientError::ReplyTooLong { length });
}

#[test]
fn a_refused_export_is_reported_with_the_servers_words() {
    let simple = Wishes { mode: ReplyMode::Simple, ..wishes() };
    let mut client = ClientHandshake::new(simple);
    let mut out = Vec::new();
    client.advance(GREETING, &mut out).expect("a good greeting");
    let (option, kind) = (wire::NBD_OPT_GO, wire::NBD_REP_ERR_UNKNOWN);
    let error = client.advance(&reply(option, kind, b"no disk"), &mut out).expect_err("refused");
    assert_eq!(error, ClientError::Refused { option, kind, message: "no disk".to_owned() });
}

#[test]
fn a_success_without_the_size_is_malformed() {
    let simple = Wishes { mode: ReplyMode::Simple, ..wishes() };
    let mut client = ClientHandshake::new(simple);
    client.advance(GREETING, &mut Vec::new()).expect("a good greeting");
    let option = wire::NBD_OPT_GO;
    let error = client.advance(&reply(option, wire::NBD_REP_ACK, &[]), &mut Vec::new());
    assert_eq!(error, Err(ClientError::Malformed { option }));
}
