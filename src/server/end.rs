//! The end of the server, in bounded time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

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
use crate::engine::error::VolumeError;
use crate::runtime::GlommioRuntime;

/// Some of what was acknowledged is not durable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not all that was acknowledged is durable: {volumes}")]
pub struct NotDurable {
    /// The volumes, by name, as far as they are known.
    volumes: String,
}

/// Ends the server:
///
/// 1. No further request is read; those under way are finished, as far as the time suffices, and all
///    connections are closed. Nothing is acknowledged from here on.
/// 2. The log of every open volume is made durable. From here on a power cut loses nothing.
/// 3. Every volume publishes what it has and is closed, as far as the time suffices: the rest is
///    in the log, and the next start goes on from there.
///
/// # Errors
/// If step 2 failed for a volume.
pub(super) async fn end(local: &Rc<Local>, cores: &[Sender<Order>]) -> Result<(), NotDurable> {
    let durable = settle(local, cores, DRAIN_TIMEOUT).await;
    let left = close_all(local).await;
    if !left.is_empty() {
        let (count, names) = (left.len(), names(local, &left).await);
        log::warn!("{count} volumes have not all in the store yet, the log has the rest: {names}");
    }
    durable
}

/// The first two steps of an end; requests under way get so long.
pub(super) async fn settle(
    local: &Rc<Local>,
    cores: &[Sender<Order>],
    patience: Duration,
) -> Result<(), NotDurable> {
    for core in cores {
        // Fails only for a core that has ended.
        let _ = core.send(Order::StopReading).await;
    }
    let deadline = GlommioRuntime.now() + patience;
    while local.clients.total() > 0 && GlommioRuntime.now() < deadline {
        GlommioRuntime.sleep(END_POLL).await;
    }
    if local.clients.total() > 0 {
        log::warn!("{} clients did not finish in time", local.clients.total());
        cut_all(cores).await;
    }
    sync_all(local).await
}

/// Ends the connections that are left, on all cores. What is carried out from here on gets no reply,
/// so that nothing is acknowledged after the logs are synced, and no client is told of an error that
/// only means that the server ends.
async fn cut_all(cores: &[Sender<Order>]) {
    let (done, all_done) = async_channel::bounded(1);
    for core in cores {
        // Fails only for a core that has ended.
        let _ = core.send(Order::Cut(done.clone())).await;
    }
    drop(done);
    // Nothing is sent: it ends when all cores have dropped their end.
    let _ = all_done.recv().await;
}

/// Makes the logs of all open volumes durable. What a volume that another host took over had
/// acknowledged here is lost to it in any case, and no failure of the log.
pub(super) async fn sync_all(local: &Rc<Local>) -> Result<(), NotDurable> {
    let lost = Rc::<RefCell<Vec<VolumeId>>>::default();
    let noted = lost.clone();
    let deadline = GlommioRuntime.now() + FLUSH_TIMEOUT;
    let syncer = local.clone();
    let sync = move |id| {
        let (core, noted) = (syncer.core.clone(), noted.clone());
        async move {
            let left = deadline.saturating_sub(GlommioRuntime.now());
            // Not opened anew: one that is gone meanwhile was closed.
            let Some(volume) = core.opened(id) else { return };
            let synced = in_time(left, volume.sync());
            match synced.await {
                // Whoever closes it meanwhile makes its log durable.
                Some(Ok(()) | Err(VolumeError::Closed)) => return,
                Some(Err(error @ VolumeError::Fenced { .. })) => {
                    log::error!("volume {id}: {error}");
                    return;
                }
                Some(Err(error)) => log::error!("volume {id}: {error}"),
                None => log::error!("volume {id}: its log is not durable after {FLUSH_TIMEOUT:?}"),
            }
            noted.borrow_mut().push(id);
        }
    };
    crew::each(CLOSES, open_volumes(local), sync).await;
    let lost = lost.take();
    match lost.is_empty() {
        true => Ok(()),
        false => Err(NotDurable { volumes: names(local, &lost).await }),
    }
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
