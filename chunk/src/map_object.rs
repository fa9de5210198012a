//! An object with many encoded map pages and directory segments, back to back.

use wal::VolumeId;

use crate::directory::{DirectorySegment, PageRef, SegmentIdentity};
use crate::error::{FormatError, ReadError, in_object};
use crate::ids::ChunkId;
use crate::limits::MAX_MAP_OBJECT_BYTES;
use crate::page::{MapPage, PageIdentity, PageIndex};
use crate::sealed::{FRAME_BYTES, frame_crc, frame_length};
use crate::store::ObjectStore;

/// A map object in the making.
#[derive(Debug)]
pub struct MapObjectBuilder {
    volume: VolumeId,
    id: ChunkId,
    bytes: Vec<u8>,
}

impl MapObjectBuilder {
    /// An empty object.
    #[must_use]
    pub fn new(volume: VolumeId, id: ChunkId) -> Self {
        Self { volume, id, bytes: Vec::new() }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a page; `None` if the object is full. An empty object takes any page.
    #[must_use]
    pub fn push_page(&mut self, index: PageIndex, page: &MapPage) -> Option<PageRef> {
        self.push(page.encode(PageIdentity { volume: self.volume, index }))
    }

    /// Adds a directory segment; `None` if the object is full. An empty object takes any segment.
    #[must_use]
    pub fn push_segment(&mut self, segment: &DirectorySegment) -> Option<PageRef> {
        self.push(segment.encode(self.volume))
    }

    fn push(&mut self, (bytes, crc): (Vec<u8>, u32)) -> Option<PageRef> {
        if self.bytes.len() + bytes.len() > MAX_MAP_OBJECT_BYTES {
            return None;
        }
        let (offset, len) = (self.bytes.len() as u32, bytes.len() as u32);
        self.bytes.extend_from_slice(&bytes);
        Some(PageRef { object: self.id, offset, len, crc })
    }

    /// The object's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a page of the map.
///
/// # Errors
/// If its object is missing or short, or its bytes are damaged, another page, or another version
/// of this page.
pub async fn read_page<S: ObjectStore>(
    store: &S,
    identity: PageIdentity,
    place: PageRef,
) -> Result<MapPage, ReadError> {
    let bytes = read(store, identity.volume, place).await?;
    let page = MapPage::decode_as(&bytes, identity);
    let page = page.and_then(|page| same_version("map page", &bytes, place).map(|()| page));
    page.map_err(in_object(&place.object.map_name(identity.volume)))
}

/// Reads a segment of the page directory.
///
/// # Errors
/// As [`read_page`].
pub async fn read_segment<S: ObjectStore>(
    store: &S,
    identity: SegmentIdentity,
    place: PageRef,
) -> Result<DirectorySegment, ReadError> {
    let bytes = read(store, identity.volume, place).await?;
    let segment = DirectorySegment::decode_as(&bytes, identity);
    let segment = segment
        .and_then(|segment| same_version("directory segment", &bytes, place).map(|()| segment));
    segment.map_err(in_object(&place.object.map_name(identity.volume)))
}

async fn read<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    place: PageRef,
) -> Result<Vec<u8>, ReadError> {
    let start = u64::from(place.offset);
    let range = start..start + u64::from(place.len);
    Ok(store.get_range(&place.object.map_name(volume), range).await?)
}

fn same_version(what: &'static str, bytes: &[u8], place: PageRef) -> Result<(), FormatError> {
    if frame_crc(bytes) == Some(place.crc) {
        Ok(())
    } else {
        Err(FormatError::Identity { what, field: "version" })
    }
}

/// A part of a map object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MapPart {
    /// A page of the map.
    Page(PageIdentity, MapPage),
    /// A segment of the page directory.
    Segment(SegmentIdentity, DirectorySegment),
}

/// Takes a whole map object apart, for people who look into it.
///
/// # Errors
/// If a part is not sound; what follows it cannot be found.
pub fn parts(mut bytes: &[u8]) -> Result<Vec<MapPart>, FormatError> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let length = frame_length(bytes).unwrap_or(0).max(FRAME_BYTES);
        let (part, rest) = bytes.split_at(length.min(bytes.len()));
        let page = match MapPage::decode(part) {
            Err(FormatError::Magic { .. }) => {
                DirectorySegment::decode(part).map(|(me, it)| MapPart::Segment(me, it))
            }
            page => page.map(|(me, page)| MapPart::Page(me, page)),
        };
        parts.push(page?);
        bytes = rest;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::SegmentIndex;
    use crate::memory::MemoryStore;
    use crate::page::PageRun;
    use futures_lite::future::block_on;
    use wal::Incarnation;

    const VOLUME: VolumeId = VolumeId([7; 16]);

    fn page(n: u16) -> MapPage {
        let mut page = MapPage::new();
        page.put_zero(PageRun::new(n, 1).unwrap());
        page
    }

    fn identity(index: u64) -> PageIdentity {
        PageIdentity { volume: VOLUME, index: PageIndex(index) }
    }

    #[test]
    fn what_is_pushed_is_found_again() {
        let store = MemoryStore::new();
        let id = ChunkId::new(Incarnation(1), 1).unwrap();
        let mut object = MapObjectBuilder::new(VOLUME, id);
        let first = object.push_page(PageIndex(5), &page(1)).unwrap();
        let second = object.push_page(PageIndex(5), &page(2)).unwrap();
        let mut segment = DirectorySegment::new(SegmentIndex(0));
        segment.set(PageIndex(5), Some(second));
        let third = object.push_segment(&segment).unwrap();
        let bytes = object.finish();
        let me = SegmentIdentity { volume: VOLUME, index: SegmentIndex(0) };
        let all = [
            MapPart::Page(identity(5), page(1)),
            MapPart::Page(identity(5), page(2)),
            MapPart::Segment(me, segment.clone()),
        ];
        assert_eq!(parts(&bytes).unwrap(), all);
        assert!(parts(&bytes[..bytes.len() - 1]).is_err());
        block_on(async {
            store.put(&id.map_name(VOLUME), bytes).await.unwrap();
            assert_eq!(read_page(&store, identity(5), second).await.unwrap(), page(2));
            assert_eq!(read_segment(&store, me, third).await.unwrap(), segment);
            let stale = PageRef { crc: second.crc, ..first };
            let error = read_page(&store, identity(5), stale).await.unwrap_err();
            assert!(error.to_string().ends_with("belongs to another version"), "{error}");
            let stale = PageRef { crc: second.crc, ..third };
            let error = read_segment(&store, me, stale).await.unwrap_err();
            assert!(error.to_string().ends_with("belongs to another version"), "{error}");
            let error = read_page(&store, identity(6), first).await.unwrap_err();
            assert!(error.to_string().ends_with("belongs to another page"), "{error}");
        });
    }

    #[test]
    fn a_full_object_says_so() {
        let id = ChunkId::new(Incarnation(1), 1).unwrap();
        let mut object = MapObjectBuilder::new(VOLUME, id);
        let mut full = MapPage::new();
        (0..1024).step_by(2).for_each(|n| full.put_zero(PageRun::new(n, 1).unwrap()));
        let mut pushed = 0;
        while object.push_page(PageIndex(pushed), &full).is_some() {
            pushed += 1;
        }
        let bytes = object.finish();
        assert!(bytes.len() <= MAX_MAP_OBJECT_BYTES);
        assert_eq!(parts(&bytes).unwrap().len() as u64, pushed);
    }
}
