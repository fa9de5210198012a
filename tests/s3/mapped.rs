//! A volume of which 100 GiB are mapped, opened on a host that has nothing of it, over a store that
//! takes its time. Only the map is made: two of its pages have data behind them.

use std::time::Duration;

use chunk::catalog::encode_name;
use chunk::chunk::block_crc;
use chunk::limits::MAX_PAYLOAD_BLOCKS;
use chunk::manifest::Cut;
use chunk::{
    Ancestors, ChunkBuilder, ChunkId, DirectorySegment, Manifest, ManifestSeq, MapObjectBuilder,
    MapPage, PageIndex, PageRef, PayloadBlock, Promises, SegmentIndex, VolumeName,
};
use hyper::Method;
use nbd::ByteRange;
use nbd::client::{Flags, Request};
use s3_test_server::{Fault, Rule, TestServer};
use wal::{BLOCK_BYTES, Epoch, Incarnation, Layout, Lba, VolumeId};

use crate::alone;
use crate::client::Client;
use crate::host::{BUCKET, Host, SMALL, bucket, connect};

const MAPPED: u64 = 100 << 30;

/// Bytes and blocks of a page.
const PAGE: u64 = 4 << 20;
const BLOCKS: u64 = PAGE / BLOCK_BYTES as u64;

/// Blocks of the one chunk that all pages refer to.
const DATA: u64 = MAX_PAYLOAD_BLOCKS as u64;

/// Chunks that the pages do not know yet: as many as there can be before the map is folded.
const UNFOLDED: u64 = 127;

/// How late the store answers each read.
const LATENCY: Duration = Duration::from_millis(30);

/// From the start of the server to the first read.
const FIRST_READ: Duration = Duration::from_secs(3);

/// Pages that can be read.
const SOUND: [u64; 2] = [0, 12_345];

fn content(block: u64) -> Vec<u8> {
    (0..BLOCK_BYTES as u64).map(|n| (n * 7 + block) as u8).collect()
}

struct Maker<'a> {
    bucket: &'a TestServer,
    volume: VolumeId,
    next: u64,
}

impl Maker<'_> {
    fn draw(&mut self) -> ChunkId {
        self.next += 1;
        ChunkId::new(Incarnation(1), self.next).expect("a small number")
    }

    fn put(&self, name: impl std::fmt::Display, body: Vec<u8>) {
        self.bucket.insert(BUCKET, &format!("of/krait/{name}"), body);
    }

    /// A chunk with the same blocks for whoever refers to it.
    fn chunk(&mut self, lba: u64, count: u64) -> ChunkId {
        let id = self.draw();
        let layout = Layout::new(10, 1).expect("a small layout");
        let mut builder = ChunkBuilder::new(self.volume, id, layout, Epoch(1));
        for block in 0..count {
            assert_eq!(builder.push_data(Lba(lba + block), &content(block)), 1);
        }
        self.put(id.chunk_name(self.volume), builder.finish().0);
        id
    }

    /// All pages, in the data of one chunk; returns their places.
    fn pages(&mut self, data: ChunkId) -> Vec<(PageIndex, PageRef)> {
        let nobody_reads = vec![0; BLOCKS as usize];
        let mut builder = MapObjectBuilder::new(self.volume, self.draw());
        let mut places = Vec::new();
        for index in (0..MAPPED / PAGE).map(PageIndex) {
            let first = index.first_block().0;
            let own = |block| block_crc(Lba(first + block), &content(block % DATA));
            let sums = match SOUND.contains(&index.0) {
                true => &(0..BLOCKS).map(own).collect(),
                false => &nobody_reads,
            };
            let mut page = MapPage::default();
            let (most, rest) = sums.split_at(DATA as usize);
            page.put_data(0, data, PayloadBlock(0), most);
            page.put_data(DATA as u16, data, PayloadBlock(0), rest);
            let place = builder.push_page(index, &page).unwrap_or_else(|| {
                let next = MapObjectBuilder::new(self.volume, self.draw());
                self.finish(std::mem::replace(&mut builder, next));
                builder.push_page(index, &page).expect("there is room in an empty object")
            });
            places.push((index, place));
        }
        self.finish(builder);
        places
    }

    /// The directory, each segment in an object of its own.
    fn directory(&mut self, pages: &[(PageIndex, PageRef)]) -> Vec<(SegmentIndex, PageRef)> {
        let parts = pages.chunk_by(|a, b| SegmentIndex::of(a.0) == SegmentIndex::of(b.0));
        let parts = parts.map(|part| {
            let index = SegmentIndex::of(part[0].0);
            let mut segment = DirectorySegment::new(index);
            part.iter().for_each(|(page, place)| segment.set(*page, Some(*place)));
            let mut builder = MapObjectBuilder::new(self.volume, self.draw());
            let place = builder.push_segment(&segment).expect("there is room");
            self.finish(builder);
            (index, place)
        });
        parts.collect()
    }

    fn finish(&self, builder: MapObjectBuilder) {
        self.put(builder.id().map_name(self.volume), builder.finish());
    }
}

/// Puts the volume `vm` into a bucket.
fn make(bucket: &TestServer) {
    let mut maker = Maker { bucket, volume: VolumeId([7; 16]), next: 0 };
    let data = maker.chunk(0, DATA);
    let pages = maker.pages(data);
    let directory = maker.directory(&pages);
    let unfolded = (0..UNFOLDED).map(|n| maker.chunk((MAPPED / BLOCK_BYTES as u64) + n * 8, 4));
    let manifest = Manifest {
        unfolded: unfolded.collect(),
        directory,
        volume: VolumeId([7; 16]),
        name: VolumeName::new("vm").expect("a name"),
        size_bytes: 2 * MAPPED,
        stripe_shift: 10,
        promises: Promises::default(),
        created_unix_ms: 0,
        incarnation: Incarnation(1),
        owner: [9; 16],
        tenure: Incarnation(1),
        salt: 1,
        cut: Cut { incarnation: Incarnation(1), epoch: Epoch(1), positions: Vec::new() },
        parent: None,
        ancestors: Ancestors::default(),
        compressed_since: None,
    };
    let seq = ManifestSeq(1);
    maker.put(seq.object_name(manifest.volume), manifest.encode(seq));
    maker.put(manifest.name.object_name(), encode_name(&manifest.name, manifest.volume));
}

#[test]
fn the_first_read_of_100_gib_comes_within_three_seconds() {
    let _alone = alone();
    let bucket = bucket();
    make(&bucket);
    let host = Host::new(&bucket);
    host.door.faults().add(Rule::all(Fault::Delay(LATENCY)).on(Method::GET));
    let mut server = host.place.serve(SMALL);
    let begun = server.started;
    let attached = host.place.run("volume attach vm --force");
    assert!(attached.status.success(), "{}", String::from_utf8_lossy(&attached.stderr));
    let mut client = connect(&mut server, 1).remove(0);
    let read = |client: &mut Client, block: u64| {
        let range = ByteRange::new(block * BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        let read = client.call(Request::Read(range), Flags::NONE, &[]);
        read.expect("a connection").expect("the block")
    };
    assert_eq!(read(&mut client, SOUND[1] * BLOCKS + 5), content(5));
    let first = begun.elapsed();
    assert_eq!(read(&mut client, 9), content(9));
    assert_eq!(read(&mut client, MAPPED / BLOCK_BYTES as u64 + 8 * 100 + 3), content(3));
    eprintln!("100 GiB mapped, each read {LATENCY:?} away: first read after {first:?}");
    assert!(first <= FIRST_READ, "{first:?}");
    server.kill();
}
