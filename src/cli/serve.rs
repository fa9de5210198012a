//! `krait serve`: what stands around the server.

use std::time::Duration;

use async_channel::Receiver;

use crate::config::error::ValueError;
use crate::config::key::Key;
use crate::config::source::Source;
use crate::config::{ConfigError, NewVolume, Settings};
use crate::control::lock::make_data_dir;
use crate::control::{self, ControlClient, ControlRequest, ControlServer, DataDirLock, LockError};
use crate::error::Error;

/// How often the lock is tried while a short command has it.
const LOCK_TRIES: u32 = 40;

/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Locks the data directory, opens the control socket, and runs `server` until it ends. All that
/// starts threads comes before `server`, whose executors pin theirs.
///
/// # Errors
/// If the data directory is in use, or what `server` returns.
pub(super) fn serve(
    settings: &Settings,
    create: &[NewVolume],
    server: impl FnOnce(&Settings, &[NewVolume], Receiver<ControlRequest>) -> Result<(), Error>,
) -> Result<(), Error> {
    for listen in &settings.listen {
        listen.check().map_err(|error| ConfigError::Value {
            key: Key::Listen.name(),
            from: Source::Default("a socket in the data directory"),
            problem: ValueError::Listen(error),
        })?;
    }
    make_data_dir(&settings.data_dir)?;
    let lock = lock(settings)?;
    let (sender, requests) = control::channel();
    let control = ControlServer::start(&lock, sender)?;
    let outcome = server(settings, create, requests);
    drop(control);
    drop(lock);
    outcome
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
) -> Result<(), Error> {
    Ok(crate::server::run(settings, create, requests)?)
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
        serve(&settings, &[], |settings, _, requests| {
            ControlClient::connect(settings).unwrap();
            let second = serve(settings, &[], |_, _, _| panic!("two servers"));
            assert!(matches!(second, Err(Error::Lock(LockError::Held { .. }))));
            assert!(!requests.is_closed());
            Ok(())
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
        serve(&settings, &[], |_, _, _| Ok(())).unwrap();
        looker.unwrap().join().unwrap();
    }

    #[test]
    fn a_default_socket_that_the_kernel_would_refuse_is_refused_first() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("x".repeat(120)));
        let error = serve(&settings, &[], |_, _, _| panic!("must not run")).unwrap_err();
        assert!(error.to_string().contains("choose a shorter one"), "{error}");
    }
}
