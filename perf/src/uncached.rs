//! Loads whose reads are to reach the disk, of a server that reads its store through the page cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::command::Krait;
use crate::page_cache;
use crate::recipe::EXPORT;
use crate::rows::RowError;

/// How often the page cache is dropped: it has then read a small part of a volume again.
const PAUSE: Duration = Duration::from_millis(250);

/// Moves everything into the store, then runs `load` while the page cache of the store is dropped
/// again and again.
///
/// # Errors
/// If something cannot be moved, or the page cache not be dropped.
pub fn load<T: Send>(krait: &Krait, load: impl FnOnce() -> T) -> Result<T, RowError> {
    krait.drain(EXPORT)?;
    let store = krait.data_dir().join("store");
    page_cache::forget(&store)?;
    let loading = AtomicBool::new(true);
    thread::scope(|scope| {
        let dropper = thread::Builder::new().name("dropper".to_owned());
        let dropper = dropper.spawn_scoped(scope, || {
            while loading.load(Ordering::Relaxed) {
                clock::pause(PAUSE);
                page_cache::forget(&store)?;
            }
            Ok::<_, RowError>(())
        })?;
        let outcome = load();
        loading.store(false, Ordering::Relaxed);
        dropper.join().map_err(|_| RowError::Panicked)??;
        Ok(outcome)
    })
}
