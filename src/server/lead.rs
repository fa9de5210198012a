//! What core 0 does for all: start, control, end.

use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use chunk::{VolumeName, Workers, catalog};
use futures_lite::future;
use wal::runtime::Runtime;

use super::accept::Dealer;
use super::admin::Admin;
use super::error::ServeError;
use super::local::Local;
use super::member::Order;
use super::recover::Recovery;
use super::{ready, volumes};
use crate::config::{Listen, NewVolume, Settings};
use crate::control::ControlRequest;
use crate::engine::signal::Signal;
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
}

impl Lead {
    /// Runs the server until a signal says stop.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let local = &local;
        // Kept to the end: without it the signals would do nothing.
        let stop = self.stop.serve();
        for new in &self.create {
            volumes::make_if_missing(&local.core.store, new, self.settings.new_volumes).await?;
        }
        pin(local, &self.cores, &self.settings.disk_cache.pin).await;
        let listen: Vec<Listen> =
            self.listeners.iter().map(|listener| ready::as_setting(listener.address())).collect();
        let stopped = Rc::new(Stopped::default());
        let dealer = Dealer::new(self.cores.clone(), local.clients.clone());
        for listener in self.listeners {
            let (dealer, stopped) = (dealer.clone(), stopped.clone());
            let listener = listener.serve();
            // Ending drops the listener, which removes its socket.
            GlommioRuntime.spawn(async move {
                future::or(dealer.accept(listener), stopped.wait()).await;
            });
        }
        let recovery = Recovery::new(local.clone(), self.workers.clone(), &self.settings);
        let read_only = self.settings.read_only.clone();
        let admin = Admin::new(local.clone(), self.settings, self.workers, listen.clone());
        GlommioRuntime.spawn(admin.serve(self.requests));
        GlommioRuntime.spawn(recovery.run());
        say_ready(local, &listen, &self.create, &read_only).await;
        stop.next().await;
        log::info!("stopping");
        stopped.set();
        super::end::end(local, &self.cores).await;
        Ok(())
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
    set: std::cell::Cell<bool>,
    changed: Signal,
}

impl Stopped {
    pub(super) fn set(&self) {
        self.set.set(true);
        self.changed.notify();
    }

    pub(super) async fn wait(&self) {
        self.changed.until(|| self.set.get().then_some(())).await;
    }
}
