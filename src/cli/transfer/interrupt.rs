//! What is said when somebody ends a transfer by a signal.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};

/// Bytes of a transfer that are done, for who transfers and for who is asked at its end.
#[derive(Clone)]
pub(super) struct Done(Arc<AtomicU64>);

impl Done {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(bytes.into()))
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP print a line, and then end the process as ever: whatever is
/// waited for, as that may be a pipe that brings nothing.
///
/// # Errors
/// If the signals cannot be caught.
pub(super) fn say_at_the_end(line: impl Fn() -> String + Send + 'static) -> io::Result<()> {
    let (mut told, tell) = UnixStream::pair()?;
    let which = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, which.clone(), signal as usize)?;
        pipe::register(signal, tell.try_clone()?)?;
    }
    thread::Builder::new().name("interrupt".into()).spawn(move || {
        // Fails at the end of the process, when nobody is left to tell.
        if told.read_exact(&mut [0]).is_ok() {
            // Behind the `^C` and the bar that stand there.
            let begin = if io::stderr().is_terminal() { "\n" } else { "" };
            let _ = writeln!(io::stderr(), "{begin}krait: {}", line());
            let _ = emulate_default_handler(which.load(Ordering::Relaxed) as i32);
        }
    })?;
    Ok(())
}
