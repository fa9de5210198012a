//! The server: volumes as NBD exports, from sockets down to the engine.
//!
//! Layout of the data directory:
//!
//! | Path | What it is |
//! |---|---|
//! | `lock` | held by the one process that serves the directory |
//! | `control.sock` | where the other commands ask that process |
//! | `host-id` | 16 random bytes, written once: whose local data a volume's log is |
//! | `wal/<volume>/` | segment files of the write-ahead log of a volume |
//! | `store/` | objects, unless `--store` says otherwise |
//! | `nbd.sock` | where clients connect, unless `--listen` says otherwise |
//! | `.direct-io-probe` | a block that executors read when they start |
//!
//! Core 0 leads: it accepts connections and deals them to the cores in turn, answers the control
//! socket, and ends the server. Each core serves its connections by itself.

mod accept;
mod admin;
mod budget;
mod clients;
mod connection;
mod env;
mod errno;
mod error;
mod host_id;
mod input;
mod lead;
pub mod limits;
mod line;
mod local;
mod member;
mod memory;
mod negotiate;
mod outbox;
mod perform;
mod ready;
mod receive;
mod store;
mod turn;
mod volumes;

use std::sync::Arc;

use async_channel::Receiver;
use chunk::Workers;

use crate::config::{NewVolume, Settings};
use crate::control::ControlRequest;
use crate::engine::limits::RING_MESSAGES;
use crate::runtime::cores::abort_on_panic;
use crate::runtime::{CoreOptions, CorePlan, RingMesh, StopSignals};

pub use env::ProductEnv;
pub use error::ServeError;
pub use store::{Access, AnyStore, OpenError};

use clients::Clients;
use lead::Lead;
use member::{Member, Shared};

/// Serves all volumes of the store until SIGTERM or SIGINT; makes those of `create` that are
/// missing first. The caller holds the lock on the data directory.
///
/// # Errors
/// If something keeps the server from starting. Once it serves, it ends well.
pub fn run(
    settings: &Settings,
    create: &[NewVolume],
    requests: Receiver<ControlRequest>,
) -> Result<(), ServeError> {
    abort_on_panic();
    let stop = StopSignals::catch().map_err(ServeError::Signals)?;
    let plan = CorePlan::new(&options(settings))?;
    let cores = plan.cores();
    // All other threads start before the executors, whose pin they would inherit.
    let workers = Workers::start(limits::STORE_THREADS).map_err(ServeError::Workers)?;
    let store = AnyStore::open(settings, Access::Write, workers.clone())?;
    let shared = Shared {
        store,
        tuning: memory::tuning(settings, cores),
        payload_bytes: memory::core_payload(settings, cores),
        host: host_id::load(&settings.data_dir)?,
        clients: Arc::new(Clients::default()),
    };
    let listeners = accept::bind(&settings.listen)?;
    let (senders, inboxes): (Vec<_>, Vec<_>) =
        (0..cores).map(|_| async_channel::bounded(limits::CORE_INBOX)).unzip();
    let mut lead = Some(Lead {
        settings: settings.clone(),
        create: create.to_vec(),
        listeners,
        requests,
        stop,
        workers,
        cores: senders,
    });
    let ends = RingMesh::build_with_slots(cores, RING_MESSAGES);
    let seeds = ends.into_iter().zip(inboxes).map(|(mesh, inbox)| Member {
        mesh,
        inbox,
        shared: shared.clone(),
        lead: lead.take(),
    });
    let running = plan.start(seeds.collect(), member::run)?;
    running.join()?.into_iter().collect()
}

fn options(settings: &Settings) -> CoreOptions {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    CoreOptions {
        cores: Some(settings.cores),
        share_cpus: usize::from(settings.cores) > available,
        ..CoreOptions::new(&settings.data_dir)
    }
}
