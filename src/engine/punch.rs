//! Making blocks read as zeros: one record for a whole run, however long.

use wal::{BLOCK_BYTES, HoleKind, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::log::NoRoom;
use super::place::Place;
use super::shard::Shard;

impl<E: Env> Shard<E> {
    /// Makes whole blocks read as zeros.
    ///
    /// # Errors
    /// The volume is stopped, or there is no room for the log.
    pub async fn punch(&self, run: ShardRun, kind: HoleKind) -> Result<(), VolumeError> {
        while self.try_punch(run, kind)?.is_err() {
            self.log.room().await?;
        }
        self.note_dirty(BLOCK_BYTES);
        Ok(())
    }

    fn try_punch(&self, run: ShardRun, kind: HoleKind) -> Result<Result<(), NoRoom>, VolumeError> {
        self.shared.alive()?;
        let mut maps = self.maps.borrow_mut();
        let mut cache = self.core.cache.borrow_mut();
        let epoch = self.observe_epoch(&mut maps);
        let extent = self.shared.layout.span(self.id, run);
        if let Err(full) = self.log.push_hole(epoch, kind, extent) {
            return Ok(Err(full));
        }
        maps.set_aside(self.volume, run, &mut cache);
        maps.dirty.insert(run, Place::from(kind));
        self.forget_unlogged(&mut maps, run);
        cache.forget(self.volume, run.start, run.count);
        Ok(Ok(()))
    }
}
