//! Making the volumes that `--create` names.

use chunk::catalog;
use wal::VolumeId;
use wal::layout::MIN_STRIPE_SHIFT;
use wal::runtime::Runtime;

use super::error::ServeError;
use super::store::AnyStore;
use crate::config::NewVolume;
use crate::runtime::GlommioRuntime;

/// Makes a volume unless there is one of its name, whatever its size.
pub(super) async fn make_if_missing(store: &AnyStore, new: &NewVolume) -> Result<(), ServeError> {
    let name = &new.name;
    let found = catalog::find(store, name).await;
    let found = found.map_err(|source| ServeError::Find { name: name.clone(), source })?;
    if found.is_some() {
        return Ok(());
    }
    let id = u128::from(GlommioRuntime.random()) << 64 | u128::from(GlommioRuntime.random());
    #[expect(clippy::disallowed_methods, reason = "the time that people see, not one that counts")]
    let now = std::time::SystemTime::now();
    let since_1970 = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let volume = catalog::NewVolume {
        name: name.clone(),
        id: VolumeId(id.to_le_bytes()),
        size_bytes: new.size.bytes().0,
        stripe_shift: MIN_STRIPE_SHIFT,
        created_unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
    };
    let made = catalog::create(store, volume).await;
    made.map_err(|source| ServeError::Create { name: name.clone(), source })?;
    log::info!("created volume {name} of {}", new.size);
    Ok(())
}
