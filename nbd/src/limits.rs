//! Every bound on what a peer can make this crate hold, skip or produce.

use crate::wire;

/// Longest data of one READ or WRITE, in bytes; advertised as the maximum payload.
pub const MAX_PAYLOAD: u32 = 32 << 20;

/// Longest payload of a refused compact WRITE that is read and thrown away, so that the connection
/// survives the refusal. A longer one ends the connection.
pub const MAX_SKIPPED_PAYLOAD: u32 = 2 * MAX_PAYLOAD;

/// Longest unfragmented READ that the protocol obliges a server to support, in bytes.
pub const MIN_UNFRAGMENTED_READ: u32 = 64 << 10;

/// Longest string of the protocol (export name, query, description, message), in bytes.
pub const MAX_STRING: usize = 4096;

/// Longest data of one option that is looked at, in bytes. A caller's handshake buffer must hold
/// [`MAX_HANDSHAKE_INPUT`].
pub const MAX_OPTION_DATA: u32 = 64 << 10;

/// Longest data of one option that is skipped and answered with `NBD_REP_ERR_TOO_BIG`; with more
/// than this the connection is closed.
pub const MAX_OPTION_SKIP: u32 = 1 << 20;

/// Options in one handshake; a client that sends more is not negotiating.
pub const MAX_OPTIONS: u32 = 1024;

/// The most input bytes that a handshake can ask to see at once: an option header and its data.
pub const MAX_HANDSHAKE_INPUT: usize = wire::OPTION_HEADER_BYTES + MAX_OPTION_DATA as usize;

/// Longest text that goes with an error, in bytes; longer ones are cut at a character.
pub const MAX_MESSAGE: usize = 256;

/// Most descriptors in one block status reply, so that a 28-byte request cannot ask for megabytes.
pub const MAX_STATUS_DESCRIPTORS: usize = 4096;

/// Default smallest unit of a request, in bytes: any byte range is served.
pub const MIN_BLOCK: u32 = 1;

/// Default unit in which requests are served best, in bytes.
pub const PREFERRED_BLOCK: u32 = 4096;

/// Longest reply chunk that the client codec accepts besides READ data, in bytes.
pub const MAX_CLIENT_CHUNK: u32 = 2 << 20;

/// Longest option reply that the client codec accepts, in bytes.
pub const MAX_CLIENT_OPTION_REPLY: u32 = 64 << 10;

const _: () = assert!(MAX_SKIPPED_PAYLOAD >= MAX_PAYLOAD, "what is served can also be refused");
const _: () = assert!(MIN_UNFRAGMENTED_READ <= MAX_PAYLOAD, "the protocol's floor for DF reads");
const _: () = assert!(MAX_PAYLOAD <= u32::MAX - 8, "a data chunk's length fits in 32 bits");
const _: () = assert!(MAX_OPTION_SKIP >= MAX_OPTION_DATA, "an option in bounds is never too long");
const _: () = assert!(
    MAX_OPTION_DATA as usize >= 4 + MAX_STRING + 4 + 4 + MAX_STRING,
    "the longest name and one longest query fit into an option"
);
const _: () = assert!(MAX_MESSAGE <= MAX_STRING, "a message is a string of the protocol");
const _: () = assert!(MIN_BLOCK.is_power_of_two() && PREFERRED_BLOCK.is_power_of_two());
const _: () = assert!(MIN_BLOCK <= PREFERRED_BLOCK && PREFERRED_BLOCK >= 512);
const _: () = assert!(MAX_PAYLOAD.is_multiple_of(PREFERRED_BLOCK));
const _: () = assert!(
    MAX_STATUS_DESCRIPTORS * 16 + 8 <= MAX_CLIENT_CHUNK as usize,
    "our client takes every status chunk that our server makes"
);
