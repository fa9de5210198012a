//! Other sizes for the volume of a world, between its opening and its clients.

use std::rc::Rc;

use wal::SECTOR_BYTES;

use super::trigger::Trigger;
use super::{Fault, World};
use crate::sim::host::Host;
use crate::sim::judge::BLOCK_SECTORS;
use crate::sim::random::Random;
use crate::sim::subject::Subject;
use crate::sim::workload::Shift;

/// Changes one after the other, at most.
const CHANGES: u64 = 3;

impl<S: Subject> World<S> {
    /// The volume was opened: its size is one that it may have.
    pub(super) fn see_size(&self, volume: &S::Volume) -> Result<(), Fault> {
        match S::size(volume) {
            Some(bytes) => Ok(self.judge.borrow_mut().size_opened(bytes / SECTOR_BYTES as u64)?),
            None => Ok(()),
        }
    }

    /// Sometimes changes the size, to and fro; returns whether the life goes on.
    pub(super) fn resize(
        &mut self,
        host: &Host,
        shift: &Rc<Shift>,
        volume: &S::Volume,
        trigger: Trigger,
    ) -> Result<bool, Fault> {
        let mut random = Random::stream(self.scenario.seed ^ u64::from(self.life), "resize");
        if !S::RESIZES || !random.chance(self.scenario.resize_one_in) {
            return Ok(true);
        }
        // What is tracked must not be gone altogether.
        let least = (self.scenario.windows[0].start + 1) * BLOCK_SECTORS;
        let most = self.scenario.volume_blocks * BLOCK_SECTORS;
        for _ in 0..random.within(1..CHANGES + 1) {
            let to = match random.chance(2) {
                true => random.within(least..most + 1),
                false => self.edge(&mut random).clamp(least, most),
            };
            if !self.judge.borrow_mut().invoke_resize(to) {
                return Ok(true);
            }
            self.executor.note(&[0x512E, to], || format!("resize to {to} sectors"));
            let (sent, volume) = (self.executor.now(), volume.clone());
            let bytes = to * SECTOR_BYTES as u64;
            let outcome =
                self.phase(host, trigger, async move { S::resize(&volume, bytes).await })?;
            match outcome {
                None => return Ok(false),
                Some(Ok(())) => self.judge.borrow_mut().resize_done(to),
                Some(Err(error)) => {
                    self.judge.borrow_mut().resize_failed();
                    let is_shaken = shift.all_may_fail.get() || shift.reads_may_fail.get();
                    if !is_shaken && sent >= shift.full_until.get() {
                        return Err(Fault::Unclean(format!("resize: {error}")));
                    }
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Somewhere in or around what is written.
    fn edge(&self, random: &mut Random) -> u64 {
        let window = random.pick(&self.scenario.windows);
        let block = random.within(window.start..window.end + 1);
        block * BLOCK_SECTORS + random.below(2) * random.below(BLOCK_SECTORS)
    }
}
