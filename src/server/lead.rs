//! What core 0 does for all: start, control, end.

use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use chunk::{Workers, catalog};
use futures_lite::future;
use wal::runtime::Runtime;

use super::accept::Dealer;
use super::admin::Admin;
use super::error::ServeError;
use super::limits::{CLOSE_TIMEOUT, DRAIN_TIMEOUT, END_POLL, FLUSH_TIMEOUT};
use super::local::Local;
use super::member::Order;
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
        let cores = self.cores.clone();
        let result = self.serve(&local).await;
        for core in &cores {
            // Fails only for a core that has ended.
            let _ = core.send(Order::End).await;
        }
        result
    }

    async fn serve(self, local: &Rc<Local>) -> Result<(), ServeError> {
        // Kept to the end: without it the signals would do nothing.
        let stop = self.stop.serve();
        for new in &self.create {
            volumes::make_if_missing(&local.core.store, new).await?;
        }
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
        let admin = Admin::new(local.clone(), self.settings, self.workers, listen.clone());
        GlommioRuntime.spawn(admin.serve(self.requests));
        say_ready(local, &listen, &self.create).await;
        stop.next().await;
        log::info!("stopping");
        stopped.set();
        end(local, &self.cores).await;
        Ok(())
    }
}

/// Tells a person, or a script that waits for it, that clients may come.
async fn say_ready(local: &Local, listen: &[Listen], created: &[NewVolume]) {
    let export = match created.first() {
        Some(new) => Some(new.name.clone()),
        None => {
            let listed = catalog::list(&local.core.store).await.unwrap_or_default();
            listed.into_iter().find_map(|entry| entry.ok().map(|(name, _)| name))
        }
    };
    let text = ready::text(listen, export.as_ref().map(|name| name.as_str()));
    // A closed standard error is no reason not to serve.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Ends the server in bounded time:
///
/// 1. No further request is read; those under way are finished. What is acknowledged from here on
///    is what was asked for before.
/// 2. The log of every open volume is made durable. From here on a power cut loses nothing.
/// 3. Every volume publishes what it has and is closed, as far as the time suffices: the rest is
///    in the log, and the next start goes on from there.
async fn end(local: &Rc<Local>, cores: &[Sender<Order>]) {
    for core in cores {
        // Fails only for a core that has ended.
        let _ = core.send(Order::StopReading).await;
    }
    let deadline = GlommioRuntime.now() + DRAIN_TIMEOUT;
    while local.clients.total() > 0 && GlommioRuntime.now() < deadline {
        GlommioRuntime.sleep(END_POLL).await;
    }
    if local.clients.total() > 0 {
        log::warn!("{} clients did not finish in time", local.clients.total());
    }
    let core = &local.core;
    for (id, _) in core.open_volumes() {
        let flushed = in_time(FLUSH_TIMEOUT, async {
            let volume = core.attach(id).await?;
            volume.flush().await
        });
        match flushed.await {
            Some(Ok(())) => {}
            Some(Err(error)) => log::error!("volume {id}: {error}"),
            None => log::error!("volume {id}: its log is not durable after {FLUSH_TIMEOUT:?}"),
        }
    }
    let deadline = GlommioRuntime.now() + CLOSE_TIMEOUT;
    for (id, _) in core.open_volumes() {
        let left = deadline.saturating_sub(GlommioRuntime.now());
        match in_time(left, core.shut(id)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => log::error!("volume {id}: {error}"),
            None => log::warn!("volume {id}: not all is in the store yet; the log has the rest"),
        }
    }
}

/// The result of `work`, if it ends within `span`.
async fn in_time<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    let work = async { Some(work.await) };
    let timeout = async {
        GlommioRuntime.sleep(span).await;
        None
    };
    future::or(work, timeout).await
}

/// Says once that the server stops.
#[derive(Default)]
struct Stopped {
    set: std::cell::Cell<bool>,
    changed: Signal,
}

impl Stopped {
    fn set(&self) {
        self.set.set(true);
        self.changed.notify();
    }

    async fn wait(&self) {
        self.changed.until(|| self.set.get().then_some(())).await;
    }
}
