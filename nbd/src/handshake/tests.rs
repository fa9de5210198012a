use super::{CloseReason, Config, Handshake, Purpose, Refusal, Step, TlsPolicy};
use crate::export::{ExportInfo, ExportSummary, ReplyMode};
use crate::{limits, wire};

mod contexts_and_tls;

const BOTH: [u8; 4] = [0, 0, 0, 3];

/// An option by hand.
fn option(code: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(data.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let mut data = u32::try_from(bytes.len()).expect("short").to_be_bytes().to_vec();
    data.extend_from_slice(bytes);
    data
}

fn info_data(name: &[u8], infos: &[u16]) -> Vec<u8> {
    let mut data = counted(name);
    data.extend_from_slice(&u16::try_from(infos.len()).expect("short").to_be_bytes());
    for info in infos {
        data.extend_from_slice(&info.to_be_bytes());
    }
    data
}

fn meta_data(name: &[u8], queries: &[&[u8]]) -> Vec<u8> {
    let mut data = counted(name);
    data.extend_from_slice(&u32::try_from(queries.len()).expect("short").to_be_bytes());
    for query in queries {
        data.extend(counted(query));
    }
    data
}

/// A connection with two exports, `disk` (also the default) and the read-only `rom`.
struct Peer {
    handshake: Handshake,
    out: Vec<u8>,
}

/// Option, type and data of a reply.
type OptionReply = (u32, u32, Vec<u8>);

impl Peer {
    fn greeted(tls: TlsPolicy, client_flags: [u8; 4]) -> Self {
        let mut peer = Self::fresh(tls);
        assert!(matches!(peer.send(&client_flags), Step::NeedInput { .. }));
        peer
    }

    fn fresh(tls: TlsPolicy) -> Self {
        let mut out = Vec::new();
        let handshake = Handshake::new(Config { tls }, &mut out);
        assert_eq!(out.len(), wire::GREETING_BYTES);
        Self { handshake, out: Vec::new() }
    }

    fn new() -> Self {
        Self::greeted(TlsPolicy::Unsupported, BOTH)
    }

    /// Feeds all of `input`, answering questions, up to a step that this cannot take.
    fn send(&mut self, input: &[u8]) -> Step {
        let mut rest = input;
        loop {
            let advance = self.handshake.advance(rest, &mut self.out);
            rest = &rest[advance.consumed..];
            match advance.step {
                Step::ListExports => {
                    let summary = |name| ExportSummary { name, description: "a disk" };
                    self.handshake.answer_list([summary("disk"), summary("rom")], &mut self.out);
                }
                Step::FindExport { name, .. } => self.answer(&name),
                Step::NeedInput { bytes } => {
                    assert!(bytes > rest.len(), "asks for what it has");
                    assert!(bytes <= limits::MAX_HANDSHAKE_INPUT);
                    return Step::NeedInput { bytes };
                }
                step @ (Step::StartTls | Step::Transmission(_) | Step::Close(_)) => return step,
            }
        }
    }

    fn answer(&mut self, name: &str) {
        let mut export = ExportInfo::new("disk", 1 << 30);
        export.description = "a disk".to_owned();
        match name {
            "" | "disk" => {}
            "rom" => {
                export.name = "rom".to_owned();
                export.read_only = true;
            }
            _ => return self.handshake.refuse(Refusal::UnknownExport, &mut self.out),
        }
        self.handshake.answer_export(&export, &mut self.out);
    }

    /// The replies since the last look.
    fn replies(&mut self) -> Vec<OptionReply> {
        let bytes = std::mem::take(&mut self.out);
        let mut rest = &bytes[..];
        let mut replies = Vec::new();
        while !rest.is_empty() {
            let field = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().expect("4"));
            assert_eq!(rest[..8], wire::NBD_REP_MAGIC.to_be_bytes());
            let end = 20 + field(16) as usize;
            replies.push((field(8), field(12), rest[20..end].to_vec()));
            rest = &rest[end..];
        }
        replies
    }

    /// Sends an option and gives the types of its replies.
    fn kinds(&mut self, code: u32, data: &[u8]) -> Vec<u32> {
        self.send(&option(code, data));
        let replies = self.replies();
        assert!(replies.iter().all(|reply| reply.0 == code), "replies name their option");
        replies.iter().map(|reply| reply.1).collect()
    }
}

#[test]
fn client_flags_that_were_not_offered_close() {
    let mut peer = Peer::fresh(TlsPolicy::Unsupported);
    let closed = Step::Close(CloseReason::UnknownClientFlags { flags: 7 });
    assert_eq!(peer.send(&[0, 0, 0, 7]), closed);
    assert_eq!(peer.send(&[]), closed, "and it stays closed");
}

#[test]
fn without_fixed_newstyle_only_an_export_name_is_taken() {
    let mut peer = Peer::greeted(TlsPolicy::Unsupported, [0; 4]);
    let closed = CloseReason::NotFixed { option: wire::NBD_OPT_LIST };
    assert_eq!(peer.send(&option(wire::NBD_OPT_LIST, &[])), Step::Close(closed));
    let mut peer = Peer::greeted(TlsPolicy::Unsupported, [0; 4]);
    let step = peer.send(&option(wire::NBD_OPT_EXPORT_NAME, b"disk"));
    assert!(matches!(step, Step::Transmission(_)));
    assert_eq!(peer.out.len(), 10 + 124);
    assert_eq!(peer.out[..8], (1u64 << 30).to_be_bytes());
}

#[test]
fn an_export_name_without_zeroes_is_ten_bytes() {
    let mut peer = Peer::new();
    match peer.send(&option(wire::NBD_OPT_EXPORT_NAME, b"")) {
        Step::Transmission(negotiated) => {
            assert_eq!(negotiated.export, "disk");
            assert_eq!(negotiated.mode, ReplyMode::Simple);
            assert_eq!(negotiated.base_allocation, None);
        }
        step => panic!("no transmission: {step:?}"),
    }
    assert_eq!(peer.out.len(), 10);
}

#[test]
fn an_export_name_that_cannot_be_served_closes_without_a_word() {
    let long = vec![b'a'; limits::MAX_STRING + 1];
    let cases: [(&[u8], Refusal); 4] = [
        (b"nope", Refusal::UnknownExport),
        (b"\xff", Refusal::Invalid),
        (b"a\0b", Refusal::Invalid),
        (&long, Refusal::TooBig),
    ];
    for (name, refusal) in cases {
        let mut peer = Peer::new();
        let step = peer.send(&option(wire::NBD_OPT_EXPORT_NAME, name));
        assert_eq!(step, Step::Close(CloseReason::ExportName(refusal)));
        assert!(peer.out.is_empty());
    }
    let mut peer = Peer::new();
    let huge = vec![b'a'; limits::MAX_OPTION_DATA as usize + 1];
    let step = peer.send(&option(wire::NBD_OPT_EXPORT_NAME, &huge));
    assert_eq!(step, Step::Close(CloseReason::ExportName(Refusal::TooBig)));
}

#[test]
fn an_export_name_after_extended_headers_closes() {
    let mut peer = Peer::new();
    assert_eq!(peer.kinds(wire::NBD_OPT_EXTENDED_HEADERS, &[]), [wire::NBD_REP_ACK]);
    let step = peer.send(&option(wire::NBD_OPT_EXPORT_NAME, b"disk"));
    assert_eq!(step, Step::Close(CloseReason::ExportName(Refusal::ExtendedHeaders)));
}

#[test]
fn abort_is_acknowledged_and_its_data_ignored() {
    let mut peer = Peer::new();
    let step = peer.send(&option(wire::NBD_OPT_ABORT, b"bye"));
    assert_eq!(step, Step::Close(CloseReason::Aborted));
    assert_eq!(peer.replies(), [(wire::NBD_OPT_ABORT, wire::NBD_REP_ACK, vec![])]);
}

#[test]
fn the_list_names_every_export_and_ends_with_an_ack() {
    let mut peer = Peer::new();
    peer.send(&option(wire::NBD_OPT_LIST, &[]));
    let replies = peer.replies();
    let mut first = counted(b"disk");
    first.extend_from_slice(b"a disk");
    assert_eq!(replies[0], (wire::NBD_OPT_LIST, wire::NBD_REP_SERVER, first));
    assert_eq!(replies[1].1, wire::NBD_REP_SERVER);
    assert_eq!(replies[2], (wire::NBD_OPT_LIST, wire::NBD_REP_ACK, vec![]));
    assert_eq!(replies.len(), 3);
}

#[test]
fn a_refused_list_is_an_error_reply() {
    let mut peer = Peer::new();
    let advance = peer.handshake.advance(&option(wire::NBD_OPT_LIST, &[]), &mut peer.out);
    assert_eq!(advance.step, Step::ListExports);
    peer.handshake.refuse_saying(Refusal::Policy, "not today", &mut peer.out);
    assert!(matches!(peer.send(&[]), Step::NeedInput { bytes: 16 }));
    let told = (wire::NBD_OPT_LIST, wire::NBD_REP_ERR_POLICY, b"not today".to_vec());
    assert_eq!(peer.replies(), [told]);
}

#[test]
fn options_without_data_refuse_data() {
    for code in [wire::NBD_OPT_LIST, wire::NBD_OPT_STRUCTURED_REPLY, wire::NBD_OPT_EXTENDED_HEADERS]
    {
        let mut peer = Peer::new();
        assert_eq!(peer.kinds(code, b"x"), [wire::NBD_REP_ERR_INVALID]);
    }
    let mut peer = Peer::greeted(TlsPolicy::Offered, BOTH);
    assert_eq!(peer.kinds(wire::NBD_OPT_STARTTLS, b"x"), [wire::NBD_REP_ERR_INVALID]);
}

#[test]
fn unknown_options_are_unsupported_and_their_data_skipped() {
    let mut peer = Peer::new();
    for code in [0, 4, 12, u32::MAX] {
        assert_eq!(peer.kinds(code, &[0x49; 100]), [wire::NBD_REP_ERR_UNSUP]);
    }
    assert_eq!(peer.kinds(wire::NBD_OPT_STARTTLS, &[]), [wire::NBD_REP_ERR_UNSUP]);
    assert_eq!(peer.kinds(wire::NBD_OPT_STRUCTURED_REPLY, &[]), [wire::NBD_REP_ACK]);
}

#[test]
fn a_long_option_is_skipped_and_too_big_and_a_longer_one_closes() {
    let mut peer = Peer::new();
    let most = vec![0; limits::MAX_OPTION_DATA as usize];
    assert_eq!(peer.kinds(99, &most), [wire::NBD_REP_ERR_UNSUP]);
    let long = vec![0; limits::MAX_OPTION_SKIP as usize];
    assert_eq!(peer.kinds(99, &long), [wire::NBD_REP_ERR_TOO_BIG]);
    for piece in option(99, &long).chunks(1000) {
        assert!(peer.replies().is_empty(), "no answer before the end");
        assert!(matches!(peer.send(piece), Step::NeedInput { .. }));
    }
    assert_eq!(peer.replies()[0].1, wire::NBD_REP_ERR_TOO_BIG);
    assert_eq!(peer.kinds(wire::NBD_OPT_STRUCTURED_REPLY, &[]), [wire::NBD_REP_ACK]);
    let length = limits::MAX_OPTION_SKIP + 1;
    let mut header = option(99, &[]);
    header[12..].copy_from_slice(&length.to_be_bytes());
    assert_eq!(peer.send(&header), Step::Close(CloseReason::OptionTooLong { length }));
}

#[test]
fn a_bad_option_magic_closes() {
    let mut peer = Peer::new();
    let mut bytes = option(wire::NBD_OPT_LIST, &[]);
    bytes[0] ^= 1;
    assert_eq!(peer.send(&bytes), Step::Close(CloseReason::BadOptionMagic));
}

#[test]
fn a_client_that_only_negotiates_is_closed() {
    let mut peer = Peer::new();
    for _ in 0..limits::MAX_OPTIONS {
        assert_eq!(peer.kinds(99, &[]), [wire::NBD_REP_ERR_UNSUP]);
    }
    let step = peer.send(&option(99, &[]));
    assert_eq!(step, Step::Close(CloseReason::TooManyOptions));
}

#[test]
fn structured_replies_cannot_follow_extended_headers_but_may_precede_them() {
    let mut peer = Peer::new();
    assert_eq!(peer.kinds(wire::NBD_OPT_STRUCTURED_REPLY, &[]), [wire::NBD_REP_ACK]);
    assert_eq!(peer.kinds(wire::NBD_OPT_EXTENDED_HEADERS, &[]), [wire::NBD_REP_ACK]);
    let refused = peer.kinds(wire::NBD_OPT_STRUCTURED_REPLY, &[]);
    assert_eq!(refused, [wire::NBD_REP_ERR_EXT_HEADER_REQD]);
    match peer.send(&option(wire::NBD_OPT_GO, &info_data(b"", &[]))) {
        Step::Transmission(negotiated) => assert_eq!(negotiated.mode, ReplyMode::Extended),
        step => panic!("no transmission: {step:?}"),
    }
}

#[test]
fn info_gives_what_was_asked_for_and_stays_in_the_handshake() {
    let mut peer = Peer::new();
    let data = info_data(b"rom", &[0, 1, 2, 3, 77]);
    let step = peer.send(&option(wire::NBD_OPT_INFO, &data));
    assert!(matches!(step, Step::NeedInput { .. }));
    let replies = peer.replies();
    let infos: Vec<u16> = replies[..4]
        .iter()
        .map(|(_, kind, data)| {
            assert_eq!(*kind, wire::NBD_REP_INFO);
            u16::from_be_bytes([data[0], data[1]])
        })
        .collect();
    assert_eq!(infos, [0, 1, 2, 3]);
    let flags = u16::from_be_bytes([replies[0].2[10], replies[0].2[11]]);
    assert_ne!(flags & wire::NBD_FLAG_READ_ONLY, 0);
    assert_eq!(replies[1].2[2..], *b"rom");
    assert_eq!(replies[2].2[2..], *b"a disk");
    assert_eq!(replies[3].2[2..], [0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]);
    assert_eq!(replies[4].1, wire::NBD_REP_ACK);
}

#[test]
fn the_default_export_is_told_its_name_unasked() {
    let mut peer = Peer::new();
    peer.send(&option(wire::NBD_OPT_INFO, &info_data(b"", &[])));
    let replies = peer.replies();
    assert_eq!(replies[1].2, b"\0\x01disk");
    peer.send(&option(wire::NBD_OPT_INFO, &info_data(b"disk", &[])));
    assert_eq!(peer.replies().len(), 2, "only size and ack");
}

#[test]
fn an_unknown_export_is_refused_and_another_may_be_tried() {
    let mut peer = Peer::new();
    let refused = peer.kinds(wire::NBD_OPT_GO, &info_data(b"nope", &[]));
    assert_eq!(refused, [wire::NBD_REP_ERR_UNKNOWN]);
    let step = peer.send(&option(wire::NBD_OPT_GO, &info_data(b"rom", &[])));
    assert!(matches!(step, Step::Transmission(negotiated) if negotiated.read_only));
}

#[test]
fn only_an_export_that_will_be_used_is_asked_for_to_be_opened() {
    for (code, expected) in
        [(wire::NBD_OPT_INFO, Purpose::Describe), (wire::NBD_OPT_GO, Purpose::Open)]
    {
        let mut peer = Peer::new();
        let input = option(code, &info_data(b"disk", &[]));
        match peer.handshake.advance(&input, &mut peer.out).step {
            Step::FindExport { name, purpose } => {
                assert_eq!((name.as_str(), purpose), ("disk", expected));
            }
            step => panic!("no question: {step:?}"),
        }
    }
}

#[test]
fn malformed_info_requests_are_invalid() {
    let good = info_data(b"disk", &[3]);
    let mut longer = good.clone();
    longer.push(0);
    let mut name_too_long = good.clone();
    name_too_long[3] = 200;
    let huge = counted(&vec![b'a'; limits::MAX_STRING + 1]);
    let cases: [&[u8]; 7] = [
        &[],
        &good[..3],
        &good[..8],
        &good[..good.len() - 1],
        &longer,
        &name_too_long,
        &info_data(b"\xff\xfe", &[]),
    ];
    for data in cases {
        for code in [wire::NBD_OPT_INFO, wire::NBD_OPT_GO] {
            assert_eq!(Peer::new().kinds(code, data), [wire::NBD_REP_ERR_INVALID]);
        }
    }
    let mut data = huge;
    data.extend_from_slice(&[0, 0]);
    assert_eq!(Peer::new().kinds(wire::NBD_OPT_GO, &data), [wire::NBD_REP_ERR_TOO_BIG]);
}

#[test]
fn requests_behind_the_last_option_are_left_to_the_transmission() {
    let mut peer = Peer::new();
    let mut input = option(wire::NBD_OPT_GO, &info_data(b"disk", &[]));
    let used = input.len();
    input.extend_from_slice(&[1, 2, 3]);
    let advance = peer.handshake.advance(&input, &mut peer.out);
    assert_eq!(advance.consumed, used);
    peer.answer("disk");
    let advance = peer.handshake.advance(&input[used..], &mut peer.out);
    assert_eq!(advance.consumed, 0);
    assert!(matches!(advance.step, Step::Transmission(_)));
}
