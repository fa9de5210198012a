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
pub(crate) mod attach;
mod budget;
mod clients;
mod collect;
mod connection;
pub mod copies;
mod crew;
mod descriptors;
mod direct;
mod drain;
mod end;
mod env;
mod errand;
mod errno;
mod error;
mod flatten;
mod group;
pub mod hand_over;
pub mod host_id;
mod input;
pub mod kept;
mod lead;
pub mod limits;
mod line;
mod local;
mod member;
mod memory;
mod negotiate;
mod outbox;
mod patience;
mod perform;
mod ready;
mod receive;
mod recover;
mod report;
pub mod resize;
mod spin;
mod store;
mod store_wait;
mod traffic;
mod turn;
mod volumes;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use chunk::{SnapshotHeader, SnapshotName, VolumeName, Workers};
use wal::VolumeId;

use crate::config::{ByteSize, DiskCache, Listen, NewVolume, Settings};
use crate::control::ControlRequest;
use crate::engine::collect::Collected;
use crate::engine::flatten::{Flattened, Flattening};
use crate::engine::limits::RING_MESSAGES;
use crate::engine::snapshot::NewSnapshot;
use crate::runtime::cores::abort_on_panic;
use crate::runtime::{CoreOptions, CorePlan, RingMesh, StopSignals, start_computers};

pub use attach::AttachError;
pub use collect::CollectError;
pub use copies::CopyError;
pub use drain::DrainError;
pub use end::NotDurable;
pub use env::ProductEnv;
pub use error::ServeError;
pub use flatten::FlattenError;
pub use hand_over::{Beginning, Ended, ReplaceError};
pub use resize::ResizeError;
pub use store::{Access, AnyStore, OpenError};
pub use traffic::VolumeTraffic;

use attach::Attach;
use clients::Clients;
use copies::TakeSnapshot;
use drain::Drain;
use errand::Errand;
use flatten::Separate;
use group::TakeGroup;
use lead::Lead;
use member::{Member, Order, Role, Shared};
use resize::{ChangeSize, NewSize, Resized};

/// Serves all volumes of the store until SIGTERM or SIGINT, or until another process takes its
/// place; makes those of `create` that are missing first. The caller holds the lock on the data
/// directory, or gets it when the server that has it leaves.
///
/// # Errors
/// If something keeps the server from starting, or not all is durable at its end.
pub fn run(
    settings: &Settings,
    create: &[NewVolume],
    requests: Receiver<ControlRequest>,
    beginning: Beginning<'_>,
) -> Result<Ended, ServeError> {
    if let Some(files) = descriptors::raise().filter(|files| *files < limits::FEW_FILES) {
        log::warn!("only {files} files may be open (`ulimit -n`): that is enough for few volumes");
    }
    let stop = StopSignals::catch().map_err(ServeError::Signals)?;
    let workers = Workers::start(limits::STORE_THREADS).map_err(ServeError::Workers)?;
    let Some(store) = store_wait::open(settings, &workers, &requests, &stop)? else {
        return Ok(Ended::Stopped);
    };
    let (left, leaving) = sync_channel(1);
    let is_replacing = matches!(beginning, Beginning::Replacing(_));
    let lead = |listeners, stop| {
        let (settings, create) = (settings.clone(), create.to_vec());
        move |cores, workers| Lead {
            settings,
            create,
            listeners,
            requests,
            stop,
            workers,
            cores,
            is_replacing,
            left,
        }
    };
    let serve = |lead| Role::Serve(Box::new(lead));
    match beginning {
        Beginning::Alone => start(settings, (store, workers), |cores, workers| {
            let listeners = accept::bind(&settings.listen)?;
            Ok(serve(lead(listeners, stop)(cores, workers)))
        })?,
        Beginning::Replacing(take) => {
            let (old, listeners) = hand_over::find(settings)?;
            if stop.came_within(limits::END_POLL).map_err(ServeError::Signals)? {
                return Err(ReplaceError::Stopped.into());
            }
            let role = |cores, workers| Ok(serve(lead(listeners, stop)(cores, workers)));
            start_after(settings, (store, workers), role, || Ok(take(old)?))?;
        }
    }
    Ok(leaving.try_recv().map_or(Ended::Stopped, Ended::Left))
}

/// Uploads everything that the log of a volume has and the store lacks; `tell` hears from time to
/// time how much that still is. The caller holds the lock on the data directory.
///
/// # Errors
/// [`DrainError`] when the time is over, or the volume cannot be opened.
pub fn drain(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    timeout: Duration,
    tell: Box<dyn Fn(ByteSize) + Send>,
) -> Result<(), ServeError> {
    let settings = alone(settings);
    let store = open_store(&settings)?;
    start(&settings, store, |_, _| Ok(Role::Drain(Drain { name, id, timeout, tell })))
}

/// Opens a volume for this host and leaves it to the next server on the data directory; with
/// `force` it is taken from whatever host has it. The caller holds the lock on the data directory.
///
/// # Errors
/// The volume cannot be opened.
pub fn attach(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    force: bool,
) -> Result<(), ServeError> {
    let settings = alone(settings);
    let store = open_store(&settings)?;
    start(&settings, store, |_, _| Ok(Role::Attach(Attach { name, id, force })))
}

/// Uploads all of a volume and gives it back. The caller holds the lock on the data directory.
///
/// # Errors
/// [`DrainError`] when the time is over, or the volume cannot be opened.
pub fn detach(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    timeout: Duration,
) -> Result<(), ServeError> {
    let settings = alone(settings);
    let store = open_store(&settings)?;
    let tell = Box::new(|_| ());
    start(&settings, store, |_, _| Ok(Role::Detach(Drain { name, id, timeout, tell })))
}

/// For a command: one core can do it, whatever number made the log, and needs the least. The caches
/// on the disk belong to the cores of the server.
fn alone(settings: &Settings) -> Settings {
    let disk_cache = DiskCache { size: ByteSize::default(), ..settings.disk_cache.clone() };
    Settings { cores: 1, disk_cache, ..settings.clone() }
}

/// Removes what nothing needs of a volume, and compacts it; with `dry_run`, tells what there is to
/// do. The caller holds the lock on the data directory.
///
/// # Errors
/// [`CollectError`] if the volume cannot be opened, or some of its map cannot be read.
pub fn collect(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    dry_run: bool,
) -> Result<Collected, ServeError> {
    ask_alone(settings, |done| Role::Collect(collect::Collect { name, id, dry_run, done }))
}

/// Makes a snapshot of a volume that this host has: its log is recovered, and all of it uploaded.
/// The volume is given back. The caller holds the lock on the data directory.
///
/// # Errors
/// [`CopyError`] when the time is over, or the volume cannot be opened.
pub fn snapshot(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    new: NewSnapshot,
) -> Result<SnapshotHeader, ServeError> {
    ask_alone(settings, |made| Role::Snapshot(Box::new(TakeSnapshot { name, id, new, made })))
}

/// Serves one client, which is a function of this process: it hears where to connect. If it writes
/// and all went well, what it wrote is in the store when this returns. The caller holds the lock on
/// the data directory.
///
/// # Errors
/// If nothing can be served; else the outer result has what the function returns.
pub fn errand<T: Send, E: Send>(
    settings: &Settings,
    writes: bool,
    client: impl FnOnce(&Listen) -> Result<T, E> + Send,
) -> Result<Result<T, E>, ServeError> {
    let settings = alone(settings);
    let address = Listen::Unix(settings.data_dir.join(limits::ERRAND_SOCKET));
    let store = open_store(&settings)?;
    let mut listeners = accept::bind(std::slice::from_ref(&address))?;
    let listener = listeners.pop().expect("one address is one listener");
    let (sender, over) = async_channel::bounded(1);
    // The client's thread comes before the executors, whose pin it would inherit.
    std::thread::scope(|scope| {
        let client = scope.spawn(move || {
            let outcome = client(&address);
            // Fails only if the server has ended badly.
            let _ = sender.send_blocking(writes && outcome.is_ok());
            outcome
        });
        start(&settings, store, |cores, _| Ok(Role::Errand(Errand { listener, over, cores })))?;
        Ok(client.join().expect("a panic ends the process"))
    })
}

/// Makes snapshots of this name of several volumes at one instant, and gives the volumes back. The
/// caller holds the lock on the data directory.
///
/// # Errors
/// As [`snapshot`], for any of them: none is made then.
pub fn snapshot_group(
    settings: &Settings,
    volumes: Vec<(VolumeName, VolumeId)>,
    name: SnapshotName,
    timeout: Duration,
) -> Result<Vec<SnapshotHeader>, ServeError> {
    ask_alone(settings, |made| {
        Role::SnapshotGroup(Box::new(TakeGroup { volumes, name, timeout, made }))
    })
}

/// Gives a volume another size, and gives the volume back. The caller holds the lock on the data
/// directory.
///
/// # Errors
/// [`ResizeError`] when the time is over, the volume would shrink and may not, or cannot be opened.
pub fn resize(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    new: NewSize,
) -> Result<Resized, ServeError> {
    ask_alone(settings, |done| Role::Resize(ChangeSize { name, id, new, done }))
}

/// Separates a clone from what it was made of, and gives it back; `tell` hears from time to time how
/// far that is. The caller holds the lock on the data directory.
///
/// # Errors
/// [`FlattenError`] if snapshots of it share with that, it cannot be opened, or some of it cannot be
/// read.
pub fn flatten(
    settings: &Settings,
    (name, id): (VolumeName, VolumeId),
    tell: Box<dyn Fn(Flattening) + Send>,
) -> Result<Flattened, ServeError> {
    ask_alone(settings, |done| Role::Separate(Separate { name, id, tell, done }))
}

/// Does what brings something back, where no server runs.
fn ask_alone<T>(
    settings: &Settings,
    role: impl FnOnce(SyncSender<T>) -> Role,
) -> Result<T, ServeError> {
    let settings = alone(settings);
    let store = open_store(&settings)?;
    let (sender, answer) = sync_channel(1);
    start(&settings, store, |_, _| Ok(role(sender)))?;
    Ok(answer.try_recv().expect("what was done is told of"))
}

fn open_store(settings: &Settings) -> Result<(AnyStore, Workers), ServeError> {
    let workers = Workers::start(limits::STORE_THREADS).map_err(ServeError::Workers)?;
    Ok((AnyStore::open(settings, Access::Write, workers.clone())?, workers))
}

/// Starts the cores and waits for their end; core 0 does what `role` says.
fn start(
    settings: &Settings,
    opened: (AnyStore, Workers),
    role: impl FnOnce(Vec<Sender<Order>>, Workers) -> Result<Role, ServeError>,
) -> Result<(), ServeError> {
    start_after(settings, opened, role, || Ok(()))
}

/// As [`start`]; `last` is called when all can start, and nothing of the data directory is in use
/// yet.
fn start_after(
    settings: &Settings,
    (store, workers): (AnyStore, Workers),
    role: impl FnOnce(Vec<Sender<Order>>, Workers) -> Result<Role, ServeError>,
    last: impl FnOnce() -> Result<(), ServeError>,
) -> Result<(), ServeError> {
    abort_on_panic();
    let plan = CorePlan::new(&options(settings))?;
    let cores = plan.cores();
    // All other threads were started before the executors, whose pin they would inherit.
    start_computers(computers(cores)).map_err(ServeError::Workers)?;
    let shared = Shared {
        store,
        tuning: memory::tuning(settings, cores),
        payload_bytes: memory::core_payload(settings, cores),
        host: host_id::load(&settings.data_dir)?,
        clients: Arc::new(Clients::default()),
        read_only: Arc::new(settings.read_only.iter().cloned().collect()),
    };
    let (senders, inboxes): (Vec<_>, Vec<_>) =
        (0..cores).map(|_| async_channel::bounded(limits::CORE_INBOX)).unzip();
    let mut lead = Some((role(senders.clone(), workers)?, senders));
    let ends = RingMesh::build_with_slots(cores, RING_MESSAGES);
    let seeds = ends.into_iter().zip(inboxes).map(|(mesh, inbox)| Member {
        mesh,
        inbox,
        shared: shared.clone(),
        lead: lead.take(),
    });
    let running = plan.start_after(seeds.collect(), member::run, last)?;
    running.join()?.into_iter().collect()
}

/// Threads that compute beside so many cores.
fn computers(cores: u16) -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let free = available.saturating_sub(cores.into());
    free.max(available / limits::PROCESSORS_PER_COMPUTER).max(1)
}

fn options(settings: &Settings) -> CoreOptions {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    CoreOptions {
        cores: Some(settings.cores),
        share_cpus: usize::from(settings.cores) > available,
        ..CoreOptions::new(&settings.data_dir)
    }
}
