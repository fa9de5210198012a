//! The settings by name: in the file, in the environment, on the command line.

/// One setting.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// Directory of the log, the cache and, by default, the `file` store.
    DataDir,
    /// Object store.
    Store,
    /// Number of cores.
    Cores,
    /// Memory cap.
    Memory,
    /// Listening addresses.
    Listen,
    /// Volumes that no client may write to.
    ReadOnly,
    /// Log level.
    Log,
    /// Cap of the write-ahead log of one volume.
    WalCap,
    /// Size of one segment file.
    WalSegment,
    /// Age of dirty data that starts an upload.
    RpoSeconds,
    /// Amount of dirty data that starts an upload.
    RpoBytes,
    /// How long garbage stays before it is removed.
    GcGrace,
    /// Size of the cache of chunks on the local disk.
    CacheDisk,
    /// What goes when that cache is full.
    CachePolicy,
    /// Volumes that stay in that cache.
    CachePin,
    /// When a write of a new volume is acknowledged, and what its flushes wait for.
    Durability,
    /// How a host that lost a new volume is kept from it.
    Fencing,
    /// How long a lease lasts.
    LeaseSeconds,
    /// How what goes to the store is compressed.
    Compression,
    /// Server of an S3 store.
    S3Endpoint,
    /// Region of an S3 store.
    S3Region,
    /// Whether the bucket stands in the path instead of the host's name.
    S3PathStyle,
    /// Certificates that are trusted instead of the system's.
    S3CaFile,
    /// Profile of the shared files of keys.
    S3Profile,
    /// Requests in flight at most.
    S3Connections,
    /// Longest wait for a connection.
    S3Connect,
    /// Longest wait for the next bytes of an answer.
    S3Read,
    /// Longest attempt of a small request.
    S3Attempt,
    /// Longest time for all attempts of a small request.
    S3Operation,
    /// Whether any certificate of an S3 store is accepted.
    AcceptSelfSigned,
    /// Whether an S3 store that ignores conditions is accepted.
    AcceptUnconditionalPut,
}

impl Key {
    /// All settings, in the order that `config explain` shows them.
    pub const ALL: [Self; 31] = [
        Self::DataDir,
        Self::Store,
        Self::Cores,
        Self::Memory,
        Self::Listen,
        Self::ReadOnly,
        Self::Log,
        Self::WalCap,
        Self::WalSegment,
        Self::RpoSeconds,
        Self::RpoBytes,
        Self::GcGrace,
        Self::CacheDisk,
        Self::CachePolicy,
        Self::CachePin,
        Self::Durability,
        Self::Fencing,
        Self::LeaseSeconds,
        Self::Compression,
        Self::S3Endpoint,
        Self::S3Region,
        Self::S3PathStyle,
        Self::S3CaFile,
        Self::S3Profile,
        Self::S3Connections,
        Self::S3Connect,
        Self::S3Read,
        Self::S3Attempt,
        Self::S3Operation,
        Self::AcceptSelfSigned,
        Self::AcceptUnconditionalPut,
    ];

    /// Name in the file, with a dot after the table's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataDir => "data_dir",
            Self::Store => "store",
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Listen => "listen",
            Self::ReadOnly => "serve.read_only",
            Self::Log => "log",
            Self::WalCap => "wal.cap",
            Self::WalSegment => "wal.segment",
            Self::RpoSeconds => "rpo.seconds",
            Self::RpoBytes => "rpo.bytes",
            Self::GcGrace => "gc.grace_seconds",
            Self::CacheDisk => "cache.disk",
            Self::CachePolicy => "cache.policy",
            Self::CachePin => "cache.pin",
            Self::Durability => "volume.durability",
            Self::Fencing => "volume.fencing",
            Self::LeaseSeconds => "volume.lease_seconds",
            Self::Compression => "volume.compression",
            Self::S3Endpoint => "s3.endpoint",
            Self::S3Region => "s3.region",
            Self::S3PathStyle => "s3.path_style",
            Self::S3CaFile => "s3.ca_file",
            Self::S3Profile => "s3.profile",
            Self::S3Connections => "s3.connections",
            Self::S3Connect => "s3.connect_seconds",
            Self::S3Read => "s3.read_seconds",
            Self::S3Attempt => "s3.attempt_seconds",
            Self::S3Operation => "s3.operation_seconds",
            Self::AcceptSelfSigned => "danger.accept_self_signed",
            Self::AcceptUnconditionalPut => "danger.accept_unconditional_put",
        }
    }

    /// Name in the environment.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::DataDir => "KRAIT_DATA_DIR",
            Self::Store => "KRAIT_STORE",
            Self::Cores => "KRAIT_CORES",
            Self::Memory => "KRAIT_MEMORY",
            Self::Listen => "KRAIT_LISTEN",
            Self::ReadOnly => "KRAIT_READ_ONLY",
            Self::Log => "KRAIT_LOG",
            Self::WalCap => "KRAIT_WAL_CAP",
            Self::WalSegment => "KRAIT_WAL_SEGMENT",
            Self::RpoSeconds => "KRAIT_RPO_SECONDS",
            Self::RpoBytes => "KRAIT_RPO_BYTES",
            Self::GcGrace => "KRAIT_GC_GRACE_SECONDS",
            Self::CacheDisk => "KRAIT_CACHE_DISK",
            Self::CachePolicy => "KRAIT_CACHE_POLICY",
            Self::CachePin => "KRAIT_CACHE_PIN",
            Self::Durability => "KRAIT_VOLUME_DURABILITY",
            Self::Fencing => "KRAIT_VOLUME_FENCING",
            Self::LeaseSeconds => "KRAIT_VOLUME_LEASE_SECONDS",
            Self::Compression => "KRAIT_VOLUME_COMPRESSION",
            Self::S3Endpoint => "KRAIT_S3_ENDPOINT",
            Self::S3Region => "KRAIT_S3_REGION",
            Self::S3PathStyle => "KRAIT_S3_PATH_STYLE",
            Self::S3CaFile => "KRAIT_S3_CA_FILE",
            Self::S3Profile => "KRAIT_S3_PROFILE",
            Self::S3Connections => "KRAIT_S3_CONNECTIONS",
            Self::S3Connect => "KRAIT_S3_CONNECT_SECONDS",
            Self::S3Read => "KRAIT_S3_READ_SECONDS",
            Self::S3Attempt => "KRAIT_S3_ATTEMPT_SECONDS",
            Self::S3Operation => "KRAIT_S3_OPERATION_SECONDS",
            Self::AcceptSelfSigned => "KRAIT_DANGER_ACCEPT_SELF_SIGNED",
            Self::AcceptUnconditionalPut => "KRAIT_DANGER_ACCEPT_UNCONDITIONAL_PUT",
        }
    }

    /// Flag on the command line.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::DataDir => "--data-dir",
            Self::Store => "--store",
            Self::Cores => "--cores",
            Self::Memory => "--memory",
            Self::Listen => "--listen",
            Self::ReadOnly => "--read-only",
            Self::Log => "-v",
            Self::WalCap => "--wal-cap",
            Self::WalSegment => "--wal-segment",
            Self::RpoSeconds => "--rpo-seconds",
            Self::RpoBytes => "--rpo-bytes",
            Self::GcGrace => "--gc-grace-seconds",
            Self::CacheDisk => "--cache-disk",
            Self::CachePolicy => "--cache-policy",
            Self::CachePin => "--cache-pin",
            Self::Durability => "--durability",
            Self::Fencing => "--fencing",
            Self::LeaseSeconds => "--lease-seconds",
            Self::Compression => "--compression",
            Self::S3Endpoint => "--s3-endpoint",
            Self::S3Region => "--s3-region",
            Self::S3PathStyle => "--s3-path-style",
            Self::S3CaFile => "--s3-ca-file",
            Self::S3Profile => "--s3-profile",
            Self::S3Connections => "--s3-connections",
            Self::S3Connect => "--s3-connect-seconds",
            Self::S3Read => "--s3-read-seconds",
            Self::S3Attempt => "--s3-attempt-seconds",
            Self::S3Operation => "--s3-operation-seconds",
            Self::AcceptSelfSigned => "--danger-accept-self-signed",
            Self::AcceptUnconditionalPut => "--danger-accept-unconditional-put",
        }
    }

    /// Whether the setting is a list.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Listen | Self::ReadOnly | Self::CachePin)
    }

    /// Whether the setting is true or false.
    #[must_use]
    pub const fn is_switch(self) -> bool {
        matches!(self, Self::S3PathStyle | Self::AcceptSelfSigned | Self::AcceptUnconditionalPut)
    }
}

/// The variable that names the file itself.
pub const CONFIG_VARIABLE: &str = "KRAIT_CONFIG";

/// Table of the settings that can lose data.
pub const DANGER_TABLE: &str = "danger";

/// The known name that `wrong` was most likely meant to be.
#[must_use]
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.75;
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_the_name_that_was_meant() {
        let names = || Key::ALL.iter().map(|key| key.name());
        assert_eq!(closest("data-dir", names()), Some("data_dir"));
        assert_eq!(closest("memroy", names()), Some("memory"));
        assert_eq!(closest("wal.capacity", names()), Some("wal.cap"));
        assert_eq!(closest("zzz", names()), None);
    }
}
