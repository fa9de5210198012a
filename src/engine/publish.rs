//! Publishing manifests: one writer, one sequence, conditional puts.

use bytes::Bytes;
use chunk::manifest_log::{self, PublishError};
use chunk::{ErrorKind, Manifest, ManifestSeq, ObjectStore};
use wal::VolumeId;
use wal::disk::Disk;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{MANIFESTS_KEPT, PUBLISH_TRIES, RETRY_FIRST};
use super::open::NO_HOST;
use super::read::longer;
use super::recovered::{log_directory, log_prefix};

impl<E: Env> Coordinator<E> {
    /// Publishes that no host has the volume, and removes its log.
    ///
    /// What a power cut, or a store that fails, leaves after each step:
    /// 1. all is covered and closed: the volume is this host's still; its next opening finds a log
    ///    that is covered.
    /// 2. the manifest without a host is published: any host may open the volume. The log is
    ///    covered and of a tenure that has ended.
    /// 3. the files are gone, or some are left, which the next opening here removes.
    pub(super) async fn give_back(&self) {
        let mut manifest = self.newest.borrow().1.clone();
        let prefix = log_prefix(manifest.tenure);
        manifest.owner = NO_HOST;
        if let Err(error) = self.try_publish(manifest).await {
            let volume = self.shared.volume;
            log::warn!("volume {volume} stays with this host, as that was not published: {error}");
            return;
        }
        let directory = log_directory(self.shared.volume);
        let Ok(files) = self.core.disk.list(&directory).await else { return };
        for file in files.iter().filter(|file| file.name.starts_with(&prefix)) {
            // One that stays goes at the next opening.
            let _ = self.core.disk.remove(&format!("{directory}/{}", file.name)).await;
        }
    }

    /// Publishes the next manifest unless the store fails for a while.
    async fn try_publish(&self, manifest: Manifest) -> Result<(), VolumeError> {
        let seq = self.newest.borrow().0.next();
        let body = Bytes::from(manifest.encode(seq));
        publish_patiently(&self.core, self.shared.volume, seq, body).await?;
        self.newest.replace((seq, manifest));
        Ok(())
    }

    /// Publishes the next manifest.
    ///
    /// # Errors
    /// [`VolumeError::Fenced`] if another opening published first. After any other error it may
    /// be published or not: the same manifest must be published again before another one.
    pub(super) async fn publish(&self, manifest: Manifest) -> Result<(), VolumeError> {
        let (core, volume) = (&self.core, self.shared.volume);
        let seq = self.newest.borrow().0.next();
        let body = Bytes::from(manifest.encode(seq));
        loop {
            self.shared.alive()?;
            match publish_patiently(core, volume, seq, body.clone()).await {
                Ok(()) => break,
                // The store is down: the log takes what it can, see `Log::room`.
                Err(VolumeError::Store(cause)) if cause.kind() != ErrorKind::Corrupt => {}
                Err(final_error) => return Err(final_error),
            }
        }
        self.newest.replace((seq, manifest));
        if let Some(old) = seq.0.checked_sub(MANIFESTS_KEPT).filter(|old| *old > 0) {
            // One that stays costs little and goes at the next opening.
            let _ = core.store.delete(&ManifestSeq(old).object_name(volume)).await;
        }
        Ok(())
    }
}

/// Publishes a manifest, a few times if need be: whether a put that failed was done is found out
/// by doing it again.
///
/// # Errors
/// [`VolumeError::Fenced`] if another opening published first, or what the store says.
pub(super) async fn publish_patiently<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    seq: ManifestSeq,
    body: Bytes,
) -> Result<(), VolumeError> {
    let mut pause = RETRY_FIRST;
    for tries_left in (0..PUBLISH_TRIES).rev() {
        match manifest_log::publish(&core.store, volume, seq, body.clone()).await {
            Ok(()) => return Ok(()),
            Err(PublishError::Store(_)) if planted::is(Bug::AmbiguousPutTrusted) => return Ok(()),
            Err(PublishError::Lost { .. }) => {
                let detail = format!("another opening published manifest {seq}");
                return Err(VolumeError::Fenced { volume: volume.to_string(), detail });
            }
            Err(PublishError::Store(error)) => {
                if tries_left == 0 || error.kind() == ErrorKind::Corrupt {
                    return Err(error.into());
                }
            }
        }
        core.runtime.sleep(pause).await;
        pause = longer(pause);
    }
    unreachable!("the last try returns")
}
