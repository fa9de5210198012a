//! The engine as a subject: the code that the product runs, in a simulated world.

mod copies;

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use chunk::limits::{
    CHUNK_ENTRY_BYTES, CHUNK_HEADER_BYTES, MAX_CHUNK_ENTRIES, MAX_PAGE_BYTES, MAX_SEGMENT_BYTES,
};
use chunk::{VolumeName, catalog};
use wal::{HoleKind, VolumeId};

use super::host::{Host, SimEnv};
use super::scenario;
use super::subject::{OpError, Subject, ZeroKind};
use crate::engine::cache::most_held;
use crate::engine::core::Core;
use crate::engine::error::VolumeError;
use crate::engine::limits::{BATCH_BYTES, BATCHES_WAITING, FETCH_WINDOW_LEAST, Tuning};
use crate::engine::status::Held;
use crate::engine::volume::Volume;

/// Most bytes of a chunk besides its payload.
const FRAME_BYTES: u64 =
    (CHUNK_HEADER_BYTES + MAX_CHUNK_ENTRIES as usize * CHUNK_ENTRY_BYTES) as u64;

/// Most bytes of a map object of a volume as small as those of the simulation.
const MAP_BYTES: u64 = (8 * MAX_PAGE_BYTES + MAX_SEGMENT_BYTES) as u64;

const VOLUME: VolumeId = VolumeId([7; 16]);

thread_local! {
    /// Processes and their cores. Cores and shards hold each other, so what a simulated death
    /// leaves must be taken apart.
    static PROCESSES: RefCell<Vec<Process>> = const { RefCell::new(Vec::new()) };
}

type Process = (Host, Vec<Rc<Core<SimEnv>>>);

/// The engine.
pub struct Engine;

/// One core's handle of the open volume.
#[derive(Clone)]
pub struct Handle {
    core: Rc<Core<SimEnv>>,
    /// Core 0, which keeps the registry.
    keeper: Rc<Core<SimEnv>>,
    volume: Volume<SimEnv>,
}

impl From<VolumeError> for OpError {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::NoSpace(_) => Self::NoSpace,
            VolumeError::Closed => Self::Shutdown,
            fenced @ VolumeError::Fenced { .. } => Self::Fenced(fenced.to_string()),
            other => Self::Io(other.to_string()),
        }
    }
}

fn tuning(wanted: &scenario::Tuning) -> Tuning {
    Tuning {
        cache_blocks: wanted.cache_blocks as u32,
        unlogged_blocks: wanted.unlogged_blocks.min(most_held(wanted.cache_blocks)) as u32,
        cut_unlogged_blocks: wanted.cut_unlogged_blocks,
        pace_least: wanted.pace_least,
        absorb_after: wanted.absorb_after,
        map_pages: (wanted.cache_blocks as usize / 16).max(1),
        segment_blocks: wanted.segment_blocks as u32,
        segments: wanted.wal_segments as u32,
        idle_segments: 0,
        uploads: 2,
        rpo_bytes: wanted.cut_blocks * wal::BLOCK_BYTES as u64,
        rpo_age: wanted.cut_every,
        fold_chunks: wanted.fold_after as usize,
        unfolded_chunks: chunk::limits::MAX_UNFOLDED_CHUNKS,
        chunk_blocks: wanted.chunk_blocks as u32,
        read_ahead_blocks: wanted.read_ahead_blocks,
        fetch_bytes: FETCH_WINDOW_LEAST,
        disk_cache: wanted.disk_cache,
        cache_ttl: None,
        gc_grace: wanted.gc_grace,
        gc_after_bytes: wanted.gc_after_blocks * wal::BLOCK_BYTES as u64,
        gc_share: u64::MAX,
        gc_pass_bytes: 64 * wal::BLOCK_BYTES as u64,
        compression: wanted.compression,
        ring_messages: wanted.ring_messages,
    }
}

async fn create(host: &Host) -> Result<(), String> {
    let store = &host.cores[0].store;
    let name = VolumeName::new("world").map_err(|error| error.to_string())?;
    if catalog::find(store, &name).await.map_err(|error| error.to_string())?.is_some() {
        return Ok(());
    }
    let new = catalog::NewVolume {
        name,
        id: VOLUME,
        size_bytes: host.volume_blocks * wal::BLOCK_BYTES as u64,
        stripe_shift: host.tuning.stripe_shift,
        promises: host.tuning.promises,
        created_unix_ms: 0,
    };
    catalog::create(store, new).await.map(drop).map_err(|error| error.to_string())
}

impl Subject for Engine {
    type Volume = Handle;

    const CUTS: bool = true;

    const FENCES: bool = true;

    const PROMISES: bool = true;

    const ENDURES: bool = true;

    const COPIES: bool = true;

    const RESIZES: bool = true;

    async fn open(host: &Host, first: bool) -> Result<Vec<Handle>, String> {
        PROCESSES.with_borrow_mut(|all| {
            let dead = all.extract_if(.., |(host, _)| !host.is_alive());
            dead.for_each(|(_, cores)| cores.iter().for_each(|core| core.abandon()));
        });
        let mut identity = [0; 16];
        identity[..8].copy_from_slice(&host.identity.to_le_bytes());
        let tuning = tuning(&host.tuning);
        let mut cores = Vec::new();
        for (part, mesh) in host.cores.iter().zip(host.mesh()) {
            let (disk, store) = (part.disk.clone(), part.store.clone());
            let core = Core::new(disk, store, part.runtime.clone(), mesh, tuning, identity);
            wal::runtime::Runtime::spawn(&part.runtime, core.clone().serve());
            cores.push(core);
        }
        PROCESSES.with_borrow_mut(|all| all.push((host.clone(), cores.clone())));
        if first {
            create(host).await?;
        }
        let mut handles = Vec::new();
        for core in &cores {
            let opened = match (host.takes_over, host.waits) {
                (true, false) => core.take_over(VOLUME).await,
                (true, true) => core.outlast(VOLUME).await,
                (false, _) => core.attach(VOLUME).await,
            };
            let volume = opened.map_err(|error| error.to_string())?;
            handles.push(Handle { core: core.clone(), keeper: cores[0].clone(), volume });
        }
        Ok(handles)
    }

    async fn read(handle: &Handle, offset: u64, bytes: usize) -> Result<Vec<u8>, OpError> {
        let mut out = Vec::new();
        match handle.volume.read_now(offset, bytes, &mut out) {
            Some(read) => Ok(read.map(|()| out)?),
            None => Ok(handle.volume.read(offset, bytes).await?),
        }
    }

    async fn write(handle: &Handle, offset: u64, bytes: Vec<u8>, fua: bool) -> Result<(), OpError> {
        let now = handle.volume.write_now(offset, &bytes)?;
        if now < bytes.len() {
            let rest = Bytes::from(bytes).slice(now..);
            handle.volume.write(offset + now as u64, rest).await?;
        }
        if fua {
            handle.volume.flush().await?;
        }
        Ok(())
    }

    async fn zero(
        handle: &Handle,
        offset: u64,
        bytes: u64,
        kind: ZeroKind,
        fua: bool,
    ) -> Result<(), OpError> {
        let kind = match kind {
            ZeroKind::Discard => HoleKind::Discard,
            ZeroKind::Zero => HoleKind::Zero,
        };
        handle.volume.punch(offset, bytes, kind).await?;
        if fua {
            handle.volume.flush().await?;
        }
        Ok(())
    }

    async fn flush(handle: &Handle) -> Result<(), OpError> {
        Ok(handle.volume.flush().await?)
    }

    async fn cut(handle: &Handle) -> Result<(), OpError> {
        Ok(handle.core.drain(handle.volume.number()).await?)
    }

    fn size(handle: &Handle) -> Option<u64> {
        Some(handle.volume.size_bytes())
    }

    async fn resize(handle: &Handle, bytes: u64) -> Result<(), OpError> {
        match bytes < handle.volume.size_bytes() {
            true => Ok(handle.volume.shrink(bytes).await?),
            false => Ok(handle.volume.grow(bytes).await?),
        }
    }

    async fn snapshot(handle: &Handle, number: u32) -> Result<(), OpError> {
        Ok(copies::snapshot(handle, number).await?)
    }

    async fn snapshot_group(handles: &[Handle], number: u32) -> Result<(), String> {
        copies::snapshot_group(handles, number).await.map_err(|error| error.to_string())
    }

    async fn has_snapshot(handle: &Handle, number: u32) -> Result<bool, String> {
        copies::exists(handle, number).await
    }

    async fn view(handle: &Handle, number: u32) -> Result<Handle, String> {
        copies::view(handle, number).await.map_err(|error| error.to_string())
    }

    async fn changes(handle: &Handle, of: (u32, u32)) -> Result<Vec<Range<u64>>, String> {
        copies::changes(handle, of).await
    }

    async fn close_view(view: &Handle) -> Result<(), String> {
        copies::close(view).await.map_err(|error| error.to_string())
    }

    async fn clone_of(handle: &Handle, snapshot: u32, number: u32) -> Result<Handle, String> {
        copies::clone_of(handle, snapshot, number).await
    }

    async fn reopen(clone: &Handle) -> Result<Handle, String> {
        copies::reopen(clone).await.map_err(|error| error.to_string())
    }

    async fn flatten(clone: &Handle) -> Result<bool, String> {
        copies::flatten(clone).await
    }

    async fn is_linked(clone: &Handle) -> Result<bool, String> {
        copies::is_linked(clone).await
    }

    async fn open_clone(handle: &Handle, number: u32) -> Result<Handle, String> {
        copies::open_clone(handle, number).await.map_err(|error| error.to_string())
    }

    async fn delete_clone(clone: &Handle, number: u32) -> Result<(), String> {
        copies::delete_clone(clone, number).await
    }

    async fn delete_snapshot(handle: &Handle, number: u32) -> Result<bool, String> {
        copies::delete_snapshot(handle, number).await
    }

    async fn close(handle: &Handle) -> Result<(), OpError> {
        handle.volume.flush().await?;
        Ok(handle.keeper.shut(VOLUME).await?)
    }

    fn excess(handle: &Handle) -> Option<String> {
        let tuning = &handle.core.tuning;
        let block = wal::BLOCK_BYTES as u64;
        let buffer = (BATCH_BYTES as u64).min(u64::from(tuning.segment_blocks) * block);
        let chunk = u64::from(tuning.chunk_blocks) * block;
        let most = Held {
            // Those that wait, one that was closed for want of others, and the open one.
            buffers: BATCHES_WAITING + 2,
            appends: (BATCHES_WAITING as u64 + 2) * buffer,
            objects: tuning.uploads,
            uploads: tuning.uploads as u64 * (chunk + FRAME_BYTES).max(MAP_BYTES),
            cached: u64::from(tuning.cache_blocks) * block,
        };
        PROCESSES.with_borrow(|all| {
            let is_own = |(_, cores): &&Process| cores.iter().any(|c| Rc::ptr_eq(c, &handle.core));
            let (_, cores) = all.iter().find(is_own)?;
            let held = cores.iter().find_map(|core| {
                let held = core.held();
                let over = held.buffers > most.buffers
                    || held.appends > most.appends
                    || held.objects > most.objects
                    || held.uploads > most.uploads
                    || held.cached > most.cached;
                over.then_some(held)
            })?;
            Some(format!("{held:?} of {most:?}"))
        })
    }

    async fn check(handle: &Handle) -> Result<(), String> {
        let volume = handle.volume.shared().volume;
        let report = chunk::check::check(&handle.core.store, volume, |_| ()).await;
        match report.is_clean() {
            true => Ok(()),
            false => Err(format!("{:?}", report.problems)),
        }
    }
}
