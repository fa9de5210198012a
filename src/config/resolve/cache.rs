//! The settings of the cache on the local disk.

use std::path::Path;

use super::Resolver;
use crate::config::cache::{CachePolicy, DiskCache};
use crate::config::error::ConfigError;
use crate::config::explain::Explained;
use crate::config::key::Key;
use crate::config::limits;
use crate::config::machine::Machine;
use crate::config::size::ByteSize;
use crate::config::source::Source;
use crate::config::store_url::StoreUrl;

impl Resolver<'_> {
    /// A store on this host is as near as its copy would be.
    pub(super) fn disk_cache(
        &mut self,
        machine: &Machine,
        data_dir: &Path,
        store: &StoreUrl,
        memory: ByteSize,
    ) -> Result<DiskCache, ConfigError> {
        let most = ByteSize(memory.0.saturating_mul(limits::DISK_CACHE_PER_MEMORY));
        let default = match store {
            StoreUrl::File(_) | StoreUrl::Memory => {
                (ByteSize::default(), Source::Default("none: the store is on this host"))
            }
            StoreUrl::S3 { .. } => {
                let free = (machine.free_disk)(data_dir).unwrap_or_default();
                let share = ByteSize::mib((free.0 / limits::DISK_CACHE_DIVISOR) >> 20);
                let size = share.min(limits::MAX_DEFAULT_DISK_CACHE).min(most);
                (size, Source::Default("a tenth of the free disk, 8 GiB at most"))
            }
        };
        let found = self.parsed(Key::CacheDisk, || default)?;
        let why = "64 times the memory at most, as there is a table of it in memory";
        let size = self.sized(Key::CacheDisk, found, (ByteSize::default(), most), why)?;
        let default = || (CachePolicy::Lru, Source::Default("what was not used for longest goes"));
        let (policy, source) = self.parsed(Key::CachePolicy, default)?;
        self.explained.push(Explained::new(Key::CachePolicy, policy.to_string(), &source));
        let why = "the cache is for whoever uses it";
        let pin = self.volumes(Key::CachePin, limits::MAX_PINNED, why)?;
        Ok(DiskCache { size, policy, pin })
    }
}
