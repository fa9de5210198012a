//! Histories made by hand: for each rule one that is legal, and ones that are not.

use super::*;

const VOLUME: u64 = 9;

/// A judge of 32 sectors, and what a disk would hold.
struct Bench {
    judge: Judge,
    disk: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let judge = Judge::new(VOLUME, std::slice::from_ref(&(0..32)), Durability::Writeback);
        Self { judge, disk: vec![0; 32 * SECTOR_BYTES] }
    }

    fn send(&mut self, first: u64, count: u64) -> OpId {
        self.judge.invoke(Command::Write { first, count, fua: false })
    }

    /// Puts what a write carries on the disk.
    fn land(&mut self, op: OpId, first: u64) {
        let payload = self.judge.payload(op);
        let from = first as usize * SECTOR_BYTES;
        self.disk[from..from + payload.len()].copy_from_slice(&payload);
    }

    fn write(&mut self, first: u64, count: u64) -> OpId {
        let op = self.send(first, count);
        self.land(op, first);
        self.judge.done(op);
        op
    }

    fn flush(&mut self) {
        let op = self.judge.invoke(Command::Flush);
        self.judge.done(op);
    }

    fn clear(&mut self, first: u64, count: u64) {
        self.disk[first as usize * SECTOR_BYTES..][..count as usize * SECTOR_BYTES].fill(0);
    }

    fn read(&mut self, first: u64, count: u64) -> Result<(), Verdict> {
        let op = self.judge.invoke(Command::Read { first, count });
        self.answer(op, first, count)
    }

    fn answer(&mut self, op: OpId, first: u64, count: u64) -> Result<(), Verdict> {
        let bytes = &self.disk[first as usize * SECTOR_BYTES..][..count as usize * SECTOR_BYTES];
        self.judge.read_done(op, bytes).map_err(|violation| violation.verdict)
    }

    /// Reads everything, and judges it as one image.
    fn recover(&mut self) -> Result<(), Verdict> {
        self.read(0, 32)?;
        self.judge.judge_image().map_err(|violation| violation.verdict)
    }
}

#[test]
fn rule_1_a_read_returns_the_last_write_or_a_concurrent_one() {
    let mut bench = Bench::new();
    let old = bench.write(0, 2);
    assert_eq!(bench.read(0, 4), Ok(()));
    let new = bench.send(0, 2);
    assert_eq!(bench.read(0, 2), Ok(()), "the old version, while the new one is under way");
    let read = bench.judge.invoke(Command::Read { first: 0, count: 2 });
    bench.judge.done(new);
    assert_eq!(bench.answer(read, 0, 2), Ok(()), "sent before the new version was answered");
    assert_eq!(bench.read(0, 2), Err(Verdict::StaleRead));
    bench.land(new, 0);
    assert_eq!(bench.read(0, 2), Ok(()));
    bench.land(old, 0);
    assert_eq!(bench.read(0, 2), Err(Verdict::StaleRead));
}

#[test]
fn rule_1_reads_do_not_go_back_in_time() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    let new = bench.send(0, 1);
    bench.land(new, 0);
    assert_eq!(bench.read(0, 1), Ok(()), "a version under way may be seen early");
    bench.land(old, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::StaleRead));
}

#[test]
fn rule_1_two_concurrent_writes_may_end_either_way() {
    for first_wins in [true, false] {
        let mut bench = Bench::new();
        let (a, b) = (bench.send(0, 1), bench.send(0, 1));
        bench.judge.done(a);
        bench.judge.done(b);
        bench.land(if first_wins { a } else { b }, 0);
        assert_eq!(bench.read(0, 1), Ok(()));
    }
}

#[test]
fn rule_2_only_what_is_covered_must_survive() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.judge.crash(false);
    bench.clear(0, 1);
    assert_eq!(bench.recover(), Ok(()), "never flushed");

    let mut bench = Bench::new();
    let (old, _) = (bench.write(0, 1), bench.flush());
    let new = bench.write(0, 1);
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Ok(()), "the new version was not covered");
    bench.land(new, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::Unseen), "found lost, so lost for ever");
}

#[test]
fn rule_2_a_flushed_write_survives() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    bench.write(0, 1);
    bench.flush();
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Err(Verdict::LostWrite));
}

#[test]
fn rule_2_a_flush_covers_what_was_answered_before_it_was_sent_and_nothing_else() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    bench.flush();
    let new = bench.send(0, 1);
    let flush = bench.judge.invoke(Command::Flush);
    bench.judge.done(new);
    bench.judge.done(flush);
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Ok(()));

    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    bench.write(0, 1);
    let flush = bench.judge.invoke(Command::Flush);
    bench.judge.failed(flush);
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Ok(()), "a failed flush covers nothing");
}

#[test]
fn rule_2_fua_covers_itself_only() {
    let mut bench = Bench::new();
    let side = bench.write(1, 1);
    bench.write(1, 1);
    let old = bench.write(0, 1);
    let op = bench.judge.invoke(Command::Write { first: 0, count: 1, fua: true });
    bench.judge.done(op);
    bench.judge.crash(false);
    bench.land(side, 1);
    bench.land(op, 0);
    assert_eq!(bench.recover(), Ok(()), "its neighbour was not covered");
    bench.land(old, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::Unseen));

    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    let op = bench.judge.invoke(Command::Write { first: 0, count: 1, fua: true });
    bench.judge.done(op);
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Err(Verdict::LostWrite));
}

#[test]
fn rule_2_acknowledged_writes_survive_where_that_is_the_promise() {
    let mut bench = Bench::new();
    bench.judge = Judge::new(VOLUME, std::slice::from_ref(&(0..32)), Durability::Wal);
    let old = bench.write(0, 1);
    bench.write(0, 1);
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Err(Verdict::LostWrite));
}

#[test]
fn rule_4_a_flush_of_a_remote_volume_outlives_the_disk() {
    for (durability, verdict) in
        [(Durability::Remote, Err(Verdict::SilentZeros)), (Durability::Wal, Ok(()))]
    {
        let mut bench = Bench::new();
        bench.judge = Judge::new(VOLUME, std::slice::from_ref(&(0..32)), durability);
        bench.write(0, 1);
        bench.flush();
        bench.judge.crash(true);
        bench.clear(0, 1);
        assert_eq!(bench.recover(), verdict, "{durability}");
    }
}

#[test]
fn rule_3_what_recovery_showed_is_the_floor() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    bench.flush();
    bench.write(0, 1);
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()), "the uncovered write is there");
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Err(Verdict::Unseen));
}

#[test]
fn rule_3_sectors_that_nobody_read_have_no_floor_yet() {
    let mut bench = Bench::new();
    let old = bench.write(0, 2);
    bench.flush();
    bench.write(0, 2);
    bench.judge.crash(false);
    assert_eq!(bench.read(0, 1), Ok(()));
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.read(1, 1), Ok(()), "the second sector was never seen");
    assert_eq!(bench.read(0, 1), Err(Verdict::Unseen));
}

#[test]
fn rule_3_what_was_under_way_is_decided_at_the_first_look() {
    for landed in [true, false] {
        let mut bench = Bench::new();
        let old = bench.write(0, 1);
        bench.flush();
        let open = bench.send(0, 1);
        bench.judge.crash(false);
        bench.land(if landed { open } else { old }, 0);
        assert_eq!(bench.recover(), Ok(()));
        bench.land(if landed { old } else { open }, 0);
        assert_eq!(bench.read(0, 1), Err(Verdict::Unseen));
    }
}

#[test]
fn rule_3_what_was_under_way_at_a_crash_does_not_land_later() {
    let mut bench = Bench::new();
    let open = bench.send(0, 1);
    bench.judge.crash(false);
    bench.write(0, 1);
    bench.land(open, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::StaleRead));
}

#[test]
fn rule_3_a_write_of_the_new_life_replaces_what_was_there() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    bench.judge.crash(false);
    let new = bench.write(0, 1);
    assert_eq!(bench.read(0, 1), Ok(()));
    bench.land(old, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::StaleRead));
    bench.judge.crash(false);
    assert_eq!(bench.read(0, 1), Ok(()), "neither was covered");
    bench.land(new, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::Unseen));
}

#[test]
fn rules_hold_for_a_judge_that_forgets_what_is_buried() {
    let mut bench = Bench::new();
    let lost = bench.write(0, 1);
    let kept = bench.write(0, 1);
    bench.flush();
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    bench.judge.forget_buried();
    assert_eq!(bench.recover(), Ok(()), "the floor stays");
    bench.judge.crash(false);
    bench.land(lost, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::Unseen));
    bench.clear(0, 1);
    assert_eq!(bench.read(0, 1), Err(Verdict::SilentZeros));
    bench.land(kept, 0);
    assert_eq!(bench.recover(), Ok(()));
    let new = bench.write(0, 1);
    bench.flush();
    bench.judge.forget_buried();
    bench.judge.crash(false);
    bench.land(kept, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::LostWrite), "writes since the floor are kept");
    bench.land(new, 0);
    assert_eq!(bench.recover(), Ok(()));
}

#[test]
#[should_panic(expected = "was forgotten")]
fn a_judge_that_forgets_cannot_judge_the_loss_of_the_disk() {
    let mut bench = Bench::new();
    bench.judge.forget_buried();
    bench.judge.crash(true);
}

#[test]
fn rule_4_after_the_loss_of_the_disk_a_prefix_is_left() {
    let mut bench = Bench::new();
    let a = bench.write(0, 1);
    let b = bench.write(1, 1);
    bench.flush();
    bench.write(0, 1);
    bench.flush();
    bench.judge.crash(true);
    bench.land(a, 0);
    bench.land(b, 1);
    assert_eq!(bench.recover(), Ok(()), "an older state, but of one moment");
    bench.judge.crash(false);
    bench.clear(0, 1);
    assert_eq!(bench.recover(), Err(Verdict::SilentZeros), "and that is the floor now");
}

#[test]
fn rule_4_a_gap_before_a_survivor_is_illegal() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.flush();
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    bench.write(1, 1);
    bench.write(2, 1);
    bench.judge.crash(true);
    bench.clear(1, 1);
    assert_eq!(bench.recover(), Err(Verdict::BrokenPrefix));

    let mut bench = Bench::new();
    let missing = bench.send(1, 1);
    bench.write(2, 1);
    bench.judge.done(missing);
    bench.judge.crash(true);
    assert_eq!(bench.recover(), Ok(()), "it was not acknowledged when the other was sent");
}

#[test]
fn rule_4_what_an_earlier_crash_may_have_lost_need_not_come_first() {
    for (flushed, verdict) in [(false, Ok(())), (true, Err(Verdict::BrokenPrefix))] {
        let mut bench = Bench::new();
        bench.write(1, 1);
        if flushed {
            bench.flush();
        }
        bench.judge.crash(false);
        bench.write(2, 1);
        bench.judge.crash(true);
        bench.clear(1, 1);
        assert_eq!(bench.recover(), verdict, "flushed: {flushed}");
    }
    let mut bench = Bench::new();
    bench.write(1, 1);
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()), "not flushed, but shown");
    bench.write(2, 1);
    bench.judge.crash(true);
    bench.clear(1, 1);
    assert_eq!(bench.recover(), Err(Verdict::BrokenPrefix));
}

#[test]
fn rule_4_what_was_lost_before_does_not_come_back_from_the_bucket() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    bench.flush();
    let lost = bench.write(0, 1);
    bench.judge.crash(false);
    bench.land(old, 0);
    assert_eq!(bench.recover(), Ok(()));
    bench.judge.crash(true);
    bench.land(lost, 0);
    assert_eq!(bench.recover(), Err(Verdict::Unseen));
}

#[test]
fn rule_4_a_write_that_an_earlier_loss_took_need_not_come_before_later_ones() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.flush();
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    // The disk goes, and nobody looks before the next write is published and the disk goes again.
    bench.judge.crash(true);
    bench.clear(0, 1);
    bench.write(8, 1);
    bench.judge.crash(true);
    assert_eq!(bench.recover(), Ok(()));
}

#[test]
fn rule_4_a_crash_that_leaves_the_disk_takes_single_writes() {
    let mut bench = Bench::new();
    let lost = bench.send(0, 1);
    bench.judge.done(lost);
    bench.write(8, 1);
    bench.judge.crash(false);
    bench.judge.crash(true);
    assert_eq!(bench.recover(), Ok(()));
}

#[test]
fn rule_4_what_a_cut_covers_outlives_the_disk() {
    for cut_in_later_life in [false, true] {
        for crashes in [1, 2] {
            let mut bench = Bench::new();
            bench.write(0, 1);
            bench.flush();
            if cut_in_later_life {
                bench.judge.crash(false);
            }
            let cut = bench.judge.invoke(Command::Cut);
            bench.write(1, 1);
            bench.judge.done(cut);
            (0..crashes).for_each(|_| bench.judge.crash(true));
            bench.clear(1, 1);
            assert_eq!(bench.read(1, 1), Ok(()), "it was written after the cut was sent");
            bench.clear(0, 1);
            assert_eq!(bench.read(0, 1), Err(Verdict::SilentZeros));
        }
    }
}

#[test]
fn rule_4_what_was_seen_before_a_cut_outlives_the_disk() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    let cut = bench.judge.invoke(Command::Cut);
    bench.judge.done(cut);
    bench.write(0, 1);
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    bench.judge.crash(true);
    bench.clear(0, 1);
    assert_eq!(bench.read(0, 1), Err(Verdict::SilentZeros));
}

#[test]
fn rule_4_what_is_old_enough_outlives_the_disk() {
    let age = Duration::from_secs(3);
    for (now, verdict) in [(12, Ok(())), (13, Err(Verdict::SilentZeros))] {
        let mut bench = Bench::new();
        bench.judge.set_time(Duration::from_secs(10));
        bench.write(0, 1);
        bench.judge.set_time(Duration::from_secs(now));
        bench.judge.publish_by_age(age);
        bench.judge.crash(true);
        bench.clear(0, 1);
        assert_eq!(bench.read(0, 1), verdict);
    }
}

#[test]
fn rule_5_silent_zeros_have_their_own_verdict() {
    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.clear(0, 1);
    assert_eq!(bench.read(0, 1), Err(Verdict::SilentZeros));
    bench.flush();
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Err(Verdict::SilentZeros));
}

#[test]
fn zeroes_write_the_value_zero() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    let zero = bench.judge.invoke(Command::Zero { first: 0, count: 9999, fua: true });
    bench.judge.done(zero);
    assert_eq!(bench.read(0, 1), Err(Verdict::StaleRead));
    bench.clear(0, 1);
    assert_eq!(bench.read(0, 1), Ok(()));
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()));
    bench.land(old, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::Unseen));

    let mut bench = Bench::new();
    bench.write(0, 1);
    bench.flush();
    let open = bench.judge.invoke(Command::Zero { first: 0, count: 1, fua: false });
    bench.judge.crash(false);
    assert_eq!(bench.judge.log.op(open).life, 0);
    bench.clear(0, 1);
    assert_eq!(bench.recover(), Ok(()), "under way at the crash");
}

#[test]
fn a_failed_write_may_be_there_or_not_until_it_is_decided() {
    let mut bench = Bench::new();
    let old = bench.write(0, 1);
    let failed = bench.send(0, 1);
    bench.judge.failed(failed);
    assert_eq!(bench.read(0, 1), Ok(()));
    bench.land(failed, 0);
    assert_eq!(bench.read(0, 1), Ok(()));
    bench.land(old, 0);
    assert_eq!(bench.read(0, 1), Err(Verdict::StaleRead), "it was seen");
    bench.judge.crash(false);
    assert_eq!(bench.recover(), Ok(()), "but never covered");
}

#[test]
fn torn_misplaced_and_foreign_sectors_are_told_apart() {
    let mut bench = Bench::new();
    let op = bench.write(0, 2);
    let sector = |n: usize| n * SECTOR_BYTES..(n + 1) * SECTOR_BYTES;
    bench.disk.copy_within(sector(0), 7 * SECTOR_BYTES);
    assert_eq!(bench.read(7, 1), Err(Verdict::Foreign));
    bench.disk[100] ^= 1;
    assert_eq!(bench.read(0, 1), Err(Verdict::Torn));
    content::fill(&mut bench.disk[sector(3)], VOLUME, 3, op.version(), 3);
    assert_eq!(bench.read(3, 1), Err(Verdict::Foreign), "that write was never here");
    content::fill(&mut bench.disk[sector(1)], VOLUME, 1, op.version(), 0);
    assert_eq!(bench.read(1, 1), Err(Verdict::Foreign), "another sector of that write");
    content::fill(&mut bench.disk[sector(3)], VOLUME, 3, 4000, 0);
    assert_eq!(bench.read(3, 1), Err(Verdict::Foreign), "there was no such write");
    content::fill(&mut bench.disk[sector(3)], VOLUME + 1, 3, op.version(), 0);
    assert_eq!(bench.read(3, 1), Err(Verdict::Foreign), "another volume");
}

#[test]
fn an_uncovered_write_is_whole_or_absent_per_block() {
    let mut bench = Bench::new();
    bench.write(0, 16);
    bench.flush();
    let before = bench.disk.clone();
    bench.write(4, 8);
    let after = bench.disk.clone();
    bench.judge.crash(false);
    let cut = |sectors: usize| [&after[..sectors * 512], &before[sectors * 512..]].concat();
    bench.disk = cut(8);
    assert_eq!(bench.recover(), Ok(()), "torn between two blocks");

    let mut bench = Bench::new();
    bench.write(0, 16);
    bench.flush();
    bench.write(4, 8);
    bench.judge.crash(false);
    bench.disk = cut(6);
    assert_eq!(bench.recover(), Err(Verdict::TornBlock));
}

#[test]
#[should_panic(expected = "was not read in life 1")]
fn an_image_is_judged_only_when_all_of_it_was_read() {
    let mut bench = Bench::new();
    bench.judge.crash(false);
    bench.read(0, 31).expect("zeros");
    let _ = bench.judge.judge_image();
}

#[test]
#[should_panic(expected = "untracked")]
fn writes_outside_the_tracked_sectors_are_our_bug() {
    Bench::new().send(31, 2);
}

impl Bench {
    /// A snapshot, made by writes that come while it is asked for.
    fn snapshot(&mut self, meanwhile: impl FnOnce(&mut Self)) -> OpId {
        let op = self.judge.invoke(Command::Snapshot);
        meanwhile(self);
        self.judge.done(op);
        op
    }

    /// Judges a snapshot that holds what stands on the disk.
    fn see(&mut self, snapshot: OpId) -> Result<(), Verdict> {
        self.judge.judge_picture(snapshot, &self.disk).map_err(|violation| violation.verdict)
    }
}

#[test]
fn rule_6_a_snapshot_has_all_that_was_answered_before_it() {
    let mut bench = Bench::new();
    let old = bench.write(0, 2);
    let new = bench.write(0, 2);
    let taken = bench.snapshot(|_| ());
    bench.land(old, 0);
    assert_eq!(bench.see(taken), Err(Verdict::StaleRead));
    bench.clear(0, 2);
    assert_eq!(bench.see(taken), Err(Verdict::SilentZeros));
    bench.land(new, 0);
    assert_eq!(bench.see(taken), Ok(()));
}

#[test]
fn rule_6_a_snapshot_has_nothing_that_was_sent_after_it() {
    let mut bench = Bench::new();
    bench.write(0, 2);
    let taken = bench.snapshot(|_| ());
    bench.write(0, 2);
    assert_eq!(bench.see(taken), Err(Verdict::Foreign), "nobody had written that by then");
}

#[test]
fn rule_6_a_snapshot_is_one_instant_for_all_sectors() {
    let both = |bench: &mut Bench| (bench.write(0, 1), bench.write(5, 1));
    let mut bench = Bench::new();
    let mut ops = None;
    let taken = bench.snapshot(|bench| ops = Some(both(bench)));
    let (earlier, later) = ops.expect("they were written");
    bench.clear(0, 6);
    bench.land(later, 5);
    let without = bench.judge.clone();
    assert_eq!(bench.see(taken), Err(Verdict::SilentZeros), "the earlier one was answered first");
    bench.judge = without.clone();
    bench.land(earlier, 0);
    assert_eq!(bench.see(taken), Ok(()));
    bench.judge = without.clone();
    bench.clear(5, 1);
    assert_eq!(bench.see(taken), Ok(()), "the instant between the two");
    bench.judge = without;
    bench.clear(0, 6);
    assert_eq!(bench.see(taken), Ok(()), "the instant before both");
}

#[test]
fn rule_6_a_snapshot_stays_what_it_was_through_crashes() {
    let mut bench = Bench::new();
    let taken = bench.snapshot(|bench| {
        bench.write(0, 1);
    });
    assert_eq!(bench.see(taken), Ok(()));
    for disk_lost in [false, true] {
        bench.judge.crash(disk_lost);
        assert_eq!(bench.see(taken), Ok(()));
    }
    bench.clear(0, 1);
    assert_eq!(bench.see(taken), Err(Verdict::Changed), "though it could have been that");
    bench.judge.forget_picture(taken);
    assert_eq!(bench.judge.picture_count(), 0);
}
