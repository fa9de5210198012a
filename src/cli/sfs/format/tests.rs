use super::*;

const SIZE: u64 = 1 << 20;

fn entry(path: &str, kind: Kind, bytes: u64, at: u64) -> Entry {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    let crc = if bytes == 0 { 0 } else { crc32c::crc32c(b"hello") };
    Entry { path: path.to_owned(), kind, mode, bytes, at, crc }
}

fn sample() -> Vec<Entry> {
    vec![entry("d", Kind::Directory, 0, 0), entry("d/f", Kind::File, 5, 4096)]
}

fn example(name: &str) -> Vec<u8> {
    let fence = format!("```hex {name}\n");
    let (_, rest) = include_str!("../FORMAT.md").split_once(&fence).expect("the example is there");
    let (text, _) = rest.split_once("```").expect("the example ends");
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

#[test]
fn a_file_system_is_as_documented() {
    let (bytes, head) = encode(&sample(), 8192).unwrap();
    let expected = example("entries");
    assert!(bytes == expected, "{bytes:02x?}");
    let block = head.encode();
    let documented = example("head");
    assert!(block[..documented.len()] == documented, "{:02x?}", &block[..32]);
    assert_eq!(Head::decode(&block, SIZE), Ok(head));
    assert_eq!(decode(&head, &bytes), Ok(sample()));
}

#[test]
fn every_bad_head_is_refused() {
    let (_, head) = encode(&sample(), 8192).unwrap();
    let with = |at: usize, value: &[u8]| {
        let mut block = head.encode();
        block[at..at + value.len()].copy_from_slice(value);
        let crc = crc32c::crc32c(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        Head::decode(&block, SIZE).unwrap_err()
    };
    assert_eq!(Head::decode(&[0; BLOCK_BYTES], SIZE), Err(SfsError::None));
    assert_eq!(Head::decode(b"KRTSFS\0\0", SIZE), Err(SfsError::None));
    let mut torn = head.encode();
    torn[40] ^= 1;
    assert_eq!(Head::decode(&torn, SIZE), Err(SfsError::Checksum { what: "head" }));
    assert_eq!(with(8, &[2]), SfsError::Version { found: 2 });
    assert_eq!(with(10, &[1]), SfsError::Field { field: "reserved", entry: 2 });
    assert_eq!(with(4000, &[1]), SfsError::Field { field: "reserved", entry: 2 });
    assert_eq!(with(15, &[1]), SfsError::Field { field: "number", entry: 0x0100_0002 });
    assert_eq!(with(27, &[5]), SfsError::Field { field: "length", entry: 2 });
    for at in [&[0, 0][..], &[1, 32], &[0, 0, 16]] {
        assert_eq!(with(16, at), SfsError::Field { field: "offset", entry: 2 });
    }
    assert_eq!(
        Head::decode(&head.encode(), 8192),
        Err(SfsError::Field { field: "offset", entry: 2 })
    );
}

#[test]
fn every_bad_entry_is_refused() {
    let refused = |entries: &[Entry]| {
        let (bytes, head) = encode(entries, 64 << 10).unwrap();
        match decode(&head, &bytes) {
            Err(SfsError::Field { field, entry }) => (field, entry),
            other => panic!("{other:?}"),
        }
    };
    for path in ["", "..", "/f", "d//f", "d/../f", "./f", "f/", "a\0b"] {
        assert_eq!(refused(&[entry(path, Kind::File, 0, 0)]), ("path", 0), "{path}");
    }
    let file = |path, at| entry(path, Kind::File, 5, at);
    assert_eq!(refused(&[file("b", 4096), file("a", 8192)]), ("order", 1));
    assert_eq!(refused(&[file("a", 4096), file("a", 8192)]), ("order", 1));
    assert_eq!(refused(&[file("a/b", 4096)]), ("parent", 0));
    let through = [entry("a", Kind::Link, 5, 4096), file("a/b", 8192)];
    assert_eq!(refused(&through), ("parent", 1), "never through a link");
    for at in [0, 100, 64 << 10, u64::MAX] {
        assert_eq!(refused(&[file("a", at)]), ("offset", 0), "{at}");
    }
    assert_eq!(refused(&[file("a", 4096), file("b", 4096)]), ("offset", 1), "owned twice");
    assert_eq!(refused(&[entry("a", Kind::File, 0, 4096)]), ("offset", 0));
    assert_eq!(refused(&[entry("a", Kind::Directory, 5, 4096)]), ("length", 0));
    assert_eq!(refused(&[entry("a", Kind::Link, 5000, 4096)]), ("length", 0));

    let (good, head) = encode(&sample(), 8192).unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        let head = Head { crc: crc32c::crc32c(&bytes), ..head };
        decode(&head, &bytes).unwrap_err()
    };
    assert_eq!(with(0, 4), SfsError::Field { field: "kind", entry: 0 });
    assert_eq!(with(1, 1), SfsError::Field { field: "reserved", entry: 0 });
    assert_eq!(with(5, 0x10), SfsError::Field { field: "permission", entry: 0 });
    assert_eq!(with(32, 0xff), SfsError::Field { field: "path", entry: 0 });
    assert_eq!(with(35, 9), SfsError::Field { field: "path", entry: 1 });
    let cut = |bytes: usize| {
        let head = Head { crc: crc32c::crc32c(&good[..bytes]), ..head };
        decode(&head, &good[..bytes]).unwrap_err()
    };
    assert_eq!(cut(60), SfsError::Field { field: "length", entry: 1 });
    let fewer = Head { entries: 1, ..head };
    assert_eq!(decode(&fewer, &good), Err(SfsError::Field { field: "number", entry: 1 }));
    let mut torn = good.clone();
    torn[40] ^= 1;
    assert_eq!(decode(&head, &torn), Err(SfsError::Checksum { what: "list of entries" }));
}
