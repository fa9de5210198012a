//! Damage to what is stored while nobody has the volume open: wrong bytes are never returned.
//!
//! What is stored is damaged at one place; then a process opens the volume and reads everything,
//! and everything is put back. An opening may refuse, by the name of what is damaged, and a read
//! may fail. Whatever it returns is judged as ever.
//!
//! Two kinds of places are left alone, as nothing in them can be told from honest bytes: records
//! of the log that no other one vouches for (they look like a torn tail), and names of objects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use wal::{BLOCK_BYTES, Lsn, RawRecord, Record};

use super::trigger::Trigger;
use super::{Failure, Fault, Script, World};
use crate::sim::disk::Rot;
use crate::sim::host::Host;
use crate::sim::random::Random;
use crate::sim::scenario::Scenario;
use crate::sim::store::ObjectRot;
use crate::sim::subject::Subject;
use crate::sim::workload::Shift;

/// One damage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    /// To a file of the local disk.
    File {
        /// Its path.
        path: String,
        /// The byte.
        at: u64,
        /// How.
        rot: Rot,
    },
    /// To an object of the store.
    Object {
        /// Its name.
        name: String,
        /// The byte.
        at: u64,
        /// How.
        rot: ObjectRot,
    },
}

/// What came of a damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Nothing: no byte of it matters, or it was healed.
    Harmless,
    /// The volume does not open, and says why.
    Refused,
    /// Some reads fail.
    Unreadable,
}

impl<S: Subject> World<S> {
    /// Damages something, often before the volume opens.
    pub(super) fn probe(&mut self) -> Result<(), Fault> {
        if self.drive.is_strange() {
            return Ok(());
        }
        let Some(damage) = self.draw_damage() else { return Ok(()) };
        let opened = self.decay.chance(4);
        self.suffer(&damage, opened).map(drop)
    }

    fn draw_damage(&mut self) -> Option<Damage> {
        let random = &mut self.decay;
        if random.chance(2) {
            let objects = self.bucket.objects();
            let (name, bytes) = random.pick(&objects);
            let at = if random.chance(2) { 512 } else { *bytes }.min(*bytes);
            let (name, at) = (name.clone(), random.below(at));
            return Some(Damage::Object { name, at, rot: *random.pick(&ObjectRot::ALL) });
        }
        let places = vouched(&self.drive.files());
        if places.is_empty() {
            return None;
        }
        let (path, range) = random.pick(&places).clone();
        let header = range.start..range.start + BLOCK_BYTES as u64;
        let place = if random.chance(2) { header } else { range };
        let at = random.within(place);
        Some(Damage::File { path, at, rot: *random.pick(&Rot::ALL) })
    }

    /// Damages something, before the volume opens or after; looks what comes of it, and puts
    /// everything back.
    fn suffer(&mut self, damage: &Damage, opened: bool) -> Result<Outcome, Fault> {
        let (disk, objects) = (self.drive.image(), self.bucket.image());
        let judge = self.judge.borrow().clone();
        let cycles = self.cycles;
        self.stop_faults();
        self.executor.note(&[0xD3CA7, u64::from(opened)], || format!("{damage:?}"));
        let cores = self.decay.within(1..u64::from(self.scenario.most_cores) + 1) as u16;
        let (tuning, blocks) = (self.scenario.tuning, self.scenario.volume_blocks);
        let host = Host::boot(&self.executor, &self.drive, &self.bucket, cores, tuning, blocks);
        let outcome = self.look_at(&host, damage, opened)?;
        self.executor.kill(host.process());
        self.bucket.forget(host.process());
        self.drive.settle_kill(host.process());
        self.drive.restore(&disk);
        self.bucket.restore(&objects);
        self.judge.replace(judge);
        self.cycles = cycles + 1;
        Ok(outcome)
    }

    fn look_at(&mut self, host: &Host, damage: &Damage, opened: bool) -> Result<Outcome, Fault> {
        if !opened {
            self.inflict(damage);
        }
        let volumes = self.phase(host, Trigger::NEVER, {
            let host = host.clone();
            async move { S::open(&host, false).await }
        })?;
        let volumes = match volumes.expect("nothing ends this opening") {
            Ok(volumes) => volumes,
            Err(error) if opened => return Err(Fault::Unopened(error)),
            Err(error) if is_named(damage, &error) => return Ok(Outcome::Refused),
            Err(error) => {
                return Err(Fault::Unnamed { damaged: format!("{damage:?}"), error });
            }
        };
        if opened {
            self.inflict(damage);
        }
        let shift = Shift::new(&self.scenario, &self.judge, &self.executor, &self.drive);
        shift.all_may_fail.set(true);
        self.judge.borrow_mut().crash(false);
        let complete = Rc::new(std::cell::Cell::new(true));
        let reading = {
            let (shift, complete) = (Rc::clone(&shift), Rc::clone(&complete));
            let random = Random::stream(self.decay.bits(), "look");
            async move {
                let read = crate::sim::workload::read_all::<S>(shift, volumes, random).await;
                read.map(|all| complete.set(all))
            }
        };
        self.phase(host, Trigger::NEVER, reading)?.expect("nothing ends this look")?;
        if !complete.get() {
            return Ok(Outcome::Unreadable);
        }
        self.judge.borrow_mut().judge_image()?;
        Ok(Outcome::Harmless)
    }

    fn inflict(&mut self, damage: &Damage) {
        let there = match damage {
            Damage::File { path, at, rot } => self.drive.rot(path, *at, *rot),
            Damage::Object { name, at, rot } => self.bucket.rot(name, *at, *rot, &mut self.decay),
        };
        // A volume that just opened may have removed it.
        self.executor.note(&[0xD3CA8, u64::from(there)], || format!("it is there: {there}"));
    }
}

/// Whether an error names what is damaged. A log is damaged as a whole: what is missing in one
/// file shows by what another one says.
fn is_named(damage: &Damage, error: &str) -> bool {
    match damage {
        Damage::File { .. } => error.contains(".wal"),
        Damage::Object { name, .. } => error.contains(name.as_str()),
    }
}

/// The records of all logs for which another record vouches, as byte ranges of files.
fn vouched(files: &[(String, Vec<u8>)]) -> Vec<(String, Range<u64>)> {
    let mut durable: BTreeMap<_, Lsn> = BTreeMap::new();
    let mut records: Vec<(&String, Record)> = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".wal")) {
        for (at, block) in (0u32..).zip(bytes.chunks_exact(BLOCK_BYTES)) {
            let Ok(record) = RawRecord::parse(block).and_then(|raw| raw.check()) else { continue };
            if record.at_block != at {
                continue;
            }
            let log = (record.identity.incarnation, record.identity.shard);
            let newest = durable.entry(log).or_default();
            *newest = record.durable_lsn.max(*newest);
            records.push((path, record));
        }
    }
    let is_vouched = |(_, record): &(&String, Record)| {
        record.lsn <= durable[&(record.identity.incarnation, record.identity.shard)]
    };
    let block = BLOCK_BYTES as u64;
    let range = |(path, record): (&String, Record)| {
        let start = u64::from(record.at_block) * block;
        (path.clone(), start..start + u64::from(record.blocks()) * block)
    };
    records.into_iter().filter(is_vouched).map(range).collect()
}

/// A volume at rest with everything that a volume can have: chunks, map pages, a directory,
/// manifests, and a log that no manifest covers.
pub struct Specimen<S: Subject> {
    world: World<S>,
}

impl<S: Subject> Specimen<S> {
    /// Makes one.
    ///
    /// # Errors
    /// If a promise was broken on the way.
    pub fn new(scenario: Scenario, scripts: &[Script]) -> Result<Self, Box<Failure>> {
        let mut world = World::new(scenario, false);
        world.attempt(|world| {
            for script in scripts {
                world.act(script)?;
            }
            Ok(())
        })?;
        Ok(Self { world })
    }

    /// Records of the log for which another one vouches, each with its header and payload, as
    /// byte ranges of files.
    #[must_use]
    pub fn records(&self) -> Vec<(String, Range<u64>)> {
        vouched(&self.world.drive.files())
    }

    /// Names and lengths of all objects.
    #[must_use]
    pub fn objects(&self) -> Vec<(String, u64)> {
        self.world.bucket.objects()
    }

    /// Damages it, looks what comes of it, and puts everything back.
    ///
    /// # Errors
    /// If wrong bytes were returned, or a refusal did not say what was damaged.
    pub fn suffer(&mut self, damage: &Damage, opened: bool) -> Result<Outcome, Box<Failure>> {
        self.world.attempt(|world| world.suffer(damage, opened))
    }
}
