//! Checksums that are made right, so that changed bytes get past them to the code behind.

/// Bytes of the frame that every structure in the object store starts with.
pub const FRAME_BYTES: usize = 32;

const CRC_AT: usize = 12;
const LENGTH_AT: usize = 24;

/// Puts the length and the checksum of a structure of the object store into its frame.
pub fn frame(bytes: &mut [u8]) {
    if bytes.len() < FRAME_BYTES {
        return;
    }
    let length = bytes.len() as u32;
    bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
    checksum(bytes);
}

/// The length that a frame tells, of a structure that starts here.
pub fn frame_length(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(LENGTH_AT..LENGTH_AT + 4)?;
    Some(u32::from_le_bytes(field.try_into().expect("four bytes")) as usize)
}

/// Puts a checksum into the header block of a log record, or into a frame: both have it at the
/// same place, and take it as zero.
pub fn checksum(bytes: &mut [u8]) {
    bytes[CRC_AT..CRC_AT + 4].fill(0);
    let crc = crc32c::crc32c(bytes);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The checksum that stands in a frame.
pub fn stored(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[CRC_AT..CRC_AT + 4].try_into().expect("four bytes"))
}
