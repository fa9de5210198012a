//! Every bound of the runtime, with the reason for its value.

use std::time::Duration;

/// Beat of the heartbeat while a core has something in flight: bounds the stall of an executor that
/// parked with runnable tasks.
pub const HEARTBEAT_BUSY: Duration = Duration::from_millis(10);

/// Beat of the heartbeat of an idle core: bounds the same stall for the first request after a pause.
pub const HEARTBEAT_IDLE: Duration = Duration::from_millis(100);

/// Busy beats without any activity after which a core counts as idle.
pub const HEARTBEAT_QUIET_BEATS: u32 = 50;

/// Timers that a heartbeat sets at a time, each twice as far away as the one before: as many times
/// in a row an executor may park with runnable tasks without hanging.
pub const HEARTBEAT_RUNGS: usize = 8;

/// How long an executor may take to start before it is nudged.
pub const START_PATIENCE: Duration = Duration::from_secs(1);

/// Shortest sleep: a timer in the past is served before completions are harvested, and a loop over
/// it starves everything else on the core.
pub const MIN_SLEEP: Duration = Duration::from_micros(50);

/// How much nicer threads are that compute what no client waits for: 10 is a tenth of a processor that
/// others want as well. Writing a compressed image of 2 GiB beside two busy cores lost 42 %, nothing
/// and nothing in three runs without it; in four with it, nothing, nothing, nothing and 20 %.
pub const NICE_BEHIND: i32 = 10;

/// Messages that one ring between two cores holds; a sender waits beyond that.
pub const MESH_RING_SLOTS: usize = 1024;

/// Messages that a core takes in one go before it lets its other tasks run.
pub const MESH_RECEIVE_BURST: u32 = 64;

/// A receiver looks for waiting senders each time it took this many messages of a ring, and when
/// the ring is empty.
pub const MESH_SPACE_STEP: u32 = 64;

/// Largest single write when a file is made: long enough for full speed, short enough that the
/// appends of the same core get their turn.
pub const CREATE_WRITE_BYTES: usize = 1 << 20;

/// Slices of one `sendmsg`: the kernel's `UIO_MAXIOV`.
pub const SEND_SLICES: usize = 1024;

/// Connections that wait for an accept.
pub const LISTEN_BACKLOG: i32 = 1024;

/// A TCP client that is silent this long is asked whether it is still there.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Bytes that the kernel takes for a client on a unix socket before it reads them, if the host's
/// `net.core.wmem_max` is not less.
pub const UNIX_SEND_BYTES: usize = 1 << 20;

/// Locked memory that glommio insists on.
pub const MIN_MEMLOCK_BYTES: u64 = 512 << 10;

/// How often a start tries to get locked memory that the server before it may still hold.
pub const RING_MEMORY_TRIES: u32 = 40;

/// Pause between such tries.
pub const RING_MEMORY_PAUSE: Duration = Duration::from_millis(50);

/// Oldest kernel whose io_uring has all operations that are used: major and minor version.
pub const MIN_KERNEL: (u32, u32) = (5, 8);

/// Most memory per core that is registered with the kernel for transfers; more comes from the heap.
pub const MAX_IO_MEMORY_BYTES: u64 = 8 << 20;

/// Least memory per core that is registered; glommio takes this much in any case.
pub const MIN_IO_MEMORY_BYTES: u64 = 64 << 10;

/// Rings of one executor; each of them pins the registered memory again.
pub const RINGS_PER_CORE: u64 = 3;

const _: () = assert!(HEARTBEAT_BUSY.as_millis() < HEARTBEAT_IDLE.as_millis());
const _: () = assert!(MESH_RING_SLOTS as u32 > MESH_SPACE_STEP, "a full ring must reach a step");
const _: () = assert!(CREATE_WRITE_BYTES.is_multiple_of(wal::BLOCK_BYTES), "direct I/O");
const _: () = assert!(MAX_IO_MEMORY_BYTES.is_power_of_two(), "divided among buddies");
