//! How the memory of the settings is dealt out.
//!
//! Of the whole, half goes to the cache of blocks (a quarter where memory is short) and an eighth to
//! payloads on their way between sockets and engine, a tenth to chunks on their way to the store (a
//! sixteenth where memory is short), and a sixteenth to what is on its way from there, most of it
//! read ahead; the rest is for append buffers, maps, and the buffers of connections. Where an eighth
//! is too little for one request of the largest size on each core, the cache gives the rest, down to
//! a thirty-second part of the whole.

use chunk::limits::MAX_CHUNK_BYTES;
use wal::BLOCK_BYTES;

use super::limits::{
    CORE_BUFFERS, MAX_UPLOADS, MIN_CORE_PAYLOAD, MIN_UPLOADS, READ_AHEAD_MEMORY, SLAB_SLOTS,
};
use crate::config::limits::{MIN_SEGMENTS_PER_CORE, SHORT_MEMORY};
use crate::config::{CachePolicy, Settings};
use crate::engine::cache::most_held;
use crate::engine::chunk_cache::{CacheSize, SLOT_BLOCKS};
use crate::engine::limits::{FETCH_WINDOW_LEAST, Tuning};

/// The bounds of the engine that follow from the settings.
#[must_use]
pub fn tuning(settings: &Settings, cores: u16) -> Tuning {
    let payload = core_payload(settings, cores) as u64 * u64::from(cores);
    let cores = u64::from(cores);
    let memory = settings.memory.0;
    let share = if memory < SHORT_MEMORY.0 { memory / 4 } else { memory / 2 };
    let cache =
        (share + memory / 8).saturating_sub(payload + CORE_BUFFERS * cores).max(memory / 32);
    let cache = cache / cores / BLOCK_BYTES as u64;
    let segments = (settings.wal_cap.0 / cores / settings.wal_segment.0).max(MIN_SEGMENTS_PER_CORE);
    // Where memory is short, what was asked for comes first.
    let read_ahead = if memory < READ_AHEAD_MEMORY { 0 } else { memory / 16 };
    let fetch = usize::try_from(read_ahead / cores).unwrap_or(usize::MAX);
    let uploads = memory / if memory < READ_AHEAD_MEMORY { 16 } else { 10 };
    let uploads = uploads / cores / MAX_CHUNK_BYTES as u64;
    let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Tuning {
        cache_blocks: clamp(cache),
        unlogged_blocks: clamp(most_held(cache)),
        segment_blocks: clamp(settings.wal_segment.0 / BLOCK_BYTES as u64),
        segments: clamp(segments),
        rpo_bytes: settings.rpo.bytes.0,
        rpo_age: settings.rpo.age,
        gc_grace: settings.gc_grace,
        read_ahead_blocks: read_ahead / cores / BLOCK_BYTES as u64,
        fetch_bytes: fetch.max(FETCH_WINDOW_LEAST),
        disk_cache: disk_cache(settings.disk_cache.size.0 / cores),
        cache_ttl: match settings.disk_cache.policy {
            CachePolicy::Lru => None,
            CachePolicy::Ttl(ttl) => Some(ttl),
        },
        compression: settings.compression,
        uploads: (uploads as usize).clamp(MIN_UPLOADS, MAX_UPLOADS),
        ..Tuning::default()
    }
}

/// The cache on the disk of one core, in files of [`SLAB_SLOTS`] slots, or one smaller file.
fn disk_cache(bytes: u64) -> CacheSize {
    let slots = bytes / (u64::from(SLOT_BLOCKS) * BLOCK_BYTES as u64);
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let slab_slots = slots.min(SLAB_SLOTS);
    CacheSize { slabs: slots.checked_div(slab_slots).unwrap_or(0), slab_slots }
}

/// Bytes of payload that one core holds at most.
#[must_use]
pub fn core_payload(settings: &Settings, cores: u16) -> usize {
    let share = settings.memory.0 / 8 / u64::from(cores);
    usize::try_from(share).unwrap_or(usize::MAX).max(MIN_CORE_PAYLOAD)
}
