//! The frame that every structure of this crate shares: 32 bytes with magic, version, checksum,
//! required features and length in front of the fields.
//!
//! ```text
//! 0  magic 8 · 8 version u16 · 10 zero u16 · 12 crc u32 · 16 features u64 · 24 length u32 · 28 zero u32
//! ```
//! The checksum is CRC32C over the whole structure with the checksum itself taken as zero. This
//! frame never changes, whatever version or feature stands in it.

use crate::error::FormatError;

/// Bytes of the frame in front of the fields.
pub(crate) const FRAME_BYTES: usize = 32;

const CRC_AT: usize = 12;
const FEATURES_AT: usize = 16;
const LENGTH_AT: usize = 24;

/// What kind of structure it is.
pub(crate) struct Sealed {
    /// Its name in errors.
    pub what: &'static str,
    /// Its first bytes.
    pub magic: [u8; 8],
    /// The version that is written, and the newest that is read.
    pub version: u16,
    /// The required features that this build knows.
    pub features: u64,
}

impl Sealed {
    /// Starts a structure without required features.
    pub(crate) fn begin(&self, capacity: usize) -> Writer {
        self.begin_with(0, capacity)
    }

    /// Starts a structure that needs these features of its reader.
    pub(crate) fn begin_with(&self, features: u64, capacity: usize) -> Writer {
        assert_eq!(features & !self.features, 0, "we read what we write");
        let mut out = Writer(Vec::with_capacity(capacity));
        out.bytes(&self.magic);
        out.u16(self.version);
        out.zeros(FEATURES_AT - 10);
        out.u64(features);
        out.zeros(FRAME_BYTES - FEATURES_AT - 8);
        out
    }

    /// Checks the frame around all of `bytes` and returns the fields and the checksum.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<(Reader<'a>, u32), FormatError> {
        let what = self.what;
        let have = bytes.len() as u64;
        let mut reader = Reader { what, rest: bytes };
        if bytes.len() < FRAME_BYTES {
            return Err(FormatError::Length { what, need: FRAME_BYTES as u64, have });
        }
        if reader.array()? != self.magic {
            return Err(FormatError::Magic { what });
        }
        let found = reader.u16()?;
        if found == 0 || found > self.version {
            return Err(FormatError::Version { what, found, known: self.version });
        }
        let zero = reader.u16()?;
        let crc = reader.u32()?;
        let features = reader.u64()?;
        let need = u64::from(reader.u32()?);
        if need != have {
            return Err(FormatError::Length { what, need, have });
        }
        if crc != seal_crc(bytes) {
            return Err(FormatError::Checksum { what });
        }
        if features & !self.features != 0 {
            return Err(FormatError::Features { what, unknown: features & !self.features });
        }
        reader.must_be_zero("reserved", u64::from(zero))?;
        let zero = reader.u32()?;
        reader.must_be_zero("reserved", u64::from(zero))?;
        Ok((reader, crc))
    }
}

/// CRC32C of a structure, its checksum field taken as zero.
fn seal_crc(bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &bytes[CRC_AT + 4..])
}

/// Writes length and checksum into a structure whose other bytes are final.
pub(crate) fn seal(bytes: &mut [u8]) -> u32 {
    let length = u32::try_from(bytes.len()).expect("structures are far below 4 GiB");
    bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
    let crc = seal_crc(bytes);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// The checksum in a frame.
pub(crate) fn frame_crc(bytes: &[u8]) -> Option<u32> {
    field(bytes, CRC_AT)
}

/// The required features in a frame that was opened.
pub(crate) fn frame_features(bytes: &[u8]) -> u64 {
    let field = &bytes[FEATURES_AT..FEATURES_AT + 8];
    u64::from_le_bytes(field.try_into().expect("took 8 bytes"))
}

/// The length of the structure that starts with this frame.
pub(crate) fn frame_length(bytes: &[u8]) -> Option<usize> {
    field(bytes, LENGTH_AT).map(|length| length as usize)
}

fn field(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(field.try_into().expect("took 4 bytes")))
}

/// Appends little-endian fields.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    /// Fills with zeros up to `length`, then seals.
    pub(crate) fn seal_padded(mut self, length: usize) -> Vec<u8> {
        assert!(self.0.len() <= length);
        self.0.resize(length, 0);
        self.seal().0
    }

    /// The finished structure and its checksum.
    pub(crate) fn seal(mut self) -> (Vec<u8>, u32) {
        let crc = seal(&mut self.0);
        (self.0, crc)
    }
}

/// Takes little-endian fields off the front.
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of bytes that have no frame.
    pub(crate) fn bare(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let have = self.rest.len() as u64;
            return Err(FormatError::Length { what: self.what, need: count as u64, have });
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        Ok(self.take(N)?.try_into().expect("took N bytes"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Refuses bytes after the last field.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        match self.rest.len() as u64 {
            0 => Ok(()),
            have => Err(FormatError::Length { what: self.what, need: 0, have }),
        }
    }

    /// Refuses bytes after the last field that are not zero.
    pub(crate) fn finish_padded(self) -> Result<(), FormatError> {
        match self.rest.iter().find(|&&byte| byte != 0) {
            None => Ok(()),
            Some(&byte) => Err(self.field("reserved", u64::from(byte))),
        }
    }

    /// The error "this field cannot have this value".
    pub(crate) fn field(&self, field: &'static str, value: u64) -> FormatError {
        FormatError::Field { what: self.what, field, value }
    }

    /// Refuses anything but zero.
    pub(crate) fn must_be_zero(&self, field: &'static str, value: u64) -> Result<(), FormatError> {
        if value == 0 { Ok(()) } else { Err(self.field(field, value)) }
    }
}
