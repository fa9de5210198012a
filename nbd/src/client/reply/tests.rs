use super::{Reply, ReplyDecoded, ReplyError, decode_reply};
use crate::export::ReplyMode;
use crate::{Errno, limits};

/// A structured chunk by hand.
fn chunk(flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x668e_33efu32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&7u64.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn decode(bytes: &[u8]) -> Result<ReplyDecoded<'_>, ReplyError> {
    decode_reply(ReplyMode::Structured, bytes)
}

#[test]
fn a_foreign_magic_number_is_refused() {
    let bytes = [0x67, 0x44, 0x66, 0x98];
    let found = 0x6744_6698;
    assert_eq!(decode_reply(ReplyMode::Extended, &bytes), Err(ReplyError::BadMagic { found }));
    assert!(matches!(decode(&[0; 16]), Err(ReplyError::BadMagic { found: 0 })));
}

#[test]
fn malformed_chunks_are_refused() {
    let cases: [(u16, &[u8]); 11] = [
        (0, &[0]),                     // an end with a payload
        (1, &[0; 8]),                  // data without data
        (2, &[0; 11]),                 // a short hole
        (2, &[0; 12]),                 // an empty hole
        (2, &[1; 13]),                 // a long hole
        (5, &[0; 4]),                  // no descriptors
        (5, &[1; 13]),                 // half a descriptor
        (5, &[0; 12]),                 // an empty run
        (6, &[1; 24]),                 // a wide status that was not negotiated
        (0x8001, &[0, 0, 0, 0, 0, 0]), // an error that is none
        (0x8001, &[0, 0, 0, 5, 0, 1]), // a message beyond the chunk
    ];
    for (kind, payload) in cases {
        assert_eq!(decode(&chunk(1, kind, payload)), Err(ReplyError::Malformed { kind }));
    }
    assert_eq!(decode(&chunk(0, 0, &[])), Err(ReplyError::Malformed { kind: 0 }), "not the end");
    let kind = 0x8002;
    let short = [0, 0, 0, 5, 0, 0, 1];
    assert_eq!(decode(&chunk(1, kind, &short)), Err(ReplyError::Malformed { kind }));
    assert_eq!(decode(&chunk(1, 3, &[])), Err(ReplyError::UnknownChunk { kind: 3 }));
}

#[test]
fn an_unknown_error_chunk_is_still_an_error() {
    let bytes = chunk(1, 0x8099, &[0, 0, 0, 5, 0, 0, 1, 2, 3]);
    match decode(&bytes) {
        Ok(ReplyDecoded::Message {
            done: true,
            reply: Reply::Error { errno, at: None, .. },
            ..
        }) => {
            assert_eq!(errno, Errno::Io);
        }
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn chunks_that_are_too_long_are_refused_before_they_arrive() {
    let mut bytes = chunk(1, 5, &[]);
    bytes[16..20].copy_from_slice(&(limits::MAX_CLIENT_CHUNK + 1).to_be_bytes());
    assert!(matches!(decode(&bytes), Err(ReplyError::TooLong { .. })));
    let mut bytes = chunk(1, 1, &[]);
    bytes[16..20].copy_from_slice(&(limits::MAX_PAYLOAD + 9).to_be_bytes());
    assert!(matches!(decode(&bytes), Err(ReplyError::TooLong { .. })));
}

#[test]
fn every_prefix_asks_for_more() {
    let bytes = chunk(1, 5, &[0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 3]);
    for cut in 0..bytes.len() {
        match decode(&bytes[..cut]) {
            Ok(ReplyDecoded::NeedMore { bytes: wanted }) => {
                assert!(wanted > cut && wanted <= bytes.len());
            }
            other => panic!("{cut} bytes: {other:?}"),
        }
    }
    assert!(matches!(decode(&bytes), Ok(ReplyDecoded::Message { .. })));
}

#[test]
fn a_descriptor_count_that_contradicts_the_length_is_refused() {
    let mut bytes = 0x6e8a_278cu32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 1, 0, 6]);
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&24u64.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
    bytes.extend_from_slice(&[1; 16]);
    let malformed = ReplyError::Malformed { kind: 6 };
    assert_eq!(decode_reply(ReplyMode::Extended, &bytes), Err(malformed));
    bytes[39] = 0; // zero means: count by the length
    assert!(matches!(decode_reply(ReplyMode::Extended, &bytes), Ok(ReplyDecoded::Message { .. })));
    bytes[39] = 1;
    assert!(matches!(decode_reply(ReplyMode::Extended, &bytes), Ok(ReplyDecoded::Message { .. })));
}
