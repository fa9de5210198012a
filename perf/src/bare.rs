//! The floor below every durable write: `pwrite` and `fdatasync` on a written file, no server.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::operations::LoadError;
use crate::payload::Payload;
use crate::recorder::{Kind, Measured, Recorder};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::sys;

/// Row name.
pub const BARE: &str = "bare pwrite + fdatasync";

/// Whether the bare file is a floor for `scenario`: random durable writes, one at a time.
#[must_use]
pub fn fits(scenario: &Scenario) -> bool {
    scenario.durable()
        && !scenario.reads()
        && scenario.queue_depth == 1
        && scenario.connections == 1
}

/// Creates the file with `bytes` bytes of random data and syncs it.
pub fn prepare(path: &Path, bytes: u64) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let mut payload = Payload::new(1);
    let file = File::create(path)?;
    let mut at = 0;
    while at < bytes {
        let window = payload.take(PIECE.min(usize::try_from(bytes - at).unwrap_or(PIECE)));
        let piece = payload.bytes(window);
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    file.sync_all()
}

/// Runs the writes of `scenario` on the prepared file.
pub fn run(scenario: &Scenario, path: &Path) -> Result<Measured, LoadError> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    let block = scenario.block_size.bytes();
    let positions = (file.metadata()?.len() / block).max(1);
    let mut payload = Payload::new(scenario.seed);
    let mut rng = Rng::new(scenario.seed);
    let mut recorder = Recorder::new(block)?;
    let (warmup, length) = (nanos(scenario.warmup()), nanos(scenario.duration()));
    let start = clock::now();
    let mut before = 0;
    // Start of the timed part, and the processor time at it.
    let mut opened: Option<(u64, Duration)> = None;
    loop {
        if sys::interrupted() {
            return Err(LoadError::Interrupted);
        }
        match opened {
            None if before >= warmup => opened = Some((before, sys::thread_cpu()?)),
            Some((since, used)) if before - since >= length => {
                let seconds = Duration::from_nanos(before - since).as_secs_f64();
                let client = sys::thread_cpu()?.saturating_sub(used);
                return Ok(recorder.summary(seconds, client.as_secs_f64()));
            }
            _ => {}
        }
        let window = payload.take(block as usize);
        file.write_all_at(payload.bytes(window), rng.below(positions) * block)?;
        file.sync_data()?;
        let now = clock::nanos_since(start);
        if let Some((since, _)) = opened {
            recorder.record(Kind::Write, now - before, now - since);
        }
        before = now;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_durable_writes_have_a_bare_floor() {
        let fitting: Vec<_> = crate::scenario::compared()
            .filter(|name| fits(&Scenario::load(name).expect("built in")))
            .collect();
        assert_eq!(fitting, ["writeflush-4k-qd1"]);
    }

    #[test]
    fn a_short_run_counts_synced_writes() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("bare");
        prepare(&path, (1 << 20) + 4096).expect("prepare");
        assert_eq!(fs::metadata(&path).expect("file").len(), (1 << 20) + 4096);
        let mut scenario = Scenario::load("writeflush-4k-qd1").expect("built in");
        scenario.seconds = 0.05;
        scenario.warmup_seconds = 0.01;
        let measured = run(&scenario, &path).expect("run");
        assert!(measured.operations > 0 && measured.seconds >= 0.05, "{measured:?}");
    }
}
