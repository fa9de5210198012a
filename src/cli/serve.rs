//! `krait serve`: what stands around the server.

use std::time::Duration;

use async_channel::Receiver;

use crate::config::error::ValueError;
use crate::config::key::Key;
use crate::config::source::Source;
use crate::config::{ConfigError, NewVolume, Settings};
use crate::control::lock::make_data_dir;
use crate::control::{
    self, Answer, ControlClient, ControlError, ControlRequest, ControlServer, DataDirLock,
    LockError, Predecessor, Undelivered,
};
use crate::error::Error;
use crate::server::{Beginning, Ended, ReplaceError};

/// How often the lock is tried while a short command has it.
const LOCK_TRIES: u32 = 40;

/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What makes this process the one that serves a data directory.
type Reign = (ControlServer, DataDirLock);

/// Locks the data directory, opens the control socket, and runs `server` until it ends. All that
/// starts threads comes before the executors of `server`, which pin theirs. With `replace`, a server
/// that has the directory is asked to leave, when all else is done.
///
/// # Errors
/// If the data directory is in use, or what `server` returns; if the process that replaces this one
/// is gone.
pub(super) fn serve(
    settings: &Settings,
    (create, replace): (&[NewVolume], bool),
    server: impl FnOnce(
        &Settings,
        &[NewVolume],
        Receiver<ControlRequest>,
        Beginning<'_>,
    ) -> Result<Ended, Error>,
) -> Result<(), Error> {
    for listen in &settings.listen {
        listen.check().map_err(|error| ConfigError::Value {
            key: Key::Listen.name(),
            from: Source::Default("a socket in the data directory"),
            problem: ValueError::Listen(error),
        })?;
    }
    make_data_dir(&settings.data_dir)?;
    let (sender, requests) = control::channel();
    let mut reign: Option<Reign> = None;
    let outcome = if replace && ControlClient::connect_if_running(settings)?.is_some() {
        let take = |old: Predecessor| {
            let lock = old.leave(settings)?;
            let control = ControlServer::start(&lock, sender).map_err(ReplaceError::Control)?;
            reign = Some((control, lock));
            log::info!("this server takes the place of process {}", old.pid());
            Ok(())
        };
        server(settings, create, requests, Beginning::Replacing(Box::new(take)))
    } else {
        let lock = lock(settings)?;
        reign = Some((ControlServer::start(&lock, sender)?, lock));
        server(settings, create, requests, Beginning::Alone)
    };
    let Some((control, lock)) = reign else { return outcome.map(drop) };
    // Its socket makes room for another one's.
    drop(control);
    match outcome? {
        Ended::Stopped => Ok(()),
        Ended::Left(asker) => {
            let passed = asker.deliver(Answer::Left, vec![lock.pass()?]);
            Ok(passed.map_err(|Undelivered| ControlError::Orphaned)?)
        }
    }
}

/// Takes the lock, and gives commands that look at the directory a moment to finish. Another
/// server is not waited for.
fn lock(settings: &Settings) -> Result<DataDirLock, Error> {
    for _ in 1..LOCK_TRIES {
        match DataDirLock::acquire(settings) {
            Err(error @ LockError::Held { .. }) => {
                if ControlClient::connect(settings).is_ok() {
                    return Err(error.into());
                }
            }
            other => return Ok(other?),
        }
        #[expect(clippy::disallowed_methods, reason = "no executor runs yet")]
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(DataDirLock::acquire(settings)?)
}

/// The server itself.
///
/// # Errors
/// If it does not start.
pub(super) fn serve_nbd(
    settings: &Settings,
    create: &[NewVolume],
    requests: Receiver<ControlRequest>,
    beginning: Beginning<'_>,
) -> Result<Ended, Error> {
    Ok(crate::server::run(settings, create, requests, beginning)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    fn settings(dir: &std::path::Path) -> Settings {
        let values = vec![(Key::DataDir, vec![dir.join("data").display().to_string()])];
        load(&Flags { config: None, values }).unwrap().settings
    }

    #[test]
    fn the_server_runs_under_the_lock_with_a_control_socket_and_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        serve(&settings, (&[], false), |settings, _, requests, _| {
            ControlClient::connect(settings).unwrap();
            let second = serve(settings, (&[], false), |_, _, _, _| panic!("two servers"));
            assert!(matches!(second, Err(Error::Lock(LockError::Held { .. }))));
            assert!(!requests.is_closed());
            Ok(Ended::Stopped)
        })
        .unwrap();
        assert!(!settings.control_path().exists());
        DataDirLock::acquire(&settings).unwrap();
    }

    #[test]
    fn the_server_waits_for_a_command_that_looks_at_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        make_data_dir(&settings.data_dir).unwrap();
        let looking = DataDirLock::acquire_shared(&settings).unwrap();
        let looker = std::thread::Builder::new().spawn(move || {
            #[expect(clippy::disallowed_methods, reason = "plays a slow command")]
            std::thread::sleep(3 * LOCK_PAUSE);
            drop(looking);
        });
        serve(&settings, (&[], false), |_, _, _, _| Ok(Ended::Stopped)).unwrap();
        looker.unwrap().join().unwrap();
    }

    #[test]
    fn a_default_socket_that_the_kernel_would_refuse_is_refused_first() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("x".repeat(120)));
        let error =
            serve(&settings, (&[], false), |_, _, _, _| panic!("must not run")).unwrap_err();
        assert!(error.to_string().contains("choose a shorter one"), "{error}");
    }
}
