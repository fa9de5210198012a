//! `FORMAT.md` shows a record in hexadecimal; here it meets the encoder and the decoder.

use wal::{BLOCK_BYTES, Batch, Body, Epoch, Extent, HoleKind, Incarnation, Layout, Lba};
use wal::{LogIdentity, Lsn, RawRecord, SegmentId, ShardId, VolumeId};

const DOCUMENT: &str = include_str!("../FORMAT.md");

/// The record that the document describes.
fn encoded() -> Vec<u8> {
    let identity = LogIdentity {
        volume: VolumeId(*b"example-volume-1"),
        incarnation: Incarnation(3),
        salt: 0x0123_4567_89ab_cdef,
        shard: ShardId(1),
        layout: Layout::new(10, 2).unwrap(),
    };
    let buf = vec![0xff; 4 * BLOCK_BYTES];
    let mut batch = Batch::begin(buf, identity, SegmentId(9), 5, Lsn(7));
    let epoch = Epoch(4);
    batch.push_data(epoch, Lba(1024), &[b'K'; BLOCK_BYTES]).unwrap();
    assert!(batch.push_hole(epoch, HoleKind::Zero, Extent::new(Lba(0), 5000).unwrap()));
    assert!(batch.push_hole(epoch, HoleKind::Discard, Extent::new(Lba(3100), 9).unwrap()));
    batch.finish(Lsn(6)).buf
}

/// Writes bytes as the document does.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let lines: Vec<_> = bytes.chunks(16).collect();
    for (index, line) in lines.iter().enumerate() {
        let repeats = index > 0 && lines[index - 1] == *line;
        if !repeats {
            let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{:04x}  {}\n", index * 16, hex.join(" "));
        } else if !text.ends_with("*\n") {
            text += "*\n";
        }
    }
    text + &format!("{:04x}\n", bytes.len())
}

/// Reads what `dump` writes, out of the document.
fn documented() -> Vec<u8> {
    let section = DOCUMENT.split("### Example\n").nth(1).expect("the example");
    let text = section.split("```").nth(1).expect("its bytes").trim_start_matches("text");
    let (mut bytes, mut line) = (Vec::<u8>::new(), Vec::new());
    for words in text.lines().map(str::trim).filter(|text| !text.is_empty() && *text != "*") {
        let mut words = words.split_whitespace();
        let offset = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        while bytes.len() < offset {
            bytes.extend_from_slice(&line);
        }
        assert_eq!(bytes.len(), offset);
        line = words.map(|word| u8::from_str_radix(word, 16).unwrap()).collect();
        bytes.extend_from_slice(&line);
    }
    bytes
}

#[test]
fn the_example_is_what_the_encoder_writes() {
    let expected = dump(&encoded());
    assert!(documented() == encoded(), "the document should show:\n{expected}");
    assert!(DOCUMENT.contains(&expected), "the document should show:\n{expected}");
}

#[test]
fn the_example_is_what_the_decoder_reads() {
    let bytes = documented();
    let record = RawRecord::parse(&bytes[..BLOCK_BYTES]).unwrap().check().unwrap();
    assert_eq!((record.lsn, record.durable_lsn, record.epoch), (Lsn(7), Lsn(6), Epoch(4)));
    assert_eq!((record.at_block, record.payload_blocks), (5, 1));
    assert_eq!(record.identity.shard, ShardId(1));
    let Body::Data(place) = record.entries[0].body else { panic!("{record}") };
    assert_eq!(place.block, 6);
    assert!(record.entries[0].matches(&bytes[BLOCK_BYTES..]));
    assert_eq!(record.entries.len(), 3);
}

/// The offsets and widths of the tables follow one another without gaps.
#[test]
fn the_tables_leave_no_byte_out() {
    let rows = |heading: &str| -> Vec<(usize, usize)> {
        let section = DOCUMENT.split(heading).nth(1).expect(heading);
        let table = section.lines().skip_while(|line| !line.starts_with("| Offset"));
        let rows = table.skip(2).take_while(|line| line.starts_with('|'));
        let product =
            |cell: &str| cell.split('x').map(|n| n.trim().parse::<usize>().unwrap()).product();
        rows.map(|row| row.split('|').collect::<Vec<_>>())
            .map(|cells| (cells[1].trim().parse().unwrap(), product(cells[2])))
            .collect()
    };
    for (heading, total) in
        [("## Record\n", BLOCK_BYTES), ("### Entry\n", wal::limits::ENTRY_BYTES)]
    {
        let end = rows(heading).into_iter().fold(0, |end, (offset, bytes)| {
            assert_eq!(offset, end, "{heading}");
            end + bytes
        });
        assert_eq!(end, total, "{heading}");
    }
}
