//! Volumes whose last server left something in the write-ahead log.

use chunk::manifest_log::{latest, publish};
use chunk::{FileStore, Manifest, Workers};
use futures_lite::future::block_on;
use wal::{BLOCK_BYTES, Batch, Epoch, Incarnation, Layout, Lba, LogIdentity, Lsn, SegmentId};
use wal::{ShardId, VolumeId};

use super::*;

/// The identity of the data directory.
const HOST: [u8; 16] = [5; 16];

/// A volume that this host has opened once, with three records in the log of its only shard. The last one
/// says that the others were synced.
fn logged_volume(shell: &Shell) -> PathBuf {
    let made = shell.json("volume create vm1 --size 1G --json");
    let id = made["id"].as_str().unwrap();
    let volume = VolumeId::parse(id).unwrap();
    let store = shell.path().join("krait-data/store");
    let store = FileStore::open(store, Workers::start(1).unwrap()).unwrap();
    block_on(async {
        let (seq, bytes) = latest(&store, volume).await.unwrap().unwrap();
        let (_, mut manifest) = Manifest::decode(&bytes).unwrap();
        manifest.incarnation = Incarnation(1);
        (manifest.owner, manifest.tenure) = (HOST, Incarnation(1));
        let next = manifest.encode(seq.next());
        publish(&store, volume, seq.next(), next, &bytes).await.unwrap();
    });
    let dir = shell.path().join(format!("krait-data/wal/{id}"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(shell.path().join("krait-data/host-id"), HOST).unwrap();
    let file = dir.join("00000001-00000001.wal");
    fs::write(&file, segment(volume)).unwrap();
    file
}

fn segment(volume: VolumeId) -> Vec<u8> {
    let identity = LogIdentity {
        volume,
        incarnation: Incarnation(1),
        salt: 0xfeed,
        shard: ShardId(0),
        layout: Layout::new(10, 1).unwrap(),
    };
    let batch = |at, lsn| {
        let buf = vec![0; 16 * BLOCK_BYTES];
        Batch::begin(buf, identity, SegmentId(1), at, Lsn(lsn))
    };
    let mut first = batch(0, 1);
    first.push_data(Epoch(1), Lba(0), &[1; 2 * BLOCK_BYTES]).unwrap();
    first.push_data(Epoch(2), Lba(7), &[2; BLOCK_BYTES]).unwrap();
    let mut bytes = first.finish(Lsn(0)).buf;
    let mut second = batch(5, 3);
    second.push_data(Epoch(2), Lba(9), &[3; BLOCK_BYTES]).unwrap();
    bytes.extend(second.finish(Lsn(2)).buf);
    bytes.resize(32 * BLOCK_BYTES, 0);
    bytes
}

/// Damages one byte of a file.
fn damage(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn status_and_check_count_what_waits_in_the_log() {
    let shell = Shell::new();
    logged_volume(&shell);
    let status = shell.json("volume status vm1 --json");
    assert_eq!(status["logged_bytes"], 4 * BLOCK_BYTES);
    assert_eq!(status["wal_bytes"], 32 * BLOCK_BYTES);
    let check = shell.json("volume check vm1 --json");
    assert_eq!((&check["clean"], &check["log"]["replay_records"]), (&true.into(), &3.into()));
    says(&shell.ok("volume check vm1"), "3 records with 16 KiB of data to replay");
}

#[test]
fn an_unsynced_end_is_no_damage() {
    let shell = Shell::new();
    let file = logged_volume(&shell);
    damage(&file, 6 * BLOCK_BYTES);
    let check = shell.json("volume check vm1 --json");
    assert_eq!((&check["clean"], &check["log"]["torn_tails"]), (&true.into(), &1.into()));
    assert_eq!(check["log"]["replay_records"], 2);
}

#[test]
fn a_synced_record_that_is_damaged_is_found_and_named() {
    let shell = Shell::new();
    let file = logged_volume(&shell);
    damage(&file, BLOCK_BYTES);
    let ran = shell.run("volume check vm1 --json");
    assert_eq!(ran.code, 6, "{}", ran.err);
    let check: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(check["clean"], false);
    says(check["problems"][0].as_str().unwrap(), "record 1 of shard 0");
    assert_eq!(shell.json("volume status vm1 --json")["logged_bytes"], Value::Null);
}

#[test]
fn deleting_a_volume_deletes_its_log() {
    let shell = Shell::new();
    let file = logged_volume(&shell);
    shell.ok("volume delete vm1 --yes");
    assert!(!file.parent().unwrap().exists());
}
