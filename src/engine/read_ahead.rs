//! Reading ahead: who reads on where the last read ended will want what comes next.

use wal::runtime::Runtime;
use wal::{ShardBlock, ShardRun};

use super::Env;
use super::error::VolumeError;
use super::fetch::Fetch;
use super::limits::{FETCH_BLOCKS, READ_AHEAD_FIRST, READ_AHEAD_MOST, STREAM_AGE, STREAMS};
use super::sealed::PAGE_BLOCKS;
use super::shard::Shard;

/// Reads that follow each other, as far as a shard can tell.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// The block after the last one that was read.
    next: u64,
    /// All before it was read ahead already.
    ahead: u64,
    /// Blocks to have in memory before they are asked for; 0 until a second read follows.
    depth: u64,
    /// Number of the read that it got last.
    used: u64,
}

/// The streams of one shard.
#[derive(Default, Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    reads: u64,
}

impl Streams {
    /// Notes a read, and tells what to read ahead because of it; nothing further than `most`
    /// blocks ahead. Streams are told from reads here and there by reading on twice; the depth
    /// doubles each time that half of it is used up.
    pub(super) fn note(&mut self, run: ShardRun, most: u64) -> Option<ShardRun> {
        self.reads += 1;
        let (start, end, reads) = (run.start.0, run.end().0, self.reads);
        // Requests of one stream that are under way together may overtake each other, and one that
        // had to wait is noted a second time.
        let follows = |stream: &&mut Stream| {
            let from = stream.next.saturating_sub(stream.depth.max(run.count));
            (from..=stream.next + stream.depth).contains(&start)
        };
        let Some(stream) = self.streams.iter_mut().find(follows) else {
            self.begin(Stream { next: end, ahead: end, depth: 0, used: reads });
            return None;
        };
        stream.used = reads;
        if end <= stream.next {
            return None;
        }
        let first = READ_AHEAD_FIRST.max(2 * run.count);
        let cap = READ_AHEAD_MOST.max(first).min(most);
        stream.next = end;
        stream.ahead = stream.ahead.max(end);
        let left = stream.ahead - end;
        // A stream that has its full depth gets fetch after fetch: waiting for half of it to be
        // used up would leave the store idle half of the time.
        let is_due =
            left <= stream.depth / 2 || stream.depth == cap && stream.depth - left >= FETCH_BLOCKS;
        if !is_due {
            return None;
        }
        if left <= stream.depth / 2 {
            stream.depth = (stream.depth * 2).max(first).min(cap);
        }
        let from = stream.ahead;
        let to = end + stream.depth;
        // Whole fetches, where that leaves most of the depth.
        let rest = if stream.depth < 2 * FETCH_BLOCKS { 0 } else { to % FETCH_BLOCKS };
        stream.ahead = (to - rest).max(from);
        let count = stream.ahead - from;
        (count > 0).then_some(ShardRun { start: ShardBlock(from), count })
    }

    /// Less of what was to be read ahead than was said: the rest when there is room.
    fn cut(&mut self, at: u64, end: u64) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ahead == end) {
            stream.ahead = at.max(stream.next);
        }
    }

    /// Follows a new stream, in the place of one that has ended or never was one.
    fn begin(&mut self, new: Stream) {
        if self.streams.len() < STREAMS {
            return self.streams.push(new);
        }
        let reads = self.reads;
        let rank = |stream: &Stream| {
            let is_alive = stream.depth > 0 && reads - stream.used < STREAM_AGE;
            (is_alive, stream.used)
        };
        let place = self.streams.iter_mut().min_by_key(|stream| rank(stream));
        *place.expect("there are streams") = new;
    }
}

impl<E: Env> Shard<E> {
    /// Notes a read of a client, and starts to read what comes after it, if it is part of a stream.
    pub(super) fn note_read(&self, run: ShardRun) {
        let core = &self.core;
        let most = core.tuning.read_ahead_blocks;
        if most == 0 {
            return;
        }
        // One stream leaves room for others, and what is read ahead shall not drive out what was
        // read ahead before it was wanted.
        let most = (most / 2).max(1).min(u64::from(core.tuning.cache_blocks) / 4);
        let Some(ahead) = self.streams.borrow_mut().note(run, most) else { return };
        let mut at = ahead.start.0;
        while at < ahead.end().0 {
            let piece = (at / FETCH_BLOCKS + 1) * FETCH_BLOCKS;
            let count = piece.min(ahead.end().0) - at;
            if core.ahead.get() + count > core.tuning.read_ahead_blocks {
                self.streams.borrow_mut().cut(at, ahead.end().0);
                return;
            }
            self.start_ahead(ShardRun { start: ShardBlock(at), count });
            at += count;
        }
    }

    fn start_ahead(&self, run: ShardRun) {
        let core = self.core.clone();
        // Closed by now, if it is not there.
        let Ok(shard) = core.shard(self.volume) else { return };
        core.ahead.set(core.ahead.get() + run.count);
        self.core.runtime.spawn(async move {
            // Who wants it will find out what went wrong.
            let _ = shard.fetch_ahead(run).await;
            core.ahead.set(core.ahead.get() - run.count);
        });
    }

    /// Brings into the memory cache what it lacks of a run.
    async fn fetch_ahead(&self, run: ShardRun) -> Result<(), VolumeError> {
        let deadline = self.deadline();
        let mut fetch = Fetch::default();
        for run in self.not_cached(run) {
            self.look_up(run, deadline, &mut fetch).await?;
        }
        // What moves meanwhile is not waited for.
        self.fetch(fetch, deadline, |_, _| ()).await.map(drop)
    }

    /// The parts of a run that memory lacks, each within one map page.
    fn not_cached(&self, run: ShardRun) -> Vec<ShardRun> {
        let cache = self.core.cache.borrow();
        let mut missing: Vec<ShardRun> = Vec::new();
        for block in run.start.0..run.end().0 {
            if cache.peek(self.volume, ShardBlock(block)).is_some() {
                continue;
            }
            match missing.last_mut() {
                Some(run) if run.end().0 == block && block % PAGE_BLOCKS != 0 => run.count += 1,
                _ => missing.push(ShardRun { start: ShardBlock(block), count: 1 }),
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 2 * READ_AHEAD_MOST;

    fn run(start: u64, count: u64) -> ShardRun {
        ShardRun { start: ShardBlock(start), count }
    }

    #[test]
    fn the_first_read_and_reads_here_and_there_read_nothing_ahead() {
        let mut streams = Streams::default();
        for start in [0, 5000, 90_000, 20, 70_000, 300, 5000] {
            assert_eq!(streams.note(run(start, 8), MOST), None, "at {start}");
        }
    }

    #[test]
    fn the_depth_of_a_stream_doubles_up_to_its_cap_and_leaves_no_gap() {
        let mut streams = Streams::default();
        let (mut ahead, mut longest) = (8, 0);
        for start in (0..100_000).step_by(8) {
            if let Some(more) = streams.note(run(start, 8), MOST) {
                assert!(more.start.0 == ahead.max(start + 8), "{more:?} at {start}");
                ahead = more.end().0;
            }
            longest = longest.max(ahead - (start + 8));
            assert!(start == 0 || ahead >= start + 8 + READ_AHEAD_FIRST / 2, "at {start}");
        }
        assert_eq!(longest, READ_AHEAD_MOST);
    }

    #[test]
    fn a_stream_at_its_full_depth_gets_fetch_after_fetch_each_of_them_whole() {
        let mut streams = Streams::default();
        let mut full = Vec::new();
        for start in (0..8 * READ_AHEAD_MOST).step_by(32) {
            if let Some(more) = streams.note(run(start, 32), MOST)
                && start > 4 * READ_AHEAD_MOST
            {
                let left = more.start.0 - (start + 32);
                full.push((left, more.start.0 % FETCH_BLOCKS, more.count));
            }
        }
        assert!(full.len() as u64 > 3 * READ_AHEAD_MOST / FETCH_BLOCKS, "{}", full.len());
        let whole = (READ_AHEAD_MOST - FETCH_BLOCKS, 0, FETCH_BLOCKS);
        assert!(full.iter().all(|more| *more == whole), "{full:?}");
    }

    #[test]
    fn a_jump_begins_anew_and_other_streams_go_on() {
        let mut streams = Streams::default();
        for start in (0..4096).step_by(32) {
            streams.note(run(start, 32), MOST);
        }
        assert_eq!(streams.note(run(500_000, 32), MOST), None);
        let first = streams.note(run(500_032, 32), MOST).expect("it goes on");
        assert_eq!(first.count, 2 * 32, "small at first");
        let depth = streams.streams[0].depth;
        for start in (4096..4096 + 2 * READ_AHEAD_MOST).step_by(32) {
            streams.note(run(start, 32), MOST);
        }
        assert!(streams.streams[0].depth >= depth);
    }

    #[test]
    fn reads_here_and_there_do_not_end_a_stream() {
        let mut streams = Streams::default();
        streams.note(run(0, 8), MOST);
        streams.note(run(8, 8), MOST);
        for n in 0..20 {
            streams.note(run(1_000_000 + n * 7919, 8), MOST);
        }
        streams.note(run(16, 8), MOST);
        assert!(streams.streams.iter().any(|stream| stream.next == 24 && stream.depth > 0));
    }

    #[test]
    fn requests_that_overtake_each_other_are_one_stream() {
        let mut streams = Streams::default();
        for start in [0, 256, 768, 512, 1024, 1536, 1280] {
            streams.note(run(start, 256), MOST);
        }
        assert_eq!(streams.streams.len(), 1, "{streams:?}");
    }

    #[test]
    fn nothing_is_read_further_ahead_than_there_is_memory_for() {
        let mut streams = Streams::default();
        for start in (0..10_000).step_by(8) {
            if let Some(more) = streams.note(run(start, 8), 40) {
                assert!(more.end().0 <= start + 8 + 40, "{more:?} at {start}");
            }
        }
    }
}
