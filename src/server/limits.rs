//! Every bound of the server between sockets and engine, with the reason for its size.

use std::time::Duration;

use nbd::limits::MAX_PAYLOAD;

/// Connections at a time. Each costs its read buffer, and its replies until the client takes them.
pub const MAX_CONNECTIONS: usize = 512;

/// Requests of one connection that wait for something. The reader stops at this number.
pub const MAX_IN_FLIGHT: usize = 256;

/// First size of a connection's read buffer ...
pub const READ_BUFFER_MIN: usize = 32 << 10;
/// ... and the size up to which it grows while the client fills it: 20 writes of 4 KiB and their
/// headers arrive with one system call.
pub const READ_BUFFER_MAX: usize = 96 << 10;

/// Payloads up to this size are taken from the read buffer; longer ones are read from the socket
/// into memory of their own.
pub const INLINE_PAYLOAD: usize = 64 << 10;

/// Replies up to this size are collected in one buffer; longer ones go out from the memory that
/// they were read into.
pub const INLINE_REPLY: usize = 64 << 10;

/// Bytes that hold what comes before the data of a reply.
pub const HEADER_ROOM: usize = 64;

/// Collected replies are sent before anything else when they exceed this.
pub const REPLY_BATCH: usize = 128 << 10;

/// Bytes of one system call that sends; each must finish within [`STALL_TIMEOUT`].
pub const SEND_BYTES: usize = 1 << 20;

/// Payload of requests and replies under way on one connection: so much that a single one of the
/// largest requests does not keep the next from being read.
pub const CONNECTION_PAYLOAD: usize = 2 * MAX_PAYLOAD as usize;

/// Payload that a connection may have under way beside the shared memory of its core, whatever
/// others do.
pub const CONNECTION_RESERVE: usize = 128 << 10;

/// Least payload memory of one core: one of the largest requests.
pub const MIN_CORE_PAYLOAD: usize = MAX_PAYLOAD as usize;

/// Slots of one file of the cache on the disk: 64 MiB, so that the largest default takes 128 open
/// files.
pub const SLAB_SLOTS: u32 = 512;

/// Least memory of a process that reads ahead.
pub const READ_AHEAD_MEMORY: u64 = 1 << 30;

/// Memory that one core's append buffers and fetches take beside all shares.
pub const CORE_BUFFERS: u64 = 16 << 20;

/// Objects that a core builds and uploads at a time, however little memory there is: one is built
/// while one is uploaded ...
pub const MIN_UPLOADS: usize = 2;
/// ... and however much: 16 parallel requests use up what one client gets of a store, while others
/// are being built or copied to the cache on the disk.
pub const MAX_UPLOADS: usize = 24;

/// Buffers for large payloads that a core keeps for the next request.
pub const KEPT_PAYLOAD: usize = 2 << 20;

/// Longest time from connecting to the first request of the transmission phase, without the time
/// that opening the volume takes.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A client that neither takes a reply nor finishes a payload for this long is cut off: it holds
/// memory that others need.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What a client must send of a long payload in that time.
pub const PROGRESS_BYTES: usize = 1 << 20;

/// As [`STALL_TIMEOUT`], while others wait for memory.
pub const PRESSED_STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Beat of the look at stalled connections, while there are any connections.
pub const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Longest time that a core works without looking for completions and wakes of other threads.
pub const BUSY_SLICE: Duration = Duration::from_micros(300);

/// How long a core looks at the socket of a client before it waits: as long as most clients take
/// to send the next request, and no longer than other tasks of the core may be held up.
pub const SPIN_SPAN: Duration = Duration::from_micros(30);

/// A wait shorter than this, waking included, is one that a look would have saved.
pub const SPIN_SHORT_WAIT: Duration = Duration::from_micros(90);

/// Most waits without a look after looks in vain.
pub const SPIN_SKIPS_MAX: u32 = 1024;

/// How often an address that is in use is tried ...
pub const BIND_TRIES: u32 = 40;
/// ... and the pause between two tries.
pub const BIND_PAUSE: Duration = Duration::from_millis(25);

/// Pause after an accept that failed: out of descriptors, most likely.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections on their way to a core.
pub const CORE_INBOX: usize = 128;

/// Bytes that one CACHE request reads ahead at most.
pub const CACHE_BYTES: u64 = 32 << 20;
/// Bytes that it reads at a time.
pub const CACHE_PIECE: u64 = 1 << 20;

/// Longest wait for requests under way when the server ends.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// As [`DRAIN_TIMEOUT`], when another process takes the place of this one: its clients wait
/// meanwhile, and send again what got no reply.
pub const LEAVE_DRAIN: Duration = Duration::from_millis(500);

/// Longest wait for uploads before that, while clients go on: what is in the store by then need not be
/// recovered from the log while they wait.
pub const SHARE_DRAIN: Duration = Duration::from_secs(10);

/// Pauses, each of [`END_POLL`], until the kernel has taken back the accepts of a listener that is
/// dropped.
pub const LET_GO_PAUSES: u32 = 4;

/// Longest wait for volumes to publish what they have when the server ends. What is left is in
/// the log.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the logs of all volumes to become durable when the server ends.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

/// Volumes that are closed at a time when the server ends: they wait for the disk and the store.
pub const CLOSES: usize = 16;

/// Longest wait for the names of volumes, where a message can do with their numbers.
pub const NAMES_TIMEOUT: Duration = Duration::from_secs(1);

/// Volumes that one line of the log names at most.
pub const NAMED: usize = 10;

/// Pause between two looks at something that ends soon.
pub const END_POLL: Duration = Duration::from_millis(5);

/// Volumes that are recovered at a time when the server starts: enough to cover the latency of a
/// store, few enough that clients of other volumes hardly notice.
pub const RECOVERIES: usize = 4;

/// Longest wait for a recovered volume to upload what it had logged, before the next one's turn.
pub const RECOVERY_DRAIN: Duration = Duration::from_secs(30);

/// First and longest pause before what the store kept from being recovered is tried again.
pub const RECOVERY_RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RECOVERY_RETRY_FIRST`].
pub const RECOVERY_RETRY_LONGEST: Duration = Duration::from_secs(60);

/// Pause between two looks at how much of a drain is left ...
pub const COUNT_PAUSE: Duration = Duration::from_millis(200);
/// ... and the longest wait for that number.
pub const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// Fewer open files than this are worth a warning: some hundred volumes would need more.
pub const FEW_FILES: u64 = 4096;

/// Where a command that serves itself listens, in the data directory.
pub const ERRAND_SOCKET: &str = "errand.sock";

/// Threads for the calls of the file store that block.
pub const STORE_THREADS: usize = 8;

/// Processors for each thread that compresses what goes to the store, where the cores leave none
/// free: one compresses about 500 MB/s.
pub const PROCESSORS_PER_COMPUTER: usize = 4;

/// Threads that talk to an S3 store. One spends 2 to 3 ms on 4 MiB, signed or encrypted.
pub const S3_THREADS: usize = 1;

const _: () = assert!(MAX_IN_FLIGHT >= 128, "what clients are promised");
const _: () = assert!(INLINE_PAYLOAD + 64 <= READ_BUFFER_MAX, "an inline request fits");
const _: () = assert!(CONNECTION_PAYLOAD >= MAX_PAYLOAD as usize, "the largest request fits");
const _: () = assert!(CONNECTION_RESERVE >= 2 * INLINE_REPLY, "small requests find room");
const _: () = assert!(INLINE_REPLY <= REPLY_BATCH, "a collected reply is one of a batch");

/// Longest first look at a bucket.
pub const FIRST_LOOK: Duration = Duration::from_secs(5);

/// First and longest pause between two looks for a store that is down when the server starts.
pub const STORE_RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`STORE_RETRY_FIRST`].
pub const STORE_RETRY_LONGEST: Duration = Duration::from_secs(15);

/// Longest time that a status waits for each of the three things that it asks of the store.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a snapshot may take besides what its log takes.
pub const PUT_GRACE: Duration = Duration::from_secs(5);

/// How long whoever wants to use a snapshot waits for it to come to the store.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

const _: () = assert!(PUT_GRACE.as_secs() < crate::control::limits::SHORT_OP_TIMEOUT.as_secs());

/// Passes of the collector for one command: one that finds garbage, one that removes it and
/// compacts, one that removes what that left, and one for what came in between.
pub const COLLECT_PASSES: u32 = 4;

const _: () = assert!(
    FLUSH_TIMEOUT.as_secs() + SHARE_DRAIN.as_secs()
        < crate::control::limits::HAND_OVER_TIMEOUT.as_secs(),
    "who replaces this process hears of it"
);
