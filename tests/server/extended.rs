//! Extended headers, as an independent client: every number here is from the protocol's own
//! document (`doc/proto.md` of NetworkBlockDevice/nbd), none from this code base.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::fixture::{Home, Server, now};

const TIB: u64 = 1 << 40;

fn option(stream: &mut UnixStream, number: u32, data: &[u8]) {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    stream.write_all(&bytes).expect("room");
}

fn take<const N: usize>(stream: &mut UnixStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("bytes");
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// An answer to an option: its type and data.
fn answer(stream: &mut UnixStream, asked: u32) -> (u32, Vec<u8>) {
    let head = take::<20>(stream);
    assert_eq!(u64_at(&head, 0), 0x0003_e889_0455_65a9, "magic of an option's answer");
    assert_eq!(u32_at(&head, 8), asked, "the option is repeated");
    let mut data = vec![0; u32_at(&head, 16) as usize];
    stream.read_exact(&mut data).expect("data");
    (u32_at(&head, 12), data)
}

/// Negotiates `demo` with extended headers; returns the connection, the id of `base:allocation`,
/// and the size.
fn enter(server: &Server) -> (UnixStream, u32, u64) {
    let mut stream = server.connect();
    let greeting = take::<18>(&mut stream);
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
    assert_eq!(u16_at(&greeting, 16) & 3, 3, "fixed newstyle, no zeroes");
    stream.write_all(&3u32.to_be_bytes()).expect("room");

    option(&mut stream, 11, b""); // NBD_OPT_EXTENDED_HEADERS
    assert_eq!(answer(&mut stream, 11), (1, Vec::new()), "NBD_REP_ACK");

    let name = [&4u32.to_be_bytes()[..], b"demo"].concat();
    let query = [&name[..], &1u32.to_be_bytes(), &15u32.to_be_bytes(), b"base:allocation"].concat();
    option(&mut stream, 10, &query); // NBD_OPT_SET_META_CONTEXT
    let (kind, context) = answer(&mut stream, 10);
    assert_eq!((kind, &context[4..]), (4, &b"base:allocation"[..]), "NBD_REP_META_CONTEXT");
    assert_eq!(answer(&mut stream, 10).0, 1, "NBD_REP_ACK");

    option(&mut stream, 7, &[&name[..], &[0, 0]].concat()); // NBD_OPT_GO, no information asked for
    let mut size = None;
    loop {
        match answer(&mut stream, 7) {
            (3, info) if u16_at(&info, 0) == 0 => size = Some(u64_at(&info, 2)), // NBD_INFO_EXPORT
            (3, _) => {}
            (1, _) => break,
            other => panic!("{other:?}"),
        }
    }
    (stream, u32_at(&context, 0), size.expect("the export was described"))
}

fn request(flags: u16, command: u16, cookie: u64, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = 0x21e4_1c71_u32.to_be_bytes().to_vec(); // NBD_EXTENDED_REQUEST_MAGIC
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    for field in [cookie, offset, length] {
        bytes.extend(field.to_be_bytes());
    }
    assert_eq!(bytes.len(), 32);
    bytes
}

/// The next reply chunk, which must be the last one of its request: its type and payload.
fn reply(stream: &mut UnixStream, cookie: u64, offset: u64) -> (u16, Vec<u8>) {
    let head = take::<32>(stream);
    assert_eq!(u32_at(&head, 0), 0x6e8a_278c, "NBD_EXTENDED_REPLY_MAGIC");
    assert_eq!(u16_at(&head, 4), 1, "NBD_REPLY_FLAG_DONE");
    assert_eq!((u64_at(&head, 8), u64_at(&head, 16)), (cookie, offset), "cookie and offset");
    let mut payload = vec![0; u64_at(&head, 24) as usize];
    stream.read_exact(&mut payload).expect("payload");
    (u16_at(&head, 6), payload)
}

/// The extents of a block status, as (length, flags).
fn status(stream: &mut UnixStream, context: u32, offset: u64, length: u64) -> Vec<(u64, u64)> {
    stream.write_all(&request(0, 7, 70, offset, length)).expect("room"); // NBD_CMD_BLOCK_STATUS
    let (kind, payload) = reply(stream, 70, offset);
    assert_eq!(kind, 6, "NBD_REPLY_TYPE_BLOCK_STATUS_EXT");
    assert_eq!(u32_at(&payload, 0), context, "the context that was negotiated");
    let extents: Vec<_> =
        payload[8..].chunks_exact(16).map(|e| (u64_at(e, 0), u64_at(e, 8))).collect();
    assert_eq!(
        (extents.len(), payload.len()),
        (u32_at(&payload, 4) as usize, 8 + 16 * extents.len())
    );
    extents
}

#[test]
fn a_tebibyte_is_zeroed_by_one_extended_request_and_told_in_64_bits() {
    let home = Home::new();
    let server = home.serve("16T");
    let (mut stream, context, size) = enter(&server);
    assert_eq!(size, 16 * TIB);
    let data = [7; 8192];
    // With NBD_CMD_FLAG_PAYLOAD_LEN, as every extended write.
    stream.write_all(&request(1 << 5, 1, 1, TIB - 4096, 8192)).expect("room");
    stream.write_all(&data).expect("room");
    assert_eq!(reply(&mut stream, 1, TIB - 4096), (0, Vec::new()), "NBD_REPLY_TYPE_NONE");

    let started = now();
    stream.write_all(&request(0, 6, 2, TIB, TIB)).expect("room"); // NBD_CMD_WRITE_ZEROES
    assert_eq!(reply(&mut stream, 2, TIB), (0, Vec::new()));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    // Data up to the zeroes, then a hole that reads as zeroes, longer than 32 bits tell.
    let extents = status(&mut stream, context, TIB - 4096, TIB);
    assert_eq!(extents[0], (4096, 0), "{extents:?}");
    assert!(extents[1].0 > u64::from(u32::MAX) && extents[1].1 == 3, "{extents:?}");

    // NBD_CMD_FLAG_NO_HOLE: allocated zeroes.
    stream.write_all(&request(1 << 1, 6, 3, 4 * TIB, TIB)).expect("room");
    assert_eq!(reply(&mut stream, 3, 4 * TIB), (0, Vec::new()));
    let extents = status(&mut stream, context, 4 * TIB, TIB);
    assert!(extents[0].0 > u64::from(u32::MAX) && extents[0].1 == 2, "{extents:?}");

    // What was zeroed reads so, and what lies before it stays. The chunk of data (type 1) starts
    // with the offset of its content.
    stream.write_all(&request(0, 0, 4, TIB - 4096, 8192)).expect("room");
    let (kind, payload) = reply(&mut stream, 4, TIB - 4096);
    assert_eq!((kind, u64_at(&payload, 0)), (1, TIB - 4096));
    assert!(payload[8..4104] == [7; 4096] && payload[4104..] == [0; 4096]);

    // Beyond the end: an error chunk (type 2^15 + 1) with EINVAL or ENOSPC, and no more.
    stream.write_all(&request(0, 6, 5, 15 * TIB, 2 * TIB)).expect("room");
    let (kind, payload) = reply(&mut stream, 5, 15 * TIB);
    assert_eq!(kind, 0x8001);
    assert!([22, 28].contains(&u32_at(&payload, 0)), "{payload:?}");
    stream.write_all(&request(0, 2, 0, 0, 0)).expect("room"); // NBD_CMD_DISC
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
}
