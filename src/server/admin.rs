//! What the other commands ask of the serving process.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;
use chunk::{VolumeName, Workers, catalog};
use wal::VolumeId;
use wal::disk::Disk as _;
use wal::runtime::Runtime;
use wal::scan::FILE_SUFFIX;

use super::drain::drain;
use super::local::Local;
use super::volumes;
use crate::config::limits::MAX_WAIT;
use crate::config::{Listen, Settings};
use crate::control::{Answer, ControlRequest, Op, Refusal, ServerInfo, VolumeState, VolumeStatus};
use crate::engine::error::VolumeError;
use crate::engine::message::Counts;
use crate::engine::recovered::log_directory;
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
            Op::Drain { volume, seconds } => {
                let (name, id) = self.find(&volume).await?;
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                let drained = drain(&self.local, &name, id, timeout).await;
                drained.map(|()| Answer::Drained).map_err(|error| refusal(error.kind(), &error))
            }
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
            None => {
                let text =
                    format!("no volume is named {name}: `krait volume list` shows those that are");
                Err(refusal(ErrorKind::NotFound, &text))
            }
        }
    }

    async fn status(&self, name: &VolumeName, id: VolumeId) -> Result<VolumeStatus, Refusal> {
        let core = &self.local.core;
        let Some(number) = self.local.number(id) else {
            return self.unopened(name, id).await;
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
            incarnation: volume.shared().incarnation.0,
            failure: alive.err().map(|error| error.to_string()),
            ..self.told(name, id, state, &counts)
        })
    }

    /// What store and disk say of a volume that is not open.
    async fn unopened(&self, name: &VolumeName, id: VolumeId) -> Result<VolumeStatus, Refusal> {
        let core = &self.local.core;
        let manifest = volumes::manifest(&core.store, id).await.map_err(|error| {
            refusal(error.kind(), &format!("volume {name} cannot be read: {error}"))
        })?;
        let files = core.disk.list(&log_directory(id)).await;
        let files = files.map_err(|error| failure(&VolumeError::from(error)))?;
        let segments = files.iter().filter(|file| file.name.ends_with(FILE_SUFFIX));
        let wal_bytes: u64 = segments.map(|file| file.bytes).sum();
        Ok(VolumeStatus {
            size_bytes: manifest.size_bytes,
            incarnation: manifest.incarnation.0,
            // How much of it the store lacks is known once it was read.
            logged_bytes: (wal_bytes == 0).then_some(0),
            wal_bytes,
            ..self.told(name, id, VolumeState::NotServed, &Counts::default())
        })
    }

    /// What is known of a volume without asking for more.
    fn told(
        &self,
        name: &VolumeName,
        id: VolumeId,
        state: VolumeState,
        counts: &Counts,
    ) -> VolumeStatus {
        VolumeStatus {
            volume: name.to_string(),
            id: id.to_string(),
            state,
            size_bytes: 0,
            read_only: self.local.is_read_only(name),
            connections: self.local.clients.of(id),
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

    async fn volumes(&self) -> Result<Answer, Refusal> {
        let listed = catalog::list(&self.local.core.store).await;
        let listed = listed.map_err(|error| refusal(ErrorKind::Io, &error))?;
        let mut volumes = Vec::new();
        for (name, id) in listed.into_iter().flatten() {
            if self.local.number(id).is_some() {
                volumes.push(self.status(&name, id).await?);
            }
        }
        Ok(Answer::Volumes { volumes })
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

fn refusal(kind: ErrorKind, message: &dyn std::fmt::Display) -> Refusal {
    Refusal { kind, message: message.to_string() }
}

fn failure(error: &VolumeError) -> Refusal {
    refusal(ErrorKind::from(error), error)
}
