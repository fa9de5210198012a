//! What runs on each core.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use chunk::VolumeName;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::attach::Attach;
use super::clients::{Admitted, Clients};
use super::collect::Collect;
use super::connection;
use super::copies::TakeSnapshot;
use super::drain::Drain;
use super::errand::Errand;
use super::error::ServeError;
use super::flatten::Separate;
use super::group::TakeGroup;
use super::lead::Lead;
use super::local::Local;
use super::resize::ChangeSize;
use super::store::AnyStore;
use crate::engine::core::Core;
use crate::engine::limits::Tuning;
use crate::engine::message::Wire;
use crate::runtime::{CoreContext, IncomingFd, MeshEnd};

/// What core 0 tells a core.
pub(super) enum Order {
    /// Serve this client.
    Serve(IncomingFd, Admitted),
    /// Keep what is cached of these volumes on the disk.
    Pin(Arc<[VolumeId]>),
    /// Take no further requests.
    StopReading,
    /// Cut off the clients that are left; whoever waits on the other end goes on when this is done.
    Cut(Sender<()>),
    /// End.
    End,
}

/// What is the same for all cores.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: AnyStore,
    pub(super) tuning: Tuning,
    /// Payload memory of one core.
    pub(super) payload_bytes: usize,
    /// Identity of the data directory.
    pub(super) host: [u8; 16],
    pub(super) clients: Arc<Clients>,
    /// Volumes that no client may write to.
    pub(super) read_only: Arc<BTreeSet<VolumeName>>,
}

/// What core 0 is there for.
pub(super) enum Role {
    /// To serve.
    Serve(Box<Lead>),
    /// To drain one volume.
    Drain(Drain),
    /// To drain one volume and give it back.
    Detach(Drain),
    /// To open one volume for this host.
    Attach(Attach),
    /// To make a snapshot of one volume.
    Snapshot(Box<TakeSnapshot>),
    /// To make snapshots of several volumes.
    SnapshotGroup(Box<TakeGroup>),
    /// To give one volume another size.
    Resize(ChangeSize),
    /// To separate one clone from what it was made of.
    Separate(Separate),
    /// To collect the garbage of one volume.
    Collect(Collect),
    /// To serve a command of this process.
    Errand(Errand),
}

/// What a core starts with.
pub(super) struct Member {
    pub(super) mesh: MeshEnd<Wire>,
    pub(super) inbox: Receiver<Order>,
    pub(super) shared: Shared,
    /// For core 0, with the way to each core, core 0 included.
    pub(super) lead: Option<(Role, Vec<Sender<Order>>)>,
}

/// The main function of a core.
pub(super) async fn run(context: CoreContext, member: Member) -> Result<(), ServeError> {
    let Member { mesh, inbox, shared, lead } = member;
    let mesh = mesh.bind(&context.runtime);
    let (store, tuning) = (shared.store, shared.tuning);
    let core = Core::new(context.disk, store, context.runtime, mesh, tuning, shared.host);
    context.runtime.spawn(core.clone().serve());
    let local = Local::new(core, shared.clients, shared.payload_bytes, shared.read_only);
    let orders = obey(local.clone(), inbox);
    match lead {
        Some((role, cores)) => {
            context.runtime.spawn(orders);
            let result = match role {
                Role::Serve(lead) => lead.run(local).await,
                Role::Drain(drain) => drain.run(local).await,
                Role::Detach(drain) => drain.give_back(local).await,
                Role::Attach(attach) => attach.run(local).await,
                Role::Snapshot(take) => take.run(local).await,
                Role::SnapshotGroup(take) => take.run(local).await,
                Role::Resize(change) => change.run(local).await,
                Role::Separate(separate) => separate.run(local).await,
                Role::Collect(collect) => collect.run(local).await,
                Role::Errand(errand) => errand.run(local).await,
            };
            for core in &cores {
                // Fails only for a core that has ended.
                let _ = core.send(Order::End).await;
            }
            result
        }
        None => {
            orders.await;
            Ok(())
        }
    }
}

/// Does what core 0 says until it says that this is the end.
async fn obey(local: Rc<Local>, inbox: Receiver<Order>) {
    while let Ok(order) = inbox.recv().await {
        match order {
            Order::Serve(socket, admitted) => {
                let stream = socket.into_stream();
                local.core.runtime.spawn(connection::serve(local.clone(), stream, admitted));
            }
            Order::Pin(volumes) => local.core.chunk_cache.pin(&volumes),
            Order::StopReading => local.stop_reading(),
            Order::Cut(done) => {
                local.cut_all();
                drop(done);
            }
            Order::End => return,
        }
    }
}
