//! What core 0 does for all: start, control, end.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use async_channel::{Receiver, Sender};
use chunk::{VolumeName, Workers, catalog};
use futures_lite::future;
use wal::runtime::Runtime;

use super::accept::Dealer;
use super::admin::Admin;
use super::error::ServeError;
use super::hand_over::HandOver;
use super::limits::{END_POLL, LEAVE_DRAIN, LET_GO_PAUSES};
use super::local::Local;
use super::member::Order;
use super::recover::Recovery;
use super::{ready, volumes};
use crate::config::{Listen, NewVolume, Settings};
use crate::control::{ControlRequest, Refusal, Reply};
use crate::engine::signal::Signal;
use crate::error::ErrorKind;
use crate::runtime::{BoundListener, GlommioRuntime, StopSignals};

/// What the lead has to do with.
pub(super) struct Lead {
    pub(super) settings: Settings,
    pub(super) create: Vec<NewVolume>,
    pub(super) listeners: Vec<BoundListener>,
    pub(super) requests: Receiver<ControlRequest>,
    pub(super) stop: StopSignals,
    pub(super) workers: Workers,
    /// One for each core, core 0 included.
    pub(super) cores: Vec<Sender<Order>>,
    /// Whether clients wait for it since another server left.
    pub(super) is_replacing: bool,
    /// Takes who waits for the lock at the end, if anybody does.
    pub(super) left: SyncSender<Reply>,
}

impl Lead {
    /// Runs the server until a signal says stop.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let local = &local;
        // Kept to the end: without it the signals would do nothing.
        let stop = self.stop.serve();
        for new in &self.create {
            let promises = self.settings.new_volumes;
            match volumes::make_if_missing(&local.core.store, new, promises).await {
                // No reason not to serve the other volumes, which the last server did.
                Err(error) if self.is_replacing => log::error!("{error}"),
                made => made?,
            }
        }
        pin(local, &self.cores, &self.settings.disk_cache.pin).await;
        let listen: Vec<Listen> =
            self.listeners.iter().map(|listener| ready::as_setting(listener.address())).collect();
        let copies = HandOver::new(&self.listeners);
        let hand_over = copies.map_err(|source| ServeError::Sockets { source })?;
        let stopped = Rc::new(Stopped::default());
        let dealer = Dealer::new(self.cores.clone(), local.clients.clone());
        for listener in self.listeners {
            let (dealer, accepting) = (dealer.clone(), Accepting::new(&stopped));
            let mut listener = listener.serve();
            GlommioRuntime.spawn(async move {
                future::or(dealer.accept(&listener), accepting.0.wait()).await;
                if accepting.0.is_leaving.get() {
                    listener.leave_file();
                }
                // Drops the listener, which removes its socket.
                drop(listener);
            });
        }
        let recovery = Recovery::new(local.clone(), self.workers.clone(), &self.settings);
        let read_only = self.settings.read_only.clone();
        let admin = Admin::new(
            local.clone(),
            self.settings,
            self.workers,
            listen.clone(),
            hand_over.clone(),
        );
        GlommioRuntime.spawn(admin.serve(self.requests));
        GlommioRuntime.spawn(recovery.run());
        say_ready(local, &listen, &self.create, &read_only).await;
        let told = async {
            stop.next().await;
            None
        };
        let asked = async { Some(hand_over.asker().await) };
        let asker = future::or(told, asked).await;
        hand_over.forget_sockets();
        match asker {
            None => {
                log::info!("stopping");
                stopped.set();
                super::end::end(local, &self.cores).await?;
            }
            Some(asker) => leave(local, &self.cores, &stopped, (asker, self.left)).await?,
        }
        Ok(())
    }
}

/// Steps 4 to 6 of [`super::hand_over`]; who asked for it is told at the end of the process.
async fn leave(
    local: &Rc<Local>,
    cores: &[Sender<Order>],
    stopped: &Stopped,
    (asker, left): (Reply, SyncSender<Reply>),
) -> Result<(), ServeError> {
    log::info!("another process takes the place of this one");
    stopped.is_leaving.set(true);
    stopped.set();
    stopped.no_more_accepting().await;
    match super::end::settle(local, cores, LEAVE_DRAIN).await {
        Ok(()) => {
            // There is room for the one that asked.
            drop(left.try_send(asker));
            Ok(())
        }
        Err(error) => {
            let refusal = Refusal { kind: ErrorKind::Io, message: error.to_string() };
            asker.send(Err(refusal));
            Err(error.into())
        }
    }
}

/// Tells all cores whose chunks stay in the caches on the disk.
async fn pin(local: &Local, cores: &[Sender<Order>], names: &[VolumeName]) {
    let mut pinned = Vec::new();
    for name in names {
        match catalog::find(&local.core.store, name).await {
            Ok(Some(id)) => pinned.push(id),
            Ok(None) => log::warn!("there is no volume {name}: pinned it is from a later start on"),
            Err(error) => log::warn!("volume {name} is not pinned in the cache: {error}"),
        }
    }
    let pinned: Arc<[_]> = pinned.into();
    for core in cores.iter().filter(|_| !pinned.is_empty()) {
        // Fails only for a core that has ended.
        let _ = core.send(Order::Pin(pinned.clone())).await;
    }
}

/// Tells a person, or a script that waits for it, that clients may come.
async fn say_ready(
    local: &Local,
    listen: &[Listen],
    created: &[NewVolume],
    read_only: &[VolumeName],
) {
    let listed = catalog::list(&local.core.store).await.unwrap_or_default();
    let names: Vec<_> = listed.into_iter().flatten().map(|(name, _)| name).collect();
    for missing in read_only.iter().filter(|name| !names.contains(name)) {
        log::warn!("there is no volume {missing} yet: it will be read-only once there is one");
    }
    let export = created.first().map(|new| &new.name).or(names.first());
    // Nobody asks for its size here.
    let export = export.map(|name| local.export(name, 0));
    let text = ready::text(listen, export.as_ref());
    // A closed standard error is no reason not to serve.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says once that the server stops.
#[derive(Default)]
pub(super) struct Stopped {
    set: Cell<bool>,
    /// The sockets and their files are another process's.
    is_leaving: Cell<bool>,
    /// Listeners that accept.
    accepting: Cell<usize>,
    changed: Signal,
}

/// A listener that accepts.
struct Accepting(Rc<Stopped>);

impl Accepting {
    fn new(stopped: &Rc<Stopped>) -> Self {
        stopped.accepting.set(stopped.accepting.get() + 1);
        Self(stopped.clone())
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.set(self.0.accepting.get() - 1);
        self.0.changed.notify();
    }
}

impl Stopped {
    pub(super) fn set(&self) {
        self.set.set(true);
        self.changed.notify();
    }

    pub(super) async fn wait(&self) {
        self.changed.until(|| self.set.get().then_some(())).await;
    }

    /// Waits until no listener accepts, and the kernel accepts nothing for one that did: what it
    /// took from the queue would be lost to the process that has the socket then.
    async fn no_more_accepting(&self) {
        self.changed.until(|| (self.accepting.get() == 0).then_some(())).await;
        for _ in 0..LET_GO_PAUSES {
            GlommioRuntime.sleep(END_POLL).await;
        }
    }
}
