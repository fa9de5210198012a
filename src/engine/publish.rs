//! Publishing manifests: one writer, one sequence, conditional puts.

use bytes::Bytes;
use chunk::manifest_log::{self, PublishError};
use chunk::{ErrorKind, Manifest, ManifestSeq, ObjectStore};
use wal::VolumeId;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;

use super::Env;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::limits::{MANIFESTS_KEPT, PUBLISH_TRIES, RETRY_FIRST, RETRY_LONGEST};
use super::open::NO_HOST;
use super::read::longer;
use super::turn::Taken;

impl<E: Env> Coordinator<E> {
    /// Publishes that no host has the volume. If that fails the volume stays with this host.
    pub(super) async fn give_back(&self) {
        let _turn = self.publishing.take().await;
        self.prune().await;
        let (before, mut manifest) = self.newest.borrow().clone();
        let (seq, volume) = (before.next(), self.shared.volume);
        let before = manifest.encode(before);
        manifest.owner = NO_HOST;
        let body = Bytes::from(manifest.encode(seq));
        match publish_patiently(&self.core, volume, seq, body, &before).await {
            Ok(()) => drop(self.newest.replace((seq, manifest))),
            Err(error) => {
                log::warn!(
                    "volume {volume} stays with this host, as that was not published: {error}"
                );
            }
        }
    }

    /// Publishes that this host still has the volume, unless it did so not long ago.
    ///
    /// # Errors
    /// [`VolumeError::Fenced`] if another host has it, and then the volume is stopped; or what
    /// stopped it before.
    pub(super) async fn renew(&self) -> Result<(), VolumeError> {
        let turn = self.publishing.take().await;
        if self.newest.borrow().1.owner == NO_HOST {
            return Err(VolumeError::Closed);
        }
        if !self.shared.lease.is_old(self.core.runtime.now()) {
            return Ok(());
        }
        self.publish_next(&turn, |_| ()).await
    }

    /// Publishes the next manifest: the newest one with a change.
    ///
    /// # Errors
    /// [`VolumeError::Fenced`] if another opening published first, which stops the volume, or what
    /// stopped it before. As long as it is not known whether the manifest is published, it is
    /// published again: another one of its number must not follow.
    pub(super) async fn publish(
        &self,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), VolumeError> {
        let turn = self.publishing.take().await;
        self.publish_next(&turn, change).await
    }

    /// As [`Self::publish`], unless the volume was given back meanwhile.
    pub(super) async fn publish_while_ours(
        &self,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), VolumeError> {
        let turn = self.publishing.take().await;
        if self.newest.borrow().1.owner == NO_HOST {
            return Err(VolumeError::Closed);
        }
        self.publish_next(&turn, change).await
    }

    async fn publish_next(
        &self,
        _turn: &Taken<'_>,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), VolumeError> {
        let (core, volume) = (&self.core, self.shared.volume);
        self.prune().await;
        let began = core.runtime.now();
        let (before, mut manifest) = self.newest.borrow().clone();
        let seq = before.next();
        let before = manifest.encode(before);
        change(&mut manifest);
        manifest.compressed_since = self.shared.compressed_since;
        let body = Bytes::from(manifest.encode(seq));
        loop {
            self.shared.alive()?;
            match publish_patiently(core, volume, seq, body.clone(), &before).await {
                Ok(()) => break,
                // The store is down: the log takes what it can, see `Log::room`.
                Err(VolumeError::Store(cause)) if cause.kind() != ErrorKind::Corrupt => {}
                Err(VolumeError::Store(cause)) => {
                    log::warn!("volume {volume}: manifest {seq} is not published: {cause}");
                    core.runtime.sleep(RETRY_LONGEST).await;
                }
                // Whoever asked, nothing may follow: what was put may be in the way.
                Err(lost) => {
                    self.shared.poison(lost.clone());
                    return Err(lost);
                }
            }
        }
        // A log that failed meanwhile may be on the disk that the store is on: what that says after
        // an error proves nothing, and the log keeps what it has.
        self.shared.alive()?;
        self.newest.replace((seq, manifest));
        self.shared.lease.renewed(began);
        self.prunes.set(true);
        Ok(())
    }

    /// Removes what the newest manifest made too old, now that nobody waits for that one.
    pub(super) async fn tidy(&self) {
        let _turn = self.publishing.take().await;
        self.prune().await;
    }

    /// Removes the manifest that is too old now, unless that was done. Before the next one is
    /// published it is. The order is part of the protocol: while one is
    /// there, its successor must be, or a writer that slept finds that one's name free and its
    /// predecessor in place, and takes itself for the newest. So one that could not be removed goes
    /// before all others the next time.
    async fn prune(&self) {
        if !self.prunes.take() {
            return;
        }
        let newest = self.newest.borrow().0;
        if !self.shared.lease.holds(self.core.runtime.now()) {
            // This host stood still since it published: another one may have the volume.
            self.prunes_all.set(true);
            return;
        }
        let (store, volume) = (&self.core.store, self.shared.volume);
        let pruned = if self.prunes_all.get() {
            manifest_log::prune(store, volume, MANIFESTS_KEPT as usize).await.is_ok()
        } else {
            match newest.0.checked_sub(MANIFESTS_KEPT).filter(|old| *old > 0) {
                Some(old) => store.delete(&ManifestSeq(old).object_name(volume)).await.is_ok(),
                None => true,
            }
        };
        self.prunes_all.set(!pruned);
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
    before: &[u8],
) -> Result<(), VolumeError> {
    let mut pause = RETRY_FIRST;
    for tries_left in (0..PUBLISH_TRIES).rev() {
        match manifest_log::publish(&core.store, volume, seq, body.clone(), before).await {
            Ok(()) => return Ok(()),
            Err(PublishError::Store(_)) if planted::is(Bug::AmbiguousPutTrusted) => return Ok(()),
            Err(PublishError::Lost { .. }) if planted::is(Bug::TwoWriters) => return Ok(()),
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
