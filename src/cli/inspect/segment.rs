//! A segment of the write-ahead log.

use std::fs::File;
use std::path::Path;

use serde::Serialize;
use wal::BLOCK_BYTES;
use wal::disk::DiskError;
use wal::record::{Body, HoleKind, Record};
use wal::scan::{Sighted, Sighting, walk};

use super::InspectError;
use crate::cli::output;
use crate::cli::plain_disk::PlainFile;
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct SegmentView {
    kind: &'static str,
    file_bytes: u64,
    records: Vec<RecordView>,
}

#[derive(Serialize)]
struct RecordView {
    at_block: u32,
    /// `sound`, `damaged`, `misplaced` or `refused`.
    state: &'static str,
    /// Why it is not sound.
    reason: Option<String>,
    volume: String,
    /// What a refused record says has no meaning here.
    #[serde(flatten)]
    record: Option<SoundView>,
}

#[derive(Serialize)]
struct SoundView {
    incarnation: u64,
    salt: String,
    shard: u16,
    shards: u16,
    stripe_shift: u8,
    segment: u64,
    lsn: u64,
    durable_lsn: u64,
    epoch: u64,
    payload_blocks: u32,
    entries: Vec<EntryView>,
}

#[derive(Serialize)]
struct EntryView {
    /// `data`, `zero` or `discard`.
    kind: &'static str,
    lba: u64,
    blocks: u64,
    /// That of the record, or an older one.
    epoch: u64,
    payload_block: Option<u32>,
    crc: Option<String>,
}

/// Prints every record of a segment file. What is not sound is shown as such and is no failure: a
/// log may end in a torn record, and a recycled file holds remains of its earlier uses.
pub(super) fn show(path: &Path, file: File, bytes: u64, json: bool) -> Result<(), Error> {
    let unknown = || InspectError::Unknown { path: path.to_owned() };
    let blocks = u32::try_from(bytes / BLOCK_BYTES as u64).map_err(|_| unknown())?;
    let file = PlainFile::new(path, file);
    let mut sightings = Vec::new();
    let visit = |sighting| {
        sightings.push(sighting);
        Ok::<_, DiskError>(())
    };
    futures_lite::future::block_on(walk(&file, blocks, visit)).map_err(InspectError::Disk)?;
    if json {
        let records = sightings.iter().map(view).collect();
        return output::print_json(&SegmentView {
            kind: "wal-segment",
            file_bytes: bytes,
            records,
        });
    }
    let mut text = format!("WAL segment, {blocks} blocks, {} records\n", sightings.len());
    for sighting in &sightings {
        text.push_str(&describe(sighting));
        text.push('\n');
    }
    output::print(&text)
}

fn describe(Sighting { at_block, what }: &Sighting) -> String {
    match what {
        Sighted::Sound(record) => record.to_string(),
        Sighted::Damaged { record, entry } => format!("DAMAGED in entry {entry}: {record}"),
        Sighted::Misplaced(record) => format!("MISPLACED, stands at block {at_block}: {record}"),
        Sighted::Refused { volume, reject } => {
            format!("block {at_block}: REFUSED record of volume {volume}: {reject}")
        }
    }
}

fn view(sighting: &Sighting) -> RecordView {
    let (state, reason, volume, record) = match &sighting.what {
        Sighted::Sound(record) => ("sound", None, record.identity.volume, Some(record)),
        Sighted::Damaged { record, entry } => {
            let reason = format!("the payload of entry {entry} does not match its checksum");
            ("damaged", Some(reason), record.identity.volume, Some(record))
        }
        Sighted::Misplaced(record) => {
            let reason = format!("it says to stand at block {}", record.at_block);
            ("misplaced", Some(reason), record.identity.volume, Some(record))
        }
        Sighted::Refused { volume, reject } => ("refused", Some(reject.to_string()), *volume, None),
    };
    RecordView {
        at_block: sighting.at_block,
        state,
        reason,
        volume: volume.to_string(),
        record: record.map(sound),
    }
}

fn sound(record: &Record) -> SoundView {
    let entries = record.entries.iter().map(|entry| {
        let (kind, place) = match entry.body {
            Body::Data(place) => ("data", Some(place)),
            Body::Hole(HoleKind::Zero) => ("zero", None),
            Body::Hole(HoleKind::Discard) => ("discard", None),
            Body::Name(place) => ("name", Some(place)),
        };
        EntryView {
            kind,
            lba: entry.extent.lba().0,
            blocks: entry.extent.count(),
            epoch: record.epoch_of(entry).0,
            payload_block: place.map(|place| place.block),
            crc: place.map(|place| format!("{:08x}", place.crc)),
        }
    });
    SoundView {
        incarnation: record.identity.incarnation.0,
        salt: format!("{:016x}", record.identity.salt),
        shard: record.identity.shard.0,
        shards: record.identity.layout.shards(),
        stripe_shift: record.identity.layout.stripe_shift(),
        segment: record.segment.0,
        lsn: record.lsn.0,
        durable_lsn: record.durable_lsn.0,
        epoch: record.epoch.0,
        payload_blocks: record.payload_blocks,
        entries: entries.collect(),
    }
}
