//! What can be typed of how a server serves.

use clap::Args;

use super::PromiseOptions;
use crate::config::key::Key;

/// Options of the commands that serve, or explain how they would.
#[derive(Args, Debug)]
pub(in crate::cli) struct ServingOptions {
    /// Where NBD clients connect: unix:PATH or tcp:HOST:PORT; may be given several times [default:
    /// unix:DATA_DIR/nbd.sock] [env: KRAIT_LISTEN, separated by commas]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// A volume that no client may write to; may be given several times [default: none] [env:
    /// KRAIT_READ_ONLY, separated by commas]
    #[arg(long, value_name = "NAME")]
    read_only: Vec<String>,

    /// Most bytes of the write-ahead log of one volume [default: a tenth of the free disk, 256M to
    /// 4G] [env: KRAIT_WAL_CAP]
    #[arg(long, value_name = "SIZE")]
    wal_cap: Option<String>,

    /// Bytes of one segment file of the write-ahead log [default: 16M] [env: KRAIT_WAL_SEGMENT]
    #[arg(long, value_name = "SIZE")]
    wal_segment: Option<String>,

    /// Age of data outside of the object store that starts an upload [default: 10] [env:
    /// KRAIT_RPO_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    rpo_seconds: Option<String>,

    /// Amount of data outside of the object store that starts an upload, as does what takes half of
    /// the memory for writes [default: 64M for a bucket, else half of the log or a quarter of the
    /// memory, an eighth below 2G] [env: KRAIT_RPO_BYTES]
    #[arg(long, value_name = "SIZE")]
    rpo_bytes: Option<String>,

    /// How long garbage stays in the store before it is removed, at least 40 [default: 60] [env:
    /// KRAIT_GC_GRACE_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    gc_grace_seconds: Option<String>,

    /// Most bytes of the cache of chunks on the local disk [default: for an S3 store a tenth of the
    /// free disk, 8G at most; otherwise none] [env: KRAIT_CACHE_DISK]
    #[arg(long, value_name = "SIZE")]
    cache_disk: Option<String>,

    /// What goes from that cache: with `lru`, when it is full, what was not used for longest; with
    /// `ttl=30m` also what was not used for half an hour [default: lru] [env: KRAIT_CACHE_POLICY]
    #[arg(long, value_name = "POLICY")]
    cache_policy: Option<String>,

    /// A volume whose chunks stay in that cache when others want their room; repeat for several
    /// [env: KRAIT_CACHE_PIN, separated by commas]
    #[arg(long, value_name = "VOLUME")]
    cache_pin: Vec<String>,

    /// How what goes to the store is compressed: lz4 (where that is worth it), or none; what is there
    /// stays as it is [default: lz4] [env: KRAIT_VOLUME_COMPRESSION]
    #[arg(long, value_name = "HOW")]
    compression: Option<String>,

    #[command(flatten)]
    promises: PromiseOptions,
}

impl ServingOptions {
    /// What was typed.
    pub(super) fn values(&self) -> Vec<(Key, Vec<String>)> {
        let mut values = Vec::new();
        let mut add = |key, text: &Option<String>| {
            values.extend(text.iter().map(|text| (key, vec![text.clone()])));
        };
        add(Key::WalCap, &self.wal_cap);
        add(Key::WalSegment, &self.wal_segment);
        add(Key::RpoSeconds, &self.rpo_seconds);
        add(Key::RpoBytes, &self.rpo_bytes);
        add(Key::GcGrace, &self.gc_grace_seconds);
        add(Key::CacheDisk, &self.cache_disk);
        add(Key::CachePolicy, &self.cache_policy);
        add(Key::Compression, &self.compression);
        self.promises.each(&mut add);
        for (key, list) in [
            (Key::Listen, &self.listen),
            (Key::CachePin, &self.cache_pin),
            (Key::ReadOnly, &self.read_only),
        ] {
            if !list.is_empty() {
                values.push((key, list.clone()));
            }
        }
        values
    }
}
