//! One life of the subject: open, look, work, and an end.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::trigger::Trigger;
use super::{Fault, World};
use crate::engine::mesh::CoreId;
use crate::sim::disk::{Call, DiskFaults, Rot};
use crate::sim::executor::Budget;
use crate::sim::host::Host;
use crate::sim::judge::Command;
use crate::sim::limits::{LOOK_STEPS, PHASE_SPAN, PHASE_STEPS, REST, SPACE_SPAN, UPLOAD_SPAN};
use crate::sim::random::Random;
use crate::sim::scenario::FailsAt;
use crate::sim::store::StoreFaults;
use crate::sim::subject::Subject;
use crate::sim::workload::{Shift, read_all};
use wal::runtime::Runtime;

pub(super) const BUDGET: Budget = Budget { steps: PHASE_STEPS, span: PHASE_SPAN };

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// By force, at any time.
    Crash,
    /// All faults stop, the clients leave, the volume is closed.
    Close,
    /// After a look at everything, without faults.
    Verify,
}

impl<S: Subject> World<S> {
    /// Lives once, and dies. Whatever happens before the crash, short of a broken promise, the
    /// next life must cope with.
    pub(super) fn live(&mut self, end: End) -> Result<(), Fault> {
        let cores = self.random.within(1..u64::from(self.scenario.most_cores) + 1) as u16;
        let (tuning, blocks) = (self.scenario.tuning, self.scenario.volume_blocks);
        let host = Host::boot(&self.executor, &self.drive, &self.bucket, cores, tuning, blocks);
        self.executor.note(&[u64::from(cores)], || format!("boot with {cores} cores, {end:?}"));
        self.rot_cache();
        let shift = Shift::new(&self.scenario, &self.judge, &self.executor, &self.drive);
        self.drive.forgive();
        let worked = self.stay(&host, &shift, end)?;
        let taken = S::FENCES && worked && end != End::Verify;
        if taken && self.random.chance(self.scenario.take_over_one_in) {
            let closed = end == End::Close && self.scenario.store.lie_one_in == 0;
            let winner = self.take_over(&host, &shift, closed)?;
            self.crash(&winner);
        } else {
            self.crash(&host);
        }
        if S::ENDURES && self.created && self.decay.chance(self.scenario.rot_one_in) {
            self.probe()?;
        }
        if let Some(replaced) = self.replaced.take_if(|_| self.random.chance(2)) {
            self.come_back(replaced)?;
        }
        Ok(())
    }

    /// The life up to its crash; returns whether clients worked.
    fn stay(&mut self, host: &Host, shift: &Rc<Shift>, end: End) -> Result<bool, Fault> {
        let before = self.drive.used();
        let early = end == End::Crash && self.random.chance(4);
        let mut trigger = Trigger::NEVER;
        if early {
            trigger = self.draw_trigger(self.scenario.life_steps.min(600));
        }
        self.start_faults(shift, end, true);
        let opened = self.phase(host, trigger, {
            let (host, create) = (host.clone(), !self.created);
            async move { S::open(&host, create).await }
        })?;
        let volumes = match opened {
            None => return Ok(false),
            Some(Ok(volumes)) => volumes,
            Some(Err(error)) if self.is_faultless(shift) => return Err(Fault::Unopened(error)),
            Some(Err(_)) => return Ok(false),
        };
        assert_eq!(volumes.len(), host.cores.len(), "one handle per core");
        self.created = true;
        self.drive.set_strange(false);
        self.see_size(&volumes[0])?;
        let mut looking = trigger;
        if S::COPIES && !early && end == End::Crash && self.scenario.clone_one_in > 0 {
            looking = self.draw_look_trigger();
        }
        if (end == End::Verify || !self.random.chance(8))
            && !self.look(host, shift, &volumes, looking)?
        {
            return Ok(false);
        }
        if end == End::Verify {
            return Ok(false);
        }
        self.start_faults(shift, end, false);
        if !early {
            trigger = self.draw_trigger(self.scenario.life_steps);
        }
        if !self.resize(host, shift, &volumes[0], trigger)? {
            return Ok(false);
        }
        self.hire(host, shift, &volumes);
        let greedy = RefCell::new(None);
        self.executor.run(BUDGET, || {
            if self.executor.steps().is_multiple_of(LOOK_STEPS) {
                greedy.replace(S::excess(&volumes[0]));
            }
            self.is_time(trigger) || shift.is_over() || greedy.borrow().is_some()
        })?;
        if let Some(excess) = greedy.take() {
            return Err(Fault::Greedy(excess));
        }
        shift.verdict()?;
        if end == End::Crash && self.decay.chance(self.scenario.rest_one_in) {
            shift.stop();
            self.rest(host, trigger)?;
            shift.verdict()?;
        }
        self.weigh(host, before)?;
        if end == End::Close {
            self.close(host, shift, &volumes[0])?;
        }
        Ok(true)
    }

    /// Nothing happens for a while, but for what the subject does by itself.
    pub(super) fn rest(&self, host: &Host, trigger: Trigger) -> Result<(), Fault> {
        let runtime = host.cores[0].runtime.clone();
        let rested = self.phase(host, trigger, async move { runtime.sleep(REST).await });
        rested.map(drop)
    }

    /// The log keeps its cap, whatever the store does.
    fn weigh(&self, host: &Host, before: u64) -> Result<(), Fault> {
        let tuning = &host.tuning;
        let shard = tuning.wal_segments * tuning.segment_blocks * wal::BLOCK_BYTES as u64;
        let shard = shard + tuning.disk_cache.bytes();
        let (used, most) = (self.drive.used(), before + shard * host.cores.len() as u64);
        if S::CUTS && used > most { Err(Fault::Overfull { used, most }) } else { Ok(()) }
    }

    /// All faults stop: what the clients wait for is answered, the volume drains and closes.
    fn close(&mut self, host: &Host, shift: &Shift, volume: &S::Volume) -> Result<(), Fault> {
        self.stop_faults();
        shift.full_until.set(shift.full_until.get().min(self.executor.now() + SPACE_SPAN));
        shift.stop();
        self.executor.run(BUDGET, || shift.is_over())?;
        shift.verdict()?;
        let last = if S::CUTS { Command::Cut } else { Command::Flush };
        let flush = self.judge.borrow_mut().invoke(last);
        let volume = volume.clone();
        let closed = self.phase(host, Trigger::NEVER, async move { S::close(&volume).await })?;
        match closed {
            // Its disk stopped it.
            Some(Err(_)) if shift.all_may_fail.get() => Ok(()),
            Some(Err(error)) => Err(Fault::Unclosed(error.to_string())),
            Some(Ok(())) => {
                self.judge.borrow_mut().done(flush);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Reads everything, judges it, and often runs the subject's own check; returns whether the
    /// life goes on.
    pub(super) fn look(
        &mut self,
        host: &Host,
        shift: &Rc<Shift>,
        volumes: &[S::Volume],
        trigger: Trigger,
    ) -> Result<bool, Fault> {
        self.stop_faults();
        let random = Random::stream(self.random.bits(), "look");
        let reading = read_all::<S>(Rc::clone(shift), volumes.to_vec(), random);
        let Some(complete) = self.phase(host, trigger, reading)? else { return Ok(false) };
        if !complete? {
            return Ok(true);
        }
        self.judge.borrow_mut().judge_image()?;
        self.cycles += u64::from(self.life > 0);
        if self.random.chance(2) && !shift.all_may_fail.get() {
            let volume = volumes[0].clone();
            let checked = self.phase(host, trigger, async move { S::check(&volume).await })?;
            match checked {
                None => return Ok(false),
                Some(result) => result.map_err(Fault::Unclean)?,
            }
        }
        match shift.all_may_fail.get() {
            true => Ok(true),
            false => self.look_at_copies(host, volumes, trigger),
        }
    }

    /// Runs a future of the process until it ends, or until the crash: then `None`.
    pub(super) fn phase<T: 'static>(
        &self,
        host: &Host,
        trigger: Trigger,
        future: impl Future<Output = T> + 'static,
    ) -> Result<Option<T>, Fault> {
        let result = Rc::new(RefCell::new(None));
        let place = Rc::clone(&result);
        self.executor.spawn(host.process(), CoreId(0), async move {
            let value = future.await;
            *place.borrow_mut() = Some(value);
        });
        self.executor.run(BUDGET, || result.borrow().is_some() || self.is_time(trigger))?;
        Ok(result.take())
    }

    /// Damages what an earlier life left in its cache, in a few places.
    fn rot_cache(&mut self) {
        if !self.random.chance(self.scenario.cache_rot_one_in) {
            return;
        }
        for (path, content) in self.drive.files() {
            // One that was being made when the power went is empty.
            if !path.starts_with("cache/") || content.is_empty() {
                continue;
            }
            for _ in 0..self.random.scaled(1..400) {
                let at = self.random.below(content.len() as u64);
                let rot = *self.random.pick(&[Rot::Bit, Rot::Byte, Rot::Sector]);
                self.drive.rot(&path, at, rot);
            }
        }
    }

    pub(super) fn draw_trigger(&mut self, steps: u64) -> Trigger {
        if self.scenario.long_lives && !self.random.chance(4) {
            return Trigger::draw_late(&self.executor, steps, &mut self.random);
        }
        Trigger::draw(&self.executor, &self.drive, steps, &mut self.random)
    }

    /// Some lives with clones end while those are looked at.
    fn draw_look_trigger(&mut self) -> Trigger {
        match self.random.chance(3) {
            true => {
                let steps = self.random.scaled(500..8000);
                Trigger::draw_late(&self.executor, steps, &mut self.random)
            }
            false => Trigger::NEVER,
        }
    }

    pub(super) fn is_time(&self, trigger: Trigger) -> bool {
        trigger.is_reached(&self.executor, &self.drive)
    }

    fn is_faultless(&self, shift: &Shift) -> bool {
        !shift.all_may_fail.get() && !shift.reads_may_fail.get()
    }

    /// Sets the faults of this life: before the volume opens, or before the clients start.
    pub(super) fn start_faults(&mut self, shift: &Shift, end: End, opening: bool) {
        if end == End::Verify {
            return self.stop_faults();
        }
        let (scenario, random) = (&self.scenario, &mut self.random);
        let mut disk = DiskFaults { stall_one_in: scenario.stall_one_in, ..Default::default() };
        if end == End::Crash && random.chance(scenario.disk_error_one_in) {
            let calls = [Call::Write, Call::Sync, Call::Sync, Call::Create, Call::Read];
            let call = *random.pick(&calls);
            disk.failing.push((call, random.scaled(1..60) - 1));
            shift.all_may_fail.set(true);
        }
        let fails_at = scenario.fails_at.filter(|at| self.life == 1 && at.opening == opening);
        if let Some(FailsAt { call, nth, .. }) = fails_at {
            disk.failing.push((call, nth));
            shift.all_may_fail.set(true);
        }
        let full = S::ENDURES && self.decay.chance(scenario.full_one_in);
        if full {
            let span = Duration::from_micros(self.decay.scaled(1000..30_000_000));
            let until = self.executor.now() + span;
            let bytes = self.decay.scaled(4096..4 << 20);
            match self.decay.chance(2) {
                true => disk.capacity = Some(self.drive.used() + bytes - 4096),
                false => disk.writes_left = Some(bytes),
            }
            disk.full_until = Some(until);
            shift.full_until.set(until + SPACE_SPAN);
        }
        let mut store = scenario.store;
        if !self.created {
            // What a lie at its creation leaves is no volume yet.
            store.lie_one_in = 0;
        }
        if !opening && random.chance(scenario.outage_one_in) {
            let from = self.executor.now() + Duration::from_micros(random.scaled(1..1_000_000));
            let span = Duration::from_micros(random.scaled(1000..300_000_000));
            store.outage = Some((from, from + span));
        }
        self.healthy = !full
            && !store.slow
            && store.error_one_in == 0
            && store.lie_one_in == 0
            && store.outage.is_none()
            && disk.failing.is_empty()
            && disk.stall_one_in == 0;
        self.drive.set_faults(disk);
        let is_bad = store.error_one_in > 0 || store.lie_one_in > 0 || store.outage.is_some();
        shift.reads_may_fail.set(is_bad);
        let is_shaken = store.lie_one_in > 0 && !S::ENDURES;
        shift.all_may_fail.set(shift.all_may_fail.get() || is_shaken);
        self.bucket.set_faults(store);
    }

    pub(super) fn stop_faults(&self) {
        self.drive.set_faults(DiskFaults::default());
        self.bucket.set_faults(StoreFaults::default());
    }

    /// The process dies, often with the machine, sometimes with its disk.
    pub(super) fn crash(&mut self, host: &Host) {
        let scenario = Rc::clone(&self.scenario);
        let random = &mut self.random;
        self.executor.kill(host.process());
        self.bucket.settle_kill(host.process());
        let dies = scenario.power.is_empty() || (scenario.kills && random.chance(2));
        let disk_lost = random.chance(scenario.disk_loss_one_in);
        if dies {
            self.drive.settle_kill(host.process());
        }
        if !scenario.power.is_empty() && (!dies || random.chance(4)) {
            self.drive.settle_power_loss(*random.pick(&scenario.power));
        }
        if disk_lost {
            self.drive.replace();
        }
        let mut judge = self.judge.borrow_mut();
        judge.set_time(self.executor.now());
        if S::CUTS && self.healthy {
            judge.publish_by_age(scenario.tuning.cut_every + UPLOAD_SPAN);
        }
        judge.crash(disk_lost);
        drop(judge);
        self.life += 1;
    }
}
