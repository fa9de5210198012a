//! The simulated disk. Its fault model, which stands here before anything is injected:
//!
//! * A sector is 512 bytes and atomic. A sector written but not synced keeps its durable content
//!   and every version since, and a power loss may leave any of them (see [`PowerLoss`]).
//! * Every operation completes after a random virtual time, so operations overtake each other. A
//!   write under way is seen by a read sector by sector, or not. One under way when its process
//!   is killed or the power goes may have been applied whole, not at all, or in any of its sectors.
//! * A sync makes durable what completed before it was called, and nothing else for certain.
//! * A kill keeps what completed readable, and still droppable by a later power loss.
//! * Names (creations and removals) are durable once a creation or removal *in that directory*
//!   has returned. One under way at a kill may have happened, not, or (a creation) left a shorter
//!   file, and stays droppable until the directory's next sync; a file removed so may come back
//!   with its content.
//! * A sync that fails drops, sector by sector, versions that it should have made durable: they
//!   are gone for readers too, and a later sync that succeeds does not bring them back. Once a
//!   process was told so, all syncs succeed and make nothing durable, also those under way, as those
//!   of a file system may that stops after an error.
//! * A write that fails may have been applied in any of its sectors. A read that fails changes
//!   nothing. A full disk refuses to create, and with a write allowance, to write.
//! * Failures of the n-th call are injected on demand, and so is damage to what is stored, synced
//!   or not: rot (of a bit, a byte, a sector), writes that went elsewhere (a block holds what
//!   belongs to another one), and reads that are stale, for good (a sector or a block returns what
//!   it held before its last sync).
//!
//! Not modelled: sectors torn within themselves by anything but a power loss with
//! [`PowerLoss::Garbage`].

mod faults;
mod file;
mod platter;
mod power;
mod sectors;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use wal::disk::{DirEntry, Disk, DiskError};

pub use faults::{Call, DiskFaults, Rot};
pub use file::{SimBuf, SimFile};
use platter::{Change, Platter};
pub use power::PowerLoss;

use super::executor::{Executor, ProcessId, Reply};
use super::random::Random;

/// All that is on a disk at rest.
pub struct DiskImage(Platter);

struct Hardware {
    executor: Executor,
    /// Drawn for each new platter: what a host keeps on it to know itself by.
    identity: Cell<u64>,
    /// Whether its host must take the volume over, as it never had it, or lost it.
    is_strange: Cell<bool>,
    random: RefCell<Random>,
    platter: RefCell<Platter>,
    faults: RefCell<DiskFaults>,
    calls: RefCell<BTreeMap<Call, u64>>,
    /// When a write or sync first failed with an I/O error.
    failed_at: Cell<Option<Duration>>,
    /// Somebody was told of a sync that failed.
    told_error: Cell<bool>,
}

/// The hardware: it outlives processes. A handle is cheap to clone.
#[derive(Clone)]
pub struct Drive {
    hardware: Rc<Hardware>,
}

impl Drive {
    /// An empty disk.
    #[must_use]
    pub fn new(executor: &Executor, seed: u64) -> Self {
        let hardware = Hardware {
            executor: executor.clone(),
            identity: Cell::new(executor.random_name()),
            is_strange: Cell::new(true),
            random: RefCell::new(Random::stream(seed, "disk")),
            platter: RefCell::new(Platter::default()),
            faults: RefCell::new(DiskFaults::default()),
            calls: RefCell::new(BTreeMap::new()),
            failed_at: Cell::new(None),
            told_error: Cell::new(false),
        };
        Self { hardware: Rc::new(hardware) }
    }

    /// Another number for each disk, and for what replaces it.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.hardware.identity.get()
    }

    /// Whether its host must take the volume over from another one, and cannot just open it.
    #[must_use]
    pub fn is_strange(&self) -> bool {
        self.hardware.is_strange.get()
    }

    /// See [`Self::is_strange`].
    pub fn set_strange(&self, is_strange: bool) {
        self.hardware.is_strange.set(is_strange);
    }

    /// The disk as one process sees it.
    #[must_use]
    pub fn attach(&self, process: ProcessId) -> SimDisk {
        SimDisk { drive: self.clone(), process }
    }

    /// Sets what goes wrong from now on; the n-th call of a failing one counts from here.
    pub fn set_faults(&self, mut faults: DiskFaults) {
        for (call, nth) in &mut faults.failing {
            *nth += self.calls(*call);
        }
        *self.hardware.faults.borrow_mut() = faults;
    }

    /// How many calls of a kind were made so far. A world that stops at a given count cuts the
    /// power right after the n-th write or sync was begun.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.hardware.calls.borrow().get(&call).copied().unwrap_or(0)
    }

    /// When a write or sync failed with an I/O error for the first time since
    /// [`Self::forgive`].
    #[must_use]
    pub fn failed_at(&self) -> Option<Duration> {
        self.hardware.failed_at.get()
    }

    /// Forgets what failed: another process begins.
    pub fn forgive(&self) {
        self.hardware.failed_at.set(None);
        self.hardware.told_error.set(false);
    }

    /// All that is on it now.
    ///
    /// # Panics
    /// If something is under way.
    #[must_use]
    pub fn image(&self) -> DiskImage {
        DiskImage(self.hardware.platter.borrow().copy())
    }

    /// Puts back what was on it.
    pub fn restore(&self, image: &DiskImage) {
        *self.hardware.platter.borrow_mut() = image.0.copy();
    }

    /// Settles what a process had under way when it was killed.
    pub fn settle_kill(&self, process: ProcessId) {
        let random = &mut *self.hardware.random.borrow_mut();
        self.hardware.platter.borrow_mut().settle_kill(process, random);
    }

    /// The power goes: settles everything under way, chooses what is left of each sector and each
    /// name, and makes that the durable content.
    pub fn settle_power_loss(&self, mode: PowerLoss) {
        let random = &mut *self.hardware.random.borrow_mut();
        self.hardware.platter.borrow_mut().settle_power_loss(mode, random);
        self.hardware.executor.note(&[0xC07, mode as u64], || format!("power loss, {mode:?}"));
    }

    /// Everything on it is gone.
    pub fn replace(&self) {
        *self.hardware.platter.borrow_mut() = Platter::default();
        self.hardware.identity.set(self.hardware.executor.random_name());
        self.set_strange(true);
        self.hardware.executor.note(&[0x6073], || "disk replaced by an empty one".to_owned());
    }

    /// Damages what is stored at one byte of a file; returns whether there is such a byte.
    pub fn rot(&self, path: &str, at: u64, rot: Rot) -> bool {
        let random = &mut *self.hardware.random.borrow_mut();
        self.hardware.platter.borrow_mut().rot(path, at, rot, random)
    }

    /// All files as they can be read now, sorted by path.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.hardware.platter.borrow().files()
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.hardware.platter.borrow().used()
    }

    /// Notes a call, and starts it: `work` is done when it completes, with the disk's error
    /// already chosen if it is to fail.
    fn start<T: 'static>(
        &self,
        process: ProcessId,
        call: Call,
        words: [u64; 3],
        path: &str,
        work: impl FnOnce(&mut Platter, &mut Random, Option<ErrorKind>) -> T + 'static,
    ) -> Reply<T> {
        let hardware = &self.hardware;
        let nth = self.calls(call);
        hardware.calls.borrow_mut().insert(call, nth + 1);
        let fails = hardware.faults.borrow().failing.contains(&(call, nth));
        let error = fails.then_some(ErrorKind::Other);
        let is_final = fails && matches!(call, Call::Write | Call::Sync) && is_log(path);
        hardware.executor.note(&[call as u64, words[0], words[1], words[2]], || {
            format!("disk {call:?} {path} at {} +{}, failing: {fails}", words[0], words[1])
        });
        let (delay, shared) = (self.delay(), Rc::clone(hardware));
        hardware.executor.device(process, delay, move || {
            if is_final && shared.failed_at.get().is_none() {
                shared.failed_at.set(Some(shared.executor.now()));
            }
            work(&mut shared.platter.borrow_mut(), &mut shared.random.borrow_mut(), error)
        })
    }

    fn delay(&self) -> Duration {
        let random = &mut *self.hardware.random.borrow_mut();
        let stall_one_in = self.hardware.faults.borrow().stall_one_in;
        if random.chance(stall_one_in) {
            return Duration::from_millis(random.within(500..5000));
        }
        if random.chance(32) {
            return Duration::from_micros(random.within(500..10_000));
        }
        Duration::from_nanos(random.within(2_000..120_000))
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.hardware.platter.borrow_mut().drop_unnamed();
        let faults = self.hardware.faults.borrow();
        let is_over = faults.full_until.is_some_and(|end| self.hardware.executor.now() >= end);
        is_over || faults.capacity.is_none_or(|capacity| self.used() + bytes <= capacity)
    }

    /// Takes bytes from the write allowance; returns whether they were there.
    fn take_allowance(&self, bytes: u64) -> bool {
        let mut faults = self.hardware.faults.borrow_mut();
        if faults.full_until.is_some_and(|end| self.hardware.executor.now() >= end) {
            return true;
        }
        match &mut faults.writes_left {
            None => true,
            Some(left) if *left >= bytes => {
                *left -= bytes;
                true
            }
            Some(_) => false,
        }
    }
}

/// What else is on the disk is a copy of something.
fn is_log(path: &str) -> bool {
    !path.starts_with("cache/")
}

fn failed(action: &'static str, path: &str, kind: ErrorKind) -> DiskError {
    DiskError { action, path: path.to_owned(), source: kind.into() }
}

/// The disk as one process sees it.
#[derive(Clone)]
pub struct SimDisk {
    drive: Drive,
    process: ProcessId,
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn create(&self, path: &str, bytes: u64) -> Result<SimFile, DiskError> {
        let platter = &self.drive.hardware.platter;
        let refused = if platter.borrow().is_taken(path) {
            Some(ErrorKind::AlreadyExists)
        } else {
            (!self.drive.has_room(bytes)).then_some(ErrorKind::StorageFull)
        };
        let change = Change::Create { path: path.to_owned(), bytes };
        let op = refused.is_none().then(|| platter.borrow_mut().begin(self.process, change));
        let reply = self.drive.start(
            self.process,
            Call::Create,
            [bytes, 0, 0],
            path,
            move |p, _, error| match (refused.or(error), op) {
                (None, Some(op)) => {
                    let inode = p.finish(op).expect("a creation makes a file");
                    Ok((inode, p.open(inode)))
                }
                (error, op) => {
                    op.into_iter().for_each(|op| p.forget(op));
                    Err(error.unwrap_or(ErrorKind::Other))
                }
            },
        );
        let opened = reply.await.map_err(|kind| failed("create", path, kind))?;
        Ok(SimFile::new(self, path, opened))
    }

    async fn open(&self, path: &str) -> Result<SimFile, DiskError> {
        let name = path.to_owned();
        let reply = self.drive.start(self.process, Call::Open, [0; 3], path, move |p, _, error| {
            if let Some(error) = error {
                return Err(error);
            }
            let inode = p.inode(&name).ok_or(ErrorKind::NotFound)?;
            Ok((inode, p.open(inode)))
        });
        let opened = reply.await.map_err(|kind| failed("open", path, kind))?;
        Ok(SimFile::new(self, path, opened))
    }

    async fn remove(&self, path: &str) -> Result<(), DiskError> {
        let change = Change::Remove { path: path.to_owned() };
        let op = self.drive.hardware.platter.borrow_mut().begin(self.process, change);
        let reply =
            self.drive.start(self.process, Call::Remove, [0; 3], path, move |p, _, error| {
                if let Some(error) = error {
                    p.forget(op);
                    return Err(error);
                }
                p.finish(op);
                Ok(())
            });
        reply.await.map_err(|kind| failed("remove", path, kind))
    }

    async fn list(&self, dir: &str) -> Result<Vec<DirEntry>, DiskError> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let reply =
            self.drive.start(self.process, Call::Open, [1, 0, 0], dir, move |p, _, error| {
                error.map_or_else(|| Ok(p.list(&prefix)), Err)
            });
        reply.await.map_err(|kind| failed("list", dir, kind))
    }
}

#[cfg(test)]
mod tests;
