//! A look at the snapshots of a world, and at clones of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use wal::SECTOR_BYTES;

use super::trigger::Trigger;
use super::{Fault, World};
use crate::sim::content;
use crate::sim::host::Host;
use crate::sim::judge::{BLOCK_SECTORS, Judge, OpId};
use crate::sim::random::Random;
use crate::sim::subject::Subject;
use crate::sim::workload::read_padded;

/// Clones of clones, at most.
const DEEPEST: u32 = 3;

/// Writes to each clone, at most.
const WRITES: u64 = 12;

/// What a world knows of its snapshots besides what they hold.
#[derive(Default)]
pub(super) struct Copies {
    /// Number of the next clone, and of the next snapshot of one.
    next: u32,
    /// Snapshots with clones that a crash may have left, or a deletion that it cut off: they can be
    /// read, and neither cloned nor deleted for certain.
    cut_off: BTreeSet<OpId>,
}

/// One look, as a task of the process.
struct Look<S: Subject> {
    volume: S::Volume,
    windows: Vec<Range<u64>>,
    judge: Rc<RefCell<Judge>>,
    random: Random,
    copies: Rc<RefCell<Copies>>,
    /// Writers of the clones have contents of their own.
    seed: u64,
}

impl<S: Subject> World<S> {
    /// Looks at all snapshots, and sometimes at clones of one; returns whether the life goes on.
    pub(super) fn look_at_copies(
        &mut self,
        host: &Host,
        volumes: &[S::Volume],
        trigger: Trigger,
    ) -> Result<bool, Fault> {
        let pictures = self.judge.borrow().pictures();
        if !S::COPIES || pictures.is_empty() {
            return Ok(true);
        }
        let mut random = Random::stream(self.scenario.seed ^ u64::from(self.life), "copies");
        let is_whole = |it: &&OpId| !self.copies.borrow().cut_off.contains(it);
        let whole: Vec<OpId> = pictures.iter().filter(is_whole).copied().collect();
        let cloned = match random.chance(self.scenario.clone_one_in) && !whole.is_empty() {
            true => Some(*random.pick(&whole)),
            false => None,
        };
        let look = Look::<S> {
            volume: random.pick(volumes).clone(),
            windows: self.scenario.sectors(),
            judge: Rc::clone(&self.judge),
            random,
            copies: Rc::clone(&self.copies),
            seed: !self.scenario.seed,
        };
        let looked = self.phase(host, trigger, look.run(pictures, cloned))?;
        if looked.is_none()
            && let Some(snapshot) = cloned
        {
            self.copies.borrow_mut().cut_off.insert(snapshot);
        }
        looked.map_or(Ok(false), |found| found.map(|()| true))
    }
}

fn unclean(what: impl Into<String>) -> Fault {
    Fault::Unclean(what.into())
}

impl<S: Subject> Look<S> {
    async fn run(mut self, pictures: Vec<OpId>, cloned: Option<OpId>) -> Result<(), Fault> {
        for snapshot in pictures {
            self.view(snapshot).await?;
        }
        match cloned {
            Some(snapshot) => self.clone(snapshot).await,
            None => Ok(()),
        }
    }

    /// A snapshot holds what it may, and the same as ever.
    async fn view(&self, snapshot: OpId) -> Result<(), Fault> {
        let view = S::view(&self.volume, snapshot.number()).await;
        let view = view.map_err(|error| unclean(format!("open a snapshot: {error}")))?;
        if let Some(bytes) = S::size(&view) {
            let size = bytes / SECTOR_BYTES as u64;
            self.judge.borrow_mut().judge_picture_size(snapshot, size)?;
        }
        let bytes = self.read(&view).await?;
        self.judge.borrow_mut().judge_picture(snapshot, &bytes)?;
        S::close_view(&view).await.map_err(unclean)
    }

    /// All tracked sectors, in order.
    async fn read(&self, volume: &S::Volume) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        for window in &self.windows {
            let (at, count) = (window.start, window.end - window.start);
            let read = read_padded::<S>(volume, at, count).await;
            all.append(&mut read.map_err(|error| unclean(format!("read a copy: {error}")))?);
        }
        Ok(all)
    }

    /// Clones of a snapshot, one of the other: each begins as what it was made of, and changes
    /// nothing but itself.
    async fn clone(&mut self, snapshot: OpId) -> Result<(), Fault> {
        let image = self.judge.borrow().image(snapshot).expect("it was looked at");
        let mut chain: Vec<(u32, S::Volume, Vec<u8>)> = Vec::new();
        let (mut from, mut number) = (self.volume.clone(), snapshot.number());
        for _ in 0..self.random.within(1..u64::from(DEEPEST) + 1) {
            let before = chain.last().map_or(&image, |(_, _, content)| content).clone();
            let clone = self.draw();
            let volume = S::clone_of(&from, number, clone).await;
            let volume = volume.map_err(|error| unclean(format!("clone: {error}")))?;
            self.must_hold(&volume, &before, "a new clone").await?;
            let content = self.change(&volume, before).await?;
            self.must_hold(&volume, &content, "a clone that was written to").await?;
            chain.push((clone, volume.clone(), content));
            number = self.draw();
            let made = S::snapshot(&volume, number).await;
            made.map_err(|error| unclean(format!("snapshot of a clone: {error}")))?;
            from = volume;
        }
        self.view(snapshot).await?;
        for (_, volume, content) in &mut chain {
            if self.random.chance(2) {
                *volume = S::reopen(volume).await.map_err(unclean)?;
            }
            self.must_hold(volume, content, "a clone among others").await?;
            S::check(volume).await.map_err(unclean)?;
        }
        if S::delete_snapshot(&self.volume, snapshot.number()).await.map_err(unclean)? {
            return Err(unclean("a snapshot was deleted that a clone needs"));
        }
        for (clone, volume, _) in chain.into_iter().rev() {
            S::delete_clone(&volume, clone).await.map_err(unclean)?;
        }
        self.view(snapshot).await?;
        if self.random.chance(3) {
            // If it does not end, it may be gone or not.
            self.judge.borrow_mut().forget_picture(snapshot);
            if !S::delete_snapshot(&self.volume, snapshot.number()).await.map_err(unclean)? {
                return Err(unclean("a snapshot is kept that nothing needs"));
            }
            S::check(&self.volume).await.map_err(unclean)?;
        }
        Ok(())
    }

    fn draw(&self) -> u32 {
        let next = &mut self.copies.borrow_mut().next;
        *next += 1;
        // Snapshots of the volume itself have the numbers of commands.
        1_000_000 + *next
    }

    async fn must_hold(&self, volume: &S::Volume, right: &[u8], what: &str) -> Result<(), Fault> {
        let found = self.read(volume).await?;
        let sectors = found.chunks(SECTOR_BYTES).zip(right.chunks(SECTOR_BYTES));
        match sectors.enumerate().find(|(_, (found, right))| found != right) {
            None => Ok(()),
            Some((n, _)) => {
                let sector = self.windows.iter().cloned().flatten().nth(n).unwrap_or_default();
                Err(unclean(format!("{what} holds other bytes in sector {sector}")))
            }
        }
    }

    /// Writes to a clone, and makes cuts; returns what it holds then.
    async fn change(&mut self, volume: &S::Volume, mut bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        for version in 1..=self.random.within(1..WRITES + 1) {
            let mut start = 0;
            let mut window = self.random.pick(&self.windows).clone();
            if let Some(bytes) = S::size(volume) {
                window.end = window.end.min(bytes / SECTOR_BYTES as u64);
            }
            if window.is_empty() {
                continue;
            }
            for earlier in self.windows.iter().take_while(|it| it.start < window.start) {
                start += (earlier.end - earlier.start) as usize * SECTOR_BYTES;
            }
            let count =
                self.random.scaled(1..(window.end - window.start).min(4 * BLOCK_SECTORS) + 1);
            let first = self.random.within(window.start..window.end - count + 1);
            let at = start + (first - window.start) as usize * SECTOR_BYTES;
            let new = &mut bytes[at..at + count as usize * SECTOR_BYTES];
            for (index, sector) in (0..).zip(new.chunks_exact_mut(SECTOR_BYTES)) {
                content::fill(sector, self.seed, first + u64::from(index), version, index);
            }
            let new = new.to_vec();
            let failed = |error| unclean(format!("write to a clone: {error}"));
            S::write(volume, first * SECTOR_BYTES as u64, new, false).await.map_err(failed)?;
            if self.random.chance(3) {
                S::cut(volume).await.map_err(failed)?;
            }
        }
        Ok(bytes)
    }
}
