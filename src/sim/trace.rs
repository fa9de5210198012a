//! What a world did, as a running hash and, for reports, as text.

use std::collections::VecDeque;

use super::limits::LOG_LINES;
use super::random::mix;

/// The hash of every scheduling decision and every I/O, in order, and their last lines as text if
/// that was asked for.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty trace; with `keep`, its last [`LOG_LINES`] lines are kept.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self { hash: 0, lines: keep.then(VecDeque::new) }
    }

    /// Folds a number into the hash.
    pub fn fold(&mut self, word: u64) {
        self.hash = mix(self.hash.rotate_left(5) ^ word);
    }

    /// Folds bytes into the hash.
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(bytes.len() as u64);
        self.fold(u64::from(crc32c::crc32c(bytes)));
    }

    /// Keeps a line, if lines are kept.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(line());
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines kept, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_order() {
        let hash_of = |words: [u64; 2]| {
            let mut trace = Trace::new(false);
            words.into_iter().for_each(|word| trace.fold(word));
            trace.hash()
        };
        assert_ne!(hash_of([1, 2]), hash_of([2, 1]));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut trace = Trace::new(true);
        (0..LOG_LINES + 3).for_each(|n| trace.say(|| n.to_string()));
        assert_eq!(trace.lines().len(), LOG_LINES);
        assert_eq!(trace.lines()[0], "3");
    }
}
