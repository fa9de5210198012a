//! Signals to end. Alone in its process, as it sends itself some.

use krait::runtime::{CoreOptions, CorePlan, StopSignals};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;

#[test]
fn both_signals_wake_the_core_that_waits_each_time() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = CoreOptions { cores: Some(1), ..CoreOptions::new(dir.path()) };
    let plan = CorePlan::new(&options).expect("plan");
    let signals = StopSignals::catch().expect("catch");
    raise(SIGTERM).expect("a signal before the core runs");
    let running = plan.start(vec![signals], |_, signals| async move {
        let requests = signals.serve();
        requests.next().await;
        raise(SIGINT).expect("a signal");
        requests.next().await;
    });
    running.expect("start").join().expect("end");
}

/// A client that goes away while it is written to must not end the server.
#[test]
fn broken_pipes_raise_no_signal() {
    let status = std::fs::read_to_string("/proc/self/status").expect("own status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a line");
    let mask = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
    assert_ne!(mask & (1 << (libc::SIGPIPE - 1)), 0, "{ignored}");
}
