//! What the log of earlier openings holds for one shard of this one.

use wal::disk::Disk;
use wal::planted::{self, Bug};
use wal::{Body, Epoch, Incarnation, Layout, Scan, ShardId, VolumeId};

use super::error::VolumeError;
use super::place::{FileNo, LogPlace, Place};
use super::places::Places;

/// Directory of a volume's log, below the data directory.
#[must_use]
pub fn log_directory(volume: VolumeId) -> String {
    format!("wal/{volume}")
}

/// How the names of a volume's segment files start in one tenure: what a host logged before
/// another one took the volume over keeps its names, and is never mistaken for what counts.
#[must_use]
pub fn log_prefix(tenure: Incarnation) -> String {
    format!("{:08}-", tenure.0)
}

/// What one shard takes over from the log of earlier openings.
#[derive(Default)]
pub struct RecoveredShard {
    /// Segment files that its places lie in.
    pub(super) files: Vec<(FileNo, String)>,
    /// Its blocks in cuts that were named and that no manifest has, oldest cut first.
    pub(super) cuts: Vec<(Epoch, Places)>,
    /// Its blocks that were written since.
    pub(super) places: Places,
}

impl RecoveredShard {
    /// Opens the segment files.
    pub(super) async fn open_files<D: Disk>(
        &self,
        disk: &D,
    ) -> Result<Vec<(FileNo, D::File)>, wal::disk::DiskError> {
        let mut files = Vec::with_capacity(self.files.len());
        for (number, path) in &self.files {
            files.push((*number, disk.open(path).await?));
        }
        Ok(files)
    }

    /// Where a place of this epoch belongs.
    fn places_of(&mut self, epoch: Epoch) -> &mut Places {
        let cut = self.cuts.partition_point(|(cut, _)| *cut < epoch);
        self.cuts.get_mut(cut).map_or(&mut self.places, |(_, places)| places)
    }
}

/// Deals what a scan found to the shards of `layout`. Records stand in the order of (incarnation,
/// shard, lsn), and what is older than its record goes to the end of its own epoch: all records of one
/// block in one incarnation are of one shard, and epochs never fall, so for each block this is the
/// order in which it was written.
///
/// # Errors
/// A record was made under another stripe than the volume has.
pub fn deal(
    scan: &Scan,
    layout: Layout,
    volume: VolumeId,
) -> Result<Vec<RecoveredShard>, VolumeError> {
    let cuts = || scan.named.iter().map(|cut| (cut.epoch, Places::default())).collect();
    let shard = |_| RecoveredShard { cuts: cuts(), ..RecoveredShard::default() };
    let mut dealt: Vec<_> = (0..layout.shards()).map(shard).collect();
    let mut records: Vec<_> = scan.records.iter().collect();
    if planted::is(Bug::ReplayInListOrder) {
        records.sort_by_key(|found| (found.file, found.record.at_block));
    }
    let entries = records.iter().flat_map(|found| {
        let record = &found.record;
        record.entries.iter().map(move |entry| (record.epoch_of(entry), *found, entry))
    });
    let mut entries: Vec<_> = entries.collect();
    if !planted::is(Bug::ReplayInListOrder) {
        entries.sort_by_key(|(epoch, ..)| *epoch);
    }
    for (epoch, found, entry) in entries {
        let (made, maker) = (found.record.identity.layout, found.record.identity.shard);
        let file = FileNo(found.file as u32);
        if made.stripe_shift() != layout.stripe_shift() {
            let found = format!("{}: a record of other stripes", scan.files[found.file]);
            return Err(VolumeError::Corrupt { volume: volume.to_string(), lba: 0, found });
        }
        match entry.body {
            Body::Data(place) => {
                let owner = layout.owner(entry.extent.lba());
                let run = layout.owned(owner, entry.extent).expect("the owner owns it");
                assert_eq!(run.count, entry.extent.count(), "data never spans two stripes");
                let place = LogPlace::new(file, place.block, place.crc, run.count as u8);
                dealt[usize::from(owner.0)].places_of(epoch).insert(run, Place::Log(place));
            }
            Body::Hole(_) if planted::is(Bug::ZeroesNotReplayed) => {}
            Body::Hole(kind) => {
                let place = Place::from(kind);
                for (shard, to) in (0..).map(ShardId).zip(&mut dealt) {
                    let places = to.places_of(epoch);
                    for run in layout.inherited(shard, made, maker, entry.extent) {
                        places.insert(run, place);
                    }
                }
            }
            Body::Name(_) => {}
        }
    }
    let directory = log_directory(volume);
    let path = |name: &String| format!("{directory}/{name}");
    let files: Vec<_> = (0..).map(FileNo).zip(scan.files.iter().map(path)).collect();
    for shard in &mut dealt {
        shard.files.clone_from(&files);
    }
    Ok(dealt)
}

#[cfg(test)]
mod tests {
    use wal::{DataPlace, Entry, Extent, Found, HoleKind, Lba, LogIdentity, Lsn, NamedCut, Record};
    use wal::{SegmentId, ShardBlock, ShardRun};

    use super::*;

    const VOLUME: VolumeId = VolumeId([7; 16]);

    /// A record of one block at address 0, whose payload is at block `lsn` of its file.
    fn record(lsn: u64, epoch: u64, age: u32) -> Found {
        let layout = Layout::new(10, 1).expect("a layout");
        let identity = LogIdentity {
            volume: VOLUME,
            incarnation: Incarnation(1),
            salt: 1,
            shard: ShardId(0),
            layout,
        };
        let extent = Extent::new(Lba(0), 1).expect("one block");
        let body = Body::Data(DataPlace { block: lsn as u32, crc: 0 });
        let record = Record {
            identity,
            segment: SegmentId(1),
            at_block: 0,
            lsn: Lsn(lsn),
            durable_lsn: Lsn(0),
            epoch: Epoch(epoch),
            payload_blocks: 1,
            entries: [Entry { extent, body, age }].into(),
        };
        Found { file: 0, record }
    }

    const STRIPES: u64 = 1 << 16;

    /// What the shards of so many cores take over from shards `by` of others that trimmed all of the
    /// volume.
    fn trimmed(made: u16, by: &[u16], now: u16) -> Vec<Vec<(ShardRun, Place)>> {
        let made = Layout::new(10, made).expect("a layout");
        let extent = Extent::new(Lba(0), STRIPES * made.stripe_blocks()).expect("blocks");
        let by_shard = |shard: &u16| {
            let mut found = record(1, 1, 0);
            found.record.identity.layout = made;
            found.record.identity.shard = ShardId(*shard);
            found.record.entries =
                [Entry { extent, body: Body::Hole(HoleKind::Discard), age: 0 }].into();
            found
        };
        let records = by.iter().map(by_shard).collect();
        let scan = Scan { records, files: vec!["1.wal".to_owned()], ..Scan::default() };
        let dealt = deal(&scan, Layout::new(10, now).expect("a layout"), VOLUME).expect("sound");
        dealt.iter().map(|shard| places(&shard.places)).collect()
    }

    fn places(places: &Places) -> Vec<(ShardRun, Place)> {
        places.iter_from(ShardBlock(0)).map(|(run, place)| (run, *place)).collect()
    }

    #[test]
    fn a_hole_over_many_stripes_is_one_place_under_other_cores() {
        let hole = |cores| {
            let run = ShardRun { start: ShardBlock(0), count: (STRIPES / cores) << 10 };
            vec![(run, Place::Hole)]
        };
        assert_eq!(trimmed(1, &[0], 4), [hole(4), hole(4), hole(4), hole(4)]);
        let none = Vec::new;
        assert_eq!(trimmed(2, &[0], 4), [hole(4), none(), hole(4), none()]);
        assert_eq!(trimmed(2, &[0, 1], 1), [hole(1)]);
    }

    #[test]
    fn what_is_older_than_its_record_goes_to_the_end_of_its_own_epoch() {
        let named = |epoch| NamedCut {
            incarnation: Incarnation(1),
            epoch: Epoch(epoch),
            positions: Vec::new(),
            name: Vec::new(),
        };
        // Written in epochs 1, 2, 4 and 6; what was so at the ends of 2 and 5 was logged later.
        let mut records = vec![record(1, 1, 0), record(2, 2, 0), record(3, 4, 0)];
        records.extend([record(4, 4, 2), record(5, 6, 0), record(6, 6, 1)]);
        let files = vec!["1.wal".to_owned()];
        let scan = Scan { records, named: vec![named(2), named(3)], files, ..Scan::default() };
        let layout = Layout::new(10, 1).expect("a layout");
        let dealt = deal(&scan, layout, VOLUME).expect("a sound log");
        let blocks = |found: &Places| {
            let block = |(_, place): (ShardRun, Place)| match place {
                Place::Log(place) => place.block(),
                _ => panic!("{place:?}"),
            };
            places(found).into_iter().map(block).collect::<Vec<_>>()
        };
        assert_eq!(dealt[0].cuts[0].0, Epoch(2));
        assert_eq!(blocks(&dealt[0].cuts[0].1), [4], "the last one of epoch 2");
        assert_eq!((dealt[0].cuts[1].0, blocks(&dealt[0].cuts[1].1)), (Epoch(3), vec![]));
        assert_eq!(blocks(&dealt[0].places), [5], "that of epoch 6, not that of epoch 5");
    }
}
