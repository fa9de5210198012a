//! Everything that stands in the object store. Each decoder gets the bytes as they are, and with
//! a checksum made right; what it takes comes back the same from its encoder.

use chunk::catalog::{decode_name, encode_name};
use chunk::chunk::read_index;
use chunk::clones::Pin;
use chunk::limits::{CHUNK_ENTRY_BYTES, CHUNK_HEADER_BYTES, MAX_CHUNK_ENTRIES};
use chunk::map_object::{MapPart, parts};
use chunk::snapshot::HEADER_BYTES;
use chunk::{
    ChunkIndex, DirectorySegment, Manifest, MapPage, MemoryStore, ObjectStore, Snapshot, VolumeName,
};
use futures_lite::future::block_on;
use wal::{BLOCK_BYTES, Layout, ShardId};

use super::seal::{self, FRAME_BYTES};

/// A whole chunk: header block, payload, index.
pub fn chunk(bytes: &[u8]) {
    let _ = ChunkIndex::decode(bytes);
    let mut object = bytes.to_vec();
    if object.len() < CHUNK_HEADER_BYTES {
        return;
    }
    // The length that is told for the payload decides what of the object is its index.
    let (header, rest) = object.split_at_mut(CHUNK_HEADER_BYTES);
    let told = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let index_at = (told(72) as usize).saturating_sub(CHUNK_HEADER_BYTES);
    let index = rest.get(index_at..).unwrap_or_default();
    let crc = crc32c::crc32c(index);
    header[80..84].copy_from_slice(&crc.to_le_bytes());
    seal::frame(header);
    let Ok(index) = ChunkIndex::decode(&object) else { return };
    assert!(index.entries().len() as u32 <= MAX_CHUNK_ENTRIES);
    let most = size_of::<ChunkIndex>() + 2 * object.len() + 2 * CHUNK_ENTRY_BYTES;
    assert!(index.memory_bytes() <= most, "{} bytes of memory", index.memory_bytes());
    for shards in [1, 2, 7] {
        let layout = Layout::new(index.info().layout.stripe_shift(), shards);
        let layout = layout.expect("a stripe that was read, and few shards");
        for shard in (0..shards).map(ShardId) {
            // A hole may reach over every stripe of a volume.
            for (run, _) in index.pieces(layout, shard).take(4096) {
                assert!(run.count > 0);
            }
        }
    }
    unpack(&index, &object);
    block_on(read_back(&index, object));
}

/// A frame gives an error, or as many bytes as its blocks have: never more.
fn unpack(index: &ChunkIndex, object: &[u8]) {
    let all = 0..index.payload_blocks();
    if all.is_empty() {
        return;
    }
    let mut next = 0;
    for (blocks, content) in index.frames().of_object(all, object) {
        assert_eq!(blocks.start, next, "frames follow each other");
        next = blocks.end;
        if let Ok(content) = content {
            assert_eq!(content.len(), blocks.len() * BLOCK_BYTES);
        }
    }
    assert_eq!(next, index.payload_blocks());
}

/// A chunk that passed as a whole is read the same in pieces, as a server does it.
async fn read_back(index: &ChunkIndex, object: Vec<u8>) {
    let (store, info) = (MemoryStore::new(), index.info());
    let name = info.id.chunk_name(info.volume);
    store.put(&name, object).await.expect("memory");
    let read = read_index(&store, info.volume, info.id).await;
    assert_eq!(&read.expect("it is whole"), index);
}

/// A manifest.
pub fn manifest(bytes: &[u8]) {
    let _ = Manifest::decode(bytes);
    let mut sealed = bytes.to_vec();
    seal::frame(&mut sealed);
    let Ok((seq, manifest)) = Manifest::decode(&sealed) else { return };
    assert!(manifest.blocks() <= wal::limits::VOLUME_MAX_BLOCKS);
    let lineage = manifest.lineage();
    for &id in &manifest.unfolded {
        let _ = lineage.writer(id);
    }
    let again = manifest.encode(seq);
    same(&again, &sealed);
    assert_eq!(Manifest::decode(&again).expect("what we write we read"), (seq, manifest));
}

/// A page of the map, or a segment of the page directory.
pub fn page(bytes: &[u8]) {
    let _ = (MapPage::decode(bytes), DirectorySegment::decode(bytes));
    let mut sealed = bytes.to_vec();
    seal::frame(&mut sealed);
    if let Ok((identity, page)) = MapPage::decode(&sealed) {
        same(&page.encode(identity).0, &sealed);
    }
    if let Ok((identity, segment)) = DirectorySegment::decode(&sealed) {
        same(&segment.encode(identity.volume).0, &sealed);
    }
}

/// Pages and segments back to back.
pub fn map_object(bytes: &[u8]) {
    let _ = parts(bytes);
    let mut sealed = bytes.to_vec();
    let mut at = 0;
    while at + FRAME_BYTES <= sealed.len() {
        let rest = &mut sealed[at..];
        let told = seal::frame_length(rest).unwrap_or(0);
        let length = told.clamp(FRAME_BYTES, rest.len());
        seal::frame(&mut rest[..length]);
        at += length;
    }
    let Ok(parts) = parts(&sealed) else { return };
    let encode = |part: MapPart| match part {
        MapPart::Page(identity, page) => page.encode(identity).0,
        MapPart::Segment(identity, segment) => segment.encode(identity.volume).0,
    };
    let again: Vec<u8> = parts.into_iter().flat_map(encode).collect();
    same(&again, &sealed);
}

/// A snapshot: a header and a manifest.
pub fn snapshot(bytes: &[u8]) {
    let _ = Snapshot::decode(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() < HEADER_BYTES + FRAME_BYTES {
        return;
    }
    let (header, manifest) = sealed.split_at_mut(HEADER_BYTES);
    seal::frame(manifest);
    let length = manifest.len() as u32;
    header[88..92].copy_from_slice(&length.to_le_bytes());
    header[92..96].copy_from_slice(&seal::stored(manifest).to_le_bytes());
    seal::frame(header);
    let Ok(snapshot) = Snapshot::decode(&sealed) else { return };
    let again = snapshot.encode();
    same(&again, &sealed);
    assert_eq!(Snapshot::decode(&again).expect("what we write we read"), snapshot);
}

/// What keeps a snapshot for a clone.
pub fn pin(bytes: &[u8]) {
    let _ = Pin::decode(bytes);
    let mut sealed = bytes.to_vec();
    seal::frame(&mut sealed);
    let Ok(pin) = Pin::decode(&sealed) else { return };
    same(&pin.encode(), &sealed);
    let decoded = Pin::decode_as(&sealed, pin.volume, &pin.object_name());
    assert_eq!(decoded.expect("its own name"), pin);
}

/// What gives a volume its name.
pub fn name(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::frame(&mut sealed);
    let text = sealed.get(FRAME_BYTES + 18..).and_then(|name| std::str::from_utf8(name).ok());
    let name = text.and_then(|text| VolumeName::new(text).ok());
    let name = name.unwrap_or_else(|| VolumeName::new("vm").expect("a name"));
    let _ = decode_name(bytes, &name);
    if let Ok(volume) = decode_name(&sealed, &name) {
        same(&encode_name(&name, volume), &sealed);
    }
}

/// Two spellings of the same thing would let one object pass for another.
fn same(again: &[u8], read: &[u8]) {
    assert!(again == read, "{} bytes were read, {} are written", read.len(), again.len());
}
