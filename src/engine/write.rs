//! Writing: into memory while nobody flushes, or to the log.

use wal::limits::ENTRY_MAX_BLOCKS;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, ShardBlock, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::limits::COPY_QUANTUM_BYTES;
use super::place::Place;
use super::shard::{Maps, Shard};
use super::unlogged::Absorbed;

impl<E: Env> Shard<E> {
    /// Writes bytes at byte `at` of the shard; within one stripe, any alignment.
    ///
    /// # Errors
    /// The volume is stopped, or there is no room for the log.
    pub async fn write(&self, at: u64, data: &[u8]) -> Result<(), VolumeError> {
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let block = ShardBlock(at / BLOCK_BYTES as u64);
            let within = (at % BLOCK_BYTES as u64) as usize;
            let taken = if within != 0 || rest.len() < BLOCK_BYTES {
                let taken = rest.len().min(BLOCK_BYTES - within);
                self.write_part(block, within, &rest[..taken]).await?;
                taken
            } else {
                let whole = rest.len() / BLOCK_BYTES * BLOCK_BYTES;
                let most = whole.min(COPY_QUANTUM_BYTES);
                self.write_blocks(block, &rest[..most]).await?;
                most
            };
            (at, rest) = (at + taken as u64, &rest[taken..]);
            let pressure = self.log.pressure();
            if !pressure.is_zero() {
                self.core.runtime.sleep(pressure).await;
            } else if !rest.is_empty() && taken == COPY_QUANTUM_BYTES {
                self.core.runtime.pause().await;
            }
        }
        Ok(())
    }

    async fn write_blocks(&self, start: ShardBlock, data: &[u8]) -> Result<(), VolumeError> {
        let mut done = 0;
        loop {
            done +=
                self.try_write(ShardBlock(start.0 + (done / BLOCK_BYTES) as u64), &data[done..])?;
            if done == data.len() {
                return Ok(());
            }
            self.make_room().await?;
        }
    }

    /// Waits until a write that found no room may be tried again.
    async fn make_room(&self) -> Result<(), VolumeError> {
        if self.waits_for_memory() {
            self.wait_for_memory().await;
            Ok(())
        } else if self.crowds_out_memory(&self.maps.borrow()) {
            self.pour().await.map(drop)
        } else {
            self.log.room().await
        }
    }

    /// Whether more writes to the log would take the room there of what is in memory only.
    fn crowds_out_memory(&self, maps: &Maps) -> bool {
        !maps.unlogged.is_empty() && !self.log.has_room_beside(maps.unlogged.blocks())
    }

    /// Writes whole blocks as far as there is room now; returns the bytes written.
    ///
    /// # Errors
    /// The volume is stopped.
    pub fn try_write(&self, start: ShardBlock, data: &[u8]) -> Result<usize, VolumeError> {
        self.shared.alive()?;
        let mut maps = self.maps.borrow_mut();
        let mut cache = self.core.cache.borrow_mut();
        let all = ShardRun { start, count: (data.len() / BLOCK_BYTES) as u64 };
        let epoch = self.observe_epoch(&mut maps);
        if let Some(absorbed) = self.absorbs(&maps, &cache, all) {
            let fresh = match absorbed {
                Absorbed::Anew => self.make_way(&mut maps, &mut cache, all),
                Absorbed::Again => 0,
            };
            self.absorb(&mut cache, all, data);
            let most = self.core.tuning.unlogged_blocks.into();
            let asks = self.pace.asks(maps.epoch, maps.absorbed.blocks(), most);
            drop((maps, cache));
            self.shared.note_replaced((all.count - fresh) * BLOCK_BYTES as u64);
            self.note_dirty(fresh as usize * BLOCK_BYTES);
            if asks {
                self.core.note_dirty(self.volume, true);
            }
            return Ok(data.len());
        }
        if self.waits_for_memory() || self.crowds_out_memory(&maps) {
            return Ok(0);
        }
        let mut done = 0;
        for entry in data.chunks(ENTRY_MAX_BLOCKS as usize * BLOCK_BYTES) {
            let first = ShardBlock(start.0 + (done / BLOCK_BYTES) as u64);
            let lba = self.shared.layout.to_volume(self.id, first);
            let run = ShardRun { start: first, count: (entry.len() / BLOCK_BYTES) as u64 };
            let Ok(place) = self.log.push_data(epoch, lba, entry) else { break };
            maps.set_aside(self.volume, run, &mut cache);
            maps.dirty.insert(run, Place::Log(place));
            self.forget_unlogged(&mut maps, run);
            for (block, content) in (first.0..).zip(entry.chunks_exact(BLOCK_BYTES)) {
                cache.put(self.volume, ShardBlock(block), content);
            }
            done += entry.len();
        }
        drop((maps, cache));
        self.note_dirty(done);
        Ok(done)
    }

    /// Whether writers should go slower: then writes take the way that can wait.
    pub fn is_tight(&self) -> bool {
        self.log.is_tight()
    }

    /// Replaces part of one block. The old content is read first; if the block changes meanwhile
    /// it is read again, so two such writes never lose one.
    async fn write_part(
        &self,
        block: ShardBlock,
        within: usize,
        part: &[u8],
    ) -> Result<(), VolumeError> {
        let mut content = vec![0; BLOCK_BYTES];
        loop {
            let version = self.read_version(block, &mut content).await?;
            content[within..within + part.len()].copy_from_slice(part);
            // Nothing awaits between this look and the write.
            if self.version(block) != Some(version) && !planted::is(Bug::PartialWriteRace) {
                continue;
            }
            if self.try_write(block, &content)? == BLOCK_BYTES {
                return Ok(());
            }
            self.make_room().await?;
        }
    }
}
