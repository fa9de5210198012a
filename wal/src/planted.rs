//! Bugs planted on purpose, to prove that the tests would find them.
//!
//! Code that a test must not let break asks [`is`] at the place where the bug would be. Without
//! the feature `planted`, which no build of the product has, the answer is a constant `false` and
//! the hook leaves no trace. With it, a test plants one bug at a time on its own thread with
//! `plant`, and `times_asked` tells whether the hook was reached at all.

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident = $name:literal,)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// Its name on a command line and in a report.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    /// A FLUSH syncs the shard of the core that it came in on, and no other.
    FlushOneShard = "flush-one-shard",
    /// A FLUSH waits for the append, and skips the sync.
    FlushWithoutSync = "flush-without-sync",
    /// A write that must be durable when it is acknowledged is acknowledged from memory.
    AnswersBeforeLog = "answers-before-log",
    /// A FLUSH that must wait for the store waits for the local log.
    FlushStaysLocal = "flush-stays-local",
    /// A FLUSH is answered although the lease has run out.
    LeaseIgnored = "lease-ignored",
    /// Who opens a volume that is open already does not look whether another host has it by now.
    StaleOpening = "stale-opening",
    /// A host takes over without waiting for the end of the other one's lease.
    LeaseNotWaitedFor = "lease-not-waited-for",
    /// Nothing vouches for the newest record of a log that is idle.
    NoMark = "no-mark",
    /// Recovery takes a record that was synced, and is not there as it was written, for the end of
    /// the log.
    LossTakenForTornTail = "loss-taken-for-torn-tail",
    /// An append that finds the disk full stops the volume.
    NoSpaceIsFinal = "no-space-is-final",
    /// A log that found no space waits for a cut, and never looks for space again.
    SpaceNotLookedFor = "space-not-looked-for",
    /// A writer is told of a lack of space that has passed.
    StaleNoSpace = "stale-no-space",
    /// A FLUSH takes the log position before the writes that were answered are in the log.
    FlushAckBeforeAppend = "flush-ack-before-append",
    /// A shard is marked clean when its sync begins, so that a second FLUSH does not wait for it.
    CleanBeforeSyncEnds = "clean-before-sync-ends",
    /// An error of a sync is logged and forgotten.
    SyncErrorIgnored = "sync-error-ignored",
    /// A failed sync is tried again, and believed when it succeeds.
    SyncRetried = "sync-retried",
    /// After a sync that failed, one of another shard that succeeds is believed.
    SyncBelievedAfterError = "sync-believed-after-error",
    /// Replay takes a record whose header is whole without the checksums of its payload.
    NoPayloadChecksum = "no-payload-checksum",
    /// Replay goes shard by shard, in whatever order the segments are listed, not in the order of
    /// incarnation and epoch.
    ReplayInListOrder = "replay-in-list-order",
    /// Replay takes records of any incarnation that stand behind the valid tail.
    NoIncarnationCheck = "no-incarnation-check",
    /// Replay does not skip the records that the manifest's cut covers.
    NoEpochFilter = "no-epoch-filter",
    /// Recovery overlooks the names of cuts.
    NameForgotten = "name-forgotten",
    /// The name of a cut is logged before all that the cut has is durable.
    NameBeforeSync = "name-before-sync",
    /// The name of a cut is logged before what only memory has of it.
    NameLeavesMemory = "name-leaves-memory",
    /// A named cut of an earlier opening is published as if it covered all of that one's log.
    NamedCutCoversAll = "named-cut-covers-all",
    /// The manifest of a named cut is published before its snapshot is put.
    NamedAfterManifest = "named-after-manifest",
    /// Recovery acts on what it read from the log without making it durable first.
    RecoveryWithoutSync = "recovery-without-sync",
    /// A segment is recycled when its chunks are uploaded, before the manifest is published.
    RecycleBeforeManifest = "recycle-before-manifest",
    /// A map that cannot be folded grows in the manifest without limit.
    UnfoldedWithoutLimit = "unfolded-without-limit",
    /// A name is taken for free while the deletion of the snapshot that had it was cut off.
    DeletionForgotten = "deletion-forgotten",
    /// A snapshot that is taken back while it is put is put all the same.
    TakenBackWhilePut = "taken-back-while-put",
    /// What goes from memory to the log is stamped with the epoch of the last write.
    StaleStamp = "stale-stamp",
    /// A cut of nothing is not published, though its log is given back.
    EmptyCutUnpublished = "empty-cut-unpublished",
    /// Opening for writing does not raise the incarnation: two writers do not notice each other.
    NoFencing = "no-fencing",
    /// A chunk that cannot be read is taken for a hole.
    ZerosOnStoreError = "zeros-on-store-error",
    /// A block counts as zeros, and becomes a hole, if its first sector is zeros.
    ZerosBySector = "zeros-by-sector",
    /// A run of a chunk or of the log is dropped whole if its first block is superseded.
    RunDroppedByFirstBlock = "run-dropped-by-first-block",
    /// A write of a part of a block reads the rest before it has the block for itself.
    PartialWriteRace = "partial-write-race",
    /// Unfolded chunks are looked through from the oldest to the newest.
    UnfoldedReversed = "unfolded-reversed",
    /// TRIM and WRITE_ZEROES are not replayed.
    ZeroesNotReplayed = "zeroes-not-replayed",
    /// A block that was read from the store enters the cache after a write has replaced it.
    StaleCacheFill = "stale-cache-fill",
    /// A frozen map is dropped when its chunks are uploaded, before reads can find them.
    FrozenDroppedEarly = "frozen-dropped-early",
    /// A map page is folded without the chunks that were published while it was being made.
    FoldMissesNewChunks = "fold-misses-new-chunks",
    /// A shard learns of a new epoch from the coordinator's message, not before it answers a write.
    CutTakenLate = "cut-taken-late",
    /// A FLUSH leaves in memory what is in memory only.
    FlushLeavesMemory = "flush-leaves-memory",
    /// What a cut has in memory only is replaced there.
    FrozenMemoryReplaced = "frozen-memory-replaced",
    /// A cut is sealed with what replaced its blocks since.
    CutTakesNewest = "cut-takes-newest",
    /// A writer that lost its volume to another one goes on.
    TwoWriters = "two-writers",
    /// A host that was replaced replays its log over what the other host made of the volume.
    StaleLogReplayed = "stale-log-replayed",
    /// A host that was replaced opens the volume again, and removes the log of what it never
    /// published.
    StaleLogDropped = "stale-log-dropped",
    /// A manifest whose put failed counts as published.
    AmbiguousPutTrusted = "ambiguous-put-trusted",
    /// A manifest whose name is taken counts as another writer's, without a look at it.
    AmbiguousPutLost = "ambiguous-put-lost",
    /// A volume that shrinks keeps what is beyond its new end, to be seen when it grows again.
    ShrinkKeepsTail = "shrink-keeps-tail",
    /// A volume that shrinks gets its new size before the store knows that the tail is gone.
    ShrinkBeforeCut = "shrink-before-cut",
    /// Clients hear of a new size before it is published.
    SizeToldEarly = "size-told-early",
    /// The collector forgets that snapshots need objects, and clones through them.
    SnapshotsSwept = "snapshots-swept",
    /// The collector removes what it finds unneeded at once.
    GraceIgnored = "grace-ignored",
    /// Compaction packs what it reads, also if that was written since.
    CompactionTakesNewer = "compaction-takes-newer",
    /// A publisher takes any manifest before its own for the one that it has read.
    AnyPredecessor = "any-predecessor",
    /// A read-back that is damaged counts as another writer's manifest.
    DamageTakenForRival = "damage-taken-for-rival",
    /// The memory of an upload counts as free when the upload begins.
    PermitDroppedEarly = "permit-dropped-early",
    /// Filled append buffers pile up while the disk is busy.
    BuffersPileUp = "buffers-pile-up",
    /// The upload of an object fails, and nobody cares.
    UploadErrorIgnored = "upload-error-ignored",
    /// Bytes of a chunk are returned without their checksums.
    NoChunkChecksum = "no-chunk-checksum",
    /// Bytes from the cache on the local disk are returned without their checksums.
    CacheUnchecked = "cache-unchecked",
    /// A snapshot takes the newest manifest, without a cut of what was acknowledged since.
    SnapshotBeforeCut = "snapshot-before-cut",
    /// A clone takes the objects of its ancestors for its own.
    CloneOwnsAll = "clone-owns-all",
    /// A snapshot is deleted though a clone needs it.
    PinIgnored = "pin-ignored",
    /// Each of several volumes ends its epoch by itself when a snapshot of all is made.
    GroupCutApart = "group-cut-apart",
    /// What changed between two snapshots is told from their pages, without the chunks that are not
    /// folded.
    DiffOfPagesOnly = "diff-of-pages-only",
    /// A clone is separated from what it was made of before it has copied anything.
    FlattenCopiesNothing = "flatten-copies-nothing",
    /// What a clone was made of may go before the manifest without it is published.
    FlattenUnpinsFirst = "flatten-unpins-first",
    /// A clone is made, and nothing says so where its snapshot is.
    CloneWithoutPin = "clone-without-pin",
}

impl Bug {
    /// The bug of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// Whether this bug is planted: never, without the feature.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
mod plot {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether this bug is planted on this thread.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        let planted = PLANTED.get() == Some(bug);
        ASKED.set(ASKED.get() + u64::from(planted));
        planted
    }

    /// How often the hook of the planted bug was reached since it was planted on this thread.
    #[must_use]
    pub fn times_asked() -> u64 {
        ASKED.get()
    }

    /// Plants a bug on this thread, until the guard is dropped.
    ///
    /// # Panics
    /// If one is planted already.
    pub fn plant(bug: Bug) -> Planted {
        assert_eq!(PLANTED.replace(Some(bug)), None, "one bug at a time");
        ASKED.set(0);
        Planted { of_this_thread: PhantomData }
    }

    /// Keeps a bug planted.
    #[must_use = "the bug is gone when this is dropped"]
    pub struct Planted {
        of_this_thread: PhantomData<*const ()>,
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
}

#[cfg(feature = "planted")]
pub use plot::{Planted, is, plant, times_asked};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse() {
        assert!(Bug::ALL.len() >= 20);
        for &bug in Bug::ALL {
            assert_eq!(Bug::parse(bug.name()), Some(bug));
        }
        assert_eq!(Bug::parse("none"), None);
    }

    #[test]
    #[cfg(not(feature = "planted"))]
    fn nothing_is_planted_in_the_product() {
        assert!(Bug::ALL.iter().all(|&bug| !is(bug)));
    }

    #[test]
    #[cfg(feature = "planted")]
    fn a_bug_is_planted_alone_and_only_for_a_while() {
        assert!(!is(Bug::FlushOneShard));
        {
            let _planted = plant(Bug::FlushOneShard);
            assert!(is(Bug::FlushOneShard) && !is(Bug::NoFencing));
            let elsewhere = std::thread::Builder::new().spawn(|| is(Bug::FlushOneShard));
            assert_eq!(elsewhere.expect("a thread starts").join().ok(), Some(false));
            assert_eq!(times_asked(), 1);
        }
        assert!(!is(Bug::FlushOneShard));
    }
}
