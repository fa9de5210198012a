//! The end of the server, in bounded time.

use std::cell::RefCell;
use std::rc::Rc;

use async_channel::Sender;
use chunk::catalog;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::crew;
use super::limits::{
    CLOSE_TIMEOUT, CLOSES, DRAIN_TIMEOUT, END_POLL, FLUSH_TIMEOUT, NAMED, NAMES_TIMEOUT,
};
use super::local::Local;
use super::member::Order;
use super::patience::in_time;
use crate::runtime::GlommioRuntime;

/// Ends the server:
///
/// 1. No further request is read; those under way are finished. What is acknowledged from here on
///    is what was asked for before.
/// 2. The log of every open volume is made durable. From here on a power cut loses nothing.
/// 3. Every volume publishes what it has and is closed, as far as the time suffices: the rest is
///    in the log, and the next start goes on from there.
pub(super) async fn end(local: &Rc<Local>, cores: &[Sender<Order>]) {
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
    flush_all(local).await;
    let left = close_all(local).await;
    if !left.is_empty() {
        let (count, names) = (left.len(), names(local, &left).await);
        log::warn!("{count} volumes have not all in the store yet, the log has the rest: {names}");
    }
}

async fn flush_all(local: &Rc<Local>) {
    let deadline = GlommioRuntime.now() + FLUSH_TIMEOUT;
    let flusher = local.clone();
    let flush = move |id| {
        let core = flusher.core.clone();
        async move {
            let left = deadline.saturating_sub(GlommioRuntime.now());
            // Not opened anew: one that is gone meanwhile was closed.
            let Some(volume) = core.opened(id) else { return };
            let flushed = in_time(left, volume.flush());
            match flushed.await {
                Some(Ok(())) => {}
                Some(Err(error)) => log::error!("volume {id}: {error}"),
                None => log::error!("volume {id}: its log is not durable after {FLUSH_TIMEOUT:?}"),
            }
        }
    };
    crew::each(CLOSES, open_volumes(local), flush).await;
}

/// Closes volumes; returns those that the time did not suffice for.
async fn close_all(local: &Rc<Local>) -> Vec<VolumeId> {
    let deadline = GlommioRuntime.now() + CLOSE_TIMEOUT;
    let unfinished = Rc::new(RefCell::new(Vec::new()));
    let (noted, closer) = (unfinished.clone(), local.clone());
    let close = move |id| {
        let (noted, core) = (noted.clone(), closer.core.clone());
        async move {
            let left = deadline.saturating_sub(GlommioRuntime.now());
            match in_time(left, core.shut(id)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => log::error!("volume {id}: {error}"),
                None => noted.borrow_mut().push(id),
            }
        }
    };
    crew::each(CLOSES, open_volumes(local), close).await;
    unfinished.take()
}

fn open_volumes(local: &Local) -> Vec<VolumeId> {
    local.core.open_volumes().into_iter().map(|(id, _)| id).collect()
}

/// Some of these volumes by name, for people.
async fn names(local: &Local, volumes: &[VolumeId]) -> String {
    let listed = in_time(NAMES_TIMEOUT, catalog::list(&local.core.store)).await;
    let listed: Vec<_> = listed.and_then(Result::ok).into_iter().flatten().flatten().collect();
    let name = |id: &VolumeId| {
        let found = listed.iter().find(|(_, volume)| volume == id);
        found.map_or_else(|| id.to_string(), |(name, _)| name.to_string())
    };
    let mut names: Vec<String> = volumes.iter().take(NAMED).map(name).collect();
    if volumes.len() > NAMED {
        names.push(format!("{} more", volumes.len() - NAMED));
    }
    names.join(", ")
}
