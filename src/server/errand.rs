//! Serving one client: a command of this process that wants a disk where no server runs.

use std::rc::Rc;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use wal::runtime::Runtime;

use super::accept::Dealer;
use super::crew;
use super::error::ServeError;
use super::lead::Stopped;
use super::limits::CLOSES;
use super::local::Local;
use super::member::Order;
use crate::runtime::{BoundListener, GlommioRuntime};

/// What core 0 needs for it.
pub(super) struct Errand {
    pub(super) listener: BoundListener,
    /// Brings the end of the command, and whether it did what it was to do.
    pub(super) over: Receiver<bool>,
    /// One for each core, core 0 included.
    pub(super) cores: Vec<Sender<Order>>,
}

impl Errand {
    /// Runs on core 0 until the command has ended. What it wrote is in the store then, however long
    /// that takes; if it failed, or somebody does not wait for it, the log has what is missing.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let stopped = Rc::new(Stopped::default());
        let dealer = Dealer::new(self.cores.clone(), local.clients.clone());
        let (listener, end) = (self.listener.serve(), stopped.clone());
        GlommioRuntime.spawn(async move {
            future::or(dealer.accept(&listener), end.wait()).await;
        });
        // The command cannot end without a word.
        let is_done = self.over.recv().await.unwrap_or(false);
        stopped.set();
        if is_done {
            let core = local.core.clone();
            let drain = move |number| {
                let core = core.clone();
                async move {
                    if let Err(error) = core.drain(number).await {
                        log::warn!("not all of it is in the store, the log has the rest: {error}");
                    }
                }
            };
            let open = local.core.open_volumes().into_iter().map(|(_, number)| number).collect();
            crew::each(CLOSES, open, drain).await;
        }
        Ok(super::end::end(&local, &self.cores).await?)
    }
}
