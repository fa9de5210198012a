//! The seam to the disk, on real files.

use krait::runtime::{CoreOptions, CorePlan, GlommioDisk};
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use wal::BLOCK_BYTES;
use wal::disk::{DirEntry, Disk, DiskBuf, DiskError, DiskFile};

const BLOCK: u64 = BLOCK_BYTES as u64;

fn run<F: Future<Output = ()> + 'static>(dir: &Path, main: fn(GlommioDisk) -> F) {
    let options = CoreOptions { cores: Some(1), ..CoreOptions::new(dir) };
    let plan = CorePlan::new(&options).expect("plan");
    plan.start(vec![()], move |context, ()| main(context.disk))
        .expect("start")
        .join()
        .expect("end");
}

fn run_in_target<F: Future<Output = ()> + 'static>(main: fn(GlommioDisk) -> F) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    run(dir.path(), main);
}

async fn round_trip(disk: GlommioDisk) {
    let file = disk.create("a/b/segment", 3 * BLOCK).await.expect("create");
    let mut buf = file.alloc(2 * BLOCK_BYTES);
    buf.fill(7);
    let buf = Rc::new(buf);
    file.write_at(BLOCK, Rc::clone(&buf)).await.expect("write");
    file.sync().await.expect("sync");
    drop(file);
    let file = disk.open("a/b/segment").await.expect("open");
    let read = file.read_at(0, 3 * BLOCK_BYTES).await.expect("read");
    assert!(read[..BLOCK_BYTES].iter().all(|&byte| byte == 0), "zeros were really written");
    assert_eq!(&read[BLOCK_BYTES..], &buf[..]);
    let listed = disk.list("a/b").await.expect("list");
    assert_eq!(listed, vec![DirEntry { name: "segment".into(), bytes: 3 * BLOCK }]);
    disk.remove("a/b/segment").await.expect("remove");
    disk.remove("a/b/segment").await.expect("a second time");
    disk.remove("none/at/all").await.expect("not even a directory");
    assert_eq!(disk.list("a/b").await.expect("list"), vec![]);
    assert_eq!(disk.list("none").await.expect("list"), vec![]);
}

#[test]
fn what_is_written_is_read_after_reopening() {
    run_in_target(round_trip);
}

/// tmpfs has no direct I/O to a device; there the same calls go through its memory.
#[test]
fn a_memory_file_system_works_as_well() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    run(dir.path(), round_trip);
}

async fn refusals(disk: GlommioDisk) {
    let kind = |error: DiskError| (error.action, error.path, error.source.kind());
    disk.create("one", BLOCK).await.expect("create");
    let error = disk.create("one", 2 * BLOCK).await.expect_err("exists");
    assert_eq!(kind(error), ("create", "one".into(), ErrorKind::AlreadyExists));
    let listed = disk.list("").await.expect("list");
    assert!(listed.contains(&DirEntry { name: "one".into(), bytes: BLOCK }), "left alone");
    let error = disk.open("two").await.expect_err("missing");
    assert_eq!(kind(error), ("open", "two".into(), ErrorKind::NotFound));
    let file = disk.open("one").await.expect("open");
    let error = file.read_at(0, 2 * BLOCK_BYTES).await.expect_err("the end comes first");
    assert_eq!(kind(error), ("read", "one".into(), ErrorKind::UnexpectedEof));
    let error = disk.create("one/below", BLOCK).await.expect_err("not a directory");
    assert_eq!(kind(error), ("create", "one/below".into(), ErrorKind::NotADirectory));
}

#[test]
fn errors_name_action_and_file() {
    run_in_target(refusals);
}

async fn large_files(disk: GlommioDisk) {
    let bytes = (5 << 20) + 3 * BLOCK;
    let file = disk.create("large", bytes).await.expect("create");
    let tail = file.read_at(5 << 20, 3 * BLOCK_BYTES).await.expect("read");
    assert!(tail.iter().all(|&byte| byte == 0));
    assert_eq!(file.read_at(0, 4 << 20).await.expect("read").len(), 4 << 20);
    assert!(file.read_at(bytes, BLOCK_BYTES).await.is_err());
}

#[test]
fn files_of_many_writes_have_their_exact_length() {
    run_in_target(large_files);
}

async fn shared_buffers(disk: GlommioDisk) {
    let file = disk.create("shared", 64 * BLOCK).await.expect("create");
    let mut buf = file.alloc(8 * BLOCK_BYTES);
    for round in 0..8_u8 {
        buf.fill(round);
        let shared = Rc::new(buf);
        let write = file.write_at(u64::from(round) * 8 * BLOCK, Rc::clone(&shared));
        write.await.expect("write");
        buf = Rc::into_inner(shared).expect("the write gave its share back");
    }
    buf.truncate(BLOCK_BYTES);
    assert_eq!(buf.len(), BLOCK_BYTES);
    let read = file.read_at(0, 64 * BLOCK_BYTES).await.expect("read");
    for (round, blocks) in read.chunks_exact(8 * BLOCK_BYTES).enumerate() {
        assert!(blocks.iter().all(|&byte| usize::from(byte) == round));
    }
}

#[test]
fn a_buffer_can_be_used_again_after_its_write() {
    run_in_target(shared_buffers);
}

async fn many_files(disk: GlommioDisk) {
    let open_files = || std::fs::read_dir("/proc/self/fd").expect("own descriptors").count();
    disk.create("many", BLOCK).await.expect("create");
    let before = open_files();
    for _ in 0..200 {
        let file = disk.open("many").await.expect("open");
        file.sync().await.expect("sync");
    }
    // The closes of the last few may still be queued.
    let file = disk.open("many").await.expect("open");
    file.sync().await.expect("sync");
    assert!(open_files() < before + 20, "{before} before, {} after", open_files());
}

#[test]
fn files_are_closed_when_their_last_handle_goes() {
    run_in_target(many_files);
}
