//! A second host, which takes the volume over from the store while the first one lives, stands
//! still or is dead; and the first one, when it comes back.

use std::rc::Rc;

use super::life::{BUDGET, End};
use super::trigger::Trigger;
use super::{Fault, World};
use crate::sim::disk::{DiskFaults, Drive};
use crate::sim::ghost::Ghost;
use crate::sim::host::Host;
use crate::sim::random::Random;
use crate::sim::subject::Subject;
use crate::sim::workload::Shift;

/// Openings of the second host before its store gets well.
const BAD_OPENINGS: u32 = 2;

/// The disk of a host that was replaced.
pub(super) struct Replaced {
    drive: Drive,
    ghost: Rc<Ghost>,
}

/// What the first host does while the second one opens the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plight {
    Works,
    StandsStill,
    Dead,
}

impl<S: Subject> World<S> {
    /// Another host, with an empty disk, opens the volume. Returns it when its clients have worked
    /// for a while and the first host knows that it has lost.
    pub(super) fn take_over(
        &mut self,
        loser: &Host,
        old: &Rc<Shift>,
        closed: bool,
    ) -> Result<Host, Fault> {
        let plights = [Plight::Works, Plight::StandsStill, Plight::Dead];
        let plight = if closed { Plight::Dead } else { *self.random.pick(&plights) };
        self.executor.note(&[0x7A4E], || format!("taken over from a host that {plight:?}"));
        match plight {
            Plight::Works => {}
            Plight::StandsStill => self.executor.pause(Some(loser.process())),
            Plight::Dead => self.end_process(loser, &self.drive),
        }
        let drive = Drive::new(&self.executor, self.random.bits());
        // A volume that was given back can be had by anybody.
        drive.set_strange(!closed);
        self.bucket.watch(loser.process());
        // It may come to know while the other one still opens.
        old.all_may_fail.set(true);
        old.losing.set(true);
        // A host that works renews its lease for ever.
        let leased = self.scenario.tuning.promises.fencing.lease().is_some();
        let waits = leased && !closed && plight != Plight::Works;
        let (winner, volumes) = self.open_elsewhere(&drive, waits)?;
        old.verdict()?;
        self.judge.borrow_mut().crash(true);
        self.see_size(&volumes[0])?;
        let ghost = Rc::new(Ghost::new(self.scenario.seed, waits));
        old.haunt(&ghost);
        let resumes_late = self.random.chance(2);
        if !resumes_late {
            self.executor.pause(None);
        }
        let shift = Shift::new(&self.scenario, &self.judge, &self.executor, &drive);
        assert!(self.look(&winner, &shift, &volumes, Trigger::NEVER)?, "nothing ends this look");
        self.start_faults(&shift, End::Close, false);
        self.healthy = false;
        let trigger = self.draw_trigger(self.scenario.life_steps);
        self.hire(&winner, &shift, &volumes);
        self.executor.run(BUDGET, || self.is_time(trigger) || shift.is_over())?;
        shift.verdict()?;
        shift.stop();
        self.executor.pause(None);
        if plight != Plight::Dead {
            // Its clients write, so it comes to the store, and stops.
            self.stop_faults();
            let is_known = || old.is_deserted() && shift.is_deserted();
            let is_broken = || old.is_broken() || shift.is_broken();
            self.executor.run(BUDGET, || is_known() || is_broken())?;
            shift.verdict()?;
            old.verdict()?;
            self.end_process(loser, &self.drive);
        }
        if let Some(trespass) = self.bucket.trespass() {
            return Err(Fault::Trespass(trespass));
        }
        let drive = std::mem::replace(&mut self.drive, drive);
        self.replaced = Some(Replaced { drive, ghost });
        Ok(winner)
    }

    fn open_elsewhere(
        &mut self,
        drive: &Drive,
        waits: bool,
    ) -> Result<(Host, Vec<S::Volume>), Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            if tries > BAD_OPENINGS {
                self.stop_faults();
            }
            let mut winner = self.boot(drive);
            winner.waits = waits;
            let opened = self.phase(&winner, Trigger::NEVER, {
                let host = winner.clone();
                async move { S::open(&host, false).await }
            })?;
            match opened.expect("nothing ends this opening") {
                Ok(volumes) => {
                    drive.set_strange(false);
                    return Ok((winner, volumes));
                }
                Err(error) if tries > BAD_OPENINGS => return Err(Fault::Unopened(error)),
                Err(_) => self.end_process(&winner, drive),
            }
        }
    }

    /// The host that was replaced comes back. It is refused as long as another one has the volume,
    /// and then takes it over. In either case what it never published is left alone, and comes to
    /// life nowhere.
    pub(super) fn come_back(&mut self, replaced: Replaced) -> Result<(), Fault> {
        let Replaced { drive, ghost } = replaced;
        self.stop_faults();
        drive.set_faults(DiskFaults::default());
        let before = logs(&drive);
        let mut host = self.boot(&drive);
        self.executor.note(&[0xBAC6], || "the host that was replaced comes back".to_owned());
        let mut opened = self.open_again(&host)?;
        if opened.is_err() {
            self.end_process(&host, &drive);
            if logs(&drive) != before {
                return Err(Fault::Trespass("changed a log that was set aside".into()));
            }
            drive.set_strange(true);
            host = self.boot(&drive);
            opened = self.open_again(&host)?;
        }
        let volumes = opened.map_err(Fault::Unopened)?;
        drive.set_strange(false);
        // As good as any other host: nothing but the store counts.
        self.judge.borrow_mut().crash(true);
        self.see_size(&volumes[0])?;
        self.life += 1;
        let shift = Shift::new(&self.scenario, &self.judge, &self.executor, &drive);
        assert!(self.look(&host, &shift, &volumes, Trigger::NEVER)?, "nothing ends it");
        let after = logs(&drive);
        if ghost.is_kept() && !before.iter().all(|file| after.contains(file)) {
            return Err(Fault::Trespass("dropped what it never published".into()));
        }
        let drive = std::mem::replace(&mut self.drive, drive);
        self.replaced = Some(Replaced { drive, ghost: Rc::default() });
        self.crash(&host);
        Ok(())
    }

    fn open_again(&mut self, host: &Host) -> Result<Result<Vec<S::Volume>, String>, Fault> {
        let opened = self.phase(host, Trigger::NEVER, {
            let host = host.clone();
            async move { S::open(&host, false).await }
        })?;
        Ok(opened.expect("nothing ends this opening"))
    }

    fn boot(&mut self, drive: &Drive) -> Host {
        let cores = self.random.within(1..u64::from(self.scenario.most_cores) + 1) as u16;
        let (tuning, blocks) = (self.scenario.tuning, self.scenario.volume_blocks);
        Host::boot(&self.executor, drive, &self.bucket, cores, tuning, blocks)
    }

    /// A process dies, and its machine stays.
    fn end_process(&self, host: &Host, drive: &Drive) {
        self.executor.kill(host.process());
        self.bucket.settle_kill(host.process());
        drive.settle_kill(host.process());
    }

    /// Starts the clients of a life.
    pub(super) fn hire(&mut self, host: &Host, shift: &Rc<Shift>, volumes: &[S::Volume]) {
        for number in 0..self.scenario.clients {
            let core = self.random.below(volumes.len() as u64) as usize;
            let random = Random::stream(self.random.bits(), "client");
            self.executor.note(&[number, core as u64], || format!("client {number} on {core}"));
            shift.hire::<S>(&volumes[core], &host.cores[core].runtime, random);
        }
    }
}

/// All that a host keeps but the cache, which anybody may change.
fn logs(drive: &Drive) -> Vec<(String, Vec<u8>)> {
    let mut files = drive.files();
    files.retain(|(path, _)| !path.starts_with("cache/"));
    files
}
