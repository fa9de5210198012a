//! The product's world: executors pinned to cores, io_uring files, sockets, clock and the rings
//! between cores. It stands behind the seams of [`wal::disk`], [`wal::runtime`] and
//! [`crate::engine::mesh`]; the engine never names it.
//!
//! glommio 0.9.0 is what runs below, and it has traps. Each is worked around here, in one place,
//! and has a test:
//!
//! * An executor that is descheduled between harvesting and running parks with runnable tasks:
//!   [`heartbeat`] bounds that stall.
//! * A first direct read that returns nothing makes it believe in I/O polling: [`cores`] warms each
//!   executor up with a file that has content.
//! * Wakes from other threads are harvested only when the run queue drains: [`clock`] has the pause
//!   that lets that happen, and [`mesh`] has one task per core that other threads ever wake.
//! * Its own listeners share their port with any other server: [`listener`] makes them itself.
//! * A panic ends one executor and leaves the others waiting: see [`cores::abort_on_panic`].
//! * Threads started on an executor inherit its pin: start all others before [`cores`].

pub mod checks;
pub mod clock;
pub mod cores;
pub mod disk;
pub mod heartbeat;
pub mod limits;
pub mod listener;
pub mod mesh;
mod names;
pub mod nudge;
mod reserved;
pub mod signals;
pub mod stream;

pub use clock::{GlommioRuntime, start_computers};
pub use cores::{CoreContext, CoreOptions, CorePlan, Cores};
pub use disk::GlommioDisk;
pub use listener::{BoundListener, IncomingFd, ListenAddr, Listener};
pub use mesh::{MeshEnd, RingMesh};
pub use signals::StopSignals;
pub use stream::{ByteStream, Stream};
