//! Every bound of this crate.

use std::time::Duration;

/// Largest body that is put in one request; larger ones go up in parts.
pub const MAX_SINGLE_PUT_BYTES: usize = 64 << 20;

/// Bytes of one part of a large upload; S3 wants at least 5 MiB but for the last one.
pub const PART_BYTES: usize = 16 << 20;

/// Parts of one upload that travel at once.
pub const PARTS_IN_FLIGHT: usize = 4;

/// Most parts of one upload, by the protocol.
pub const MAX_PARTS: usize = 10_000;

/// Times that a large upload starts over when the store has lost track of it.
pub const MAX_UPLOADS: u32 = 3;

/// Most bytes of one read.
pub const MAX_GET_BYTES: u64 = 1 << 30;

/// Most bytes of an error's description.
pub const MAX_ERROR_BYTES: usize = 64 << 10;

/// Most bytes of the description that are repeated to people.
pub const MAX_MESSAGE_BYTES: usize = 300;

/// Most bytes of a page of a listing: 1,000 keys of 1 KiB, three times as long when encoded, and
/// what stands around them.
pub const MAX_PAGE_BYTES: usize = 8 << 20;

/// Keys of one page of a listing, by the protocol.
pub const PAGE_KEYS: usize = 1000;

/// Most pages of one listing.
pub const MAX_PAGES: usize = 100_000;

/// Keys of one request that deletes many, by the protocol.
pub const DELETE_KEYS: usize = 1000;

/// Requests in flight unless told otherwise.
pub const DEFAULT_CONNECTIONS: usize = 32;

/// Most requests in flight.
pub const MAX_CONNECTIONS: usize = 1024;

/// Jobs that wait for the threads; the callers beyond wait at the door.
pub const MAX_QUEUED_JOBS: usize = 256;

/// Jobs that one thread works at; most of them wait for their turn on the network.
pub const MAX_JOBS_PER_THREAD: usize = 1024;

/// Most threads.
pub const MAX_THREADS: usize = 16;

/// Attempts of one request; a deadline usually comes first.
pub const MAX_ATTEMPTS: u32 = 16;

/// Attempts of a request that the server calls wrong: bytes may have been damaged on their way.
pub const MAX_BAD_REQUESTS: u32 = 3;

/// Times that one request learns of another region.
pub const MAX_REDIRECTS: u32 = 3;

/// Longest pause before the second attempt.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Longest pause before any attempt.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Time within which requests for fewer requests count as one.
pub const SLOWDOWN_COOLDOWN: Duration = Duration::from_millis(500);

/// Time to connect unless told otherwise.
pub const DEFAULT_CONNECT: Duration = Duration::from_secs(3);

/// Time without a byte of an answer unless told otherwise.
pub const DEFAULT_READ: Duration = Duration::from_secs(5);

/// Time for one attempt of a small request unless told otherwise.
pub const DEFAULT_ATTEMPT: Duration = Duration::from_secs(10);

/// Time for all attempts of a small request unless told otherwise; a read must end within 30 s.
pub const DEFAULT_OPERATION: Duration = Duration::from_secs(25);

/// Longest of these times that can be asked for.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Slowest transfer of a large body that is waited for.
pub const MIN_BYTES_PER_SECOND: u64 = 1 << 20;

/// Time that an idle connection is kept.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// Time before their end when credentials are renewed.
pub const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Least time between two attempts to renew credentials that still work.
pub const RENEW_PAUSE: Duration = Duration::from_secs(10);

/// Time for one request to a service that hands out credentials.
pub const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(3);

/// Most bytes of a file or answer with credentials.
pub const MAX_CREDENTIALS_BYTES: u64 = 1 << 20;

/// Most bytes of a file of trusted certificates.
pub const MAX_CA_BYTES: u64 = 4 << 20;

/// Difference of the clocks that explains a refusal.
pub const NOTABLE_SKEW: Duration = Duration::from_secs(300);

/// Callers that race when the store proves its conditional put.
pub const PROOF_RACERS: usize = 8;

/// Longest bucket name, by the protocol.
pub const MAX_BUCKET_NAME: usize = 63;

const _: () = assert!(MAX_SINGLE_PUT_BYTES <= 5 << 30, "the most that S3 takes in one request");
const _: () = assert!(PART_BYTES >= 5 << 20 && PART_BYTES <= MAX_SINGLE_PUT_BYTES);
const _: () = assert!(PAGE_KEYS <= 1000 && DELETE_KEYS <= 1000, "the most that S3 takes");
const _: () = assert!(DEFAULT_CONNECTIONS <= MAX_CONNECTIONS);
const _: () = assert!(MAX_CONNECTIONS <= MAX_JOBS_PER_THREAD, "one thread can use them all");
const _: () = assert!(DEFAULT_CONNECTIONS >= PROOF_RACERS, "the racers race");
const _: () = assert!(DEFAULT_ATTEMPT.as_secs() < DEFAULT_OPERATION.as_secs());
const _: () = assert!(DEFAULT_OPERATION.as_secs() < 30, "a read ends within 30 s");
