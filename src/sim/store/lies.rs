//! Answers that are not true.

use std::ops::Range;

use bytes::Bytes;

use super::SimStore;

/// How a read is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Damaged,
    Short,
    Missing,
}

impl SimStore {
    /// What a read is told instead of an object that is there.
    pub(super) fn distort(&self, body: Bytes, wanted: Range<u64>) -> Option<Bytes> {
        let shelf = &self.bucket.shelf;
        let random = &mut *shelf.random.borrow_mut();
        if body.is_empty() || !random.chance(shelf.faults.borrow().lie_one_in) {
            return Some(body);
        }
        let answers = [Answer::Damaged, Answer::Short, Answer::Missing];
        let answer = *random.pick(&answers);
        shelf.executor.note(&[0x11E, answer as u64], || "store answers wrongly".to_owned());
        match answer {
            Answer::Damaged => {
                let mut damaged = body.to_vec();
                let len = body.len() as u64;
                let (from, to) = (wanted.start.min(len - 1), wanted.end.min(len));
                let at = from + random.below(to.saturating_sub(from).max(1));
                let (at, end) = (at as usize, (at + random.scaled(1..4096)).min(len) as usize);
                damaged[at..end].iter_mut().for_each(|byte| *byte ^= random.within(1..256) as u8);
                Some(damaged.into())
            }
            Answer::Short => Some(body.slice(..random.below(body.len() as u64) as usize)),
            Answer::Missing => None,
        }
    }
}
