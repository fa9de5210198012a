//! Named limits of the simulation.

use std::time::Duration;

/// Virtual nanoseconds that one step of a task takes.
pub const STEP_NANOS: u64 = 200;

/// Lines of its trace that a world keeps for a report.
pub const LOG_LINES: usize = 400;

/// Tasks that a report of a stuck world lists.
pub const REPORTED_TASKS: usize = 24;

/// Steps that one phase of a world may take before it counts as stuck.
pub const PHASE_STEPS: u64 = 2_000_000;

/// Virtual time that one phase of a world may take before it counts as stuck.
pub const PHASE_SPAN: Duration = Duration::from_secs(3600);

/// Most virtual time that two uploads of a cut take while nothing is wrong with disk and store.
/// What is older than this and the time between cuts outlives the local disk.
pub const UPLOAD_SPAN: Duration = Duration::from_secs(1);

/// Most virtual time that a read takes that stands behind no others: the engine's own bound for each of
/// two shards, one after the other, and a disk that stalls.
pub const READ_SPAN: Duration = Duration::from_secs(75);

/// Steps between two looks at the subject's memory.
pub const LOOK_STEPS: u64 = 8;

/// Virtual time of a rest: the engine's pauses for what it does when nothing comes, with room for
/// calls that stall.
pub const REST: Duration = Duration::from_secs(30);

/// Virtual time from the return of space on a full disk until no command that is sent then may be
/// refused for want of it.
pub const SPACE_SPAN: Duration = Duration::from_secs(10);

/// Fewest crashes of a world.
pub const MIN_CRASHES: u64 = 3;

/// Most sectors of one request of the workload: 64 KiB.
pub const MAX_REQUEST_SECTORS: u64 = 128;

/// Most snapshots that there are at a time.
pub const MAX_SNAPSHOTS: usize = 4;

/// Most blocks that a world writes to, over all its windows.
pub const MAX_TRACKED_BLOCKS: u64 = 64;

const _: () = assert!(REST.as_secs() >= 4 * crate::engine::limits::UNSYNCED_AGE.as_secs());
const _: () = assert!(SPACE_SPAN.as_secs() > crate::engine::limits::SPACE_PAUSE.as_secs());
const _: () = assert!(MIN_CRASHES >= 3, "a crash, one in its recovery, and one after that");
