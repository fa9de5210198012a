//! Opening the store that the settings name.

use chunk::Workers;

use super::error::VolumeError;
use crate::config::{Settings, StoreUrl};
use crate::control::{ControlClient, ControlError, ServerInfo};
use crate::error::Error;
use crate::server::{Access, AnyStore};

/// Threads that a command reads and writes files on.
const WORKERS: usize = 4;

/// Opens the store, which must be there.
pub(in crate::cli) fn open(settings: &Settings) -> Result<AnyStore, Error> {
    match &settings.store {
        StoreUrl::File(path) if !path.exists() => {
            Err(VolumeError::NoStore { path: path.clone() }.into())
        }
        StoreUrl::File(_) | StoreUrl::Memory | StoreUrl::S3 { .. } => {
            open_for(settings, Access::Read)
        }
    }
}

/// Opens the store, which must be there, to write to it.
pub(in crate::cli) fn open_to_write(settings: &Settings) -> Result<AnyStore, Error> {
    match &settings.store {
        StoreUrl::File(path) if !path.exists() => {
            Err(VolumeError::NoStore { path: path.clone() }.into())
        }
        StoreUrl::File(_) | StoreUrl::Memory | StoreUrl::S3 { .. } => {
            open_for(settings, Access::Write)
        }
    }
}

/// Opens the store, and makes it if it is missing.
pub(in crate::cli) fn open_or_make(settings: &Settings) -> Result<AnyStore, Error> {
    open_for(settings, Access::Write)
}

fn open_for(settings: &Settings, access: Access) -> Result<AnyStore, Error> {
    if settings.store == StoreUrl::Memory {
        return Err(VolumeError::MemoryStore.into());
    }
    let workers = Workers::start(WORKERS).map_err(VolumeError::Workers)?;
    Ok(AnyStore::open(settings, access, workers).map_err(VolumeError::Open)?)
}

/// Checks that the server of the data directory, if one runs, uses the store of the settings:
/// otherwise the command would look at other volumes than it serves.
pub(in crate::cli) fn agree_with_server(settings: &Settings) -> Result<(), Error> {
    server(settings).map(drop)
}

/// The same; returns the server, if there is one.
pub(in crate::cli) fn server(settings: &Settings) -> Result<Option<ControlClient>, Error> {
    match ControlClient::connect(settings) {
        Ok(mut client) => {
            agree(settings, &client.server()?)?;
            Ok(Some(client))
        }
        // Whoever looks at the store waits for nobody who has the directory to itself.
        Err(ControlError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`agree_with_server`], with what the server said of itself.
pub(in crate::cli) fn agree(settings: &Settings, server: &ServerInfo) -> Result<(), Error> {
    let asked = settings.store.to_string();
    if server.store == asked {
        return Ok(());
    }
    let (data_dir, served) = (settings.data_dir.clone(), server.store.clone());
    Err(VolumeError::OtherStore { data_dir, served, asked }.into())
}
