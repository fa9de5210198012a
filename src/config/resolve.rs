//! From texts to settings, one setting after the other.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chunk::VolumeName;

use super::error::{ConfigError, ValueError};
use super::explain::Explained;
use super::key::Key;
use super::limits;
use super::listen::Listen;
use super::machine::Machine;
use super::size::ByteSize;
use super::source::{Raw, Source, Sources};
use super::store_url::StoreUrl;
use super::{Resolved, Rpo, Settings};

/// Parses and checks everything that was written, and fills in the rest.
///
/// # Errors
/// If a value cannot be parsed, is out of range, or contradicts another one.
pub fn resolve(sources: &Sources, machine: &Machine) -> Result<Resolved, ConfigError> {
    let mut resolver = Resolver { sources, explained: Vec::new() };
    let data_dir = resolver.data_dir()?;
    let store = resolver.store(&data_dir)?;
    let cores = resolver.cores(machine)?;
    let memory = resolver.memory(machine)?;
    let listen = resolver.listen(&data_dir)?;
    let read_only =
        resolver.volumes(Key::ReadOnly, limits::MAX_READ_ONLY, "every volume is writable")?;
    let log = resolver.log()?;
    let wal_segment = resolver.wal_segment(cores)?;
    let wal_cap = resolver.wal_cap(machine, &data_dir, cores, wal_segment)?;
    let age = resolver.rpo_age()?;
    let bytes = resolver.rpo_bytes(&store, wal_cap, memory)?;
    let rpo = Rpo { age, bytes };
    let gc_grace = resolver.gc_grace()?;
    let disk_cache = resolver.disk_cache(machine, &data_dir, &store, memory)?;
    let new_volumes = resolver.new_volumes()?;
    let compression = resolver.compression(memory)?;
    let s3 = resolver.s3()?;
    let settings = Settings {
        data_dir,
        store,
        cores,
        memory,
        listen,
        read_only,
        log,
        wal_cap,
        wal_segment,
        rpo,
        gc_grace,
        disk_cache,
        new_volumes,
        compression,
        s3,
    };
    let mut explained = resolver.explained;
    explained.sort_by_key(|line| Key::ALL.iter().position(|key| key.name() == line.key));
    Ok(Resolved { settings, explained, file: sources.file_path().map(Path::to_owned) })
}

struct Resolver<'a> {
    sources: &'a Sources<'a>,
    explained: Vec<Explained>,
}

/// A parsed value and where it came from.
type Found<T> = (T, Source);

impl Resolver<'_> {
    /// The text of a setting that is not a list.
    fn text(&self, key: Key) -> Result<Option<Found<String>>, ConfigError> {
        let Some(Raw { texts, source }) = self.sources.find(key)? else { return Ok(None) };
        match texts.into_iter().next_back().filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some((text, source))),
            None => Err(refuse(key, source, ValueError::Empty)),
        }
    }

    /// A setting that parses by itself, or its default.
    fn parsed<T>(
        &self,
        key: Key,
        default: impl FnOnce() -> Found<T>,
    ) -> Result<Found<T>, ConfigError>
    where
        T: FromStr,
        ValueError: From<T::Err>,
    {
        let Some((text, source)) = self.text(key)? else { return Ok(default()) };
        match text.parse() {
            Ok(value) => Ok((value, source)),
            Err(problem) => Err(refuse(key, source, ValueError::from(problem))),
        }
    }

    /// A whole number in a range, or its default.
    fn number(&mut self, key: Key, default: Found<u64>, max: u64) -> Result<u64, ConfigError> {
        let (value, source) = match self.text(key)? {
            None => default,
            Some((text, source)) => match text.parse::<u64>() {
                Ok(value) => (value, source),
                Err(_) => return Err(refuse(key, source, ValueError::Number { text })),
            },
        };
        if !(1..=max).contains(&value) {
            return Err(refuse(key, source, ValueError::Range { value, min: 1, max }));
        }
        self.explained.push(Explained::new(key, value.to_string(), &source).within(&1, &max));
        Ok(value)
    }

    /// Checks a size against its range and notes it.
    fn sized(
        &mut self,
        key: Key,
        (value, source): Found<ByteSize>,
        (min, max): (ByteSize, ByteSize),
        why: &'static str,
    ) -> Result<ByteSize, ConfigError> {
        if value < min || value > max {
            return Err(refuse(key, source, ValueError::SizeRange { value, min, max, why }));
        }
        self.explained.push(
            Explained::new(key, value.written(), &source).within(&min.written(), &max.written()),
        );
        Ok(value)
    }

    fn data_dir(&mut self) -> Result<PathBuf, ConfigError> {
        let key = Key::DataDir;
        let default = || ("krait-data".to_owned(), Source::Default("in the working directory"));
        let (text, source) = self.text(key)?.unwrap_or_else(default);
        let written = match &source {
            Source::File { path, .. } => path.parent().unwrap_or(Path::new("")).join(text),
            _ => PathBuf::from(text),
        };
        let path = std::path::absolute(written).map_err(|problem| {
            refuse(key, source.clone(), ValueError::WorkingDirectory { source: problem })
        })?;
        self.explained.push(Explained::new(key, path.display().to_string(), &source));
        Ok(path)
    }

    fn store(&mut self, data_dir: &Path) -> Result<StoreUrl, ConfigError> {
        let default = Source::Default("below the data directory");
        let (store, source) =
            self.parsed(Key::Store, || (StoreUrl::File(data_dir.join("store")), default))?;
        self.explained.push(Explained::new(Key::Store, store.to_string(), &source));
        Ok(store)
    }

    fn cores(&mut self, machine: &Machine) -> Result<u16, ConfigError> {
        let max = limits::MAX_CORES;
        // Measured: with two, clients and server get in each other's way (`perf/README.md`).
        let cpus = if machine.cpus == 2 { 1 } else { machine.cpus };
        let default = u64::from(cpus.clamp(1, max));
        let reason = Source::Default("all processors, but one of two: clients need the other");
        let cores = self.number(Key::Cores, (default, reason), max.into())?;
        Ok(u16::try_from(cores).expect("within its range"))
    }

    fn memory(&mut self, machine: &Machine) -> Result<ByteSize, ConfigError> {
        let quarter = machine.memory.0 / limits::DEFAULT_MEMORY_DIVISOR;
        let whole_mib = ByteSize::mib(quarter >> 20);
        let default = whole_mib.clamp(limits::MIN_MEMORY, limits::MAX_DEFAULT_MEMORY);
        let reason = Source::Default("a quarter of the memory that this process may use");
        let found = self.parsed(Key::Memory, || (default, reason))?;
        let most = machine.memory.max(limits::MIN_MEMORY);
        let why = "the memory that this process may use ends there";
        self.sized(Key::Memory, found, (limits::MIN_MEMORY, most), why)
    }

    fn listen(&mut self, data_dir: &Path) -> Result<Vec<Listen>, ConfigError> {
        let key = Key::Listen;
        let Some(Raw { texts, source }) = self.sources.find(key)? else {
            let source = Source::Default("a socket in the data directory");
            // Too long a path matters to `serve` only, which checks it.
            let listen = Listen::Unix(data_dir.join("nbd.sock"));
            self.explained.push(Explained::new(key, listen.to_string(), &source));
            return Ok(vec![listen]);
        };
        if texts.iter().all(String::is_empty) {
            return Err(refuse(key, source, ValueError::Empty));
        }
        let (value, max) = (texts.len() as u64, limits::MAX_LISTENERS as u64);
        if value > max {
            return Err(refuse(key, source, ValueError::Range { value, min: 1, max }));
        }
        let parse = |text: &String| text.parse().map_err(|e: super::listen::ListenError| e.into());
        let listen: Result<Vec<Listen>, ValueError> = texts.iter().map(parse).collect();
        let listen = listen.map_err(|problem| refuse(key, source.clone(), problem))?;
        let shown: Vec<String> = listen.iter().map(ToString::to_string).collect();
        self.explained.push(Explained::new(key, shown.join(","), &source));
        Ok(listen)
    }

    /// Names of volumes; none unless some are given, for a reason.
    fn volumes(
        &mut self,
        key: Key,
        most: usize,
        without: &'static str,
    ) -> Result<Vec<VolumeName>, ConfigError> {
        let default = Raw { texts: Vec::new(), source: Source::Default(without) };
        let Raw { texts, source } = self.sources.find(key)?.unwrap_or(default);
        let (value, max) = (texts.len() as u64, most as u64);
        if value > max {
            return Err(refuse(key, source, ValueError::Range { value, min: 0, max }));
        }
        let parse = |text: &String| VolumeName::new(text.trim()).map_err(ValueError::Name);
        let names: Result<Vec<_>, _> = texts.iter().map(parse).collect();
        let names = names.map_err(|problem| refuse(key, source.clone(), problem))?;
        let shown: Vec<&str> = names.iter().map(VolumeName::as_str).collect();
        self.explained.push(Explained::new(key, shown.join(","), &source));
        Ok(names)
    }

    fn log(&mut self) -> Result<log::LevelFilter, ConfigError> {
        let default = || ("info".to_owned(), Source::Default("what an operator wants to know"));
        let (text, source) = self.text(Key::Log)?.unwrap_or_else(default);
        let Ok(level) = text.parse() else {
            return Err(refuse(Key::Log, source, ValueError::Level { text }));
        };
        let shown = text.to_ascii_lowercase();
        self.explained.push(Explained::new(Key::Log, shown, &source).within(&"error", &"trace"));
        Ok(level)
    }

    /// An idle volume keeps two segments for each core that was written to; together they are to
    /// stay within [`limits::IDLE_LOG`].
    fn wal_segment(&mut self, cores: u16) -> Result<ByteSize, ConfigError> {
        let key = Key::WalSegment;
        let reason = Source::Default("two for each core make 64 MiB, 1 MiB to 16 MiB");
        let share = limits::IDLE_LOG.0 / (2 * u64::from(cores.next_power_of_two()));
        let default = ByteSize(share).clamp(limits::MIN_SEGMENT, limits::MAX_DEFAULT_SEGMENT);
        let (value, source) = self.parsed(key, || (default, reason))?;
        if !value.0.is_multiple_of(limits::SEGMENT_UNIT.0) {
            let suggestion = value.round_up(limits::SEGMENT_UNIT);
            let problem = ValueError::Multiple { value, unit: limits::SEGMENT_UNIT, suggestion };
            return Err(refuse(key, source, problem));
        }
        self.sized(key, (value, source), (limits::MIN_SEGMENT, limits::MAX_SEGMENT), "")
    }

    fn wal_cap(
        &mut self,
        machine: &Machine,
        data_dir: &Path,
        cores: u16,
        segment: ByteSize,
    ) -> Result<ByteSize, ConfigError> {
        let floor = ByteSize(segment.0 * limits::MIN_SEGMENTS_PER_CORE * u64::from(cores));
        let free = (machine.free_disk)(data_dir).unwrap_or_default();
        let default = ByteSize(free.0 / limits::DEFAULT_WAL_DIVISOR)
            .clamp(limits::MIN_DEFAULT_WAL, limits::MAX_DEFAULT_WAL)
            .max(floor)
            .round_up(segment);
        let reason = Source::Default("a tenth of the free disk, 256 MiB to 4 GiB");
        let found = self.parsed(Key::WalCap, || (default, reason))?;
        let why = "four segments for each core at least";
        self.sized(Key::WalCap, found, (floor, limits::MAX_WAL.max(floor)), why)
    }

    fn gc_grace(&mut self) -> Result<Duration, ConfigError> {
        let default = (
            limits::DEFAULT_GC_GRACE_SECONDS,
            Source::Default("whoever may still read it has done so"),
        );
        let found = self.number(Key::GcGrace, default, limits::MAX_GC_GRACE_SECONDS)?;
        if found < limits::MIN_GC_GRACE_SECONDS {
            let source = self.text(Key::GcGrace)?.map(|(_, source)| source);
            let source = source.expect("the default is enough");
            let (min, max) = (limits::MIN_GC_GRACE_SECONDS, limits::MAX_GC_GRACE_SECONDS);
            return Err(refuse(Key::GcGrace, source, ValueError::Range { value: found, min, max }));
        }
        Ok(Duration::from_secs(found))
    }

    fn rpo_age(&mut self) -> Result<Duration, ConfigError> {
        let default = (
            limits::DEFAULT_RPO_SECONDS,
            Source::Default("at most this much is lost with the local disk"),
        );
        self.number(Key::RpoSeconds, default, limits::MAX_RPO_SECONDS).map(Duration::from_secs)
    }

    /// What a lost disk may take with it from a bucket is promised; a store on this very machine is
    /// better served by few large uploads.
    fn rpo_bytes(
        &mut self,
        store: &StoreUrl,
        wal_cap: ByteSize,
        memory: ByteSize,
    ) -> Result<ByteSize, ConfigError> {
        let half = ByteSize(wal_cap.0 / 2).max(limits::MIN_RPO_BYTES);
        // A cut of what memory still has is sealed at the speed of the disk; one that has to be read
        // back from the log takes many times as long, and a snapshot waits for it.
        let share = if memory < limits::SHORT_MEMORY { 8 } else { 4 };
        let least = half.min(ByteSize(memory.0 / share).max(limits::MIN_RPO_BYTES));
        let (default, reason) = match store {
            StoreUrl::S3 { .. } => (
                least.min(limits::DEFAULT_BUCKET_RPO_BYTES),
                "most that the loss of the local disk takes; less if the log or the memory is small",
            ),
            StoreUrl::File(_) | StoreUrl::Memory => (
                least,
                "half of the log or a quarter of the memory (an eighth below 2 GiB), the lesser",
            ),
        };
        let found = self.parsed(Key::RpoBytes, || (default, Source::Default(reason)))?;
        let why = "half of wal.cap at most, so that uploads start before writes are slowed";
        self.sized(Key::RpoBytes, found, (limits::MIN_RPO_BYTES, half), why)
    }
}

mod cache;
mod promises;
mod s3_store;

fn refuse(key: Key, from: Source, problem: ValueError) -> ConfigError {
    ConfigError::Value { key: key.name(), from, problem }
}

#[cfg(test)]
mod tests;
