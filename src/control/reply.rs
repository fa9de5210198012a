//! A request on its way to core 0, and its outcome on the way back.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Answer, Op, Refusal, Response, limits};

/// A request on its way to core 0.
#[derive(Debug)]
pub struct ControlRequest {
    /// What is asked; volume names in it are not checked yet.
    pub op: Op,
    /// Takes the outcome. Dropped without one, the asker hears that the server is stopping.
    pub reply: Reply,
}

/// An outcome, and the open files that go with it.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) response: Response,
    pub(super) files: Vec<OwnedFd>,
    /// Dropped without a word if the asker does not get it.
    pub(super) delivered: Option<SyncSender<()>>,
}

impl From<Response> for Parcel {
    fn from(response: Response) -> Self {
        Self { response, files: Vec::new(), delivered: None }
    }
}

/// The asker was gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undelivered;

/// Takes the one outcome of a request.
#[derive(Debug)]
pub struct Reply(SyncSender<Parcel>);

impl Reply {
    pub(super) fn channel() -> (Self, Receiver<Parcel>) {
        let (sender, outcome) = sync_channel(1);
        (Self(sender), outcome)
    }

    /// Sends the outcome to the asker, who may have given up meanwhile. Never blocks.
    pub fn send(self, outcome: Result<Answer, Refusal>) {
        self.put(outcome, Vec::new(), None);
    }

    /// Sends an answer and copies of open files. Never blocks.
    pub fn send_files(self, answer: Answer, files: Vec<OwnedFd>) {
        self.put(Ok(answer), files, None);
    }

    /// Sends an answer and copies of open files, and waits until they are the asker's.
    ///
    /// # Errors
    /// The asker is gone, and has none of it.
    pub fn deliver(self, answer: Answer, files: Vec<OwnedFd>) -> Result<(), Undelivered> {
        let (sender, delivered) = sync_channel(1);
        self.put(Ok(answer), files, Some(sender));
        delivered.recv().map_err(|_| Undelivered)
    }

    fn put(
        self,
        outcome: Result<Answer, Refusal>,
        files: Vec<OwnedFd>,
        delivered: Option<SyncSender<()>>,
    ) {
        let response = match outcome {
            Ok(answer) => Response::Ok(answer),
            Err(refusal) => Response::Error(refusal),
        };
        // The channel has room for one and this is the only one.
        drop(self.0.try_send(Parcel { response, files, delivered }));
    }
}

/// The channel from the control socket to core 0.
#[must_use]
pub fn channel() -> (async_channel::Sender<ControlRequest>, async_channel::Receiver<ControlRequest>)
{
    async_channel::bounded(limits::MAX_CONNECTIONS)
}
