//! Reads of all that is tracked.

use std::rc::Rc;

use wal::SECTOR_BYTES;

use super::Shift;
use crate::sim::judge::Command;
use crate::sim::random::Random;
use crate::sim::subject::{OpError, Subject};
use crate::sim::world::Fault;

/// Reads sectors; those behind the end are zeros, as they would be if the volume grew.
pub(in crate::sim) async fn read_padded<S: Subject>(
    volume: &S::Volume,
    first: u64,
    count: u64,
) -> Result<Vec<u8>, OpError> {
    let end = S::size(volume).map_or(u64::MAX, |bytes| bytes / SECTOR_BYTES as u64);
    let there = end.saturating_sub(first).min(count) as usize * SECTOR_BYTES;
    let mut bytes = match there {
        0 => Vec::new(),
        _ => S::read(volume, first * SECTOR_BYTES as u64, there).await?,
    };
    bytes.resize(count as usize * SECTOR_BYTES, 0);
    Ok(bytes)
}

/// Reads all tracked sectors, from any core, and lets the judge see them; returns whether every
/// read succeeded.
pub(in crate::sim) async fn read_all<S: Subject>(
    shift: Rc<Shift>,
    volumes: Vec<S::Volume>,
    mut random: Random,
) -> Result<bool, Fault> {
    let mut complete = true;
    for window in shift.scenario.sectors() {
        let mut first = window.start;
        while first < window.end {
            let count = random.within(1..129).min(window.end - first);
            let command = Command::Read { first, count };
            let volume = random.pick(&volumes);
            let op = shift.judge.borrow_mut().invoke(command);
            match read_padded::<S>(volume, first, count).await {
                Ok(bytes) => shift.judge.borrow_mut().read_done(op, &bytes)?,
                Err(error) => {
                    shift.refused(op, command, shift.executor.now(), error)?;
                    complete = false;
                }
            }
            first += count;
        }
    }
    Ok(complete)
}
