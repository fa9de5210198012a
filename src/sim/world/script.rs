//! Lives that do what a script says, command by command, and end where it says.

use std::rc::Rc;
use std::time::Duration;

use wal::runtime::Runtime;

use super::life::End;
use super::trigger::Trigger;
use super::{Failure, Fault, World};
use crate::sim::disk::{Call, DiskFaults, PowerLoss};
use crate::sim::host::Host;
use crate::sim::judge::{BLOCK_SECTORS, Command};
use crate::sim::limits::{PHASE_SPAN, REST, SPACE_SPAN};
use crate::sim::scenario::Scenario;
use crate::sim::store::StoreFaults;
use crate::sim::subject::{Subject, ZeroKind};
use crate::sim::workload::{Deed, Shift};

/// One life.
#[derive(Clone, Debug)]
pub struct Script {
    /// What its only client does, one command after the other, each on another core.
    pub deeds: Vec<Deed>,
    /// Whether it rests after the last one.
    pub rests: bool,
    /// Nothing but this life's log can take anything: there is no store, and the disk has only so
    /// many bytes left, until so long after the first command. The client rests after that one.
    pub full: Option<(u64, Duration)>,
    /// The power goes when the n-th call of this kind (from 1, from the first command on) begins.
    pub cut_at: Option<(Call, u64)>,
    /// How the power goes.
    pub mode: PowerLoss,
}

impl Script {
    /// A disk that has room for so many segments of the log until `span` after the first command,
    /// and a client that writes more than those hold.
    #[must_use]
    pub fn of_a_full_disk(scenario: &Scenario, segments: u64, span: Duration) -> Self {
        let (first, blocks) = (scenario.windows[0].start, 4);
        let write = Command::Write {
            first: first * BLOCK_SECTORS,
            count: blocks * BLOCK_SECTORS,
            fua: true,
        };
        let segment = scenario.tuning.segment_blocks * wal::BLOCK_BYTES as u64;
        Self {
            deeds: vec![Deed { command: write, kind: ZeroKind::Zero }; 8],
            rests: false,
            full: Some((segments * segment, span)),
            cut_at: None,
            mode: PowerLoss::DropAll,
        }
    }
}

/// Calls that a life made on its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Writes.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// Lives as the scripts say, one after the other, and then once more, looking at everything at
/// the start of each and of two more. Returns the calls of the last script.
///
/// # Errors
/// If a promise was broken.
pub fn run_script<S: Subject>(
    scenario: Scenario,
    scripts: &[Script],
) -> Result<Calls, Box<Failure>> {
    let mut world = World::<S>::new(scenario, false);
    world.attempt(|world| {
        let mut calls = Calls { writes: 0, syncs: 0 };
        for script in scripts {
            calls = world.act(script)?;
        }
        // Whatever recovery showed must survive what the power does to it.
        let mode = scripts.last().map_or(PowerLoss::DropAll, |script| script.mode);
        let deeds = Vec::new();
        world.act(&Script { deeds, rests: false, full: None, cut_at: None, mode })?;
        world.live(End::Verify)?;
        Ok(calls)
    })
}

impl<S: Subject> World<S> {
    fn fill(&self, shift: &Shift, bytes: u64, span: Duration) {
        let now = self.executor.now();
        let capacity = Some(self.drive.used() + bytes);
        shift.full_until.set(now + span + SPACE_SPAN);
        let full_until = Some(now + span);
        self.drive.set_faults(DiskFaults { capacity, full_until, ..DiskFaults::default() });
        let outage = Some((now, now + PHASE_SPAN * 2));
        self.bucket.set_faults(StoreFaults { outage, ..StoreFaults::default() });
    }

    /// Lives as a script says.
    pub(super) fn act(&mut self, script: &Script) -> Result<Calls, Fault> {
        let cores = self.scenario.most_cores;
        let (tuning, blocks) = (self.scenario.tuning, self.scenario.volume_blocks);
        let host = Host::boot(&self.executor, &self.drive, &self.bucket, cores, tuning, blocks);
        let shift = Shift::new(&self.scenario, &self.judge, &self.executor, &self.drive);
        let create = !self.created;
        let opened = self.phase(&host, Trigger::NEVER, {
            let host = host.clone();
            async move { S::open(&host, create).await }
        })?;
        let volumes = opened.expect("nothing ends this opening").map_err(Fault::Unopened)?;
        self.created = true;
        self.drive.set_strange(false);
        self.see_size(&volumes[0])?;
        self.look(&host, &shift, &volumes, Trigger::NEVER)?;
        let before = (self.drive.calls(Call::Write), self.drive.calls(Call::Sync));
        let trigger = Trigger::at_call(&self.drive, script.cut_at);
        if let Some((bytes, span)) = script.full {
            self.fill(&shift, bytes, span);
        }
        let (deeds, client) = (script.deeds.clone(), Rc::clone(&shift));
        let (runtime, rests) = (host.cores[0].runtime.clone(), script.full.is_some());
        let acting = async move {
            let mut first = rests;
            for (deed, volume) in deeds.into_iter().zip(volumes.iter().cycle()) {
                client.perform::<S>(volume, deed).await?;
                if std::mem::take(&mut first) {
                    runtime.sleep(REST).await;
                }
            }
            Ok::<(), Fault>(())
        };
        if let Some(acted) = self.phase(&host, trigger, acting)? {
            acted?;
            if script.rests {
                self.rest(&host, trigger)?;
            }
        }
        let calls = Calls {
            writes: self.drive.calls(Call::Write) - before.0,
            syncs: self.drive.calls(Call::Sync) - before.1,
        };
        self.stop_faults();
        self.executor.kill(host.process());
        self.bucket.settle_kill(host.process());
        self.drive.settle_power_loss(script.mode);
        self.judge.borrow_mut().crash(false);
        self.life += 1;
        Ok(calls)
    }
}
