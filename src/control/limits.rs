//! Bounds of the control socket.

use std::time::Duration;

use chunk::limits::MAX_LEASE_SECONDS;

/// Connections at one time; further ones are told that the server is busy.
pub const MAX_CONNECTIONS: usize = 8;

/// Longest line with its end, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// Longest wait for bytes of a line, and for room to write an answer.
pub const SOCKET_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the outcome of a request that moves no data.
pub const SHORT_OP_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the outcome of a request that moves data.
pub const LONG_OP_TIMEOUT: Duration = Duration::from_secs(600);

/// Longest wait for each of the two things that a process asks of the one that it replaces: all logs
/// are synced for both, and for the first there is some time to upload.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(45);

/// Most open files that go with one answer, of the 253 that the kernel lets pass.
pub const MAX_PASSED: usize = 64;

/// Longest wait for a volume to be attached: the longest lease may have to run out first.
pub const ATTACH_TIMEOUT: Duration =
    Duration::from_secs(LONG_OP_TIMEOUT.as_secs() + 2 * MAX_LEASE_SECONDS as u64);

/// Longest wait for a volume's garbage to be collected: several times the grace, and the time for
/// what is moved.
pub const COLLECT_TIMEOUT: Duration = Duration::from_secs(4 * 3600);

/// Longest wait for a clone to be separated from what it was made of: all of it may have to be copied,
/// and the server goes on when nobody waits.
pub const FLATTEN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Longest wait of the asking side beyond that of the serving side, so that it hears the reason.
pub const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Longest wait of a command for a server that holds the data directory to listen to commands, and
/// for another command to give the directory back.
pub const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two looks in that time.
pub const START_PAUSE: Duration = Duration::from_millis(20);

/// Answers that list volumes may be longer than requests, but not by any amount.
pub const MAX_ANSWER: usize = 64 * MAX_LINE;

const _: () = assert!(SHORT_OP_TIMEOUT.as_secs() < LONG_OP_TIMEOUT.as_secs());
