//! Answers that are not true.

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
    pub(super) fn distort(&self, body: Bytes) -> Option<Bytes> {
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
                let at = random.below(body.len() as u64) as usize;
                let end = (at + random.scaled(1..4096) as usize).min(body.len());
                damaged[at..end].iter_mut().for_each(|byte| *byte ^= random.within(1..256) as u8);
                Some(damaged.into())
            }
            Answer::Short => Some(body.slice(..random.below(body.len() as u64) as usize)),
            Answer::Missing => None,
        }
    }
}
