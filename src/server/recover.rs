//! What a start finds: logs that hold what the store may lack.
//!
//! A volume with a log is opened when the server starts, and not only when a client wants it: what
//! an earlier process logged would stay on this disk alone until then, and that client would wait
//! for the recovery. What it had logged is uploaded at once. A volume whose log has nothing that the store lacks is left alone, as is one
//! without a log: opening it costs a manifest in the store and takes it from whatever other host
//! serves it, and a thousand of them would cost memory for nothing.
//!
//! The server serves meanwhile. A client of a volume that is being recovered waits for it; a client
//! of one whose turn has not come opens it at once.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use chunk::{VolumeName, Workers, catalog};
use wal::VolumeId;
use wal::runtime::Runtime;
use wal::scan::FILE_SUFFIX;

use super::crew;
use super::limits::{RECOVERIES, RECOVERY_DRAIN, RECOVERY_RETRY_FIRST, RECOVERY_RETRY_LONGEST};
use super::local::Local;
use super::patience::in_time;
use crate::config::Settings;
use crate::error::ErrorKind;
use crate::runtime::GlommioRuntime;

/// Recovery of all volumes that need it; on core 0.
pub(super) struct Recovery {
    local: Rc<Local>,
    workers: Workers,
    logs: PathBuf,
}

/// What became of the volumes of one round.
#[derive(Default)]
struct Round {
    opened: usize,
    failed: usize,
    /// Those that the store kept from being opened.
    again: Vec<(VolumeName, VolumeId)>,
}

impl Round {
    fn note(&mut self, name: VolumeName, id: VolumeId, outcome: Outcome) {
        match outcome {
            Outcome::Opened => self.opened += 1,
            Outcome::LeftAlone => {}
            Outcome::Failed => self.failed += 1,
            Outcome::Again => self.again.push((name, id)),
        }
    }
}

impl Recovery {
    pub(super) fn new(local: Rc<Local>, workers: Workers, settings: &Settings) -> Self {
        Self { local, workers, logs: settings.logs_dir() }
    }

    /// Opens the volumes that need it, and tries again as long as the store fails.
    pub(super) async fn run(self) {
        let started = GlommioRuntime.now();
        let (mut opened, mut failed) = (0, 0);
        let mut left = None;
        let mut pause = RECOVERY_RETRY_FIRST;
        loop {
            let volumes = match left.take() {
                Some(volumes) => Ok(volumes),
                None => self.volumes_with_logs().await,
            };
            match volumes {
                Ok(volumes) if volumes.is_empty() => break,
                Ok(volumes) => {
                    let round = self.open_all(volumes).await;
                    opened += round.opened;
                    failed += round.failed;
                    if round.again.is_empty() {
                        break;
                    }
                    left = Some(round.again);
                }
                Err(error) => log::error!("look for volumes to recover: {error}"),
            }
            if self.local.is_stopping() {
                break;
            }
            GlommioRuntime.sleep(pause).await;
            pause = (pause * 2).min(RECOVERY_RETRY_LONGEST);
        }
        if opened + failed > 0 {
            let took = Duration::from_millis((GlommioRuntime.now() - started).as_millis() as u64);
            log::info!("recovered {opened} volumes in {took:?}; {failed} could not be opened");
        }
    }

    /// Volumes of the store with a log in the data directory.
    async fn volumes_with_logs(&self) -> io::Result<Vec<(VolumeName, VolumeId)>> {
        let logs = self.logs.clone();
        let listed = self.workers.run(move || list_logs(&logs)).await;
        let mut logs = listed.map_err(io::Error::other)??;
        if logs.is_empty() {
            return Ok(Vec::new());
        }
        let named = catalog::list(&self.local.core.store).await.map_err(io::Error::other)?;
        let mut volumes = Vec::new();
        // A name that is no sound one is told of whenever somebody lists the volumes.
        for (name, id) in named.into_iter().flatten() {
            if let Ok(found) = logs.binary_search(&id) {
                logs.remove(found);
                volumes.push((name, id));
            }
        }
        if let Some(first) = logs.first() {
            let (count, directory) = (logs.len(), self.logs.display());
            log::warn!(
                "{count} logs in {directory} belong to no volume of the store, {first} first: is \
                 it the store that they were written for?"
            );
        }
        Ok(volumes)
    }

    /// Opens volumes, a few at a time.
    async fn open_all(&self, volumes: Vec<(VolumeName, VolumeId)>) -> Round {
        let round = Rc::<RefCell<Round>>::default();
        let (noted, local) = (round.clone(), self.local.clone());
        let work = move |(name, id)| {
            let (noted, local) = (noted.clone(), local.clone());
            async move {
                if !local.is_stopping() {
                    let outcome = open(&local, &name, id).await;
                    noted.borrow_mut().note(name, id, outcome);
                }
            }
        };
        crew::each(RECOVERIES, volumes, work).await;
        round.take()
    }
}

/// What came of one volume.
enum Outcome {
    Opened,
    /// There was nothing to recover.
    LeftAlone,
    Failed,
    /// The store did not answer.
    Again,
}

async fn open(local: &Local, name: &VolumeName, id: VolumeId) -> Outcome {
    if local.clients.is_deleting(id) {
        return Outcome::LeftAlone;
    }
    // Nothing awaits between the question above and the first step of this: whoever deletes the
    // volume from here on waits for it.
    let recovered = local.core.recover(id).await;
    match recovered {
        Ok(Some(number)) => {
            local.clients.note_name(name, id);
            // Now, and not in `rpo`: what is in the log is older than that already, and a thousand
            // volumes that upload in the same moment would need memory for all of it. A volume
            // that cannot go on must not hold up the next for ever.
            match in_time(RECOVERY_DRAIN, local.core.drain(number)).await {
                Some(Ok(())) => log::debug!("volume {name}: recovered, all is in the store"),
                Some(Err(error)) => log::error!("volume {name}: {error}"),
                None => log::warn!("volume {name}: recovered, but not all is in the store yet"),
            }
            Outcome::Opened
        }
        Ok(None) => Outcome::LeftAlone,
        Err(error) if ErrorKind::from(&error) == ErrorKind::Retry => {
            log::warn!("volume {name} cannot be recovered yet: {error}");
            Outcome::Again
        }
        Err(error) => {
            // Deleted since it was listed: then that is why it could not be opened.
            let named = catalog::find(&local.core.store, name).await;
            if matches!(named, Ok(found) if found != Some(id)) {
                return Outcome::LeftAlone;
            }
            log::error!("volume {name} cannot be served: {error}");
            Outcome::Failed
        }
    }
}

/// Volumes that have segment files, in order. A missing directory has none.
fn list_logs(directory: &Path) -> io::Result<Vec<VolumeId>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut volumes = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(VolumeId::parse) else { continue };
        let is_segment = |file: io::Result<std::fs::DirEntry>| {
            file.is_ok_and(|file| file.file_name().to_string_lossy().ends_with(FILE_SUFFIX))
        };
        if std::fs::read_dir(entry.path())?.any(is_segment) {
            volumes.push(id);
        }
    }
    volumes.sort_unstable();
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_directories_of_a_volumes_name_with_segment_files() {
        let dir = tempfile::tempdir().unwrap();
        assert!(list_logs(&dir.path().join("missing")).unwrap().is_empty());
        let (with, without) = (VolumeId([0x11; 16]), VolumeId([0x22; 16]));
        for name in [with.to_string(), without.to_string(), "other".to_owned()] {
            std::fs::create_dir(dir.path().join(&name)).unwrap();
            std::fs::write(dir.path().join(&name).join("note"), b"").unwrap();
        }
        for name in [with.to_string(), "other".to_owned()] {
            std::fs::write(dir.path().join(name).join("0.wal"), b"").unwrap();
        }
        assert_eq!(list_logs(dir.path()).unwrap(), [with]);
    }
}
