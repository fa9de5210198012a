//! A disk that is full. Alone in its process, as it limits the files of all of it.

use krait::runtime::{CoreOptions, CorePlan};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use wal::disk::Disk;

/// Larger than the limit of this process is refused as it is on a full disk, after a part.
#[test]
fn a_full_disk_is_known_as_such_and_leaves_no_file() {
    // Without a handler the signal that goes with the error would end the process.
    let signal = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGXFSZ, signal).expect("a handler");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = CoreOptions { cores: Some(1), ..CoreOptions::new(dir.path()) };
    let plan = CorePlan::new(&options).expect("plan");
    let running = plan.start(vec![()], |context, ()| async move {
        let unlimited = getrlimit(Resource::Fsize);
        // In the middle of the third write.
        let limited = Rlimit { current: Some((5 << 20) / 2), ..unlimited };
        setrlimit(Resource::Fsize, limited).expect("a limit");
        let error = context.disk.create("large", 4 << 20).await.expect_err("no space");
        setrlimit(Resource::Fsize, unlimited).expect("no limit");
        assert!(error.is_no_space(), "{error}");
        let left = context.disk.list("").await.expect("list");
        assert!(left.iter().all(|file| file.name != "large"), "{left:?}");
        context.disk.create("large", 4 << 20).await.expect("it went away by itself");
    });
    running.expect("start").join().expect("end");
}
