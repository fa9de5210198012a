//! Bytes of the simple file system, see `FORMAT.md` beside this file.

use wal::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"KRTSFS\0\0";
const VERSION: u16 = 1;

/// Entries of one file system.
const MAX_ENTRIES: u32 = 1_000_000;

/// Bytes of all entries.
const MAX_INDEX_BYTES: u32 = 64 << 20;

/// Bytes of a path.
const MAX_PATH_BYTES: usize = 4096;

const ENTRY_BYTES: usize = 32;
const CRC_AT: usize = BLOCK_BYTES - 4;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its content is where it leads.
    Link,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::Link => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::File, Self::Directory, Self::Link].into_iter().find(|kind| kind.code() == code)
    }
}

/// One file, directory or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Below the directory that was put.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Bytes of its content.
    pub bytes: u64,
    /// Where they are in the volume.
    pub at: u64,
    /// Their checksum.
    pub crc: u32,
}

/// Where the entries are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// How many.
    pub entries: u32,
    /// Where they begin.
    pub at: u64,
    /// Their bytes.
    pub bytes: u32,
    /// Their checksum.
    pub crc: u32,
}

/// Why bytes are not a file system.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SfsError {
    /// Another first block.
    #[error("there is no file system of `krait sfs` in it")]
    None,
    /// Written by a newer Krait.
    #[error("its file system has version {found}, this build reads {VERSION}")]
    Version {
        /// In the head.
        found: u16,
    },
    /// The bytes were changed since they were written.
    #[error("the {what} of its file system does not match its checksum")]
    Checksum {
        /// Head or entries.
        what: &'static str,
    },
    /// A field has a value that none can have.
    #[error("the file system is damaged: {field} of entry {entry}")]
    Field {
        /// The field.
        field: &'static str,
        /// Number of the entry, from 0; of the head, how many there are.
        entry: u32,
    },
    /// Too much for one file system.
    #[error("a file system has at most {MAX_ENTRIES} entries, with 64 MiB of paths")]
    TooMany,
}

impl Head {
    /// The first block of the volume.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.resize(CRC_AT, 0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads the first block of a volume of `size` bytes.
    ///
    /// # Errors
    /// If it is not the head of a file system.
    pub fn decode(block: &[u8], size: u64) -> Result<Self, SfsError> {
        if block.len() != BLOCK_BYTES || block[..8] != MAGIC {
            return Err(SfsError::None);
        }
        let (body, crc) = block.split_at(CRC_AT);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err(SfsError::Checksum { what: "head" });
        }
        let found = u16::from_le_bytes(take(body, 8));
        if found != VERSION {
            return Err(SfsError::Version { found });
        }
        let entries = u32::from_le_bytes(take(body, 12));
        let at = u64::from_le_bytes(take(body, 16));
        let bytes = u32::from_le_bytes(take(body, 24));
        let crc = u32::from_le_bytes(take(body, 28));
        let must = |holds: bool, field| match holds {
            true => Ok(()),
            false => Err(SfsError::Field { field, entry: entries }),
        };
        must(body[10..12] == [0; 2] && body[32..].iter().all(|byte| *byte == 0), "reserved")?;
        must(entries <= MAX_ENTRIES, "number")?;
        must(bytes <= MAX_INDEX_BYTES, "length")?;
        let ends = at.checked_add(bytes.into()).is_some_and(|end| end <= size);
        must(ends && at >= BLOCK_BYTES as u64 && at.is_multiple_of(BLOCK_BYTES as u64), "offset")?;
        Ok(Self { entries, at, bytes, crc })
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("took N bytes")
}

/// The entries, in their order, and their head if they stand at `at`.
///
/// # Errors
/// If they are too many.
pub fn encode(entries: &[Entry], at: u64) -> Result<(Vec<u8>, Head), SfsError> {
    let mut out = Vec::new();
    for entry in entries {
        let path = entry.path.as_bytes();
        let length = u16::try_from(path.len()).ok().filter(|_| path.len() <= MAX_PATH_BYTES);
        let length = length.ok_or(SfsError::TooMany)?;
        out.extend_from_slice(&[entry.kind.code(), 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&entry.mode.to_le_bytes());
        out.extend_from_slice(&entry.bytes.to_le_bytes());
        out.extend_from_slice(&entry.at.to_le_bytes());
        out.extend_from_slice(&entry.crc.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(path);
    }
    let count = u32::try_from(entries.len()).ok().filter(|count| *count <= MAX_ENTRIES);
    let bytes = u32::try_from(out.len()).ok().filter(|bytes| *bytes <= MAX_INDEX_BYTES);
    let (Some(entries), Some(bytes)) = (count, bytes) else { return Err(SfsError::TooMany) };
    let head = Head { entries, at, bytes, crc: crc32c::crc32c(&out) };
    Ok((out, head))
}

/// Bytes of an entry with this path.
pub fn entry_bytes(path: &str) -> usize {
    ENTRY_BYTES + path.len()
}

/// Reads the entries that a head announces.
///
/// # Errors
/// If they are damaged, or would lead out of the directory that they are written to.
pub fn decode(head: &Head, bytes: &[u8]) -> Result<Vec<Entry>, SfsError> {
    if crc32c::crc32c(bytes) != head.crc {
        return Err(SfsError::Checksum { what: "list of entries" });
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut directories = std::collections::HashSet::new();
    let (mut rest, mut end) = (bytes, BLOCK_BYTES as u64);
    for number in 0..head.entries {
        let (entry, behind) = decode_entry(rest, number)?;
        let must = |holds: bool, field| match holds {
            true => Ok(()),
            false => Err(SfsError::Field { field, entry: number }),
        };
        must(entries.last().is_none_or(|before| before.path < entry.path), "order")?;
        let parent = entry.path.rsplit_once('/').map(|(parent, _)| parent);
        must(parent.is_none_or(|parent| directories.contains(parent)), "parent")?;
        let content_end = entry.at.checked_add(entry.bytes);
        let is_free = entry.at >= end && content_end.is_some_and(|end| end <= head.at);
        let is_place = entry.at.is_multiple_of(BLOCK_BYTES as u64) && is_free;
        must(if entry.bytes == 0 { entry.at == 0 } else { is_place }, "offset")?;
        must(entry.kind != Kind::Directory || entry.bytes == 0, "length")?;
        must(entry.kind != Kind::Link || entry.bytes <= MAX_PATH_BYTES as u64, "length")?;
        if entry.kind == Kind::Directory {
            directories.insert(entry.path.clone());
        }
        end = end.max(entry.at + entry.bytes);
        entries.push(entry);
        rest = behind;
    }
    match rest.is_empty() {
        true => Ok(entries),
        false => Err(SfsError::Field { field: "number", entry: head.entries }),
    }
}

fn decode_entry(bytes: &[u8], number: u32) -> Result<(Entry, &[u8]), SfsError> {
    let wrong = |field| SfsError::Field { field, entry: number };
    let (fixed, rest) = bytes.split_at_checked(ENTRY_BYTES).ok_or_else(|| wrong("length"))?;
    let kind = Kind::of(fixed[0]).ok_or_else(|| wrong("kind"))?;
    let length = usize::from(u16::from_le_bytes(take(fixed, 2)));
    let (path, rest) = rest.split_at_checked(length).ok_or_else(|| wrong("path"))?;
    let path = std::str::from_utf8(path).map_err(|_| wrong("path"))?;
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    if length > MAX_PATH_BYTES || !path.split('/').all(is_name) {
        return Err(wrong("path"));
    }
    if fixed[1] != 0 || fixed[28..32] != [0; 4] {
        return Err(wrong("reserved"));
    }
    let mode = u32::from_le_bytes(take(fixed, 4));
    if mode > 0o7777 {
        return Err(wrong("permission"));
    }
    let entry = Entry {
        path: path.to_owned(),
        kind,
        mode,
        bytes: u64::from_le_bytes(take(fixed, 8)),
        at: u64::from_le_bytes(take(fixed, 16)),
        crc: u32::from_le_bytes(take(fixed, 24)),
    };
    Ok((entry, rest))
}

#[cfg(test)]
mod tests;
