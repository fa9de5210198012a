//! A segment of the page directory: where the 1024 map pages of 4 GiB of a volume are.

use wal::{Lba, VolumeId};

use crate::error::FormatError;
use crate::ids::ChunkId;
use crate::limits::{
    MAX_MAP_OBJECT_BYTES, MAX_PAGE_BYTES, MAX_SEGMENT_BYTES, PAGE_BLOCKS, SEGMENT_PAGES,
};
use crate::page::PageIndex;
use crate::sealed::{FRAME_BYTES, Reader, Sealed, Writer};

const SEGMENT: Sealed =
    Sealed { what: "directory segment", magic: *b"KRTDIRSG", version: 1, features: 0 };

/// Where an encoded page or directory segment is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRef {
    /// The map object.
    pub object: ChunkId,
    /// First byte in it.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
    /// The checksum that must stand in the bytes, so that no other version passes for this one.
    pub crc: u32,
}

impl PageRef {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.object.raw());
        out.u32(self.offset);
        out.u32(self.len);
        out.u32(self.crc);
    }

    pub(crate) fn read(fields: &mut Reader<'_>) -> Result<Self, FormatError> {
        let raw = fields.u64()?;
        let (offset, len, crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let object = ChunkId::from_raw(raw).ok_or_else(|| fields.field("object id", raw))?;
        let longest = MAX_PAGE_BYTES.max(MAX_SEGMENT_BYTES);
        if !(FRAME_BYTES..=longest).contains(&(len as usize)) {
            return Err(fields.field("length", len.into()));
        }
        if u64::from(offset) + u64::from(len) > MAX_MAP_OBJECT_BYTES as u64 {
            return Err(fields.field("offset", offset.into()));
        }
        Ok(Self { object, offset, len, crc })
    }
}

/// Number of a directory segment: the segment of page `p` is `p / 1024`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentIndex(pub u32);

impl SegmentIndex {
    /// The segment that a page belongs to.
    ///
    /// # Panics
    /// If the page is beyond the largest volume by far.
    #[must_use]
    pub fn of(page: PageIndex) -> Self {
        let index = page.0 / u64::from(SEGMENT_PAGES);
        Self(u32::try_from(index).expect("volumes end far below"))
    }

    /// How many segments a volume of this many blocks has.
    #[must_use]
    pub fn count(blocks: u64) -> u64 {
        blocks.div_ceil(u64::from(SEGMENT_PAGES) * u64::from(PAGE_BLOCKS))
    }

    /// Address of the segment's first block.
    #[must_use]
    pub fn first_block(self) -> Lba {
        PageIndex(self.first_page()).first_block()
    }

    fn first_page(self) -> u64 {
        u64::from(self.0) * u64::from(SEGMENT_PAGES)
    }
}

/// Which directory segment of which volume some bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentIdentity {
    /// The volume.
    pub volume: VolumeId,
    /// The segment.
    pub index: SegmentIndex,
}

/// References to the pages of one segment; pages without one are holes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectorySegment {
    index: SegmentIndex,
    /// Place in the segment and reference, in order of places.
    refs: Vec<(u16, PageRef)>,
}

impl DirectorySegment {
    /// A segment without pages.
    #[must_use]
    pub fn new(index: SegmentIndex) -> Self {
        Self { index, refs: Vec::new() }
    }

    /// Which segment it is.
    #[must_use]
    pub fn index(&self) -> SegmentIndex {
        self.index
    }

    /// Number of pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether there is no page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// Bytes of memory that the segment takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.refs.capacity() * size_of::<(u16, PageRef)>()
    }

    /// Where a page of this segment is.
    ///
    /// # Panics
    /// If the page belongs to another segment.
    #[must_use]
    pub fn get(&self, page: PageIndex) -> Option<PageRef> {
        self.find(page).ok().map(|at| self.refs[at].1)
    }

    /// Says where a page of this segment is, or that there is none any more.
    ///
    /// # Panics
    /// If the page belongs to another segment.
    pub fn set(&mut self, page: PageIndex, place: Option<PageRef>) {
        match (self.find(page), place) {
            (Ok(at), Some(place)) => self.refs[at].1 = place,
            (Ok(at), None) => drop(self.refs.remove(at)),
            (Err(at), Some(place)) => self.refs.insert(at, (self.slot(page), place)),
            (Err(_), None) => {}
        }
    }

    /// All pages in order.
    pub fn iter(&self) -> impl Iterator<Item = (PageIndex, PageRef)> + '_ {
        let first = self.index.first_page();
        self.refs.iter().map(move |&(slot, place)| (PageIndex(first + u64::from(slot)), place))
    }

    fn slot(&self, page: PageIndex) -> u16 {
        assert_eq!(SegmentIndex::of(page), self.index, "the page belongs to this segment");
        (page.0 % u64::from(SEGMENT_PAGES)) as u16
    }

    fn find(&self, page: PageIndex) -> Result<usize, usize> {
        let slot = self.slot(page);
        self.refs.binary_search_by_key(&slot, |&(slot, _)| slot)
    }

    /// The segment's bytes and their checksum.
    #[must_use]
    pub fn encode(&self, volume: VolumeId) -> (Vec<u8>, u32) {
        let mut out = SEGMENT.begin(56 + self.refs.len() * 24);
        out.bytes(&volume.0);
        out.u32(self.index.0);
        out.u32(self.refs.len() as u32);
        for (slot, place) in &self.refs {
            out.u16(*slot);
            out.u16(0);
            place.write(&mut out);
        }
        let (bytes, crc) = out.seal();
        assert!(bytes.len() <= MAX_SEGMENT_BYTES);
        (bytes, crc)
    }

    /// Reads a segment, and whose it is.
    ///
    /// # Errors
    /// If the bytes are not exactly one sound segment.
    pub fn decode(bytes: &[u8]) -> Result<(SegmentIdentity, Self), FormatError> {
        let (mut fields, _) = SEGMENT.open(bytes)?;
        let volume = VolumeId(fields.array()?);
        let index = SegmentIndex(fields.u32()?);
        let count = fields.u32()?;
        if count > SEGMENT_PAGES.into() {
            return Err(fields.field("number of pages", count.into()));
        }
        let mut refs: Vec<(u16, PageRef)> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (slot, zero) = (fields.u16()?, fields.u16()?);
            fields.must_be_zero("reserved", zero.into())?;
            if slot >= SEGMENT_PAGES || refs.last().is_some_and(|&(before, _)| before >= slot) {
                return Err(fields.field("place", slot.into()));
            }
            refs.push((slot, PageRef::read(&mut fields)?));
        }
        fields.finish()?;
        Ok((SegmentIdentity { volume, index }, Self { index, refs }))
    }

    /// As [`Self::decode`], for the bytes that should be this segment.
    ///
    /// # Errors
    /// As [`Self::decode`], and if it is another segment.
    pub fn decode_as(bytes: &[u8], identity: SegmentIdentity) -> Result<Self, FormatError> {
        let (found, segment) = Self::decode(bytes)?;
        let what = SEGMENT.what;
        if found.volume != identity.volume {
            return Err(FormatError::Identity { what, field: "volume" });
        }
        if found.index != identity.index {
            return Err(FormatError::Identity { what, field: "segment" });
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed;
    use wal::Incarnation;

    const VOLUME: VolumeId = VolumeId([7; 16]);
    const ME: SegmentIdentity = SegmentIdentity { volume: VOLUME, index: SegmentIndex(2) };

    fn place(n: u32) -> PageRef {
        let object = ChunkId::new(Incarnation(1), n.into()).unwrap();
        PageRef { object, offset: n * 100, len: 84, crc: n }
    }

    fn sample() -> DirectorySegment {
        let mut segment = DirectorySegment::new(SegmentIndex(2));
        segment.set(PageIndex(3071), Some(place(2)));
        segment.set(PageIndex(2048), Some(place(1)));
        segment
    }

    #[test]
    fn pages_are_set_replaced_and_taken_away() {
        let mut segment = sample();
        assert_eq!(segment.get(PageIndex(2048)), Some(place(1)));
        assert_eq!(segment.get(PageIndex(2049)), None);
        segment.set(PageIndex(2048), Some(place(3)));
        segment.set(PageIndex(2050), None);
        let all = [(PageIndex(2048), place(3)), (PageIndex(3071), place(2))];
        assert_eq!(segment.iter().collect::<Vec<_>>(), all);
        segment.set(PageIndex(2048), None);
        segment.set(PageIndex(3071), None);
        assert!(segment.is_empty());
    }

    #[test]
    fn reads_back_full_and_sparse() {
        let sparse = sample();
        assert_eq!(DirectorySegment::decode_as(&sparse.encode(VOLUME).0, ME).unwrap(), sparse);
        let mut full = DirectorySegment::new(SegmentIndex(2));
        (0..1024).for_each(|n| full.set(PageIndex(2048 + n), Some(place(n as u32))));
        let (bytes, _) = full.encode(VOLUME);
        assert_eq!(bytes.len(), MAX_SEGMENT_BYTES);
        assert_eq!(DirectorySegment::decode_as(&bytes, ME).unwrap(), full);
    }

    #[test]
    fn every_bad_field_is_refused_by_name() {
        let cases: [(usize, &[u8], &str); 8] = [
            (52, &[1, 4], "number of pages"),
            (56, &[0, 4], "place"),
            (80, &[0, 0], "place"),
            (58, &[1], "reserved"),
            (60, &[0; 8], "object id"),
            (72, &[31], "length"),
            (72, &[0, 0, 1], "length"),
            (68, &[0, 0, 0x40], "offset"),
        ];
        for (at, value, name) in cases {
            let (mut bytes, _) = sample().encode(VOLUME);
            bytes[at..at + value.len()].copy_from_slice(value);
            sealed::seal(&mut bytes);
            match DirectorySegment::decode(&bytes).unwrap_err() {
                FormatError::Field { what: "directory segment", field, .. } => {
                    assert_eq!(field, name);
                }
                other => panic!("{name}: {other}"),
            }
        }
    }

    #[test]
    fn wrong_frames_lengths_and_identities_are_refused() {
        let what = "directory segment";
        let (bytes, _) = sample().encode(VOLUME);
        let mut bad = bytes.clone();
        bad[0] ^= 1;
        assert_eq!(DirectorySegment::decode(&bad).unwrap_err(), FormatError::Magic { what });
        let mut bad = bytes.clone();
        bad[100] ^= 1;
        assert_eq!(DirectorySegment::decode(&bad).unwrap_err(), FormatError::Checksum { what });
        let mut bad = bytes.clone();
        bad.push(0);
        sealed::seal(&mut bad);
        let long = FormatError::Length { what, need: 0, have: 1 };
        assert_eq!(DirectorySegment::decode(&bad).unwrap_err(), long);
        let other = SegmentIdentity { volume: VolumeId([8; 16]), ..ME };
        let error = DirectorySegment::decode_as(&bytes, other).unwrap_err();
        assert_eq!(error, FormatError::Identity { what, field: "volume" });
        let other = SegmentIdentity { index: SegmentIndex(3), ..ME };
        let error = DirectorySegment::decode_as(&bytes, other).unwrap_err();
        assert_eq!(error, FormatError::Identity { what, field: "segment" });
    }
}
