//! The deterministic simulation: all cores of a server on one thread, in an order that a seed
//! decides, on a disk that tears, drops and reorders what was not synced, and a judge that knows
//! what may be read after any of it.
//!
//! One seed is one world: [`world::run`] makes a [`scenario::Scenario`] from it, starts a
//! [`subject::Subject`] (the engine, or the small reference in [`naive`]), lets clients work, cuts
//! the power, recovers, and judges, several times over. Nothing here depends on time, addresses
//! or the order of a hash map, so a seed run twice gives the same [`trace::Trace`].

pub mod content;
pub mod disk;
pub mod engine;
pub mod executor;
mod ghost;
pub mod host;
pub mod judge;
pub mod limits;
pub mod mesh;
pub mod naive;
pub mod random;
pub mod runtime;
pub mod scenario;
pub mod store;
pub mod subject;
pub mod trace;
pub mod workload;
pub mod world;

pub use disk::{Drive, PowerLoss, SimDisk};
pub use executor::{Budget, Executor, ProcessId, Stuck};
pub use host::{Host, SimCore, SimEnv};
pub use judge::Judge;
pub use mesh::SimMesh;
pub use random::Random;
pub use runtime::SimRuntime;
pub use scenario::{FailsAt, Scenario, Tuning};
pub use store::{Bucket, SimStore};
pub use subject::{OpError, Subject};
pub use workload::Deed;
