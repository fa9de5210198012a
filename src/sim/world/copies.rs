//! A look at the snapshots of a world, and at clones of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use futures_lite::future;
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
    /// A clone that was being separated from what it was made of when the process died.
    half: Option<HalfSeparated>,
}

/// See [`Copies::half`].
struct HalfSeparated {
    clone: u32,
    /// What it was made of, if that is a snapshot of the volume itself.
    snapshot: Option<OpId>,
    /// What the store has of it.
    content: Vec<u8>,
}

/// A clone in a chain of them.
struct Link<V> {
    number: u32,
    volume: V,
    content: Vec<u8>,
    /// Number of the snapshot that was made of it.
    snapshot: u32,
}

/// One look, as a task of the process.
pub(super) struct Look<S: Subject> {
    pub(super) volume: S::Volume,
    pub(super) windows: Vec<Range<u64>>,
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

pub(super) fn unclean(what: impl Into<String>) -> Fault {
    Fault::Unclean(what.into())
}

impl<S: Subject> Look<S> {
    async fn run(mut self, mut pictures: Vec<OpId>, cloned: Option<OpId>) -> Result<(), Fault> {
        for at in (0..pictures.len()).rev() {
            let snapshot = pictures[at];
            if self.judge.borrow().may_be_lost(snapshot)
                && !S::has_snapshot(&self.volume, snapshot.number()).await.map_err(unclean)?
            {
                self.judge.borrow_mut().forget_picture(snapshot);
                pictures.remove(at);
            }
        }
        for snapshot in &pictures {
            self.view(*snapshot).await?;
        }
        let is_here = |snapshot: &OpId| pictures.contains(snapshot);
        let cloned = cloned.filter(is_here);
        for pair in pictures.windows(2) {
            let (one, other) = (pair[0], pair[1]);
            self.compare(one, other).await?;
            self.compare(other, one).await?;
        }
        self.finish_separation().await?;
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

    /// What differs between two snapshots is told of, within the end of the second one.
    async fn compare(&self, from: OpId, to: OpId) -> Result<(), Fault> {
        let changes = S::changes(&self.volume, (from.number(), to.number())).await;
        let changes = changes.map_err(|error| unclean(format!("compare snapshots: {error}")))?;
        let judge = self.judge.borrow();
        let image = |snapshot| judge.image(snapshot).expect("it was looked at");
        let (before, now, end) = (image(from), image(to), judge.picture_size(to));
        let sectors = before.chunks(SECTOR_BYTES).zip(now.chunks(SECTOR_BYTES));
        for (sector, (before, now)) in self.windows.iter().cloned().flatten().zip(sectors) {
            let is_told = changes.iter().any(|range| range.contains(&sector));
            if before != now && !is_told && sector < end {
                return Err(unclean(format!("sector {sector} differs, and is not told of")));
            }
        }
        Ok(())
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
        let mut chain: Vec<Link<S::Volume>> = Vec::new();
        let (mut from, mut made_of) = (self.volume.clone(), snapshot.number());
        for _ in 0..self.random.within(1..u64::from(DEEPEST) + 1) {
            let before = chain.last().map_or(&image, |link| &link.content).clone();
            let number = self.draw();
            let volume = S::clone_of(&from, made_of, number).await;
            let volume = volume.map_err(|error| unclean(format!("clone: {error}")))?;
            self.must_hold(&volume, &before, "a new clone").await?;
            let content = self.change(&volume, before).await?;
            self.must_hold(&volume, &content, "a clone that was written to").await?;
            made_of = self.draw();
            let made = S::snapshot(&volume, made_of).await;
            made.map_err(|error| unclean(format!("snapshot of a clone: {error}")))?;
            from = volume.clone();
            chain.push(Link { number, volume, content, snapshot: made_of });
        }
        self.view(snapshot).await?;
        for Link { volume, content, .. } in &mut chain {
            if self.random.chance(2) {
                *volume = S::reopen(volume).await.map_err(unclean)?;
            }
            self.must_hold(volume, content, "a clone among others").await?;
            S::check(volume).await.map_err(unclean)?;
        }
        if S::delete_snapshot(&self.volume, snapshot.number()).await.map_err(unclean)? {
            return Err(unclean("a snapshot was deleted that a clone needs"));
        }
        if self.random.chance(2) {
            self.separate(snapshot, &chain).await?;
        }
        if self.random.chance(2) {
            self.count(snapshot).await?;
        }
        for link in chain.into_iter().rev() {
            S::delete_clone(&link.volume, link.number).await.map_err(unclean)?;
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

    /// Separates the last clones of a chain from what they were made of, the last one first; those
    /// before them cannot be, as long as a snapshot of them is needed.
    async fn separate(&mut self, of: OpId, chain: &[Link<S::Volume>]) -> Result<(), Fault> {
        let least = self.random.below(chain.len() as u64) as usize;
        let mut is_free = false;
        for (n, link) in chain.iter().enumerate().skip(least).rev() {
            if !is_free {
                if S::flatten(&link.volume).await.map_err(unclean)? {
                    return Err(unclean("a clone was separated, and its snapshot shares"));
                }
                if !S::delete_snapshot(&link.volume, link.snapshot).await.map_err(unclean)? {
                    return Err(unclean("a snapshot of a clone is kept that nothing needs"));
                }
            }
            let failed = |error| unclean(format!("cut of a clone: {error}"));
            S::cut(&link.volume).await.map_err(failed)?;
            let (snapshot, content) = ((n == 0).then_some(of), link.content.clone());
            let half = HalfSeparated { clone: link.number, snapshot, content };
            self.copies.borrow_mut().half = Some(half);
            let parent = n.checked_sub(1).map(|before| &chain[before]);
            is_free = self.flatten_watched(link, parent).await?;
            self.copies.borrow_mut().half = None;
            if S::is_linked(&link.volume).await.map_err(unclean)? {
                return Err(unclean("a clone was separated, and is linked"));
            }
            for other in chain {
                let what = "a clone, one being separated";
                self.must_hold(&other.volume, &other.content, what).await?;
                S::check(&other.volume).await.map_err(unclean)?;
            }
        }
        Ok(())
    }

    /// Separates a clone, while somebody tries to delete what it was made of; tells whether that is
    /// gone. It may go from the moment on that the store knows that nothing of it is needed.
    async fn flatten_watched(
        &self,
        link: &Link<S::Volume>,
        parent: Option<&Link<S::Volume>>,
    ) -> Result<bool, Fault> {
        let ended = Cell::new(false);
        let flattening = async {
            let flattened = S::flatten(&link.volume).await;
            ended.set(true);
            flattened
        };
        let deleting = async {
            let Some(parent) = parent else { return Ok(false) };
            while !ended.get() {
                if S::delete_snapshot(&parent.volume, parent.snapshot).await? {
                    return match S::is_linked(&link.volume).await? {
                        true => Err("a snapshot was deleted that a clone refers to".to_owned()),
                        false => Ok(true),
                    };
                }
            }
            Ok(false)
        };
        let (flattened, gone) = future::zip(flattening, deleting).await;
        match flattened.map_err(unclean)? {
            true => gone.map_err(unclean),
            false => Err(unclean("a clone is not separated, and nothing shares")),
        }
    }

    /// Goes on with a clone that a crash has left while it was being separated: all of it is there,
    /// as long as it is linked its snapshot is, and doing it again brings it to its end.
    async fn finish_separation(&mut self) -> Result<(), Fault> {
        let (clone, snapshot, content) = match &self.copies.borrow().half {
            None => return Ok(()),
            Some(half) => (half.clone, half.snapshot, half.content.clone()),
        };
        let volume = S::open_clone(&self.volume, clone).await;
        let volume = volume.map_err(|error| unclean(format!("open a clone: {error}")))?;
        self.must_hold(&volume, &content, "a clone that is half separated").await?;
        if S::is_linked(&volume).await.map_err(unclean)?
            && let Some(snapshot) = snapshot
            && S::delete_snapshot(&self.volume, snapshot.number()).await.map_err(unclean)?
        {
            return Err(unclean("a snapshot was deleted that a half separated clone needs"));
        }
        if !S::flatten(&volume).await.map_err(unclean)? {
            return Err(unclean("a half separated clone is not separated"));
        }
        let volume = S::reopen(&volume).await.map_err(unclean)?;
        self.must_hold(&volume, &content, "a separated clone").await?;
        S::check(&volume).await.map_err(unclean)?;
        self.copies.borrow_mut().half = None;
        S::delete_clone(&volume, clone).await.map_err(unclean)
    }

    pub(super) fn draw(&self) -> u32 {
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
