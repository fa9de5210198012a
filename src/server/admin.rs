//! What the other commands ask of the serving process.

mod lookup;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;
use chunk::{Manifest, SnapshotName, VolumeName, Workers, catalog};
use wal::VolumeId;
use wal::runtime::Runtime;

use super::attach::{attach, elsewhere, is_elsewhere, not_deleted};
use super::drain::drain;
use super::flatten::{flatten, flattening};
use super::group::snapshot_group;
use super::hand_over::HandOver;
use super::local::Local;
use super::report::Report;
use super::resize::{NewSize, resize};
use super::{collect, copies, kept, volumes};
use crate::config::limits::MAX_WAIT;
use crate::config::{ByteSize, Listen, Settings, VolumeSize};
use crate::control::{Answer, ControlRequest, Op, Refusal, Reply, ServerInfo, SnapshotInfo};
use crate::engine::error::VolumeError;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// Answers the control socket; on core 0.
pub(super) struct Admin {
    local: Rc<Local>,
    settings: Settings,
    workers: Workers,
    listen: Vec<Listen>,
    hand_over: Rc<HandOver>,
}

impl Admin {
    pub(super) fn new(
        local: Rc<Local>,
        settings: Settings,
        workers: Workers,
        listen: Vec<Listen>,
        hand_over: Rc<HandOver>,
    ) -> Rc<Self> {
        Rc::new(Self { local, settings, workers, listen, hand_over })
    }

    /// Answers requests side by side: some take long.
    pub(super) async fn serve(self: Rc<Self>, requests: Receiver<ControlRequest>) {
        while let Ok(ControlRequest { op, reply }) = requests.recv().await {
            let admin = self.clone();
            GlommioRuntime.spawn(async move { admin.reply(op, reply).await });
        }
    }

    async fn reply(&self, op: Op, reply: Reply) {
        match op {
            Op::ShareSockets { store, listen } => {
                let wish = (store.as_str(), listen.as_slice());
                self.hand_over.share(&self.local, &self.settings, wish, reply).await;
            }
            Op::Leave { pid } => self.hand_over.leave(pid, reply),
            op => reply.send(self.answer(op).await),
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
                let (name, id) = self.find_soon(&volume).await?;
                let status = self.report().status(&name, id, true).await?;
                Ok(Answer::Status(Box::new(status)))
            }
            Op::Volumes => self.volumes().await,
            Op::Drain { volume, seconds } => {
                let (name, id) = self.find_open(&volume).await?;
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                let drained = drain(&self.local, &name, id, timeout).await;
                drained.map(|()| Answer::Drained).map_err(|error| refusal(error.kind(), &error))
            }
            Op::Attach { volume, force } => {
                let (name, id) = self.find(&volume).await?;
                let attached = attach(&self.local, &name, id, force).await;
                let incarnation = attached.map_err(|error| refusal(error.kind(), &error))?;
                Ok(Answer::Attached { incarnation })
            }
            Op::Detach { volume, seconds } => {
                let (name, id) = self.find(&volume).await?;
                self.detach(&name, id, Duration::from_secs(seconds).min(MAX_WAIT)).await
            }
            Op::DropLog { volume } => {
                let (name, id) = self.find(&volume).await?;
                self.drop_log(&name, id).await
            }
            Op::Delete { volume, snapshots } => {
                let (name, id) = self.find(&volume).await?;
                self.delete(&name, id, snapshots).await
            }
            Op::Collect { volume, dry_run } => {
                let (name, id) = self.find(&volume).await?;
                let collected = collect::collect(&self.local, &name, id, dry_run).await;
                collected.map(Answer::Collected).map_err(|error| refusal(error.kind(), &error))
            }
            Op::Resize { volume, size_bytes, danger_discard_tail, seconds } => {
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                self.resize(&volume, size_bytes, danger_discard_tail, timeout).await
            }
            op => self.answer_copies(op).await,
        }
    }

    /// Answers what is about snapshots and clones.
    async fn answer_copies(&self, op: Op) -> Result<Answer, Refusal> {
        match op {
            Op::CreateSnapshot { volume, name, seconds } => {
                let (volume, id) = self.find(&volume).await?;
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                let new = copies::new_snapshot(snapshot_name(&name)?, timeout);
                let made = copies::snapshot(&self.local, &volume, id, new).await;
                let made = made.map_err(|error| refusal(error.kind(), &error))?;
                Ok(Answer::Snapshot(SnapshotInfo::new(&volume, &made)))
            }
            Op::CreateSnapshots { volumes, name, seconds } => {
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                self.snapshot_group(volumes, snapshot_name(&name)?, timeout).await
            }
            Op::ComingSnapshots { volume } => {
                let (volume, id) = self.find(&volume).await?;
                let coming = copies::coming(&self.local, &volume, id).await;
                let coming = coming.map_err(|error| refusal(error.kind(), &error))?;
                // Those made for clones are of no interest to people.
                let named = coming.iter().filter(|coming| coming.name.clone_id().is_none());
                let snapshots = named.map(|made| SnapshotInfo::new(&volume, made)).collect();
                Ok(Answer::Snapshots { snapshots })
            }
            Op::SettleSnapshots { volume, seconds } => {
                let (volume, id) = self.find(&volume).await?;
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                let settled = copies::settle(&self.local, &volume, id, timeout).await;
                settled.map_err(|error| refusal(error.kind(), &error))?;
                Ok(Answer::Settled)
            }
            Op::DeleteSnapshot { volume, name } => {
                let (volume, id) = self.find(&volume).await?;
                let name = snapshot_name(&name)?;
                let deleted = copies::delete_snapshot(&self.local, (id, &volume), &name).await;
                deleted.map_err(|error| refusal(error.kind(), &error))?;
                Ok(Answer::Deleted)
            }
            Op::Clone { name, from, snapshot, seconds } => {
                let timeout = Duration::from_secs(seconds).min(MAX_WAIT);
                self.clone_volume(name, &from, snapshot, timeout).await
            }
            Op::Flatten { volume } => {
                let (name, id) = self.find(&volume).await?;
                let flattened = flatten(&self.local, &name, id).await;
                flattened.map(Answer::Flattened).map_err(|error| refusal(error.kind(), &error))
            }
            Op::Flattening { volume } => {
                let (_, id) = self.find(&volume).await?;
                Ok(Answer::Flattening(flattening(&self.local, id).await))
            }
            Op::Ping
            | Op::Status { .. }
            | Op::Volumes
            | Op::Drain { .. }
            | Op::Attach { .. }
            | Op::Detach { .. }
            | Op::DropLog { .. }
            | Op::Delete { .. }
            | Op::Collect { .. }
            | Op::Resize { .. }
            | Op::ShareSockets { .. }
            | Op::Leave { .. } => unreachable!("answered by who asks this"),
        }
    }

    async fn resize(
        &self,
        volume: &str,
        size_bytes: u64,
        discards_tail: bool,
        patience: Duration,
    ) -> Result<Answer, Refusal> {
        let (name, id) = self.find(volume).await?;
        let size = VolumeSize::new(ByteSize(size_bytes));
        let size = size.map_err(|error| refusal(ErrorKind::Invalid, &error))?;
        let new = NewSize { size, discards_tail, patience };
        let resized = resize(&self.local, &name, id, new).await;
        resized.map(Answer::Resized).map_err(|error| refusal(error.kind(), &error))
    }

    async fn snapshot_group(
        &self,
        volumes: Vec<String>,
        name: SnapshotName,
        timeout: Duration,
    ) -> Result<Answer, Refusal> {
        let mut found: Vec<(VolumeName, VolumeId)> = Vec::new();
        for volume in volumes {
            let named = self.find(&volume).await?;
            if found.iter().any(|(_, id)| *id == named.1) {
                let text = format!("volume {volume} is named twice");
                return Err(refusal(ErrorKind::Invalid, &text));
            }
            found.push(named);
        }
        if found.is_empty() {
            return Err(refusal(ErrorKind::Invalid, &"no volume is named"));
        }
        let made = snapshot_group(&self.local, found.clone(), name, timeout).await;
        let made = made.map_err(|error| refusal(error.kind(), &error))?;
        let named = found.iter().zip(&made);
        let snapshots = named.map(|((volume, _), made)| SnapshotInfo::new(volume, made)).collect();
        Ok(Answer::Snapshots { snapshots })
    }

    async fn clone_volume(
        &self,
        name: String,
        from: &str,
        snapshot: Option<String>,
        timeout: Duration,
    ) -> Result<Answer, Refusal> {
        let name = VolumeName::new(name).map_err(|error| refusal(ErrorKind::Invalid, &error))?;
        let (from, id) = self.find(from).await?;
        let snapshot = snapshot.map(|name| snapshot_name(&name)).transpose()?;
        let made = copies::clone(&self.local, (id, &from), snapshot, name, timeout).await;
        let made = made.map_err(|error| refusal(error.kind(), &error))?;
        Ok(Answer::Cloned { id: made.volume.to_string() })
    }

    fn report(&self) -> Report<'_> {
        Report { local: &self.local, settings: &self.settings, workers: &self.workers }
    }

    /// Uploads all of a volume that nobody uses, and closes it, which gives it back.
    async fn detach(
        &self,
        name: &VolumeName,
        id: VolumeId,
        timeout: Duration,
    ) -> Result<Answer, Refusal> {
        let local = &self.local;
        let drained = drain(local, name, id, timeout).await;
        drained.map_err(|error| refusal(error.kind(), &error))?;
        let Some(_alone) = local.clients.begin_deleting(id) else { return Err(in_use(name)) };
        if local.core.opened(id).is_none() {
            // It may be this host's all the same, after a crash with nothing to recover.
            let manifest = self.manifest(name, id).await?;
            if manifest.owner == local.core.host {
                local.core.attach(id).await.map_err(|error| failure(&error))?;
            }
        }
        local.core.shut(id).await.map_err(|error| failure(&error))?;
        let manifest = self.manifest(name, id).await?;
        if manifest.owner == local.core.host {
            let text = format!("volume {name} is closed, but that is not published: try again");
            return Err(refusal(ErrorKind::Retry, &text));
        }
        self.must_be_ours(&manifest, elsewhere)?;
        log::info!("detached volume {name}");
        Ok(Answer::Detached)
    }

    /// Refuses what another host has; `text` tells why.
    fn must_be_ours(
        &self,
        manifest: &Manifest,
        text: fn(&VolumeName, &[u8; 16], u64) -> String,
    ) -> Result<(), Refusal> {
        let Manifest { name, owner, tenure, .. } = manifest;
        match is_elsewhere(manifest, self.local.core.host) {
            true => Err(refusal(ErrorKind::Fenced, &text(name, owner, tenure.0))),
            false => Ok(()),
        }
    }

    async fn manifest(&self, name: &VolumeName, id: VolumeId) -> Result<Manifest, Refusal> {
        let manifest = volumes::manifest(&self.local.core.store, id).await;
        manifest.map_err(|error| {
            refusal(error.kind(), &format!("volume {name} cannot be read: {error}"))
        })
    }

    /// Removes what is kept aside of a volume's log. What an opening replays is not touched.
    async fn drop_log(&self, name: &VolumeName, id: VolumeId) -> Result<Answer, Refusal> {
        let core = &self.local.core;
        let manifest = self.manifest(name, id).await?;
        if let Some(volume) = core.opened(id)
            && is_elsewhere(&manifest, core.host)
        {
            if volume.shared().alive().is_ok() {
                let text = format!(
                    "volume {name} is open here, and finds out at its next upload that another \
                     host has it: try again then"
                );
                return Err(refusal(ErrorKind::Busy, &text));
            }
            drop(volume);
            // It has been stopped, which it says once more.
            let _ = core.shut(id).await;
        }
        let (directory, host) = (self.settings.wal_dir(id), core.host);
        let removed = self.workers.run(move || {
            let kept = kept::find(&directory, &manifest, Some(host))?;
            kept.remove().map(|()| kept)
        });
        let removed = removed.await.map_err(|error| refusal(ErrorKind::Bug, &error))?;
        let removed = removed.map_err(|error| {
            refusal(ErrorKind::of_io(&error), &format!("remove the log of {name}: {error}"))
        })?;
        if removed.files.is_empty() {
            return Err(refusal(ErrorKind::NotFound, &kept::nothing(name)));
        }
        let (files, bytes) = (removed.files.len(), removed.bytes);
        log::info!("removed {bytes} bytes of log that were kept aside of volume {name}");
        Ok(Answer::Dropped { files, bytes })
    }

    async fn volumes(&self) -> Result<Answer, Refusal> {
        let listed = catalog::list(&self.local.core.store).await;
        let listed = listed.map_err(|error| refusal(error.kind().into(), &error))?;
        let mut volumes = Vec::new();
        for (name, id) in listed.into_iter().flatten() {
            if self.local.number(id).is_some() {
                volumes.push(self.report().status(&name, id, false).await?);
            }
        }
        Ok(Answer::Volumes { volumes })
    }

    /// Deletes a volume that nobody uses:
    ///
    /// 1. Keep clients away and close the volume. A power cut leaves it as it was. Of what is too damaged
    ///    to tell which host has it, no host can serve anything.
    /// 2. Delete its snapshots, if they are to go, its name and its objects. A power cut after the
    ///    name is gone leaves garbage.
    /// 3. Remove its log, which no volume will ever look for again.
    async fn delete(
        &self,
        name: &VolumeName,
        id: VolumeId,
        snapshots: bool,
    ) -> Result<Answer, Refusal> {
        let local = &self.local;
        match self.manifest(name, id).await {
            Ok(manifest) => self.must_be_ours(&manifest, not_deleted)?,
            Err(unknown) if unknown.kind != ErrorKind::Corrupt => return Err(unknown),
            Err(_) => {}
        }
        let Some(_deleting) = local.clients.begin_deleting(id) else {
            return Err(in_use(name));
        };
        if let Err(error) = local.core.shut(id).await {
            log::warn!("volume {name}: {error}");
        }
        let deleted = copies::delete_volume(local, name, id, snapshots).await;
        deleted.map_err(|error| refusal(error.kind(), &error))?;
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

fn snapshot_name(text: &str) -> Result<SnapshotName, Refusal> {
    SnapshotName::new(text).map_err(|error| refusal(ErrorKind::Invalid, &error))
}

fn in_use(name: &VolumeName) -> Refusal {
    let text = format!("volume {name} is in use: disconnect its clients first");
    refusal(ErrorKind::Busy, &text)
}

pub(super) fn refusal(kind: ErrorKind, message: &dyn std::fmt::Display) -> Refusal {
    Refusal { kind, message: message.to_string() }
}

pub(super) fn failure(error: &VolumeError) -> Refusal {
    refusal(ErrorKind::from(error), error)
}
