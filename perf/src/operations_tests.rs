//! Slots driven by hand: what is counted, what ends a load.

use super::*;
use crate::codec::ReplyParser;
use crate::handshake::Export;
use crate::scenario::Scenario;

const SIZE: u64 = 64 * 4096;

/// A plan, its state, and one connection's slots and outbox, driven by hand.
struct Bench {
    plan: Plan,
    payload: Payload,
    versions: Vec<u32>,
}

impl Bench {
    fn new(name: &str, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::load(name).expect("built in");
        scenario.queue_depth = 1;
        change(&mut scenario);
        let export = Export { size: SIZE, flags: !2, max_block: 1 << 20, structured: true };
        let plan = Plan::new(&scenario, &export).expect("fits");
        Self { plan, payload: Payload::new(1), versions: vec![0; 64] }
    }

    /// Starts one operation and answers it with what `answer` makes of its cookie and offset.
    fn play(
        &mut self,
        answer: impl Fn(u64, u64) -> Vec<u8>,
        rounds: u64,
    ) -> Result<(u64, Recorder), LoadError> {
        let mut work = Work::new(&self.plan, &mut self.payload, &mut self.versions)?;
        work.timed_since = Some(0);
        let mut slots = idle_slots(1);
        let mut outbox = Outbox::default();
        let mut parser = ReplyParser::default();
        work.start((0, 0), &mut slots[0], &mut outbox, 0);
        for round in 1..=rounds {
            let bytes = answer(slots[0].cookie, slots[0].offset);
            let now = round * 1000;
            let (slots, outbox) = (&mut slots, &mut outbox);
            let mut turn = Turn { work: &mut work, slots, outbox, connection: 0, now };
            let used = parser.feed(&bytes, &mut turn)?;
            assert_eq!(used, bytes.len());
        }
        Ok((work.in_flight, work.recorder))
    }
}

fn simple(cookie: u64, error: u32) -> Vec<u8> {
    let mut bytes = 0x6744_6698u32.to_be_bytes().to_vec();
    bytes.extend(error.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes
}

fn data(cookie: u64, offset: u64, length: usize, last: u8) -> Vec<u8> {
    let mut bytes = 0x668e_33efu32.to_be_bytes().to_vec();
    bytes.extend([0, last, 0, 1]);
    bytes.extend(cookie.to_be_bytes());
    bytes.extend((length as u32 + 8).to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(vec![7; length]);
    bytes
}

#[test]
fn a_write_is_counted_at_its_reply_and_followed_by_the_next() {
    let mut bench = Bench::new("randwrite-4k-qd1", |_| {});
    let (in_flight, recorder) = bench.play(|cookie, _| simple(cookie, 0), 5).expect("played");
    let measured = recorder.summary(1.0, 0.0);
    assert_eq!((in_flight, measured.operations), (1, 5));
    assert!((measured.latency_us.max - 1.0).abs() < 0.01, "{measured:?}");
}

#[test]
fn a_flushed_write_is_counted_at_the_reply_to_its_flush() {
    let mut bench = Bench::new("writeflush-4k-qd1", |_| {});
    let (_, recorder) = bench.play(|cookie, _| simple(cookie, 0), 3).expect("played");
    let measured = recorder.summary(1.0, 0.0);
    assert_eq!(measured.operations, 1);
    assert!((measured.latency_us.max - 2.0).abs() < 0.01, "{measured:?}");
}

#[test]
fn reads_may_come_in_pieces_but_must_be_whole() {
    let whole = |cookie, at| [data(cookie, at, 1096, 0), data(cookie, at + 1096, 3000, 1)].concat();
    let mut bench = Bench::new("randread-4k-qd1", |_| {});
    let (_, recorder) = bench.play(whole, 4).expect("played");
    assert_eq!(recorder.summary(1.0, 0.0).operations, 4);
    type Answer = fn(u64, u64) -> Vec<u8>;
    let broken: [Answer; 3] = [
        |cookie, at| data(cookie, at, 4095, 1),
        |cookie, at| data(cookie, at + 1, 4096, 1),
        |cookie, at| [data(cookie, at, 4096, 0), data(cookie, at, 4096, 1)].concat(),
    ];
    for answer in broken {
        let outcome = bench.play(answer, 1).map(drop);
        assert!(matches!(outcome, Err(LoadError::Stray { .. })), "{outcome:?}");
    }
}

#[test]
fn errors_and_foreign_cookies_end_the_load() {
    let mut bench = Bench::new("randwrite-4k-qd1", |_| {});
    let outcome = bench.play(|cookie, _| simple(cookie, 28), 1).map(drop);
    assert!(matches!(outcome, Err(LoadError::Refused { command: "WRITE", error: 28, .. })));
    for shift in [1, 1 << 32] {
        let outcome = bench.play(|cookie, _| simple(cookie + shift, 0), 1).map(drop);
        assert!(matches!(outcome, Err(LoadError::Wire(WireError::Cookie(_)))), "{outcome:?}");
    }
    let outcome = bench.play(|cookie, at| data(cookie, at, 4096, 1), 1).map(drop);
    assert!(matches!(outcome, Err(LoadError::Stray { .. })), "{outcome:?}");
}

#[test]
fn verified_reads_accept_the_last_write_and_nothing_else() {
    let mut bench = Bench::new("randread-4k-qd1", |scenario| scenario.verify = true);
    bench.versions.fill(3);
    let payload = Payload::new(1);
    let answer = |version| {
        let payload = &payload;
        move |cookie, at: u64| {
            let mut bytes = data(cookie, at, 4096, 1);
            let start = bytes.len() - 4096;
            bytes[start..].copy_from_slice(payload.pattern(at / 4096, version));
            bytes
        }
    };
    bench.play(answer(3), 5).expect("right data");
    let outcome = bench.play(answer(2), 1).map(drop);
    assert!(matches!(outcome, Err(LoadError::Mismatch { version: 3, .. })), "{outcome:?}");
    let one_bit = |cookie, at: u64| {
        let mut bytes = answer(3)(cookie, at);
        *bytes.last_mut().expect("data") ^= 1;
        bytes
    };
    assert!(matches!(bench.play(one_bit, 1).map(drop), Err(LoadError::Mismatch { .. })));
}
