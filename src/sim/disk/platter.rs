//! What is on the simulated disk: names, files, and changes under way.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use wal::disk::DirEntry;
use wal::{BLOCK_BYTES, SECTOR_BYTES};

use super::power::{Loss, PowerLoss};
use super::sectors::Sectors;
use super::{ProcessId, Random, Rot};

/// A change that was begun.
pub(super) enum Change {
    Create { path: String, bytes: u64 },
    Remove { path: String },
    Write { inode: u64, at: u64, data: Rc<[u8]> },
}

/// How much of a change happens.
enum Part {
    Nothing,
    Whole,
    /// Sector by sector, by the toss of a coin.
    Any,
    /// The first part of it.
    Prefix,
}

/// A name: the file that it stands for now, and after a power loss at worst.
#[derive(Clone, Copy, Default)]
struct Name {
    visible: Option<u64>,
    durable: Option<u64>,
}

/// A file: its content, and whether some process has it open.
struct Inode {
    sectors: Sectors,
    open: Weak<()>,
}

/// Everything on the disk.
#[derive(Default)]
pub(super) struct Platter {
    names: BTreeMap<String, Name>,
    inodes: BTreeMap<u64, Inode>,
    under_way: BTreeMap<u64, (ProcessId, Change)>,
    begun: u64,
    applied: u64,
}

impl Platter {
    /// All of it, as a process that starts now would find it.
    pub(super) fn copy(&self) -> Self {
        assert!(self.under_way.is_empty(), "a disk at rest");
        let inode = |inode: &Inode| Inode { sectors: inode.sectors.clone(), open: Weak::new() };
        Self {
            names: self.names.clone(),
            inodes: self.inodes.iter().map(|(&number, file)| (number, inode(file))).collect(),
            under_way: BTreeMap::new(),
            begun: self.begun,
            applied: self.applied,
        }
    }

    /// Notes a change under way; returns its number.
    pub(super) fn begin(&mut self, process: ProcessId, change: Change) -> u64 {
        self.begun += 1;
        self.under_way.insert(self.begun, (process, change));
        self.begun
    }

    /// Completes a change; returns the file if it created one. The directory of a creation or a
    /// removal is durable with it.
    pub(super) fn finish(&mut self, op: u64) -> Option<u64> {
        let (_, change) = self.under_way.remove(&op).expect("it is under way");
        let dir = match &change {
            Change::Create { path, .. } | Change::Remove { path } => Some(dir_of(path).to_owned()),
            Change::Write { .. } => None,
        };
        let made = self.apply(change, &Part::Whole, None);
        if let Some(dir) = dir {
            let in_dir = self.names.iter_mut().filter(|(path, _)| dir_of(path) == dir);
            in_dir.for_each(|(_, name)| name.durable = name.visible);
            self.drop_unnamed();
        }
        made
    }

    /// Completes a write that failed: any of its sectors may have been written.
    pub(super) fn finish_in_part(&mut self, op: u64, random: &mut Random) {
        let (_, change) = self.under_way.remove(&op).expect("it is under way");
        self.apply(change, &Part::Any, Some(random));
    }

    /// Ends a change that did not happen.
    pub(super) fn forget(&mut self, op: u64) {
        self.under_way.remove(&op);
    }

    fn apply(&mut self, change: Change, part: &Part, random: Option<&mut Random>) -> Option<u64> {
        if matches!(part, Part::Nothing) {
            return None;
        }
        self.applied += 1;
        let number = self.applied;
        match change {
            Change::Create { path, bytes } => {
                let bytes = match (part, random) {
                    (Part::Prefix | Part::Any, Some(random)) => {
                        random.below(bytes / SECTOR_BYTES as u64 + 1) * SECTOR_BYTES as u64
                    }
                    _ => bytes,
                };
                let inode = Inode { sectors: Sectors::zeros(bytes), open: Weak::new() };
                self.inodes.insert(number, inode);
                self.names.entry(path).or_default().visible = Some(number);
                Some(number)
            }
            Change::Remove { path } => {
                if let Some(name) = self.names.get_mut(&path) {
                    name.visible = None;
                }
                None
            }
            Change::Write { inode, at, data } => {
                let sectors = &mut self.inodes.get_mut(&inode)?.sectors;
                match (part, random) {
                    (Part::Any, Some(random)) => {
                        sectors.write(number, at, &data, |_| random.chance(2));
                    }
                    (Part::Prefix, Some(random)) => {
                        let kept = random.below((data.len() / SECTOR_BYTES) as u64 + 1);
                        sectors.write(number, at, &data, |index| index < kept);
                    }
                    _ => sectors.write(number, at, &data, |_| true),
                }
                None
            }
        }
    }

    pub(super) fn settle_kill(&mut self, process: ProcessId, random: &mut Random) {
        let owned: Vec<_> = self.under_way.extract_if(.., |_, c| c.0 == process).collect();
        for (_, (_, change)) in owned {
            let part = any_part(random);
            self.apply(change, &part, Some(random));
        }
    }

    pub(super) fn settle_power_loss(&mut self, mode: PowerLoss, random: &mut Random) {
        for (_, (_, change)) in std::mem::take(&mut self.under_way) {
            let part = match mode {
                PowerLoss::DropAll => Part::Nothing,
                PowerLoss::KeepAll => Part::Whole,
                _ => any_part(random),
            };
            self.apply(change, &part, Some(random));
        }
        for name in self.names.values_mut() {
            let keeps = match mode {
                PowerLoss::DropAll => false,
                PowerLoss::KeepAll => true,
                _ => random.chance(2),
            };
            let kept = if keeps { name.visible } else { name.durable };
            *name = Name { visible: kept, durable: kept };
        }
        self.drop_unnamed();
        let unsynced: Vec<_> =
            self.inodes.values().flat_map(|i| i.sectors.unsynced_writes()).collect();
        let loss = Loss::new(mode, &unsynced, random);
        self.inodes.values_mut().for_each(|inode| inode.sectors.lose_power(&loss, random));
    }

    /// Marks a file as open for as long as the mark lives.
    pub(super) fn open(&mut self, inode: u64) -> Rc<()> {
        let file = self.inodes.get_mut(&inode).expect("it was looked up, or made, just now");
        file.open.upgrade().unwrap_or_else(|| {
            let mark = Rc::new(());
            file.open = Rc::downgrade(&mark);
            mark
        })
    }

    /// Frees what no name can stand for any more and nobody has open.
    pub(super) fn drop_unnamed(&mut self) {
        self.names.retain(|_, name| name.visible.is_some() || name.durable.is_some());
        let names = &self.names;
        self.inodes.retain(|&number, inode| {
            let stands_for = |name: &Name| [name.visible, name.durable].contains(&Some(number));
            inode.open.strong_count() > 0 || names.values().any(stands_for)
        });
    }

    /// Number of the last change that was applied.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    pub(super) fn sync(&mut self, inode: u64, upto: u64) {
        self.inodes.get_mut(&inode).into_iter().for_each(|file| file.sectors.sync(upto));
    }

    pub(super) fn fail_sync(&mut self, inode: u64, upto: u64, random: &mut Random) {
        let file = self.inodes.get_mut(&inode);
        file.into_iter().for_each(|file| file.sectors.fail_sync(upto, random));
    }

    /// Reads a file; each sector of a write under way is seen or not, by the toss of a coin.
    pub(super) fn read(
        &self,
        inode: u64,
        at: u64,
        bytes: usize,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
        let end = at as usize + bytes;
        let mut seen = self.inodes.get(&inode)?.sectors.bytes().get(at as usize..end)?.to_vec();
        for (_, change) in self.under_way.values() {
            let Change::Write { inode: target, at: start, data } = change else { continue };
            if *target != inode || *start >= end as u64 || start + data.len() as u64 <= at {
                continue;
            }
            for (index, new) in data.chunks_exact(SECTOR_BYTES).enumerate() {
                let place = *start as usize + index * SECTOR_BYTES;
                if (at as usize..end).contains(&place) && random.chance(2) {
                    let from = place - at as usize;
                    seen[from..from + SECTOR_BYTES].copy_from_slice(new);
                }
            }
        }
        Some(seen)
    }

    pub(super) fn rot(&mut self, path: &str, at: u64, rot: Rot, random: &mut Random) -> bool {
        let blocks = self.inodes.values().flat_map(|i| i.sectors.bytes().chunks_exact(BLOCK_BYTES));
        let blocks: Vec<_> = blocks.filter(|block| block.iter().any(|&byte| byte != 0)).collect();
        let elsewhere = match rot {
            Rot::Misdirected if !blocks.is_empty() => random.pick(&blocks).to_vec(),
            _ => Vec::new(),
        };
        let inode = self.inode(path).and_then(|inode| self.inodes.get_mut(&inode));
        let file = inode.filter(|file| at < file.sectors.bytes().len() as u64);
        file.map(|file| file.sectors.rot(at, rot, &elsewhere, random)).is_some()
    }

    pub(super) fn inode(&self, path: &str) -> Option<u64> {
        self.names.get(path)?.visible
    }

    /// Whether a file of this path exists or is being created.
    pub(super) fn is_taken(&self, path: &str) -> bool {
        let creating = |(_, change): &(ProcessId, Change)| matches!(change, Change::Create { path: p, .. } if p == path);
        self.inode(path).is_some() || self.under_way.values().any(creating)
    }

    /// Bytes of a file.
    pub(super) fn file_bytes(&self, inode: u64) -> u64 {
        self.inodes.get(&inode).map_or(0, |file| file.sectors.bytes().len() as u64)
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<DirEntry> {
        let in_dir = |(path, name): (&String, &Name)| {
            let name = (name.visible?, path.strip_prefix(prefix)?);
            let entry = |(inode, name): (u64, &str)| DirEntry {
                name: name.to_owned(),
                bytes: self.file_bytes(inode),
            };
            (!name.1.contains('/')).then(|| entry(name))
        };
        self.names.iter().filter_map(in_dir).collect()
    }

    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let visible = |(path, name): (&String, &Name)| {
            Some((path.clone(), self.inodes.get(&name.visible?)?.sectors.bytes().to_vec()))
        };
        self.names.iter().filter_map(visible).collect()
    }

    /// Bytes of all files that exist or are being created.
    pub(super) fn used(&self) -> u64 {
        let creating = |(_, change): &(ProcessId, Change)| match change {
            Change::Create { bytes, .. } => *bytes,
            Change::Remove { .. } | Change::Write { .. } => 0,
        };
        let stored: u64 = self.inodes.keys().map(|&inode| self.file_bytes(inode)).sum();
        stored + self.under_way.values().map(creating).sum::<u64>()
    }
}

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn any_part(random: &mut Random) -> Part {
    match random.below(4) {
        0 => Part::Nothing,
        1 => Part::Whole,
        2 => Part::Any,
        _ => Part::Prefix,
    }
}
