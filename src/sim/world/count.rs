//! Snapshots of several volumes at one instant, under a client that writes to one after the other.

use std::cell::Cell;

use futures_lite::future;
use wal::SECTOR_BYTES;

use super::Fault;
use super::copies::{Look, unclean};
use crate::sim::judge::{BLOCK_SECTORS, OpId};
use crate::sim::subject::{OpError, Subject};

/// Snapshots that are made while the client counts.
const SNAPSHOTS: u64 = 3;

/// The highest that it counts to between two snapshots, at most.
const LAST: u64 = 400;

impl<S: Subject> Look<S> {
    /// A client writes a number to one clone, when that is acknowledged to another one, and then the
    /// next number. Whatever instant the snapshots of both are, the first one is as far as the second,
    /// or one ahead.
    pub(super) async fn count(&mut self, snapshot: OpId) -> Result<(), Fault> {
        let mut clones = Vec::new();
        for _ in 0..2 {
            let number = self.draw();
            let clone = S::clone_of(&self.volume, snapshot.number(), number).await;
            clones.push((number, clone.map_err(unclean)?));
        }
        let volumes: Vec<_> = clones.iter().map(|(_, volume)| volume.clone()).collect();
        // In blocks, and so mostly on cores, of their own.
        let last = self.windows.len() - 1;
        let places = [self.windows[0].start, self.windows[last].end - 1];
        let places = places.map(|sector| sector / BLOCK_SECTORS * BLOCK_SECTORS);
        for (volume, at) in volumes.iter().zip(places) {
            if S::size(volume).is_some_and(|bytes| bytes < (at + 1) * SECTOR_BYTES as u64) {
                return self.forget(clones).await;
            }
            write::<S>(volume, at, 0).await.map_err(refused)?;
        }
        let mut numbers = Vec::new();
        for _ in 0..SNAPSHOTS {
            numbers.push(self.draw());
        }
        let enough = Cell::new(false);
        let counting = async {
            let mut number = 1;
            while !enough.get() && number < SNAPSHOTS * LAST {
                for (volume, at) in volumes.iter().zip(places) {
                    write::<S>(volume, at, number).await.map_err(refused)?;
                }
                number += 1;
            }
            Ok::<(), Fault>(())
        };
        let taking = async {
            for number in &numbers {
                let made = S::snapshot_group(&volumes, *number).await;
                made.map_err(|error| unclean(format!("snapshot of several: {error}")))?;
            }
            enough.set(true);
            Ok::<(), Fault>(())
        };
        let (counted, taken) = future::zip(counting, taking).await;
        counted.and(taken)?;
        let mut before = 0;
        for number in numbers {
            let mut seen = Vec::new();
            for (volume, at) in volumes.iter().zip(places) {
                let view = S::view(volume, number).await.map_err(unclean)?;
                let bytes = S::read(&view, at * SECTOR_BYTES as u64, SECTOR_BYTES).await;
                let bytes = bytes.map_err(refused)?;
                seen.push(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")));
                S::close_view(&view).await.map_err(unclean)?;
            }
            let (first, second) = (seen[0], seen[1]);
            if !(second..=second + 1).contains(&first) || first < before {
                let what =
                    format!("snapshots of one instant: {first} and {second}, {before} before");
                return Err(unclean(what));
            }
            before = first;
        }
        self.forget(clones).await
    }

    async fn forget(&self, clones: Vec<(u32, S::Volume)>) -> Result<(), Fault> {
        for (number, clone) in clones {
            S::delete_clone(&clone, number).await.map_err(unclean)?;
        }
        Ok(())
    }
}

async fn write<S: Subject>(volume: &S::Volume, at: u64, number: u64) -> Result<(), OpError> {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[..8].copy_from_slice(&number.to_le_bytes());
    S::write(volume, at * SECTOR_BYTES as u64, sector, false).await
}

fn refused(error: OpError) -> Fault {
    unclean(format!("a clone that counts: {error}"))
}
