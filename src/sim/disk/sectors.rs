//! The sectors of one file: what can be read, what is durable, and all that lies between.

use std::collections::BTreeMap;
use std::rc::Rc;

use wal::{BLOCK_BYTES, SECTOR_BYTES};

use super::Rot;
use super::power::{Choice, Loss};
use crate::sim::random::Random;

const SECTORS_PER_BLOCK: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// One version of a sector: a part of a write.
#[derive(Clone)]
struct Version {
    /// Number of the write, in the order of completion.
    write: u64,
    data: Rc<[u8]>,
    /// Index of the sector within the write.
    index: u64,
}

impl Version {
    fn bytes(&self) -> &[u8] {
        let from = self.index as usize * SECTOR_BYTES;
        &self.data[from..from + SECTOR_BYTES]
    }
}

/// A sector whose readable content is not known to be durable.
#[derive(Clone)]
struct Unsynced {
    durable: [u8; SECTOR_BYTES],
    /// At least one, oldest first; the last one is what readers see.
    versions: Vec<Version>,
}

/// The content of one file.
#[derive(Clone)]
pub(super) struct Sectors {
    bytes: Vec<u8>,
    unsynced: BTreeMap<u64, Unsynced>,
    /// What sectors held before they were last synced.
    former: BTreeMap<u64, [u8; SECTOR_BYTES]>,
}

impl Sectors {
    pub(super) fn zeros(bytes: u64) -> Self {
        Self { bytes: vec![0; bytes as usize], unsynced: BTreeMap::new(), former: BTreeMap::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Applies a write to those of its sectors that are `chosen`, by index within the write.
    pub(super) fn write(
        &mut self,
        number: u64,
        at: u64,
        data: &Rc<[u8]>,
        mut chosen: impl FnMut(u64) -> bool,
    ) {
        for (index, new) in (0..).zip(data.chunks_exact(SECTOR_BYTES)) {
            if !chosen(index) {
                continue;
            }
            let sector = at / SECTOR_BYTES as u64 + index;
            let old = sector_of(&mut self.bytes, sector);
            let unsynced = self.unsynced.entry(sector).or_insert_with(|| Unsynced {
                durable: (&*old).try_into().expect("one sector"),
                versions: Vec::new(),
            });
            unsynced.versions.push(Version { write: number, data: Rc::clone(data), index });
            old.copy_from_slice(new);
        }
    }

    /// Makes durable the writes up to a number.
    pub(super) fn sync(&mut self, upto: u64) {
        let former = &mut self.former;
        self.unsynced.retain(|&number, sector| {
            let kept = sector.versions.partition_point(|version| version.write <= upto);
            if let Some(last) = sector.versions[..kept].last() {
                former.insert(number, sector.durable);
                sector.durable.copy_from_slice(last.bytes());
            }
            sector.versions.drain(..kept);
            !sector.versions.is_empty()
        });
    }

    /// A failed sync: of the writes up to a number, some sectors become durable, the others lose
    /// those versions, for readers too.
    pub(super) fn fail_sync(&mut self, upto: u64, random: &mut Random) {
        let bytes = &mut self.bytes;
        self.unsynced.retain(|&number, sector| {
            let kept = sector.versions.partition_point(|version| version.write <= upto);
            if let Some(last) = sector.versions[..kept].last()
                && random.chance(2)
            {
                sector.durable.copy_from_slice(last.bytes());
            }
            sector.versions.drain(..kept);
            if sector.versions.is_empty() {
                sector_of(bytes, number).copy_from_slice(&sector.durable);
            }
            !sector.versions.is_empty()
        });
    }

    /// Chooses what a power loss leaves of each sector, and makes that durable.
    pub(super) fn lose_power(&mut self, loss: &Loss, random: &mut Random) {
        for (number, sector) in std::mem::take(&mut self.unsynced) {
            let writes: Vec<_> = sector.versions.iter().map(|v| (v.write, v.index)).collect();
            let place = sector_of(&mut self.bytes, number);
            match loss.choose(&writes, random) {
                Choice::Durable => place.copy_from_slice(&sector.durable),
                Choice::Version(index) => place.copy_from_slice(sector.versions[index].bytes()),
                Choice::Garbage => fill_with_noise(place, random),
            }
        }
    }

    /// Damages the content at one byte, durable and readable alike; `elsewhere` is a block of some
    /// other place, if there is one.
    pub(super) fn rot(&mut self, at: u64, rot: Rot, elsewhere: &[u8], random: &mut Random) {
        self.sync(u64::MAX);
        let (sector, block) = (at / SECTOR_BYTES as u64, at / BLOCK_BYTES as u64);
        let of_block = block * SECTORS_PER_BLOCK..(block + 1) * SECTORS_PER_BLOCK;
        match rot {
            Rot::Bit => self.bytes[at as usize] ^= 1 << random.below(8),
            Rot::Byte => self.bytes[at as usize] ^= random.within(1..256) as u8,
            Rot::Sector => fill_with_noise(sector_of(&mut self.bytes, sector), random),
            Rot::StaleSector => self.go_back(sector),
            Rot::StaleBlock => of_block.for_each(|sector| self.go_back(sector)),
            Rot::Misdirected => {
                let from = block as usize * BLOCK_BYTES;
                let place = self.bytes.get_mut(from..from + elsewhere.len());
                place.into_iter().for_each(|place| place.copy_from_slice(elsewhere));
            }
        }
    }

    fn go_back(&mut self, sector: u64) {
        if let Some(former) = self.former.get(&sector) {
            sector_of(&mut self.bytes, sector).copy_from_slice(former);
        }
    }

    /// Numbers of the oldest and newest write of which a part is not durable.
    pub(super) fn unsynced_writes(&self) -> impl Iterator<Item = u64> {
        self.unsynced.values().flat_map(|sector| sector.versions.iter().map(|v| v.write))
    }
}

fn sector_of(bytes: &mut [u8], sector: u64) -> &mut [u8] {
    let from = sector as usize * SECTOR_BYTES;
    &mut bytes[from..from + SECTOR_BYTES]
}

fn fill_with_noise(place: &mut [u8], random: &mut Random) {
    for word in place.chunks_exact_mut(8) {
        word.copy_from_slice(&random.bits().to_le_bytes());
    }
}
