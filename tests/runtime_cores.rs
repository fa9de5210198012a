//! Starting and ending executors.

use krait::engine::mesh::{CoreId, Mesh};
use krait::runtime::cores::{StartError, abort_on_panic};
use krait::runtime::{CoreContext, CoreOptions, CorePlan, RingMesh};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use wal::BLOCK_BYTES;
use wal::disk::{Disk, DiskFile};
use wal::runtime::Runtime;

fn options(dir: &tempfile::TempDir, cores: u16) -> CoreOptions {
    CoreOptions { cores: Some(cores), share_cpus: true, ..CoreOptions::new(dir.path()) }
}

fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

async fn create_then_read(context: CoreContext) -> bool {
    let path = format!("shard-{}/file", context.id.0);
    let file = context.disk.create(&path, BLOCK_BYTES as u64).await.expect("create");
    let read = file.read_at(0, BLOCK_BYTES).await.expect("read");
    read.iter().all(|&byte| byte == 0)
}

/// Without the warm-up the first open on each core would be of an empty file, and the read would
/// fail with "operation not supported".
#[test]
fn a_core_whose_first_file_is_empty_can_read_it_later() {
    for cores in [1, 2] {
        let dir = data_dir();
        let plan = CorePlan::new(&options(&dir, cores)).expect("plan");
        assert_eq!(plan.cores(), cores);
        let seeds = vec![(); usize::from(cores)];
        let running = plan.start(seeds, |context, ()| create_then_read(context));
        assert_eq!(running.expect("start").join().expect("join"), vec![true; usize::from(cores)]);
    }
}

#[test]
fn cores_pass_messages_around_a_circle_and_end() {
    let dir = data_dir();
    for cores in [2, 3] {
        let plan = CorePlan::new(&options(&dir, cores)).expect("plan");
        let ends = RingMesh::<u32>::build(cores);
        let running = plan.start(ends, move |context, end| async move {
            let mesh = end.bind(&context.runtime);
            assert_eq!((mesh.me(), mesh.cores()), (context.id, cores));
            let next = CoreId((context.id.0 + 1) % cores);
            let mut last = 0;
            if context.id == CoreId(0) {
                mesh.send(next, 1).await;
            }
            while last < 1000 {
                last = mesh.receive().await;
                mesh.send(next, last + 1).await;
            }
            last
        });
        let last = running.expect("start").join().expect("join");
        assert!(last.iter().all(|&count| count >= 1000), "{last:?}");
    }
}

#[test]
fn results_come_in_core_order_and_threads_have_names() {
    let dir = data_dir();
    let plan = CorePlan::new(&options(&dir, 2)).expect("plan");
    let running = plan.start(vec!["a", "b"], |context, seed| async move {
        let name = std::thread::current().name().expect("a name").to_owned();
        (context.id.0, seed, name)
    });
    let expected = vec![(0, "a", "krait-core-0".into()), (1, "b", "krait-core-1".into())];
    assert_eq!(running.expect("start").join().expect("join"), expected);
}

#[test]
fn a_panic_is_reported_with_its_core() {
    let dir = data_dir();
    let plan = CorePlan::new(&options(&dir, 2)).expect("plan");
    let running = plan.start(vec![false, true], |_, fails| async move { assert!(!fails, "meant") });
    assert_eq!(running.expect("start").join().expect_err("a panic").core, 1);
}

#[test]
fn more_cores_than_cpus_are_refused_by_name() {
    let dir = data_dir();
    let asked = CoreOptions { cores: Some(u16::MAX), ..CoreOptions::new(dir.path()) };
    let error = CorePlan::new(&asked).expect_err("too many");
    assert!(matches!(error, StartError::CoreCount { asked: 65535, .. }), "{error}");
    let none = CorePlan::new(&options(&dir, 0)).expect_err("none");
    assert!(matches!(none, StartError::CoreCount { asked: 0, .. }), "{none}");
}

#[test]
fn a_missing_data_directory_is_refused_by_name() {
    let error =
        CorePlan::new(&CoreOptions::new(Path::new("/nowhere/at/all"))).expect_err("missing");
    assert_eq!(
        error.to_string(),
        "data directory /nowhere/at/all: No such file or directory (os error 2)"
    );
}

#[test]
fn a_data_directory_that_takes_no_files_is_refused_by_name() {
    let error = CorePlan::new(&CoreOptions::new(Path::new("/proc/self"))).expect_err("refused");
    assert!(matches!(error, StartError::DataDir { .. }), "{error}");
}

#[test]
fn a_panic_ends_the_whole_process_when_asked_for() {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--ignored", "--exact", "child_that_panics"]);
    let ended = child.output().expect("run it").status;
    assert_eq!(ended.signal(), Some(libc::SIGABRT), "{ended}");
}

#[test]
#[ignore = "run by the test above in its own process"]
fn child_that_panics() {
    let dir = data_dir();
    let plan = CorePlan::new(&options(&dir, 2)).expect("plan");
    abort_on_panic();
    let running = plan.start(vec![true, false], |_, fails| async move {
        assert!(!fails, "meant");
        // The other core would wait for ever.
        std::future::pending::<()>().await;
    });
    running.expect("start").join().expect("not reached");
}

/// A core that computes in slices still answers its peers: with mere yields between the slices it
/// would notice a message only when the preemption timer fires, each 100 ms.
#[test]
fn a_core_that_computes_in_slices_answers_between_them() {
    const TRIPS: u32 = 40;
    let dir = data_dir();
    let plan = CorePlan::new(&options(&dir, 2)).expect("plan");
    let running = plan.start(RingMesh::<u32>::build(2), |context, end| async move {
        let mesh = end.bind(&context.runtime);
        let peer = CoreId(1 - context.id.0);
        let runtime = context.runtime;
        let start = runtime.now();
        if context.id == CoreId(0) {
            for trip in 0..TRIPS {
                mesh.send(peer, trip).await;
                mesh.receive().await;
            }
            return runtime.now() - start;
        }
        runtime.spawn(async move {
            loop {
                let slice = runtime.now();
                while runtime.now() - slice < Duration::from_micros(30) {}
                runtime.pause().await;
            }
        });
        for _ in 0..TRIPS {
            let trip = mesh.receive().await;
            mesh.send(peer, trip).await;
        }
        Duration::ZERO
    });
    let spans = running.expect("start").join().expect("end");
    assert!(spans[0] < TRIPS * Duration::from_millis(50), "{:?} for {TRIPS} trips", spans[0]);
}
