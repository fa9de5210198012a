//! Collecting the garbage of a volume because somebody says so.

use std::rc::Rc;
use std::sync::mpsc::SyncSender;

use chunk::VolumeName;
use wal::VolumeId;
use wal::runtime::Runtime;

use super::attach::{AttachError, attach};
use super::error::ServeError;
use super::limits::COLLECT_PASSES;
use super::local::Local;
use crate::engine::collect::Collected;
use crate::engine::error::VolumeError;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// Why garbage is not collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The volume cannot be opened, as another host has it, or for another reason.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// It is stopped, or something of its map cannot be read: then nothing more is removed.
    #[error("volume {name}: {source}")]
    Volume {
        /// The volume.
        name: VolumeName,
        /// What the engine said.
        #[source]
        source: VolumeError,
    },
}

impl CollectError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Attach(error) => error.kind(),
            Self::Volume { source, .. } => source.into(),
        }
    }
}

/// Removes what nothing needs of a volume, and compacts it. What is garbage now is removed after
/// the grace: this takes as long. With `dry_run`, tells what there is to do, and does nothing.
pub(super) async fn collect(
    local: &Local,
    name: &VolumeName,
    id: VolumeId,
    dry_run: bool,
) -> Result<Collected, CollectError> {
    let core = &local.core;
    let failed = |source| CollectError::Volume { name: name.clone(), source };
    if dry_run {
        return core.survey(id).await.map_err(failed);
    }
    let was_open = core.opened(id).is_some();
    attach(local, name, id, false).await?;
    let outcome = passes(local, id).await.map_err(failed);
    if !was_open && let Some(_alone) = local.clients.begin_deleting(id) {
        core.shut(id).await.map_err(failed)?;
    }
    outcome
}

async fn passes(local: &Local, id: VolumeId) -> Result<Collected, VolumeError> {
    let core = &local.core;
    let mut all = Collected::default();
    for pass in 1..=COLLECT_PASSES {
        let opened = core.opened(id).ok_or(VolumeError::Closed)?;
        let found = core.collect(opened.number()).await?;
        all = Collected {
            removed: all.removed + found.removed,
            removed_bytes: all.removed_bytes + found.removed_bytes,
            victims: all.victims + found.victims,
            moved_bytes: all.moved_bytes + found.moved_bytes,
            ..found
        };
        if pass == COLLECT_PASSES || (found.garbage == 0 && found.victims == 0) {
            break;
        }
        GlommioRuntime.sleep(core.tuning.gc_grace).await;
    }
    Ok(all)
}

/// Collecting where no server runs.
pub(super) struct Collect {
    pub(super) name: VolumeName,
    pub(super) id: VolumeId,
    pub(super) dry_run: bool,
    /// Takes what was done.
    pub(super) done: SyncSender<Collected>,
}

impl Collect {
    /// Runs on core 0.
    pub(super) async fn run(self, local: Rc<Local>) -> Result<(), ServeError> {
        let collected = collect(&local, &self.name, self.id, self.dry_run).await;
        // Received when the cores have ended; there is room for one.
        let _ = self.done.try_send(collected?);
        Ok(())
    }
}
