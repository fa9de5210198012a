//! What a world tests.

use std::ops::Range;

use super::host::Host;
use wal::disk::DiskError;

/// Why a subject refused a command.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// No space: it goes away when there is space again.
    #[error("no space")]
    NoSpace,
    /// The volume is being closed.
    #[error("shutting down")]
    Shutdown,
    /// Another host has the volume.
    #[error("taken over: {0}")]
    Fenced(String),
    /// An I/O error; the text is for the report only.
    #[error("I/O error: {0}")]
    Io(String),
}

impl From<DiskError> for OpError {
    fn from(error: DiskError) -> Self {
        if error.is_no_space() { Self::NoSpace } else { Self::Io(error.to_string()) }
    }
}

/// How sectors are zeroed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZeroKind {
    /// TRIM.
    Discard,
    /// WRITE_ZEROES.
    Zero,
}

/// A block device under test, run by simulated processes one after the other.
///
/// All offsets and lengths are in bytes, and multiples of 512. A reply without an error is a
/// promise that the judge holds the subject to.
pub trait Subject: 'static {
    /// One core's handle of the open volume.
    type Volume: Clone + 'static;

    /// Whether it makes cuts by itself, as often as its [tuning](super::scenario::Tuning) says,
    /// and one when it closes.
    const CUTS: bool;

    /// Whether another host may take it over from the store.
    const FENCES: bool;

    /// Whether it keeps the [promises](super::scenario::Tuning::promises) of its tuning.
    const PROMISES: bool;

    /// Whether it copes with full disks, lies of the store, and damage to what is stored.
    const ENDURES: bool;

    /// Whether it makes snapshots and clones. All that is about them is called only then.
    const COPIES: bool = false;

    /// Whether it can have another size later on.
    const RESIZES: bool = false;

    /// Opens the volume on a host; returns one handle per core. With `create`, makes it first if
    /// it is not there: it is set until an open succeeded for the first time.
    async fn open(host: &Host, create: bool) -> Result<Vec<Self::Volume>, String>;

    /// Reads.
    async fn read(volume: &Self::Volume, offset: u64, bytes: usize) -> Result<Vec<u8>, OpError>;

    /// Writes; with `fua`, durable when it returns.
    async fn write(
        volume: &Self::Volume,
        offset: u64,
        bytes: Vec<u8>,
        fua: bool,
    ) -> Result<(), OpError>;

    /// Makes zeros.
    async fn zero(
        volume: &Self::Volume,
        offset: u64,
        bytes: u64,
        kind: ZeroKind,
        fua: bool,
    ) -> Result<(), OpError>;

    /// Makes durable every write that was answered before the call, on whatever core.
    async fn flush(volume: &Self::Volume) -> Result<(), OpError>;

    /// Makes a cut and publishes it; may fail while the store does.
    async fn cut(volume: &Self::Volume) -> Result<(), OpError>;

    /// Bytes of the volume, or of what else was opened, as a client is told that connects now; `None`
    /// if it is as large as it was made.
    fn size(volume: &Self::Volume) -> Option<u64> {
        let _ = volume;
        None
    }

    /// Gives the volume another size; nobody uses it meanwhile if it shrinks.
    async fn resize(volume: &Self::Volume, bytes: u64) -> Result<(), OpError> {
        unreachable!("{}", absent(volume, (bytes >> 9) as u32))
    }

    /// Makes a snapshot of this number; may fail while the store does.
    async fn snapshot(volume: &Self::Volume, number: u32) -> Result<(), OpError> {
        unreachable!("{}", absent(volume, number))
    }

    /// Makes snapshots of several volumes at one instant, each of this number.
    async fn snapshot_group(volumes: &[Self::Volume], number: u32) -> Result<(), String> {
        unreachable!("{}", absent(volumes, number))
    }

    /// Whether there is a snapshot of this number.
    async fn has_snapshot(volume: &Self::Volume, number: u32) -> Result<bool, String> {
        unreachable!("{}", absent(volume, number))
    }

    /// Opens a snapshot for reading.
    async fn view(volume: &Self::Volume, number: u32) -> Result<Self::Volume, String> {
        unreachable!("{}", absent(volume, number))
    }

    /// The sectors that may differ between two snapshots, in order.
    async fn changes(volume: &Self::Volume, of: (u32, u32)) -> Result<Vec<Range<u64>>, String> {
        unreachable!("{}", absent(volume, of.0.max(of.1)))
    }

    /// Closes what was opened for reading.
    async fn close_view(view: &Self::Volume) -> Result<(), String> {
        unreachable!("{}", absent(view, 0))
    }

    /// Makes a clone of a snapshot of this number, and opens it.
    async fn clone_of(
        volume: &Self::Volume,
        snapshot: u32,
        number: u32,
    ) -> Result<Self::Volume, String> {
        unreachable!("{}", absent(volume, snapshot.max(number)))
    }

    /// Closes a clone and opens it again.
    async fn reopen(clone: &Self::Volume) -> Result<Self::Volume, String> {
        unreachable!("{}", absent(clone, 0))
    }

    /// Separates a clone from what it was made of; `false` if that is refused as a snapshot of it
    /// shares with that.
    async fn flatten(clone: &Self::Volume) -> Result<bool, String> {
        unreachable!("{}", absent(clone, 0))
    }

    /// Whether a clone refers to what it was made of, as the store knows it.
    async fn is_linked(clone: &Self::Volume) -> Result<bool, String> {
        unreachable!("{}", absent(clone, 0))
    }

    /// Opens a clone that an earlier life has left, on whatever host.
    async fn open_clone(volume: &Self::Volume, number: u32) -> Result<Self::Volume, String> {
        unreachable!("{}", absent(volume, number))
    }

    /// Closes and deletes a clone.
    async fn delete_clone(clone: &Self::Volume, number: u32) -> Result<(), String> {
        unreachable!("{}", absent(clone, number))
    }

    /// Deletes a snapshot; `false` if that is refused as a clone needs it.
    async fn delete_snapshot(volume: &Self::Volume, number: u32) -> Result<bool, String> {
        unreachable!("{}", absent(volume, number))
    }

    /// Closes the volume on all cores: when it returns, everything acknowledged is durable.
    async fn close(volume: &Self::Volume) -> Result<(), OpError>;

    /// What of its memory is over its cap.
    fn excess(volume: &Self::Volume) -> Option<String> {
        let _ = volume;
        None
    }

    /// Checks the open volume: everything referenced is there and whole, nothing is owned twice.
    async fn check(volume: &Self::Volume) -> Result<(), String>;
}

fn absent<V: ?Sized>(_: &V, number: u32) -> String {
    format!("this subject has no snapshots and no other sizes, so none of number {number}")
}
