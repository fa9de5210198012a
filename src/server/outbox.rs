//! Replies on their way to a client: small ones collected in one buffer, large ones in their own
//! memory between them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::IoSlice;

use super::budget::Permit;
use super::limits::{INLINE_REPLY, REPLY_BATCH, SEND_BYTES};

/// Memory with bytes to send.
pub(super) struct Piece {
    memory: Vec<u8>,
    len: usize,
    /// Of a large reply: its share of the payload memory.
    permit: Option<Permit>,
}

#[derive(Default)]
struct Queue {
    /// Comes before `tail`.
    pieces: VecDeque<Piece>,
    tail: Vec<u8>,
    /// Empty buffers for the next tails.
    spare: Vec<Vec<u8>>,
}

/// The replies of one connection.
#[derive(Default)]
pub(super) struct Outbox {
    queue: RefCell<Queue>,
    bytes: Cell<usize>,
    shut: Cell<bool>,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether so much waits that it must go out before more is made.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.get() >= REPLY_BATCH
    }

    /// Lets `write` append small replies to the buffer.
    pub(super) fn append<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut queue = self.queue.borrow_mut();
        let before = queue.tail.len();
        let result = write(&mut queue.tail);
        if self.shut.get() {
            queue.tail.clear();
        }
        self.bytes.set(self.bytes.get() + queue.tail.len() - before);
        result
    }

    /// Queues a reply whose data, the first `len` bytes of `memory`, go out from where they are;
    /// `header` appends what comes before them.
    pub(super) fn push(
        &self,
        header: impl FnOnce(&mut Vec<u8>),
        memory: Vec<u8>,
        len: usize,
        permit: Permit,
    ) {
        if self.shut.get() {
            return;
        }
        self.append(header);
        let mut queue = self.queue.borrow_mut();
        queue.end_tail();
        queue.pieces.push_back(Piece { memory, len, permit: Some(permit) });
        self.bytes.set(self.bytes.get() + len);
    }

    /// Takes everything that waits; nothing if it is nothing.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut queue = self.queue.borrow_mut();
        queue.end_tail();
        self.bytes.set(0);
        let pieces = std::mem::take(&mut queue.pieces);
        (!pieces.is_empty()).then_some(Batch { pieces })
    }

    /// Takes back the memory of a batch that was sent; `keep` gets that of large replies.
    pub(super) fn recycle(&self, batch: Batch, mut keep: impl FnMut(Vec<u8>)) {
        let mut queue = self.queue.borrow_mut();
        for mut piece in batch.pieces {
            if piece.permit.take().is_some() {
                keep(piece.memory);
            } else if queue.spare.len() < 2 && piece.memory.capacity() <= 2 * REPLY_BATCH {
                piece.memory.clear();
                queue.spare.push(piece.memory);
            }
        }
    }

    /// Throws away everything that waits or will be added: the client is gone.
    pub(super) fn shut(&self) {
        self.shut.set(true);
        drop(self.take());
    }
}

impl Queue {
    fn end_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let next = self.spare.pop().unwrap_or_default();
        let memory = std::mem::replace(&mut self.tail, next);
        let len = memory.len();
        self.pieces.push_back(Piece { memory, len, permit: None });
    }
}

/// What goes out at once.
pub(super) struct Batch {
    pieces: VecDeque<Piece>,
}

impl Batch {
    /// The bytes in order, in groups of about [`SEND_BYTES`] for one system call each.
    pub(super) fn groups(&self) -> Vec<Vec<IoSlice<'_>>> {
        let mut groups = vec![Vec::new()];
        let mut bytes = 0;
        let slices =
            self.pieces.iter().flat_map(|piece| piece.memory[..piece.len].chunks(SEND_BYTES));
        for slice in slices {
            if bytes + slice.len() > SEND_BYTES + INLINE_REPLY {
                groups.push(Vec::new());
                bytes = 0;
            }
            bytes += slice.len();
            groups.last_mut().expect("there is one").push(IoSlice::new(slice));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::{Budget, ConnectionBudget};
    use super::*;

    fn permit() -> Permit {
        ConnectionBudget::new(Budget::new(1000)).try_take(1).unwrap()
    }

    fn sent(outbox: &Outbox) -> Vec<u8> {
        let Some(batch) = outbox.take() else { return Vec::new() };
        let bytes = batch.groups().iter().flatten().flat_map(|slice| slice.to_vec()).collect();
        outbox.recycle(batch, drop);
        bytes
    }

    #[test]
    fn replies_leave_in_order() {
        let outbox = Outbox::default();
        outbox.append(|out| out.extend(b"ab"));
        outbox.push(|out| out.extend(b"cd"), b"efXX".to_vec(), 2, permit());
        outbox.append(|out| out.extend(b"gh"));
        assert_eq!(outbox.bytes(), 8);
        assert_eq!(sent(&outbox), b"abcdefgh");
        assert_eq!((outbox.bytes(), sent(&outbox)), (0, Vec::new()));
    }

    #[test]
    fn a_long_reply_goes_out_in_several_groups() {
        let outbox = Outbox::default();
        outbox.push(|out| out.extend(b"h"), vec![1; 3 * SEND_BYTES], 3 * SEND_BYTES, permit());
        let batch = outbox.take().unwrap();
        let lengths: Vec<usize> = batch
            .groups()
            .iter()
            .map(|group| group.iter().map(|slice| slice.len()).sum())
            .collect();
        assert_eq!(lengths, [SEND_BYTES + 1, SEND_BYTES, SEND_BYTES]);
    }

    #[test]
    fn nothing_is_kept_for_a_client_that_is_gone() {
        let outbox = Outbox::default();
        outbox.append(|out| out.push(1));
        outbox.shut();
        outbox.append(|out| out.push(2));
        outbox.push(|out| out.push(3), vec![4], 1, permit());
        assert_eq!((outbox.bytes(), sent(&outbox)), (0, Vec::new()));
    }
}
