//! Whole disks in and out: as a client of the server that runs, or of one that is started for it.

pub(in crate::cli) mod disk;
pub mod error;
mod export;
mod image;
mod import;
mod interrupt;

use crate::cli::volume::store;
use crate::config::{Listen, Settings};
use crate::control::lock::make_data_dir;
use crate::control::{ControlClient, DataDirLock};
use crate::error::Error;
use error::TransferError;

pub(super) use export::{Export, export};
pub(super) use import::{Import, import};

/// Does something as a client: of the server of the data directory if one runs, else of one that
/// serves nobody else, and that has everything in the store when it ends.
pub(in crate::cli) fn reach<T: Send>(
    settings: &Settings,
    writes: bool,
    errand: impl FnOnce(&Listen) -> Result<T, TransferError> + Send,
) -> Result<T, Error> {
    if let Some(mut client) = ControlClient::connect_if_running(settings)? {
        let server = client.server()?;
        store::agree(settings, &server)?;
        let addresses = server.listen.iter().filter_map(|text| text.parse::<Listen>().ok());
        let is_near = |address: &Listen| matches!(address, Listen::Unix(_));
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort_by_key(|address| !is_near(address));
        return Ok(errand(addresses.first().ok_or(TransferError::Nowhere)?)?);
    }
    make_data_dir(&settings.data_dir)?;
    let _lock = DataDirLock::acquire(settings)?;
    Ok(crate::server::errand(settings, writes, errand)??)
}
