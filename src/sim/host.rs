//! The machine that one process runs on: cores with their disk, store and runtime.

use super::disk::{Drive, SimDisk};
use super::executor::{Executor, ProcessId};
use super::mesh::SimMesh;
use super::runtime::SimRuntime;
use super::scenario::Tuning;
use super::store::{Bucket, SimStore};
use crate::engine::Env;
use crate::engine::mesh::CoreId;

/// The simulation's world, for the engine's type parameters.
#[derive(Clone, Copy, Debug)]
pub struct SimEnv;

impl Env for SimEnv {
    type Disk = SimDisk;
    type Store = SimStore;
    type Runtime = SimRuntime;
    type Mesh = SimMesh<crate::engine::message::Wire>;
}

/// What one core of a process has.
#[derive(Clone)]
pub struct SimCore {
    /// Time, randomness and scheduling.
    pub runtime: SimRuntime,
    /// The local disk, shared by all cores.
    pub disk: SimDisk,
    /// The object store, shared by all cores.
    pub store: SimStore,
}

/// Everything that one process has.
#[derive(Clone)]
pub struct Host {
    executor: Executor,
    process: ProcessId,
    /// What the host knows itself by.
    pub identity: u64,
    /// Whether it takes the volume over, whoever has it.
    pub takes_over: bool,
    /// Whether it does so when the lease of the host that has it has run out.
    pub waits: bool,
    /// The cores, at least one.
    pub cores: Vec<SimCore>,
    /// Sizes and limits that the world wants of its subject.
    pub tuning: Tuning,
    /// Size of the volume, in blocks.
    pub volume_blocks: u64,
}

impl Host {
    /// Starts a process with `cores` cores.
    #[must_use]
    pub fn boot(
        executor: &Executor,
        drive: &Drive,
        bucket: &Bucket,
        cores: u16,
        tuning: Tuning,
        volume_blocks: u64,
    ) -> Self {
        let process = executor.start_process();
        let core = |core| SimCore {
            runtime: executor.runtime(process, CoreId(core)),
            disk: drive.attach(process),
            store: bucket.attach(process),
        };
        let cores = (0..cores).map(core).collect();
        let (identity, takes_over) = (drive.identity(), drive.is_strange());
        Self {
            executor: executor.clone(),
            process,
            identity,
            takes_over,
            waits: false,
            cores,
            tuning,
            volume_blocks,
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Whether the process was not killed yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.executor.is_alive(self.process)
    }

    /// A mesh between the cores, for messages of the subject's own type: one end per core.
    #[must_use]
    pub fn mesh<M: 'static>(&self) -> Vec<SimMesh<M>> {
        let cores = self.cores.len() as u16;
        let Tuning { ring_messages, ring_delay, .. } = self.tuning;
        SimMesh::connect(&self.executor, self.process, cores, ring_messages, ring_delay)
    }
}
