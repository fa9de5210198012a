//! A new process in the place of this one: on the same sockets, with the lock of the same data
//! directory, and with what this one has acknowledged.
//!
//! `old` is the process that serves, `new` the one that was started with `--replace`. The steps, and
//! what a crash of either after each of them leaves:
//!
//! 1. `new` has read its settings and opened its store. Nobody knows of it.
//! 2. `old` has found that the settings agree, and that it can make all logs durable; it has uploaded
//!    what it could in some seconds, which leaves little to do in the steps 6 and 9; `new` has copies
//!    of its listening sockets. `old` goes on as before, also
//!    if `new` crashes or gives up. If `old` crashes, here or later, `new` ends: what clients had not
//!    flushed may be gone, and who connects again must not find a server as if nothing had been.
//! 3. The executors of `new` have started, which is the last thing that can fail for a reason of the
//!    machine or the settings; it asks `old` to leave. This is the point of no return.
//! 4. `old` accepts no more. Who connects from here on waits in the sockets' queues. If `new` crashes
//!    from here on, `old` goes through the steps all the same, finds nobody to pass the lock to, and
//!    ends with the exit code for "try again": all is durable, and the next start serves it.
//! 5. `old` reads no further requests; those under way are finished, as far as the time suffices, and
//!    all connections are closed. A request without a reply may have been carried out or not.
//! 6. The log of every open volume is durable. If that fails `old` says so and ends with an error, and
//!    so does `new`, with nobody serving: an acknowledged write may be lost. Nothing is uploaded or
//!    given back: the volumes go on belonging to this host.
//! 7. The executors of `old` have ended, and nothing of it is on its way to the log. Its control socket
//!    is gone. What its uploads left on its way to the store is what a killed process leaves.
//! 8. `new` has the lock, which has been held all the time, and `old` ends. From here on a crash is that
//!    of a server that runs.
//! 9. `new` accepts. It opens volumes as after a restart: the same host, so the same tenure; the log of
//!    the earlier incarnation is recovered, and a new one begins.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::crew;
use super::end::sync_all;
use super::limits::{CLOSES, SHARE_DRAIN};
use super::local::Local;
use super::patience::in_time;
use crate::config::{Settings, StoreUrl};
use crate::control::{Answer, ControlError, LeaveError, LockError, Predecessor, Refusal, Reply};
use crate::engine::signal::Signal;
use crate::error::ErrorKind;
use crate::runtime::{BoundListener, ListenAddr};

/// How a server begins.
pub enum Beginning<'a> {
    /// It has the lock on the data directory, and makes its sockets.
    Alone,
    /// It replaces the one that has the lock. The function takes the lock from that one, in step 3.
    Replacing(Box<dyn FnOnce(Predecessor) -> Result<(), ReplaceError> + 'a>),
}

/// How a server ended.
#[derive(Debug)]
#[must_use = "a process may wait for the lock"]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// This one waits for the lock on the data directory.
    Left(Reply),
}

/// Why the server that runs was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// It refused, and goes on.
    #[error("the running server was not replaced and goes on: {0}")]
    NotBegun(#[source] ControlError),
    /// A socket of it cannot be used here.
    #[error("the running server was not replaced and goes on: use its sockets: {0}")]
    Sockets(#[source] io::Error),
    /// It did not come to a good end.
    #[error(
        "the running server did not hand over: {0}; look at its last words, then start one without --replace"
    )]
    NotLeft(#[from] LeaveError),
    /// It is gone and this one cannot be asked.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// SIGTERM or SIGINT came before anything had begun.
    #[error("stopped before the running server was replaced: it goes on")]
    Stopped,
}

impl ReplaceError {
    /// What the caller does about it.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBegun(error) | Self::Control(error) => error.kind(),
            Self::NotLeft(LeaveError::Control(error)) => error.kind(),
            Self::NotLeft(LeaveError::Lock(error)) => LockError::kind(error),
            Self::Sockets(error) => ErrorKind::of_io(error),
            Self::Stopped => ErrorKind::Retry,
        }
    }
}

/// Step 2 for `new`: the one that serves, and its sockets.
pub(super) fn find(settings: &Settings) -> Result<(Predecessor, Vec<BoundListener>), ReplaceError> {
    let (old, sockets) = Predecessor::find(settings).map_err(ReplaceError::NotBegun)?;
    let adopted = sockets.into_iter().map(|(path, socket)| BoundListener::adopt(path, socket));
    Ok((old, adopted.collect::<io::Result<_>>().map_err(ReplaceError::Sockets)?))
}

/// What `old` keeps for a process that may come.
#[derive(Default)]
pub(super) struct HandOver {
    sockets: RefCell<Vec<(Option<String>, OwnedFd)>>,
    asker: RefCell<Option<Reply>>,
    is_begun: Cell<bool>,
    asked: Signal,
}

impl HandOver {
    /// Keeps a copy of each socket.
    pub(super) fn new(listeners: &[BoundListener]) -> io::Result<Rc<Self>> {
        let copy = |listener: &BoundListener| {
            let path = match listener.address() {
                ListenAddr::Unix(path) => Some(std::path::absolute(path)?.display().to_string()),
                ListenAddr::Tcp(_) => None,
            };
            Ok((path, listener.copy()?))
        };
        let sockets = listeners.iter().map(copy).collect::<io::Result<_>>()?;
        Ok(Rc::new(Self { sockets: RefCell::new(sockets), ..Self::default() }))
    }

    /// Step 2: answers with copies of the sockets if the settings agree and all can be made durable.
    pub(super) async fn share(
        &self,
        local: &Rc<Local>,
        settings: &Settings,
        (store, listen): (&str, &[String]),
        reply: Reply,
    ) {
        if let Err(refusal) = agree(settings, store, listen) {
            return reply.send(Err(refusal));
        }
        if let Err(error) = sync_all(local).await {
            let text = format!("{error}: stop it, so that its clients see that");
            return reply.send(Err(refusal(ErrorKind::Io, text)));
        }
        upload_first(local).await;
        match self.copies() {
            Ok((paths, files)) if !files.is_empty() => {
                reply.send_files(Answer::Sockets { pid: std::process::id(), paths }, files);
            }
            // It stops, as the asker hears when nobody answers.
            Ok(_) => {}
            Err(error) => {
                let text = format!("its sockets cannot be passed: {error}");
                reply.send(Err(refusal(ErrorKind::of_io(&error), text)));
            }
        }
    }

    fn copies(&self) -> io::Result<(Vec<Option<String>>, Vec<OwnedFd>)> {
        let sockets = self.sockets.borrow();
        let copy = |(path, socket): &(_, OwnedFd)| Ok((Option::clone(path), socket.try_clone()?));
        Ok(sockets.iter().map(copy).collect::<io::Result<Vec<_>>>()?.into_iter().unzip())
    }

    /// Step 3: has the server leave, once, if it is the one that is meant.
    pub(super) fn leave(&self, pid: u32, reply: Reply) {
        if pid != std::process::id() {
            let text = "another server runs by now: try again".to_owned();
            return reply.send(Err(refusal(ErrorKind::Retry, text)));
        }
        if self.is_begun.replace(true) {
            let text = "another process is replacing it already".to_owned();
            return reply.send(Err(refusal(ErrorKind::Busy, text)));
        }
        self.asker.replace(Some(reply));
        self.asked.notify();
    }

    /// Waits for the process that is to take the place of this one.
    pub(super) async fn asker(&self) -> Reply {
        self.asked.until(|| self.asker.take()).await
    }

    /// Lets go of the sockets: the server stops, or another process has them.
    pub(super) fn forget_sockets(&self) {
        self.is_begun.set(true);
        self.sockets.take();
    }
}

/// Uploads what the logs have, as far as the time suffices. What fails is in the log.
async fn upload_first(local: &Local) {
    let core = local.core.clone();
    let upload = move |(_, number)| {
        let core = core.clone();
        async move { drop(core.drain(number).await) }
    };
    let all = crew::each(CLOSES, local.core.open_volumes(), upload);
    if in_time(SHARE_DRAIN, all).await.is_none() {
        log::warn!("not all is in the store after {SHARE_DRAIN:?}: the next server recovers it");
    }
}

fn refusal(kind: ErrorKind, message: String) -> Refusal {
    Refusal { kind, message }
}

/// Whether a process with another store and other addresses, or the same, may take the place.
fn agree(settings: &Settings, store: &str, listen: &[String]) -> Result<(), Refusal> {
    let differs = |what: &str, ours: &str, theirs: &str| {
        let text = format!(
            "it {what} {ours}, the new one {theirs}: give both the same, or stop it and start the \
             new one"
        );
        Err(refusal(ErrorKind::Invalid, text))
    };
    if settings.store == StoreUrl::Memory {
        let text = "its store is its memory, which ends with it".to_owned();
        return Err(refusal(ErrorKind::Invalid, text));
    }
    let ours = settings.store.to_string();
    if ours != store {
        return differs("serves the store", &ours, store);
    }
    let (mut ours, mut theirs) = (settings.listen_texts(), listen.to_vec());
    ours.sort_unstable();
    theirs.sort_unstable();
    match ours == theirs {
        true => Ok(()),
        false => differs("listens on", &ours.join(" and "), &theirs.join(" and ")),
    }
}
