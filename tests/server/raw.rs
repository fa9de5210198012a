//! Requests and replies as bytes, for what no client does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use nbd::wire;

use crate::fixture::Server;

/// Negotiates `demo` with simple replies by hand.
pub fn enter(server: &Server) -> UnixStream {
    let mut stream = server.connect();
    let mut greeting = [0; wire::GREETING_BYTES];
    stream.read_exact(&mut greeting).expect("a greeting");
    let flags = wire::NBD_FLAG_FIXED_NEWSTYLE | wire::NBD_FLAG_NO_ZEROES;
    let mut hello = u32::from(flags).to_be_bytes().to_vec();
    hello.extend(wire::NBD_OPT_MAGIC.to_be_bytes());
    hello.extend(wire::NBD_OPT_EXPORT_NAME.to_be_bytes());
    hello.extend(4u32.to_be_bytes());
    hello.extend(b"demo");
    stream.write_all(&hello).expect("room");
    let mut export = [0; 10];
    stream.read_exact(&mut export).expect("the export");
    stream
}

pub fn request(command: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = wire::NBD_REQUEST_MAGIC.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

/// Reads a simple reply; returns its error number and cookie.
pub fn reply(stream: &mut UnixStream) -> (u32, u64) {
    let mut bytes = [0; wire::SIMPLE_REPLY_BYTES];
    stream.read_exact(&mut bytes).expect("a reply");
    let error = u32::from_be_bytes(bytes[4..8].try_into().expect("four bytes"));
    (error, u64::from_be_bytes(bytes[8..].try_into().expect("eight bytes")))
}
