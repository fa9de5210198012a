//! A snapshot that is open for reading: on all cores, without a log, a coordinator or a change of
//! who has the volume. Any number of hosts may have it open, as it never changes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chunk::{Fencing, Snapshot};
use wal::Layout;

use super::Env;
use super::cache::VolumeNo;
use super::core::Core;
use super::error::VolumeError;
use super::lease::Lease;
use super::mesh::CoreId;
use super::message::{Answer, Ask, ShardAsk};
use super::open::{open_shards, read_directory, read_unfolded};
use super::peers::Outcome;
use super::recovered::RecoveredShard;
use super::registry::KEEPER;
use super::shared::Shared;
use super::volume::Volume;

impl<E: Env> Core<E> {
    /// This core's handle of a snapshot; opens the snapshot if it is not open. The registry knows
    /// it by [`chunk::SnapshotId::as_volume`].
    ///
    /// # Errors
    /// What it refers to cannot be read.
    pub async fn view(self: &Rc<Self>, snapshot: Snapshot) -> Result<Volume<E>, VolumeError> {
        match self.ask(KEEPER, Ask::View(Arc::new(snapshot))).await? {
            Answer::Opened(number, shared) => Volume::attach(self.clone(), number, shared),
            _ => unreachable!("opening is answered by what is open"),
        }
    }

    /// For the home of a snapshot: opens it under this number.
    pub(super) async fn open_view(
        self: &Rc<Self>,
        number: VolumeNo,
        snapshot: &Snapshot,
    ) -> Outcome {
        let manifest = &snapshot.manifest;
        let layout = Layout::new(manifest.stripe_shift, self.cores());
        let layout = layout.expect("manifests are checked, and there is at least one core");
        let (epoch, no_lease) = (manifest.cut.epoch, Lease::new(Fencing::Contact, Duration::ZERO));
        let shared = Shared::new(manifest, layout, no_lease, epoch);
        let shared = Arc::new(shared.as_view(snapshot.id.as_volume()));
        let unfolded = read_unfolded(self, manifest).await?;
        let pages = read_directory(self, manifest, layout).await?;
        let parts = pages.into_iter().map(|pages| (pages, RecoveredShard::default())).collect();
        open_shards(self, number, &shared, (manifest.tenure, unfolded), parts).await?;
        Ok(Answer::Opened(number, shared))
    }

    /// For the home of a snapshot: closes it on all cores.
    pub(super) async fn close_view(self: &Rc<Self>, number: VolumeNo) -> Result<(), VolumeError> {
        assert!(self.shard(number)?.shared.is_view, "a volume has a coordinator");
        let mut calls = Vec::new();
        for core in (0..self.cores()).map(CoreId).filter(|core| *core != self.id()) {
            calls.push(self.peers.start(core, Ask::Shard(number, ShardAsk::Close)).await);
        }
        let mut closed = self.shard(number)?.answer(ShardAsk::Close).await.map(drop);
        for call in calls {
            closed = closed.and(call.await.map(drop));
        }
        closed
    }
}
