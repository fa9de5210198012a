//! How a volume is, for people and for programs.

use std::time::{Duration, SystemTime};

use chunk::ids::volume_prefix;
use chunk::{Manifest, ObjectStore, VolumeName, Workers};
use wal::VolumeId;

use super::admin::{failure, refusal};
use super::attach::is_elsewhere;
use super::limits::LOOK_TIMEOUT;
use super::local::Local;
use super::patience::in_time;
use super::{host_id, kept, volumes};
use crate::config::Settings;
use crate::control::{Refusal, StoreStatus, TrafficStatus, VolumeState, VolumeStatus};
use crate::engine::error::VolumeError;
use crate::engine::message::Counts;
use crate::engine::open::NO_HOST;
use crate::error::ErrorKind;

/// Makes reports; on core 0.
pub(super) struct Report<'a> {
    pub(super) local: &'a Local,
    pub(super) settings: &'a Settings,
    pub(super) workers: &'a Workers,
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Report<'_> {
    /// How a volume is. With `whole`, the store is asked as well who has it and how much it holds;
    /// a store that does not answer leaves that open.
    pub(super) async fn status(
        &self,
        name: &VolumeName,
        id: VolumeId,
        whole: bool,
    ) -> Result<VolumeStatus, Refusal> {
        let core = &self.local.core;
        let manifest = async {
            let manifest = in_time(LOOK_TIMEOUT, volumes::manifest(&core.store, id));
            manifest.await.map(|known| {
                known.map_err(|error| {
                    refusal(error.kind(), &format!("volume {name} cannot be read: {error}"))
                })
            })
        };
        let mut status = match core.opened(id) {
            Some(volume) => {
                let counts = core.count(volume.number()).await;
                let counts = counts.map_err(|error| failure(&error))?;
                let alive = volume.shared().alive();
                let state = match &alive {
                    Ok(()) => VolumeState::Serving,
                    Err(VolumeError::Fenced { .. }) => VolumeState::Fenced,
                    Err(_) => VolumeState::Failed,
                };
                let mut status = VolumeStatus {
                    size_bytes: volume.size_bytes(),
                    incarnation: volume.shared().incarnation.0,
                    failure: alive.err().map(|error| error.to_string()),
                    ..self.told(name, id, state, &counts)
                };
                status.store_state = Some(counts.store);
                if whole && let Some(Ok(manifest)) = manifest.await {
                    self.own(&mut status, &manifest).await?;
                }
                status
            }
            None => {
                let late =
                    || refusal(ErrorKind::Retry, &format!("the store does not tell of {name}"));
                let manifest = manifest.await.ok_or_else(late)??;
                self.unopened(name, id, &manifest).await?
            }
        };
        if whole {
            let prefix = volume_prefix(id);
            if let Some(Ok(objects)) = in_time(LOOK_TIMEOUT, core.store.list(&prefix)).await {
                status.remote_bytes = Some(objects.iter().map(|(_, bytes)| bytes).sum());
            }
        }
        Ok(status)
    }

    /// What store and disk say of a volume that is not open.
    async fn unopened(
        &self,
        name: &VolumeName,
        id: VolumeId,
        manifest: &Manifest,
    ) -> Result<VolumeStatus, Refusal> {
        let state = match is_elsewhere(manifest, self.local.core.host) {
            true => VolumeState::Elsewhere,
            false => VolumeState::NotServed,
        };
        let mut status = VolumeStatus {
            size_bytes: manifest.size_bytes,
            incarnation: manifest.incarnation.0,
            ..self.told(name, id, state, &Counts::default())
        };
        self.own(&mut status, manifest).await?;
        // How much of it the store lacks is known once it was read.
        let has_log = status.wal_bytes > status.kept_aside_bytes;
        status.logged_bytes = (!has_log).then_some(0);
        Ok(status)
    }

    /// Adds who has the volume, and what is kept aside of it here.
    async fn own(&self, status: &mut VolumeStatus, manifest: &Manifest) -> Result<(), Refusal> {
        let host = self.local.core.host;
        let directory = self.settings.wal_dir(manifest.volume);
        let (place, manifest) = (directory.clone(), manifest.clone());
        status.host = (manifest.owner != NO_HOST).then(|| host_id::text(&manifest.owner));
        status.host_since_incarnation = manifest.tenure.0;
        status.is_own = manifest.owner == host;
        let looked = self.workers.run(move || {
            let kept = kept::find(&place, &manifest, Some(host))?;
            Ok::<_, std::io::Error>((kept.bytes, kept::bytes(&place)?))
        });
        let looked = looked.await.map_err(|error| refusal(ErrorKind::Bug, &error))?;
        let (kept, all) = looked.map_err(|error| {
            let text = format!("list {}: {error}", directory.display());
            refusal(ErrorKind::of_io(&error), &text)
        })?;
        status.wal_bytes = all;
        status.kept_aside_bytes = kept;
        status.kept_aside_in = (kept > 0).then(|| directory.display().to_string());
        Ok(())
    }

    /// What is known of a volume without asking for more.
    fn told(
        &self,
        name: &VolumeName,
        id: VolumeId,
        state: VolumeState,
        counts: &Counts,
    ) -> VolumeStatus {
        let traffic = self.local.core.store.traffic(id);
        let written = counts.written as f64 / f64::from(1 << 20);
        VolumeStatus {
            volume: name.to_string(),
            id: id.to_string(),
            state,
            read_only: self.local.is_read_only(name),
            connections: self.local.clients.of(id),
            dirty_bytes: counts.dirty,
            logged_bytes: Some(counts.logged),
            syncing_bytes: counts.syncing,
            cached_bytes: counts.cached,
            disk_cached_bytes: counts.disk_cached,
            disk_cache_hits: counts.disk_cache.hits,
            disk_cache_rotten: counts.disk_cache.rejected,
            wal_bytes: counts.log_files,
            unpublished_age_ms: counts.unpublished_age.map(millis),
            published_age_ms: counts.published_age.map(millis),
            written_bytes: counts.written,
            sealed_bytes: counts.sealed,
            stored_bytes: counts.stored,
            traffic: Some(TrafficStatus {
                requests: traffic.requests,
                puts: traffic.puts,
                put_bytes: traffic.put_bytes,
                puts_per_mib: (written >= 1.0).then(|| traffic.puts as f64 / written),
                requests_per_mib: (written >= 1.0).then(|| traffic.requests as f64 / written),
            }),
            store: self.store(),
            ..VolumeStatus::default()
        }
    }

    /// How the bucket is, if the store is one.
    fn store(&self) -> Option<StoreStatus> {
        let bucket = self.local.core.store.bucket()?;
        let (metrics, health) = (bucket.metrics(), bucket.health());
        #[expect(clippy::disallowed_methods, reason = "ages that people see")]
        let now = SystemTime::now();
        let age = |since: SystemTime| millis(now.duration_since(since).unwrap_or_default());
        let total = metrics.total();
        let (last_error, last_error_at) = health.last_error.unzip();
        Some(StoreStatus {
            failing_ms: health.failing_since.map(age),
            last_error,
            last_error_age_ms: last_error_at.map(age),
            requests: total.requests,
            retries: total.retries,
            errors: total.errors,
            slowdowns: total.slowdowns,
            concurrency: metrics.concurrency as u64,
        })
    }
}
