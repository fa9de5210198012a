use std::rc::Rc;

use wal::disk::DiskFile;
use wal::{BLOCK_BYTES, SECTOR_BYTES};

use super::*;
use crate::sim::executor::Budget;

const BUDGET: Budget = Budget { steps: 100_000, span: Duration::from_secs(600) };
const BLOCK: u64 = BLOCK_BYTES as u64;

struct Bench {
    executor: Executor,
    drive: Drive,
    process: ProcessId,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let executor = Executor::new(seed, false);
        let drive = Drive::new(&executor, seed);
        let process = executor.start_process();
        Self { executor, drive, process }
    }

    fn block_on<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        self.executor.block_on(self.process, BUDGET, future).expect("the disk answers")
    }

    fn disk(&self) -> SimDisk {
        self.drive.attach(self.process)
    }

    fn create(&self, path: &'static str, blocks: u64) -> SimFile {
        let disk = self.disk();
        let created = self.block_on(async move { disk.create(path, blocks * BLOCK).await });
        created.expect("there is room")
    }

    fn write(&self, file: &SimFile, block: u64, byte: u8) -> Result<(), DiskError> {
        let file = file.clone();
        self.block_on(async move {
            let mut buf = file.alloc(BLOCK_BYTES);
            buf.fill(byte);
            file.write_at(block * BLOCK, Rc::new(buf)).await
        })
    }

    fn sync(&self, file: &SimFile) -> Result<(), DiskError> {
        let file = file.clone();
        self.block_on(async move { file.sync().await })
    }

    /// Starts a future and kills its process after `steps` more steps.
    fn kill_during(&mut self, steps: u64, future: impl Future<Output = ()> + 'static) {
        self.executor.spawn(self.process, crate::engine::mesh::CoreId(0), future);
        let until = self.executor.steps() + steps;
        let _ = self.executor.run(BUDGET, || self.executor.steps() >= until);
        self.kill();
    }

    fn kill(&mut self) {
        self.executor.kill(self.process);
        self.drive.settle_kill(self.process);
        self.process = self.executor.start_process();
    }

    /// The first byte of each sector of the only file.
    fn sectors(&self) -> Vec<u8> {
        let files = self.drive.files();
        let [(_, bytes)] = &files[..] else { panic!("not one file") };
        bytes.iter().step_by(SECTOR_BYTES).copied().collect()
    }
}

/// What a file of one block, written with 1, synced, then written with 2 and 3, holds after a
/// power loss, over many seeds.
fn outcomes(mode: PowerLoss) -> Vec<Vec<u8>> {
    let outcome = |seed| {
        let mut bench = Bench::new(seed);
        let file = bench.create("dir/file", 1);
        bench.write(&file, 0, 1).expect("no fault");
        bench.sync(&file).expect("no fault");
        bench.write(&file, 0, 2).expect("no fault");
        bench.write(&file, 0, 3).expect("no fault");
        bench.kill();
        assert_eq!(bench.sectors(), [3; 8], "a kill keeps it readable");
        bench.drive.settle_power_loss(mode);
        let left = bench.sectors();
        bench.drive.settle_power_loss(PowerLoss::DropAll);
        assert_eq!(bench.sectors(), left, "what a power loss left is durable");
        left
    };
    (0..200).map(outcome).collect()
}

#[test]
fn each_power_loss_leaves_what_its_mode_says() {
    assert!(outcomes(PowerLoss::DropAll).iter().all(|left| left == &[1; 8]));
    assert!(outcomes(PowerLoss::KeepAll).iter().all(|left| left == &[3; 8]));
    let mixed = outcomes(PowerLoss::PerSector);
    assert!(mixed.iter().flatten().all(|byte| (1..=3).contains(byte)));
    assert!((1..=3).all(|byte| mixed.iter().flatten().any(|&seen| seen == byte)));
    let prefixes = outcomes(PowerLoss::TornPrefix);
    let is_torn = |left: &&Vec<u8>| left.first() != left.last();
    assert!(prefixes.iter().all(|left| left.is_sorted_by(|a, b| a >= b)), "{prefixes:?}");
    assert!(prefixes.iter().filter(is_torn).count() > 10);
    let suffixes = outcomes(PowerLoss::SuffixOnly);
    assert!(suffixes.iter().all(|left| left == &[1; 8] || left == &[3; 8]));
    let noise = outcomes(PowerLoss::Garbage);
    assert!(noise.iter().flatten().any(|byte| !(1..=3).contains(byte)));
}

#[test]
fn an_early_write_can_vanish_while_a_later_one_stays() {
    let seeds = (0..100).filter(|&seed| {
        let bench = Bench::new(seed);
        let file = bench.create("file", 2);
        bench.write(&file, 0, 1).expect("no fault");
        bench.write(&file, 1, 2).expect("no fault");
        bench.drive.settle_power_loss(PowerLoss::SuffixOnly);
        bench.sectors()[0] == 0 && bench.sectors()[8] == 2
    });
    assert!(seeds.count() > 10);
}

#[test]
fn a_write_under_way_at_a_kill_may_land_in_any_of_its_sectors() {
    let mut seen = Vec::new();
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        let file = bench.create("file", 1);
        let write = file.clone();
        bench.kill_during(1, async move {
            let mut buf = write.alloc(BLOCK_BYTES);
            buf.fill(1);
            let _ = write.write_at(0, Rc::new(buf)).await;
        });
        seen.push(bench.sectors().iter().filter(|&&byte| byte == 1).count());
    }
    assert!((0..=8).all(|sectors| seen.contains(&sectors)), "{seen:?}");
}

#[test]
fn a_sync_promises_only_what_had_completed_before_it() {
    let mut lost = 0;
    for seed in 0..100 {
        let bench = Bench::new(seed);
        let file = bench.create("file", 1);
        let (write, sync) = (file.clone(), file.clone());
        let process = bench.process;
        let core = crate::engine::mesh::CoreId(0);
        bench.executor.spawn(process, core, async move {
            let mut buf = write.alloc(BLOCK_BYTES);
            buf.fill(1);
            write.write_at(0, Rc::new(buf)).await.expect("no fault");
        });
        bench.block_on(async move { sync.sync().await.expect("no fault") });
        let _ = bench.executor.run(BUDGET, || false);
        bench.drive.settle_power_loss(PowerLoss::DropAll);
        lost += u64::from(bench.sectors()[0] == 0);
    }
    assert_eq!(lost, 100, "the write had not completed when the sync was called");
}

#[test]
fn a_creation_under_way_leaves_no_file_a_part_or_the_whole() {
    let mut sizes = Vec::new();
    for seed in 0..300 {
        let mut bench = Bench::new(seed);
        let disk = bench.disk();
        bench.kill_during(1, async move { drop(disk.create("dir/file", 2 * BLOCK).await) });
        let left = bench.drive.files();
        sizes.push(left.first().map(|(_, bytes)| bytes.len() / SECTOR_BYTES));
        bench.drive.settle_power_loss(PowerLoss::DropAll);
        assert!(bench.drive.files().is_empty(), "its directory was not synced");
    }
    assert!([None, Some(3), Some(16)].iter().all(|size| sizes.contains(size)), "{sizes:?}");
}

#[test]
fn a_removal_under_way_can_come_undone_until_the_directory_is_synced() {
    let (mut gone, mut back, mut settled) = (0, 0, 0);
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        let file = bench.create("dir/file", 1);
        bench.write(&file, 0, 7).expect("no fault");
        bench.sync(&file).expect("no fault");
        let disk = bench.disk();
        bench.kill_during(1, async move { drop(disk.remove("dir/file").await) });
        if !bench.drive.files().is_empty() {
            continue;
        }
        gone += 1;
        if seed % 2 == 0 {
            bench.create("dir/other", 1);
            bench.drive.settle_power_loss(PowerLoss::DropAll);
            settled += 1;
            assert_eq!(bench.drive.files().len(), 1, "the removal is durable with the other file");
        } else {
            bench.drive.settle_power_loss(PowerLoss::DropAll);
            back += 1;
            assert_eq!(bench.sectors(), [7; 8]);
        }
    }
    assert!(gone > 20 && back > 5 && settled > 5, "{gone} {back} {settled}");
}

#[test]
fn a_failed_sync_drops_data_and_the_next_one_does_not_bring_it_back() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..50 {
        let bench = Bench::new(seed);
        let file = bench.create("file", 1);
        bench.write(&file, 0, 1).expect("no fault");
        let failing = vec![(Call::Sync, 0)];
        bench.drive.set_faults(DiskFaults { failing, ..Default::default() });
        assert!(bench.sync(&file).is_err());
        assert!(bench.sync(&file).is_ok());
        let seen = bench.sectors();
        bench.drive.settle_power_loss(PowerLoss::DropAll);
        assert_eq!(bench.sectors(), seen);
        lost += seen.iter().filter(|&&byte| byte == 0).count();
        kept += seen.iter().filter(|&&byte| byte == 1).count();
    }
    assert!(lost > 100 && kept > 100, "{lost} {kept}");
}

#[test]
fn calls_fail_on_demand() {
    let bench = Bench::new(1);
    let file = bench.create("file", 1);
    let failing = vec![(Call::Write, 1), (Call::Read, 0), (Call::Create, 0)];
    bench.drive.set_faults(DiskFaults { failing, ..Default::default() });
    assert!(bench.write(&file, 0, 1).is_ok());
    assert!(bench.write(&file, 0, 2).is_err());
    assert!(bench.write(&file, 0, 3).is_ok());
    let read = file.clone();
    assert!(bench.block_on(async move { read.read_at(0, BLOCK_BYTES).await.is_err() }));
    let disk = bench.disk();
    assert!(bench.block_on(async move { disk.create("other", BLOCK).await.is_err() }));
    assert_eq!(bench.drive.files().len(), 1, "no file is left behind");
    assert_eq!(bench.sectors(), [3; 8]);
}

#[test]
fn a_full_disk_says_so_and_gets_well_again() {
    let bench = Bench::new(1);
    let file = bench.create("file", 2);
    let capacity = Some(3 * BLOCK);
    let faults = DiskFaults { capacity, writes_left: Some(BLOCK), ..Default::default() };
    bench.drive.set_faults(faults);
    let disk = bench.disk();
    let create = |blocks: u64| {
        let disk = disk.clone();
        bench.block_on(async move { disk.create("other", blocks * BLOCK).await.map(drop) })
    };
    assert!(create(2).is_err_and(|error| error.is_no_space()));
    assert!(create(1).is_ok());
    assert!(bench.write(&file, 0, 1).is_ok());
    assert!(bench.write(&file, 1, 1).is_err_and(|error| error.is_no_space()));
    bench.drive.set_faults(DiskFaults::default());
    assert!(bench.write(&file, 1, 1).is_ok());
}

#[test]
fn names_files_and_ends_of_files_are_as_the_seam_says() {
    let bench = Bench::new(1);
    let file = bench.create("a/b", 1);
    bench.create("a/c/d", 2);
    let disk = bench.disk();
    bench.block_on(async move {
        let names = disk.list("a").await.expect("no fault");
        assert_eq!(names, [DirEntry { name: "b".to_owned(), bytes: BLOCK }]);
        assert_eq!(disk.list("none").await.expect("missing is empty"), []);
        let taken = disk.create("a/b", BLOCK).await.err().expect("it exists");
        assert_eq!(taken.source.kind(), ErrorKind::AlreadyExists);
        let missing = disk.open("a/x").await.err().expect("it does not exist");
        assert_eq!(missing.source.kind(), ErrorKind::NotFound);
        assert!(disk.remove("a/x").await.is_ok(), "missing is fine");
        let past = file.read_at(BLOCK, BLOCK_BYTES).await.expect_err("past the end");
        assert_eq!(past.source.kind(), ErrorKind::UnexpectedEof);
        disk.remove("a/b").await.expect("no fault");
        assert!(file.read_at(0, BLOCK_BYTES).await.is_ok(), "an open file outlives its name");
    });
    assert_eq!(bench.drive.files().len(), 1);
}

#[test]
fn rot_changes_one_bit_byte_or_sector_for_good() {
    for (rot, most) in [(Rot::Bit, 1), (Rot::Byte, 1), (Rot::Sector, SECTOR_BYTES)] {
        let bench = Bench::new(1);
        bench.create("file", 1);
        assert!(bench.drive.rot("file", 700, rot));
        assert!(!bench.drive.rot("file", BLOCK, rot) && !bench.drive.rot("other", 0, rot));
        bench.drive.settle_power_loss(PowerLoss::DropAll);
        let bytes = &bench.drive.files()[0].1;
        let changed: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
        assert!((1..=most).contains(&changed.len()), "{rot:?} {changed:?}");
        assert!(changed.iter().all(|at| (512..1024).contains(at)), "{rot:?} {changed:?}");
    }
}

#[test]
fn damage_brings_back_what_was_synced_before_or_what_belongs_elsewhere() {
    let bench = Bench::new(12);
    let file = bench.create("f", 2);
    for byte in 1..=3 {
        bench.write(&file, 0, byte).expect("no fault");
        bench.sync(&file).expect("no fault");
    }
    bench.write(&file, 1, 9).expect("no fault");
    bench.sync(&file).expect("no fault");
    let image = bench.drive.image();
    let block = |block: usize| {
        let bytes = bench.drive.files().remove(0).1;
        bytes[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES].to_vec()
    };
    assert!(bench.drive.rot("f", 600, Rot::StaleSector));
    assert_eq!(block(0)[..SECTOR_BYTES], [3; SECTOR_BYTES]);
    assert_eq!(block(0)[SECTOR_BYTES..2 * SECTOR_BYTES], [2; SECTOR_BYTES]);
    assert!(bench.drive.rot("f", 600, Rot::StaleBlock));
    assert_eq!(block(0), [2; BLOCK_BYTES]);
    bench.drive.restore(&image);
    assert_eq!(block(0), [3; BLOCK_BYTES]);
    while block(0) == [3; BLOCK_BYTES] {
        assert!(bench.drive.rot("f", 600, Rot::Misdirected));
    }
    assert_eq!(block(0), [9; BLOCK_BYTES]);
    assert!(!bench.drive.rot("f", 2 * BLOCK, Rot::Bit), "behind its end");
}

#[test]
fn a_full_disk_has_space_again_when_it_is_time() {
    let bench = Bench::new(13);
    let file = bench.create("f", 2);
    let full_until = Some(bench.executor.now() + Duration::from_secs(5));
    bench.drive.set_faults(DiskFaults {
        capacity: Some(2 * BLOCK),
        writes_left: Some(0),
        full_until,
        ..DiskFaults::default()
    });
    let disk = bench.disk();
    let create = move || {
        let disk = disk.clone();
        async move { disk.create("g", BLOCK).await.map(drop) }
    };
    assert!(bench.block_on(create()).expect_err("it is full").is_no_space());
    assert!(bench.write(&file, 0, 1).expect_err("it is full").is_no_space());
    let runtime = bench.executor.runtime(bench.process, crate::engine::mesh::CoreId(0));
    bench.block_on(async move {
        wal::runtime::Runtime::sleep(&runtime, Duration::from_secs(5)).await;
    });
    bench.block_on(create()).expect("there is space");
    bench.write(&file, 0, 1).expect("there is space");
}
