//! The simplest block device that keeps its promises, and the same device with flaws: the proof
//! that a world finds what is wrong and lets pass what is right.
//!
//! All blocks are in memory. Every write is appended to one log file before it is answered, all of
//! them one after the other; FLUSH and FUA sync the log. A cut, also made when the log is full and
//! at each open, puts the whole content into the store as snapshot `n + 1`, starts log `n + 1`,
//! and removes log `n`. Recovery is snapshot `n` and then log `n`, up to its first damaged record.

mod gate;
mod image;
mod record;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chunk::{ObjectName, ObjectStore, StoreError};
use wal::BLOCK_BYTES;
use wal::disk::{Disk, DiskError, DiskFile};
use wal::runtime::Runtime;

use super::disk::SimFile;
use super::host::{Host, SimCore};
use super::subject::{OpError, Subject, ZeroKind};
use gate::Gate;
use image::Image;
use record::Record;

/// What is wrong with a [`Naive`] device.
pub mod flaw {
    /// Nothing.
    pub const NONE: u8 = 0;
    /// FLUSH does not sync.
    pub const FLUSH_WITHOUT_SYNC: u8 = 1;
    /// FUA does not sync.
    pub const FUA_WITHOUT_SYNC: u8 = 2;
    /// The log is replayed from its end.
    pub const REPLAY_BACKWARDS: u8 = 3;
    /// Replay does not look at the checksum of a payload.
    pub const NO_CHECKSUM: u8 = 4;
    /// The old log is removed before the snapshot is in the store.
    pub const RECLAIM_BEFORE_PUBLISH: u8 = 5;
    /// A snapshot that cannot be read counts as empty.
    pub const EMPTY_ON_STORE_ERROR: u8 = 6;
    /// Zeroes are not replayed.
    pub const ZEROES_NOT_REPLAYED: u8 = 7;
    /// A failed sync is tried again.
    pub const SYNC_RETRIED: u8 = 8;
    /// A write that meets a full log never lets the next one in.
    pub const GATE_KEPT: u8 = 9;
    /// Writes are answered before anything is done.
    pub const ANSWERS_FIRST: u8 = 10;
    /// Some cuts panic.
    pub const PANICS: u8 = 11;
    /// Snapshots made by a cut have no first block.
    pub const MIXED_SNAPSHOT: u8 = 12;
}

/// Blocks of a log; a record of the largest request fits in several times.
const LOG_BLOCKS: u64 = 96;

/// Time between two attempts at the store.
const RETRY: Duration = Duration::from_millis(20);

/// Attempts to read a snapshot before an open gives up.
const READ_ATTEMPTS: u32 = 50;

/// The device, with the flaw of a number of [`flaw`].
pub struct Naive<const FLAW: u8>;

struct State {
    image: Image,
    log: SimFile,
    tail: u64,
    number: u64,
    broken: bool,
}

/// An open device.
pub struct Device<const FLAW: u8> {
    core: SimCore,
    gate: Gate,
    state: RefCell<State>,
}

fn io(error: impl std::fmt::Display) -> OpError {
    OpError::Io(error.to_string())
}

fn log_path(number: u64) -> String {
    format!("naive/log-{number}")
}

fn snapshot_name(number: u64) -> ObjectName {
    ObjectName::new(format!("naive/snapshot-{number:08}")).expect("the name fits the grammar")
}

impl<const FLAW: u8> Device<FLAW> {
    fn check_broken(&self) -> Result<(), OpError> {
        if self.state.borrow().broken { Err(io("broken by an earlier error")) } else { Ok(()) }
    }

    /// Appends a record, then applies it.
    async fn change(&self, record: Record, fua: bool) -> Result<(), OpError> {
        let pass = self.gate.enter().await;
        self.check_broken()?;
        let blocks = record.blocks();
        if self.state.borrow().tail + blocks > LOG_BLOCKS {
            if FLAW == flaw::GATE_KEPT {
                pass.keep_for_ever();
            }
            self.cut_within_gate().await?;
        }
        let (log, tail) = (self.state.borrow().log.clone(), self.state.borrow().tail);
        let mut buf = log.alloc(blocks as usize * BLOCK_BYTES);
        record.encode(&mut buf);
        let written = log.write_at(tail * BLOCK_BYTES as u64, Rc::new(buf)).await;
        self.broken_by(written)?;
        self.state.borrow_mut().tail = tail + blocks;
        self.state.borrow_mut().image.apply(&record);
        if fua && FLAW != flaw::FUA_WITHOUT_SYNC { self.sync().await } else { Ok(()) }
    }

    async fn sync(&self) -> Result<(), OpError> {
        let log = self.state.borrow().log.clone();
        let mut synced = log.sync().await;
        if FLAW == flaw::SYNC_RETRIED && synced.is_err() {
            synced = log.sync().await;
        }
        self.broken_by(synced)
    }

    /// After an error of the disk nothing is known of it any more.
    fn broken_by<T>(&self, result: Result<T, DiskError>) -> Result<T, OpError> {
        self.state.borrow_mut().broken |= result.is_err();
        Ok(result?)
    }

    async fn cut_within_gate(&self) -> Result<(), OpError> {
        self.check_broken()?;
        let number = self.state.borrow().number + 1;
        assert!(FLAW != flaw::PANICS || !number.is_multiple_of(4), "the flaw");
        let mut body = self.state.borrow().image.encode(self.core.runtime.random());
        if FLAW == flaw::MIXED_SNAPSHOT {
            body = self.state.borrow().image.without_first_block().encode(number);
        }
        if FLAW == flaw::RECLAIM_BEFORE_PUBLISH {
            self.broken_by(self.core.disk.remove(&log_path(number - 1)).await)?;
        }
        assert!(publish(&self.core, number, &body).await?, "nobody else publishes");
        let bytes = LOG_BLOCKS * BLOCK_BYTES as u64;
        let log = self.broken_by(self.core.disk.create(&log_path(number), bytes).await)?;
        {
            let mut state = self.state.borrow_mut();
            (state.log, state.tail, state.number) = (log, 0, number);
        }
        self.broken_by(self.core.disk.remove(&log_path(number - 1)).await)?;
        // An old snapshot that stays harms nobody.
        let _ = self.core.store.delete(&snapshot_name(number - 1)).await;
        Ok(())
    }
}

/// Puts a snapshot, as often as it takes; false if another one has its name.
async fn publish(core: &SimCore, number: u64, body: &[u8]) -> Result<bool, OpError> {
    let name = snapshot_name(number);
    loop {
        match core.store.put_if_absent(&name, body.to_vec()).await {
            Ok(()) => return Ok(true),
            Err(StoreError::Exists { .. }) => break,
            Err(_) => core.runtime.sleep(RETRY).await,
        }
    }
    // An attempt that seemed to fail may have succeeded.
    Ok(read_snapshot(core, number).await.map_err(io)? == body)
}

/// Reads a snapshot, as often as it takes until the checksum agrees: a store may answer wrongly.
async fn read_snapshot(core: &SimCore, number: u64) -> Result<Vec<u8>, StoreError> {
    let name = snapshot_name(number);
    let mut attempt = 0;
    loop {
        let read = async { core.store.get_range(&name, 0..core.store.head(&name).await?).await };
        let result = read.await;
        let is_whole = result.as_ref().is_ok_and(|body| Image::decode(body).is_some());
        if is_whole || attempt == READ_ATTEMPTS {
            return result;
        }
        attempt += 1;
        core.runtime.sleep(RETRY).await;
    }
}

/// The newest snapshot with its log replayed, as one image, and its number.
async fn recover<const FLAW: u8>(core: &SimCore) -> Result<(Image, u64), String> {
    let objects = core.store.list("naive/snapshot-").await.map_err(|e| e.to_string())?;
    let number_of = |name: &ObjectName| name.as_str().rsplit_once('-')?.1.parse().ok();
    let Some(number) = objects.last().and_then(|(name, _)| number_of(name)) else {
        return Ok((Image::default(), 0));
    };
    let image = if FLAW == flaw::EMPTY_ON_STORE_ERROR {
        let name = snapshot_name(number);
        let read = core.store.get_range(&name, 0..objects[objects.len() - 1].1).await;
        read.map_or_else(|_| Some(Image::default()), |body| Image::decode(&body))
    } else {
        Image::decode(&read_snapshot(core, number).await.map_err(|e| e.to_string())?)
    };
    let mut image = image.ok_or("damaged snapshot")?;
    let logs = core.disk.list("naive").await.map_err(|e| e.to_string())?;
    let (name, bytes) = (format!("log-{number}"), LOG_BLOCKS * BLOCK_BYTES as u64);
    // A shorter log was being created when the process died.
    if logs.iter().any(|file| file.name == name && file.bytes == bytes) {
        let log = core.disk.open(&log_path(number)).await.map_err(|e| e.to_string())?;
        let content = log.read_at(0, bytes as usize).await.map_err(|e| e.to_string())?;
        let mut records = record::decode_all(&content, FLAW != flaw::NO_CHECKSUM);
        if FLAW == flaw::REPLAY_BACKWARDS {
            records.reverse();
        }
        let skips = |record: &Record| FLAW == flaw::ZEROES_NOT_REPLAYED && record.is_zero();
        records.iter().filter(|record| !skips(record)).for_each(|record| image.apply(record));
    }
    Ok((image, number))
}

impl<const FLAW: u8> Subject for Naive<FLAW> {
    type Volume = Rc<Device<FLAW>>;

    const CUTS: bool = false;

    const FENCES: bool = false;

    const PROMISES: bool = false;

    const ENDURES: bool = false;

    async fn open(host: &Host, _create: bool) -> Result<Vec<Self::Volume>, String> {
        let core = host.cores[0].clone();
        let to_text = |error: DiskError| error.to_string();
        let (image, number) = loop {
            let (image, number) = recover::<FLAW>(&core).await?;
            let body = image.encode(core.runtime.random());
            if publish(&core, number + 1, &body).await.map_err(|e| e.to_string())? {
                break (image, number + 1);
            }
        };
        for file in core.disk.list("naive").await.map_err(to_text)? {
            core.disk.remove(&format!("naive/{}", file.name)).await.map_err(to_text)?;
        }
        let bytes = LOG_BLOCKS * BLOCK_BYTES as u64;
        let log = core.disk.create(&log_path(number), bytes).await.map_err(to_text)?;
        let state = RefCell::new(State { image, log, tail: 0, number, broken: false });
        let device = Rc::new(Device { core, gate: Gate::default(), state });
        Ok(vec![device; host.cores.len()])
    }

    async fn read(volume: &Self::Volume, offset: u64, bytes: usize) -> Result<Vec<u8>, OpError> {
        volume.check_broken()?;
        Ok(volume.state.borrow().image.read(offset, bytes))
    }

    async fn write(
        volume: &Self::Volume,
        offset: u64,
        bytes: Vec<u8>,
        fua: bool,
    ) -> Result<(), OpError> {
        let record = Record::data(offset, bytes);
        if FLAW == flaw::ANSWERS_FIRST {
            let later = Rc::clone(volume);
            let work = async move { drop(later.change(record, fua).await) };
            volume.core.runtime.spawn(work);
            return Ok(());
        }
        volume.change(record, fua).await
    }

    async fn zero(
        volume: &Self::Volume,
        offset: u64,
        bytes: u64,
        _kind: ZeroKind,
        fua: bool,
    ) -> Result<(), OpError> {
        volume.change(Record::zero(offset, bytes), fua).await
    }

    async fn flush(volume: &Self::Volume) -> Result<(), OpError> {
        let _pass = volume.gate.enter().await;
        volume.check_broken()?;
        if FLAW == flaw::FLUSH_WITHOUT_SYNC { Ok(()) } else { volume.sync().await }
    }

    async fn cut(volume: &Self::Volume) -> Result<(), OpError> {
        let _pass = volume.gate.enter().await;
        volume.cut_within_gate().await
    }

    async fn close(volume: &Self::Volume) -> Result<(), OpError> {
        Self::flush(volume).await
    }

    async fn check(volume: &Self::Volume) -> Result<(), String> {
        let _pass = volume.gate.enter().await;
        let number = volume.state.borrow().number;
        let body = read_snapshot(&volume.core, number).await.map_err(|e| e.to_string())?;
        Image::decode(&body).map(drop).ok_or_else(|| "damaged snapshot".to_owned())
    }
}
