//! Reading big-endian fields from a slice that may be too short.

/// What is left of a byte slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `bytes`.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes, or nothing if there are fewer.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    /// The next 16 bits.
    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next 32 bits.
    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next 64 bits.
    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A 32-bit length and as many bytes.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.u32()?;
        let bytes = ahead.take(usize::try_from(length).ok()?)?;
        *self = ahead;
        Some(bytes)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn a_short_slice_gives_nothing_and_loses_nothing() {
        let mut cursor = Cursor::new(&[0, 0, 0]);
        assert_eq!(cursor.u32(), None);
        assert_eq!(cursor.u16(), Some(0));
        assert_eq!(cursor.rest(), &[0]);
    }

    #[test]
    fn a_count_beyond_the_end_is_refused_and_nothing_is_taken() {
        let mut cursor = Cursor::new(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(cursor.counted(), None);
        assert_eq!(cursor.rest().len(), 5);
    }
}
