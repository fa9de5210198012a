//! Bytes that a client sent and nobody has looked at yet.

use super::limits::{READ_BUFFER_MAX, READ_BUFFER_MIN};

/// A buffer that is filled at its end and used up from its start.
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read took all the room there was.
    overran: bool,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; READ_BUFFER_MIN], start: 0, end: 0, overran: false }
    }

    /// What is there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Forgets the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "only what is there can be used up");
    }

    /// Room to read into, enough for [`Self::bytes`] to grow to `wanted` bytes.
    pub(super) fn room(&mut self, wanted: usize) -> &mut [u8] {
        assert!(wanted <= READ_BUFFER_MAX, "longer inputs have their own memory");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.start + wanted > self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut size = self.buffer.len();
        if std::mem::take(&mut self.overran) {
            size = (2 * size).min(READ_BUFFER_MAX);
        }
        let size = size.max(self.start + wanted);
        if size > self.buffer.len() {
            self.buffer.resize(size, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Notes that `count` bytes were read into [`Self::room`].
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.buffer.len(), "a read fits into its room");
        self.overran = self.end == self.buffer.len();
    }

    /// Moves as many bytes as there are and fit to `to`; returns how many.
    pub(super) fn move_to(&mut self, to: &mut [u8]) -> usize {
        let count = self.bytes().len().min(to.len());
        to[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(input: &mut Input, wanted: usize, bytes: &[u8]) {
        input.room(wanted)[..bytes.len()].copy_from_slice(bytes);
        input.filled(bytes.len());
    }

    #[test]
    fn bytes_come_out_as_they_went_in_over_any_number_of_reads() {
        let mut input = Input::new();
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let mut seen = Vec::new();
        for (n, part) in sent.chunks(9000).enumerate() {
            let wanted = part.len() + input.bytes().len();
            feed(&mut input, wanted, part);
            let take = input.bytes().len() - n % 5000;
            let mut to = vec![0; take];
            assert_eq!(input.move_to(&mut to), take);
            seen.extend(to);
        }
        seen.extend(input.bytes());
        assert_eq!(seen, sent);
    }

    #[test]
    fn the_buffer_grows_when_clients_fill_it_and_stops_at_its_bound() {
        let mut input = Input::new();
        for _ in 0..8 {
            let room = input.room(1).len();
            input.filled(room);
            input.consume(room);
        }
        assert_eq!(input.room(1).len(), READ_BUFFER_MAX);
    }
}
