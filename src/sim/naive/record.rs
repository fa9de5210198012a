//! The log of the naive device: a header block, then the payload in whole blocks.

use wal::BLOCK_BYTES;

const MAGIC: u64 = u64::from_le_bytes(*b"naiverec");

/// One write, in bytes; zeros if it has no payload.
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) payload: Option<Vec<u8>>,
}

impl Record {
    pub(super) fn data(offset: u64, payload: Vec<u8>) -> Self {
        Self { offset, bytes: payload.len() as u64, payload: Some(payload) }
    }

    pub(super) fn zero(offset: u64, bytes: u64) -> Self {
        Self { offset, bytes, payload: None }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.payload.is_none()
    }

    /// Blocks that it takes in the log.
    pub(super) fn blocks(&self) -> u64 {
        let payload = self.payload.as_ref().map_or(0, |payload| payload.len());
        1 + payload.div_ceil(BLOCK_BYTES) as u64
    }

    pub(super) fn encode(&self, buf: &mut [u8]) {
        buf.fill(0);
        let payload = self.payload.as_deref().unwrap_or_default();
        buf[BLOCK_BYTES..BLOCK_BYTES + payload.len()].copy_from_slice(payload);
        let words = [MAGIC, self.offset, self.bytes, u64::from(self.payload.is_some())];
        let sums = [u64::from(crc32c::crc32c(payload))];
        for (place, word) in buf.chunks_exact_mut(8).zip(words.into_iter().chain(sums)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let sum = crc32c::crc32c(&buf[..40]);
        buf[40..44].copy_from_slice(&sum.to_le_bytes());
    }

    fn decode(log: &[u8], checks_payload: bool) -> Option<Self> {
        let header = log.get(..BLOCK_BYTES)?;
        let word = |n: usize| u64::from_le_bytes(header[n * 8..n * 8 + 8].try_into().expect("8"));
        if word(0) != MAGIC || crc32c::crc32c(&header[..40]).to_le_bytes() != header[40..44] {
            return None;
        }
        let (offset, bytes) = (word(1), word(2));
        if word(3) == 0 {
            return Some(Self::zero(offset, bytes));
        }
        let payload = log.get(BLOCK_BYTES..BLOCK_BYTES + bytes as usize)?;
        let whole = u64::from(crc32c::crc32c(payload)) == word(4);
        (whole || !checks_payload).then(|| Self::data(offset, payload.to_vec()))
    }
}

/// The records of a log up to the first damaged one.
pub(super) fn decode_all(log: &[u8], checks_payload: bool) -> Vec<Record> {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some(record) = log.get(at..).and_then(|log| Record::decode(log, checks_payload)) {
        at += record.blocks() as usize * BLOCK_BYTES;
        records.push(record);
    }
    records
}
