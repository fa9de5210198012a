//! The files of the cache: a table, then the slots.

use std::cell::Cell;
use std::rc::Rc;

use wal::BLOCK_BYTES;
use wal::disk::{Disk, DiskFile};

use super::table::{BLOCK_ENTRIES, ENTRY_BYTES, decode, encode};
use super::{ChunkCache, SLOT_BLOCKS};

/// Where the files are, below the data directory.
pub(super) const DIRECTORY: &str = "cache";

const SLOT_BYTES: u64 = SLOT_BLOCKS as u64 * BLOCK_BYTES as u64;

/// One file.
pub(super) struct Slab<F> {
    number: u32,
    file: F,
    /// How each block of the table is written.
    table: Vec<Cell<Write>>,
}

/// State of one block of a table. Two writes of it under way could end in any order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    None,
    UnderWay,
    /// Under way, and changed since it began.
    Again,
}

impl<F> Slab<F> {
    fn new(number: u32, file: F, slots: u32) -> Self {
        let table = (0..slots.div_ceil(BLOCK_ENTRIES)).map(|_| Cell::new(Write::None)).collect();
        Self { number, file, table }
    }
}

/// Bytes of the table of a file.
fn table_bytes(slots: u32) -> u64 {
    u64::from(slots.div_ceil(BLOCK_ENTRIES)) * BLOCK_BYTES as u64
}

/// Bytes of a file.
pub(super) fn slab_bytes(slots: u32) -> u64 {
    table_bytes(slots) + u64::from(slots) * SLOT_BYTES
}

impl<D: Disk> ChunkCache<D> {
    fn path(&self, number: u32) -> String {
        format!("{DIRECTORY}/{}-{number}.slab", self.core.0)
    }

    /// The file of a slot, and where the slot begins in it.
    pub(super) fn place(&self, slot: u32) -> (D::File, u64) {
        let per_slab = self.size.slab_slots;
        let file = self.slabs.borrow()[(slot / per_slab) as usize].file.clone();
        (file, table_bytes(per_slab) + u64::from(slot % per_slab) * SLOT_BYTES)
    }

    /// Opens the files that fit, and removes the others: of each core its own, and the first core
    /// those of cores that there are no more. What cannot be listed or read is not there.
    pub(super) async fn open_files(&self, disk: &D, cores: u16) {
        let listed = disk.list(DIRECTORY).await.unwrap_or_default();
        for entry in listed {
            let Some((core, number)) = parse(&entry.name) else { continue };
            let is_mine = core == self.core.0;
            let is_nobodys = core >= cores && self.core.0 == 0;
            let fits = number < self.size.slabs && entry.bytes == slab_bytes(self.size.slab_slots);
            if is_mine && fits {
                if let Ok(file) = disk.open(&self.path(number)).await {
                    self.adopt(number, file).await;
                }
            } else if is_mine || is_nobodys {
                // One that stays is removed by the next start.
                let _ = disk.remove(&format!("{DIRECTORY}/{}", entry.name)).await;
            }
        }
    }

    /// Takes a file of an earlier run into use.
    async fn adopt(&self, number: u32, file: D::File) {
        let count = self.size.slab_slots;
        let table = file.read_at(0, table_bytes(count) as usize).await;
        let mut slots = self.slots.borrow_mut();
        for slot in 0..count as usize {
            let entry = |table: &<D::File as DiskFile>::Read| {
                decode(&table[slot * ENTRY_BYTES..(slot + 1) * ENTRY_BYTES])
            };
            slots.push(table.as_ref().ok().and_then(entry));
        }
        slots.use_in_order(count);
        self.slabs.borrow_mut().push(Slab::new(number, file, count));
    }

    /// Makes one more file; `None` if the disk does not let it.
    pub(super) async fn make_slab(&self, disk: &D) -> Option<()> {
        let taken: Vec<_> = self.slabs.borrow().iter().map(|slab| slab.number).collect();
        let number = (0..self.size.slabs).find(|number| !taken.contains(number))?;
        let count = self.size.slab_slots;
        let made = disk.reserve(&self.path(number), slab_bytes(count)).await;
        // A creation that was cut short may have left a file of any length.
        if made.is_err() {
            let _ = disk.remove(&self.path(number)).await;
        }
        let file = made.ok()?;
        self.slabs.borrow_mut().push(Slab::new(number, file, count));
        let mut slots = self.slots.borrow_mut();
        (0..count).for_each(|_| slots.push(None));
        slots.use_in_order(count);
        Some(())
    }

    /// Writes the block of the table that tells of a slot, unless that is under way: then it is
    /// written once more by whoever writes it.
    pub(super) async fn write_table(&self, slot: u32) -> Option<()> {
        let per_slab = self.size.slab_slots;
        let (slab, block) = (slot / per_slab, slot % per_slab / BLOCK_ENTRIES);
        let write =
            |next: Write| self.slabs.borrow()[slab as usize].table[block as usize].replace(next);
        if write(Write::Again) != Write::None {
            return Some(());
        }
        let mut written = Some(());
        while written.is_some() && write(Write::UnderWay) == Write::Again {
            let file = self.slabs.borrow()[slab as usize].file.clone();
            let mut buf = file.alloc(BLOCK_BYTES);
            let first = slab * per_slab + block * BLOCK_ENTRIES;
            {
                let slots = self.slots.borrow();
                let end = (slab + 1) * per_slab;
                for (slot, to) in (first..).zip(buf.chunks_exact_mut(ENTRY_BYTES)) {
                    let held = if slot < end { slots.held(slot) } else { None };
                    to.copy_from_slice(&encode(held));
                }
            }
            let at = u64::from(block) * BLOCK_BYTES as u64;
            written = file.write_at(at, Rc::new(buf)).await.ok();
        }
        write(Write::None);
        written
    }
}

/// Core and number of a file.
fn parse(name: &str) -> Option<(u16, u32)> {
    let (core, number) = name.strip_suffix(".slab")?.split_once('-')?;
    Some((core.parse().ok()?, number.parse().ok()?))
}
