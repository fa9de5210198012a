//! Large replies that leave straight from the memory cache, without a copy of their own.

use std::io::IoSlice;

use super::connection::Connection;
use crate::engine::error::VolumeError;
use crate::runtime::ByteStream;

/// The end of a reply that the socket did not take: so many bytes of this memory.
pub(super) struct Left {
    pub(super) memory: Vec<u8>,
    pub(super) len: usize,
}

impl<S: ByteStream> Connection<S> {
    /// Sends the reply to a read of `len` bytes, as much of it as needs no waiting, if the memory
    /// cache has all of them and no other reply comes first; `header` is what comes before them.
    /// `None`: nothing was sent.
    pub(super) fn reply_directly(
        &self,
        header: &[u8],
        offset: u64,
        len: usize,
    ) -> Option<Result<Option<Left>, VolumeError>> {
        if self.is_sending() {
            return None;
        }
        let send = |parts: &[&[u8]]| {
            let mut slices = Vec::with_capacity(1 + parts.len());
            slices.push(IoSlice::new(header));
            slices.extend(parts.iter().map(|part| IoSlice::new(part)));
            match self.line.try_write(&slices) {
                Ok(0) => None,
                Ok(sent) => Some(self.left(&mut slices, header.len() + len - sent, sent)),
                Err(error) => {
                    self.lost(&error);
                    Some(None)
                }
            }
        };
        self.volume.with_cached(offset, len, send).and_then(Result::transpose)
    }

    /// Copies what is left of a reply after its first `sent` bytes: the cache may change.
    fn left(&self, mut slices: &mut [IoSlice<'_>], len: usize, sent: usize) -> Option<Left> {
        if len == 0 {
            return None;
        }
        IoSlice::advance_slices(&mut slices, sent);
        let mut memory = self.local.buffers.take(len);
        let mut at = 0;
        for slice in slices.iter() {
            memory[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        Some(Left { memory, len })
    }
}
