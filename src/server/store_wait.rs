//! A store that is down when the server starts.
//!
//! Nothing can be served without it, as it says what the volumes are. But a host that starts together
//! with its network, or during an outage, must come up by itself: the server waits, says so, and
//! ends when it is told to. What is wrong with the settings ends it at once.

use async_channel::Receiver;
use chunk::Workers;

use super::error::ServeError;
use super::limits::{STORE_RETRY_FIRST, STORE_RETRY_LONGEST};
use super::store::{Access, AnyStore};
use crate::config::Settings;
use crate::control::{ControlRequest, Refusal};
use crate::error::ErrorKind;
use crate::runtime::StopSignals;

/// Opens the store, however long that takes; `None` if a signal came before.
pub(super) fn open(
    settings: &Settings,
    workers: &Workers,
    requests: &Receiver<ControlRequest>,
    stop: &StopSignals,
) -> Result<Option<AnyStore>, ServeError> {
    let mut pause = STORE_RETRY_FIRST;
    loop {
        let error = match AnyStore::open(settings, Access::Write, workers.clone()) {
            Ok(store) => return Ok(Some(store)),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error.into()),
        };
        let store = &settings.store;
        log::warn!(
            "waiting for the store {store}, nothing is served without it; next try in {pause:?}: \
             {error}"
        );
        while let Ok(ControlRequest { reply, .. }) = requests.try_recv() {
            let message = format!("the server waits for its store {store}, which is down: {error}");
            reply.send(Err(Refusal { kind: ErrorKind::Retry, message }));
        }
        if stop.came_within(pause).map_err(ServeError::Signals)? {
            return Ok(None);
        }
        pause = (pause * 2).min(STORE_RETRY_LONGEST);
    }
}
