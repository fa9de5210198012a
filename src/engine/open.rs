//! Opening a volume for writing, after any crash.
//!
//! What a power cut leaves after each step:
//! 1. the newest manifest and the log were read, the log synced: nothing changed.
//! 2. a manifest with the next incarnation is published: any other opening is fenced off. The log
//!    of earlier incarnations is still there and above the cut, so the next opening takes it
//!    over just the same.
//! 3. shards are open: their map starts with what the log held. New records go to new files.
//! 4. the first cut of this opening is published: only now the files of earlier ones go.

use std::rc::Rc;
use std::sync::Arc;

use chunk::chunk::read_index;
use chunk::manifest_log::{self, ManifestLogError};
use chunk::map_object::read_segment;
use chunk::{
    ChunkId, ChunkIndex, Manifest, ManifestSeq, PageIndex, PageRef, SegmentIdentity, SegmentIndex,
};
use wal::disk::Disk;
use wal::planted::{self, Bug};
use wal::runtime::Runtime;
use wal::{Epoch, Floor, Incarnation, Layout, Scan, ShardId, VolumeId, scan};

use super::Env;
use super::abreast::abreast;
use super::cache::VolumeNo;
use super::coordinator::Coordinator;
use super::core::Core;
use super::error::VolumeError;
use super::lease::Lease;
use super::limits::{CLAIM_TRIES, LEASE_MARGIN, MANIFESTS_KEPT, OPENING_READS};
use super::mesh::CoreId;
use super::message::{Ask, OpenShard, Reason};
use super::named::Named;
use super::publish::publish_patiently;
use super::recovered::{RecoveredShard, deal, log_directory, log_prefix};
use super::shard::Shard;
use super::shared::Shared;

/// The owner of a volume that no host has.
pub const NO_HOST: [u8; 16] = [0; 16];

/// Opens a volume on all cores and starts its coordinator on this one; `None` if it was for
/// recovery and there is nothing to recover.
///
/// # Errors
/// The volume's state in the store or in the log cannot be read, is damaged, or belongs to
/// another host; nothing was changed then but the incarnation, at most.
pub async fn open<E: Env>(
    core: &Rc<Core<E>>,
    number: VolumeNo,
    volume: VolumeId,
    reason: Reason,
) -> Result<Option<Arc<Shared>>, VolumeError> {
    let claimed = claim(core, volume, reason).await?;
    let Some(Claimed { seq, manifest, found, lease }) = claimed else { return Ok(None) };
    let layout = Layout::new(manifest.stripe_shift, core.cores());
    let layout = layout.expect("manifests are checked, and there is at least one core");
    let epoch = Epoch(found.newest_epoch.0.max(manifest.cut.epoch.0) + 1);
    let shared = Shared::new(&manifest, layout, lease, epoch);
    let shared = Arc::new(shared.compressing(core.tuning.compression));
    let unfolded = read_unfolded(core, &manifest).await?;
    let pages = read_directory(core, &manifest, layout).await?;
    let directory = log_directory(volume);
    let tenure = manifest.tenure;
    let leftovers: Vec<_> = found.files.iter().map(|name| format!("{directory}/{name}")).collect();
    let recovered = deal(&found, layout, volume)?;
    let named = found.named.iter().map(Named::try_from).collect::<Result<Vec<_>, _>>();
    let named = named.map_err(|found| VolumeError::Corrupt {
        volume: volume.to_string(),
        lba: 0,
        found,
    })?;
    let is_dirty = !named.is_empty() || recovered.iter().any(|shard| !shard.places.is_empty());
    open_shards(
        core,
        number,
        &shared,
        (tenure, unfolded),
        pages.into_iter().zip(recovered).collect(),
    )
    .await?;
    let newest = (seq, manifest);
    let coordinator =
        Coordinator::new(core.clone(), number, shared.clone(), newest, leftovers, named);
    core.add_coordinator(number, coordinator.clone());
    core.runtime.spawn(coordinator.clone().run());
    core.runtime.spawn(coordinator.clone().run_collector());
    // Of one record the loss shows no gap, whichever file goes first.
    coordinator.lags.set(found.records.len() > 1);
    if is_dirty || coordinator.lags.get() {
        coordinator.note_dirty(false);
    } else {
        coordinator.remove_leftovers().await;
    }
    Ok(Some(shared))
}

pub(super) async fn newest_manifest<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
) -> Result<(ManifestSeq, Manifest), VolumeError> {
    let corrupt =
        |found: String| VolumeError::Corrupt { volume: volume.to_string(), lba: 0, found };
    let latest = manifest_log::latest(&core.store, volume).await;
    let latest = latest.map_err(|error| match error {
        ManifestLogError::Store(error) => error.into(),
        wrong => corrupt(wrong.to_string()),
    })?;
    let (seq, body) = latest.ok_or_else(|| corrupt("it has no manifest".into()))?;
    let manifest = Manifest::decode_as(&body, volume, seq);
    let name = seq.object_name(volume);
    let manifest = manifest.map_err(|error| corrupt(format!("{name}: {error}")))?;
    Ok((seq, manifest))
}

async fn scan_log<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    manifest: &Manifest,
) -> Result<Scan, VolumeError> {
    let floor = Floor {
        incarnation: manifest.cut.incarnation,
        lsns: manifest.cut.positions.clone(),
        epoch: manifest.cut.epoch,
        newest: manifest.incarnation,
    };
    let prefix = match planted::is(Bug::StaleLogReplayed) {
        true => String::new(),
        false => log_prefix(manifest.tenure),
    };
    scan(&core.disk, &log_directory(volume), &prefix, volume, &floor).await.map_err(|error| {
        VolumeError::Corrupt { volume: volume.to_string(), lba: 0, found: error.to_string() }
    })
}

/// A volume that belongs to this opening.
struct Claimed {
    seq: ManifestSeq,
    manifest: Manifest,
    found: Scan,
    lease: Lease,
}

/// Reads the newest manifest and the log, and publishes the manifest again under the next
/// incarnation. A publication of a process that died may still arrive in between: then all of it
/// is done again. `None`, and nothing is published, if the log has nothing for a recovery: the
/// volume may by now belong to another host.
async fn claim<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    reason: Reason,
) -> Result<Option<Claimed>, VolumeError> {
    for tries_left in (0..CLAIM_TRIES).rev() {
        let (seq, mut manifest) = newest_manifest(core, volume).await?;
        let before = manifest.encode(seq);
        let is_ours = manifest.owner == core.host;
        if !is_ours && manifest.owner != NO_HOST && reason != Reason::TakeOver {
            outlast(core, volume, (seq, &manifest), reason).await?;
        }
        // The log of a tenure that has ended: covered if the volume was given back by this host,
        // otherwise kept aside.
        let found = match is_ours || planted::is(Bug::StaleLogReplayed) {
            true => scan_log(core, volume, &manifest).await?,
            false => given_back(core, volume, &manifest).await?,
        };
        // Marks hold nothing that the store lacks.
        let is_covered = found.records.iter().all(|found| found.record.entries.is_empty());
        if reason == Reason::Recovery && is_covered {
            return Ok(None);
        }
        if !planted::is(Bug::NoFencing) || manifest.incarnation.0 == 0 {
            manifest.incarnation = manifest.incarnation.next();
        }
        if !is_ours {
            manifest.tenure = manifest.incarnation;
        }
        manifest.owner = core.host;
        manifest.salt = core.runtime.random();
        let (seq, began) = (seq.next(), core.runtime.now());
        let body = manifest.encode(seq).into();
        match publish_patiently(core, volume, seq, body, &before).await {
            Ok(()) => {}
            Err(VolumeError::Fenced { .. }) if tries_left > 0 => continue,
            Err(error) => return Err(error),
        }
        // A name can be free because others went past it long ago.
        if newest_manifest(core, volume).await?.0 != seq {
            continue;
        }
        // What is too much now is too much at the next opening as well.
        let _ = manifest_log::prune(&core.store, volume, MANIFESTS_KEPT as usize).await;
        let lease = Lease::new(manifest.promises.fencing, began);
        return Ok(Some(Claimed { seq, manifest, found, lease }));
    }
    let detail = "other openings come in between all the time".to_owned();
    Err(VolumeError::Fenced { volume: volume.to_string(), detail })
}

/// Waits until the lease of the host that has a volume has run out, if that is wanted and it needs
/// one: it has published nothing for as long as its lease lasts, see [`super::lease`].
async fn outlast<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    (seq, manifest): (ManifestSeq, &Manifest),
    reason: Reason,
) -> Result<(), VolumeError> {
    let term = manifest.promises.fencing.lease().filter(|_| reason == Reason::LeaseEnd);
    let Some(term) = term else { return Err(elsewhere(core, volume, manifest).await) };
    log::info!("volume {volume}: waiting {term} for the lease of host {}", short(manifest.owner));
    if !planted::is(Bug::LeaseNotWaitedFor) {
        core.runtime.sleep(term.span() + term.span() / LEASE_MARGIN).await;
    }
    match newest_manifest(core, volume).await?.0 == seq {
        true => Ok(()),
        false => Err(elsewhere(core, volume, manifest).await),
    }
}

/// The start of a host's identity, as people see it.
fn short(host: [u8; 16]) -> String {
    host[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is left of the log of a volume that no host has: nothing to replay, files to remove.
async fn given_back<E: Env>(
    core: &Core<E>,
    volume: VolumeId,
    manifest: &Manifest,
) -> Result<Scan, VolumeError> {
    if manifest.owner != NO_HOST {
        return Ok(Scan::default());
    }
    let prefix = log_prefix(manifest.tenure);
    let files = core.disk.list(&log_directory(volume)).await?;
    let ended = |name: &String| name.starts_with(&prefix) || planted::is(Bug::StaleLogDropped);
    let files = files.into_iter().map(|file| file.name).filter(ended);
    Ok(Scan { files: files.collect(), ..Scan::default() })
}

/// The volume is another host's.
async fn elsewhere<E: Env>(core: &Core<E>, volume: VolumeId, manifest: &Manifest) -> VolumeError {
    let directory = log_directory(volume);
    let files = core.disk.list(&directory).await.unwrap_or_default();
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let host = short(manifest.owner);
    let kept = match bytes {
        0 => String::new(),
        _ => format!(
            "; {bytes} bytes that this host had logged are kept in {directory}, and are never replayed"
        ),
    };
    VolumeError::Fenced {
        volume: volume.to_string(),
        detail: format!(
            "host {host} has it since incarnation {}{kept}; end its server or detach the volume there, \
             or if that host is dead take the volume over with `krait volume attach --force`",
            manifest.tenure
        ),
    }
}

pub(super) async fn read_unfolded<E: Env>(
    core: &Core<E>,
    manifest: &Manifest,
) -> Result<Arc<Vec<ChunkIndex>>, VolumeError> {
    let lineage = manifest.lineage();
    let read = |id: &ChunkId| read_index(&core.store, lineage.writer(*id), *id);
    Ok(Arc::new(abreast(OPENING_READS, manifest.unfolded.iter().map(read)).await?))
}

/// Places of all map pages, by the shard that owns them.
pub(super) async fn read_directory<E: Env>(
    core: &Core<E>,
    manifest: &Manifest,
    layout: Layout,
) -> Result<Vec<Vec<(PageIndex, PageRef)>>, VolumeError> {
    let mut pages: Vec<_> = (0..layout.shards()).map(|_| Vec::new()).collect();
    let lineage = manifest.lineage();
    let read = |(index, at): &(SegmentIndex, PageRef)| {
        let volume = lineage.writer(at.object);
        read_segment(&core.store, SegmentIdentity { volume, index: *index }, *at)
    };
    for segment in abreast(OPENING_READS, manifest.directory.iter().map(read)).await? {
        for (page, at) in segment.iter() {
            pages[usize::from(layout.owner(page.first_block()).0)].push((page, at));
        }
    }
    Ok(pages)
}

pub(super) async fn open_shards<E: Env>(
    core: &Rc<Core<E>>,
    number: VolumeNo,
    shared: &Arc<Shared>,
    (tenure, unfolded): (Incarnation, Arc<Vec<ChunkIndex>>),
    parts: Vec<(Vec<(PageIndex, PageRef)>, RecoveredShard)>,
) -> Result<(), VolumeError> {
    let mut calls = Vec::new();
    for (shard, (pages, recovered)) in (0..).map(ShardId).zip(parts) {
        let (shared, unfolded) = (shared.clone(), unfolded.clone());
        let open = OpenShard { volume: number, shared, tenure, unfolded, pages, recovered };
        if shard.0 == core.id().0 {
            Shard::open(core.clone(), open).await?;
        } else {
            calls.push(core.peers.start(CoreId(shard.0), Ask::OpenShard(Box::new(open))).await);
        }
    }
    for call in calls {
        call.await?;
    }
    Ok(())
}
