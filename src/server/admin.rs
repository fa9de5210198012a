//! What the other commands ask of the serving process.

use std::io;
use std::rc::Rc;

use async_channel::Receiver;
use chunk::{VolumeName, Workers, catalog};
use wal::VolumeId;
use wal::runtime::Runtime;

use super::local::Local;
use crate::config::{Listen, Settings};
use crate::control::{Answer, ControlRequest, Op, Refusal, ServerInfo, VolumeState, VolumeStatus};
use crate::engine::cache::VolumeNo;
use crate::engine::error::VolumeError;
use crate::engine::message::Counts;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// Answers the control socket; on core 0.
pub(super) struct Admin {
    local: Rc<Local>,
    settings: Settings,
    workers: Workers,
    listen: Vec<Listen>,
}

impl Admin {
    pub(super) fn new(
        local: Rc<Local>,
        settings: Settings,
        workers: Workers,
        listen: Vec<Listen>,
    ) -> Rc<Self> {
        Rc::new(Self { local, settings, workers, listen })
    }

    /// Answers requests side by side: some take long.
    pub(super) async fn serve(self: Rc<Self>, requests: Receiver<ControlRequest>) {
        while let Ok(ControlRequest { op, reply }) = requests.recv().await {
            let admin = self.clone();
            GlommioRuntime.spawn(async move { reply.send(admin.answer(op).await) });
        }
    }

    async fn answer(&self, op: Op) -> Result<Answer, Refusal> {
        match op {
            Op::Ping => Ok(Answer::Server(ServerInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                store: self.settings.store.to_string(),
                cores: self.local.core.cores(),
                listen: self.listen.iter().map(Listen::to_string).collect(),
            })),
            Op::Status { volume } => {
                let (name, id) = self.find(&volume).await?;
                self.status(&name, id).await.map(Answer::Status)
            }
            Op::Volumes => self.volumes().await,
            Op::Drain => self.drain().await,
            Op::Delete { volume } => {
                let (name, id) = self.find(&volume).await?;
                self.delete(&name, id).await
            }
        }
    }

    async fn find(&self, text: &str) -> Result<(VolumeName, VolumeId), Refusal> {
        let name = VolumeName::new(text).map_err(|error| refusal(ErrorKind::Invalid, &error))?;
        let found = catalog::find(&self.local.core.store, &name).await;
        match found.map_err(|error| refusal(ErrorKind::Io, &error))? {
            Some(id) => Ok((name, id)),
            None => Err(refusal(ErrorKind::NotFound, &format!("there is no volume {name}"))),
        }
    }

    /// The number of a volume, if it is open.
    fn number(&self, id: VolumeId) -> Option<VolumeNo> {
        let open = self.local.core.open_volumes();
        open.iter().find_map(|(volume, number)| (*volume == id).then_some(*number))
    }

    async fn status(&self, name: &VolumeName, id: VolumeId) -> Result<VolumeStatus, Refusal> {
        let core = &self.local.core;
        let Some(number) = self.number(id) else {
            return Ok(status(name, id, VolumeState::NotServed, &Counts::default()));
        };
        let counted = async {
            let volume = core.attach(id).await?;
            Ok::<_, VolumeError>((volume, core.count(number).await?))
        };
        let (volume, counts) = counted.await.map_err(|error| failure(&error))?;
        let alive = volume.shared().alive();
        let state = match &alive {
            Ok(()) => VolumeState::Serving,
            Err(VolumeError::Fenced { .. }) => VolumeState::Fenced,
            Err(_) => VolumeState::Failed,
        };
        Ok(VolumeStatus {
            size_bytes: volume.size_bytes(),
            connections: self.local.clients.of(id),
            incarnation: volume.shared().incarnation.0,
            failure: alive.err().map(|error| error.to_string()),
            ..status(name, id, state, &counts)
        })
    }

    async fn volumes(&self) -> Result<Answer, Refusal> {
        let listed = catalog::list(&self.local.core.store).await;
        let listed = listed.map_err(|error| refusal(ErrorKind::Io, &error))?;
        let mut volumes = Vec::new();
        for (name, id) in listed.into_iter().flatten() {
            if self.number(id).is_some() {
                volumes.push(self.status(&name, id).await?);
            }
        }
        Ok(Answer::Volumes { volumes })
    }

    async fn drain(&self) -> Result<Answer, Refusal> {
        for (_, number) in self.local.core.open_volumes() {
            self.local.core.drain(number).await.map_err(|error| failure(&error))?;
        }
        Ok(Answer::Drained)
    }

    /// Deletes a volume that nobody uses:
    ///
    /// 1. Keep clients away and close the volume. A power cut leaves it as it was.
    /// 2. Delete its name, then its objects. A power cut after the name is gone leaves garbage.
    /// 3. Remove its log, which no volume will ever look for again.
    async fn delete(&self, name: &VolumeName, id: VolumeId) -> Result<Answer, Refusal> {
        let local = &self.local;
        let Some(_deleting) = local.clients.begin_deleting(id) else {
            let text = format!("volume {name} is in use: disconnect its clients first");
            return Err(refusal(ErrorKind::Busy, &text));
        };
        if let Err(error) = local.core.shut(id).await {
            log::warn!("volume {name}: {error}");
        }
        let deleted = catalog::delete(&local.core.store, name).await;
        deleted.map_err(|error| refusal(ErrorKind::Io, &error))?;
        let log = self.settings.wal_dir(id);
        let removed = self.workers.run(move || std::fs::remove_dir_all(log)).await;
        match removed.map_err(|error| refusal(ErrorKind::Bug, &error))? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refusal(
                ErrorKind::of_io(&error),
                &format!("remove the log of {name}: {error}"),
            )),
            Ok(()) | Err(_) => {
                log::info!("deleted volume {name}");
                Ok(Answer::Deleted)
            }
        }
    }
}

/// What is known of a volume without asking it.
fn status(name: &VolumeName, id: VolumeId, state: VolumeState, counts: &Counts) -> VolumeStatus {
    VolumeStatus {
        volume: name.to_string(),
        id: id.to_string(),
        state,
        size_bytes: 0,
        connections: 0,
        incarnation: 0,
        dirty_bytes: counts.dirty,
        logged_bytes: Some(counts.logged),
        syncing_bytes: counts.syncing,
        remote_bytes: None,
        cached_bytes: counts.cached,
        wal_bytes: counts.log_files,
        failure: None,
    }
}

fn refusal(kind: ErrorKind, message: &dyn std::fmt::Display) -> Refusal {
    Refusal { kind, message: message.to_string() }
}

fn failure(error: &VolumeError) -> Refusal {
    let kind = match error {
        VolumeError::Poisoned { .. } | VolumeError::Disk(_) => ErrorKind::Io,
        VolumeError::Fenced { .. } => ErrorKind::Fenced,
        VolumeError::NoSpace(_) => ErrorKind::NoSpace,
        VolumeError::Store(_) | VolumeError::Closed => ErrorKind::Retry,
        VolumeError::Corrupt { .. } => ErrorKind::Corrupt,
    };
    refusal(kind, error)
}
