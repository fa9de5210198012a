//! Every bound of the harness by name.

/// Connections of one load.
pub const MAX_CONNECTIONS: u32 = 1024;

/// Requests in flight on one connection.
pub const MAX_QUEUE_DEPTH: u32 = 1024;

/// Largest block of one request: what every NBD server must be able to refuse politely.
pub const MAX_BLOCK_BYTES: u64 = 32 << 20;

/// Smallest block and alignment of a request.
pub const SECTOR_BYTES: u64 = 512;

/// Unit of the verification pattern.
pub const PATTERN_BYTES: u64 = 4096;

/// Receive buffer of one connection: a full batch of 4 KiB read replies at depth 32 fits twice.
pub const RECEIVE_BYTES: usize = 256 << 10;

/// Slices handed to one `sendmsg`; two per write (header, payload).
pub const SEND_SLICES: usize = 128;

/// Random bytes from which payloads are cut. Large enough that neighbouring writes share nothing
/// that a compressor could find, small enough to be made in some milliseconds.
pub const POOL_BYTES: usize = 32 << 20;

/// Longest text that a server may send with an option reply or an error chunk.
pub const MAX_MESSAGE_BYTES: u32 = 64 << 10;

/// Option replies to one option before the handshake is given up.
pub const MAX_OPTION_REPLIES: u32 = 64;

/// A server that stays silent for so long has hung.
pub const SILENCE_SECONDS: u64 = 30;

/// Time for a server to accept its first connection.
pub const START_SECONDS: u64 = 30;

/// Time for a server to leave after SIGTERM before it is killed.
pub const STOP_SECONDS: u64 = 20;

/// Longest latency that is told apart; longer ones count as this.
pub const MAX_LATENCY_NS: u64 = 120_000_000_000;

/// Points of a latency curve for each nine of its percentiles.
pub const CURVE_STEPS: u32 = 10;

/// Nines of the last percentile of a latency curve: 99.999 %.
pub const CURVE_DECADES: u32 = 5;

/// Longest wait for a server's background work to calm down between two loads.
pub const SETTLE_SECONDS: u64 = 20;

/// A slice of the reliability programme that takes longer hangs: most end in minutes, but some steps
/// are one piece.
pub const JOB_SECONDS: u64 = 4 * 3600;

/// Most processes of the reliability programme beside each other.
pub const MAX_LANES: u64 = 64;

const _: () = assert!(SEND_SLICES.is_multiple_of(2), "a write takes two slices");
const _: () = assert!(RECEIVE_BYTES > 2 * MAX_MESSAGE_BYTES as usize, "a whole message must fit");
const _: () = assert!(PATTERN_BYTES.is_multiple_of(SECTOR_BYTES));
// A payload window starts up to one pattern block into the pool.
const _: () = assert!(POOL_BYTES as u64 >= MAX_BLOCK_BYTES);
