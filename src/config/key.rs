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
}

impl Key {
    /// All settings, in the order that `config explain` shows them.
    pub const ALL: [Self; 11] = [
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
        }
    }

    /// Whether the setting is a list.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Listen | Self::ReadOnly)
    }
}

/// The variable that names the file itself.
pub const CONFIG_VARIABLE: &str = "KRAIT_CONFIG";

/// Table that is kept for settings that can lose data. It has none yet.
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
