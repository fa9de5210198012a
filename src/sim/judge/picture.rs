//! What snapshots may hold.

use std::collections::BTreeMap;

use wal::SECTOR_BYTES;

use super::history::{History, Observer, Value};
use super::log::{Log, OpId};
use super::{Judge, Verdict, Violation};
use crate::sim::content;

/// A snapshot that somebody was told of, with all that was known when it was.
#[derive(Clone)]
pub(super) struct Picture {
    op: OpId,
    log: Log,
    sectors: BTreeMap<u64, History>,
    /// The tracked sectors, once they were read.
    image: Option<Vec<u8>>,
    /// It must be in the store.
    is_stored: bool,
    /// Its only copy may have been on a disk that was lost.
    may_be_lost: bool,
}

impl Picture {
    pub(super) fn new(op: OpId, log: &Log, sectors: &BTreeMap<u64, History>) -> Self {
        let (log, sectors) = (log.clone(), sectors.clone());
        let is_stored = log.is_stored(op);
        Self { op, log, sectors, image: None, is_stored, may_be_lost: false }
    }

    /// Judges what it is seen to hold for the first time: each sector as a read would be that was
    /// sent and answered with it, and all of them together as one instant. That instant came after
    /// every write was sent that shows in it, so a write that was answered before that shows too,
    /// or is overwritten.
    fn judge(&mut self, volume: u64, bytes: &[u8]) -> Result<(), Violation> {
        let op = self.log.op(self.op);
        let mut observer = Observer::of(op);
        let (log, life) = (&self.log, op.life);
        let mut found = Vec::new();
        for (&sector, slice) in self.sectors.keys().zip(bytes.chunks_exact(SECTOR_BYTES)) {
            let content = content::parse(slice, volume, sector);
            let value = Judge::value_of(log, sector, content);
            if let Ok(Value::Written(writer)) = value
                && log.op(writer).life == life
            {
                observer = observer.after(log.op(writer));
            }
            found.push((content, value));
        }
        for ((&sector, history), (content, value)) in self.sectors.iter_mut().zip(found) {
            let verdict = value.and_then(|value| history.observe(log, value, observer));
            verdict.map_err(|verdict| Violation {
                verdict,
                sector,
                life,
                found: format!("{} in a snapshot", log.describe(content)),
                expected: history.expectation(log, observer),
            })?;
        }
        Ok(())
    }
}

impl Judge {
    /// The snapshots that there are.
    #[must_use]
    pub fn pictures(&self) -> Vec<OpId> {
        self.pictures.iter().map(|picture| picture.op).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn picture_count(&self) -> usize {
        self.pictures.len()
    }

    /// What a snapshot holds, if it was looked at before.
    #[must_use]
    pub fn image(&self, snapshot: OpId) -> Option<Vec<u8>> {
        self.pictures.iter().find(|picture| picture.op == snapshot)?.image.clone()
    }

    /// The tracked sectors of a snapshot were read, in order.
    ///
    /// # Errors
    /// If they are no instant between the sending of the command and its reply, or not what was
    /// read the first time.
    pub fn judge_picture(&mut self, snapshot: OpId, bytes: &[u8]) -> Result<(), Violation> {
        let life = self.log.life();
        let volume = self.volume;
        let picture = self.pictures.iter_mut().find(|picture| picture.op == snapshot);
        let picture = picture.expect("it is one of those there are");
        (picture.is_stored, picture.may_be_lost) = (true, false);
        assert_eq!(bytes.len(), picture.sectors.len() * SECTOR_BYTES, "short read");
        let Some(before) = &picture.image else {
            picture.judge(volume, bytes)?;
            picture.image = Some(bytes.to_vec());
            return Ok(());
        };
        let of = |bytes: &[u8], n: usize| bytes[n * SECTOR_BYTES..(n + 1) * SECTOR_BYTES].to_vec();
        for (n, &sector) in picture.sectors.keys().enumerate() {
            let (now, then) = (of(bytes, n), of(before, n));
            if now != then {
                let describe =
                    |bytes: &[u8]| picture.log.describe(content::parse(bytes, volume, sector));
                let (found, expected) = (describe(&now), format!("it was {}", describe(&then)));
                return Err(Violation { verdict: Verdict::Changed, sector, life, found, expected });
            }
        }
        Ok(())
    }

    /// Whether a snapshot may be gone, with the disk that had it before the store.
    #[must_use]
    pub fn may_be_lost(&self, snapshot: OpId) -> bool {
        self.pictures.iter().any(|picture| picture.op == snapshot && picture.may_be_lost)
    }

    /// What was published by now is in the store.
    pub(super) fn store_pictures(&mut self) {
        for picture in &mut self.pictures {
            picture.is_stored |= self.log.is_stored(picture.op);
        }
    }

    /// The local disk is gone.
    pub(super) fn lose_pictures(&mut self) {
        for picture in &mut self.pictures {
            picture.may_be_lost |= !picture.is_stored;
        }
    }

    /// A snapshot was deleted, or may have been.
    pub fn forget_picture(&mut self, snapshot: OpId) {
        self.pictures.retain(|picture| picture.op != snapshot);
    }
}
