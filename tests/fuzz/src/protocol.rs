//! The NBD protocol: whatever a peer sends, on both sides.

use std::sync::{Arc, Mutex};

use nbd::client::{ClientHandshake, ClientStep, Reply, ReplyDecoded, Wishes, decode_reply};
use nbd::{
    Command, Config, ContextId, Decoded, ExportInfo, ExportSummary, Handshake, Negotiated, Refusal,
    ReplyMode, Step, TlsPolicy, decode, limits, wire,
};

use super::memory_server::{Disk, MemoryServer};

/// Size of the disk of a session: not whole blocks, and small enough to be read again and again.
const DISK_BYTES: usize = (16 << 10) - 512;

/// What a server without any I/O may send for each byte that it got: a reply to a request of 28
/// bytes with the whole disk, or all exports with their texts.
const GAIN: usize = 2 * DISK_BYTES / 28;

fn split(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(&first, rest)| (first, rest))
}

/// A handshake with every policy of TLS, and answers that the first byte decides on.
pub fn handshake(bytes: &[u8]) {
    let (choice, input) = split(bytes);
    let tls = [TlsPolicy::Unsupported, TlsPolicy::Offered, TlsPolicy::Required];
    negotiate(tls[usize::from(choice) % 3], choice / 3, input);
}

/// Options, each of them a code, a length and so many bytes, in the frames that they need.
pub fn options(bytes: &[u8]) {
    let (choice, mut rest) = split(bytes);
    let flags = wire::NBD_FLAG_FIXED_NEWSTYLE | wire::NBD_FLAG_NO_ZEROES;
    let mut stream = u32::from(flags).to_be_bytes().to_vec();
    while let [code, length, behind @ ..] = rest {
        let (data, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        stream.extend(wire::NBD_OPT_MAGIC.to_be_bytes());
        stream.extend(u32::from(*code).to_be_bytes());
        stream.extend((data.len() as u32).to_be_bytes());
        stream.extend(data);
        rest = behind;
    }
    negotiate(TlsPolicy::Unsupported, choice, &stream);
}

/// Goes through a handshake up to its end or that of the input; whatever it says must be in
/// proportion to what it got.
fn negotiate(tls: TlsPolicy, answers: u8, input: &[u8]) {
    let mut out = Vec::new();
    let mut handshake = Handshake::new(Config { tls }, &mut out);
    let (mut used, mut asked) = (0, 0u32);
    loop {
        let rest = &input[used..];
        let advance = handshake.advance(rest, &mut out);
        assert!(advance.consumed <= rest.len(), "it takes what there is");
        used += advance.consumed;
        let yes = answers >> (asked % 8) & 1 == 0;
        asked += 1;
        match advance.step {
            Step::NeedInput { bytes } => {
                assert!(bytes > rest.len() - advance.consumed, "it asks for what it has");
                assert!(bytes <= limits::MAX_HANDSHAKE_INPUT, "a bounded buffer is enough");
                break;
            }
            Step::ListExports if yes => {
                let line = |name| ExportSummary { name, description: "of a test" };
                handshake.answer_list([line("disk"), line("rom")], &mut out);
            }
            Step::FindExport { name, .. } if yes => {
                let mut export = ExportInfo::new(&name, 1 << 30);
                export.read_only = asked.is_multiple_of(2);
                handshake.answer_export(&export, &mut out);
            }
            Step::ListExports | Step::FindExport { .. } => {
                handshake.refuse(Refusal::UnknownExport, &mut out);
            }
            Step::StartTls => {
                assert!(tls != TlsPolicy::Unsupported, "it was not offered");
                handshake.tls_started();
            }
            Step::Transmission(negotiated) => {
                assert!(negotiated.size <= 1 << 30);
                assert!(tls != TlsPolicy::Required || negotiated.tls, "not without TLS");
                break;
            }
            Step::Close(_) => break,
        }
    }
    // An option of 16 bytes may ask for all exports, or for an error with its text.
    let most = 64 + (input.len() / 16 + 2) * (4 * limits::MAX_MESSAGE + limits::MAX_STRING);
    assert!(out.len() <= most, "{} bytes for {}", out.len(), input.len());
}

const MODES: [ReplyMode; 3] = [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended];

/// Requests one behind the other, of a client that negotiated what the first byte says. The magic
/// number of each is made right unless the byte says otherwise.
pub fn requests(bytes: &[u8]) {
    let (choice, rest) = split(bytes);
    let mode = MODES[usize::from(choice) % 3];
    let negotiated = Negotiated {
        export: String::new(),
        size: [512, 1 << 20, 1 << 40, u64::MAX][usize::from(choice >> 2) % 4],
        read_only: choice & 0x10 != 0,
        mode,
        base_allocation: (mode.has_chunks() && choice & 0x20 != 0).then_some(ContextId(1)),
        tls: false,
    };
    let mut stream = rest.to_vec();
    let mut used = 0;
    while used < stream.len() {
        let input = &mut stream[used..];
        if choice & 0x40 == 0 && input.len() >= 4 {
            let magic = match mode {
                ReplyMode::Simple | ReplyMode::Structured => wire::NBD_REQUEST_MAGIC,
                ReplyMode::Extended => wire::NBD_EXTENDED_REQUEST_MAGIC,
            };
            input[..4].copy_from_slice(&magic.to_be_bytes());
        }
        match decode(&negotiated, input) {
            Err(_) => return,
            Ok(Decoded::NeedMore { bytes }) => {
                assert!(bytes > input.len(), "it asks for what it has");
                return;
            }
            Ok(Decoded::Refused { header_bytes, skip_payload, .. }) => {
                assert!(skip_payload <= limits::MAX_SKIPPED_PAYLOAD);
                used += header_bytes + (skip_payload as usize).min(64);
            }
            Ok(Decoded::Command { header_bytes, command, payload_bytes, .. }) => {
                check(&negotiated, command, payload_bytes);
                used += header_bytes + (payload_bytes as usize).min(64);
            }
        }
    }
}

/// A command that passed lies within the export, carries what it says, and is allowed.
fn check(negotiated: &Negotiated, command: Command, payload_bytes: u32) {
    let (range, changes) = match command {
        Command::Read { range, .. } => {
            assert!(range.length <= limits::MAX_PAYLOAD.into());
            (range, false)
        }
        Command::Write { range, .. } => {
            assert_eq!(range.length, u64::from(payload_bytes));
            assert!(payload_bytes <= limits::MAX_PAYLOAD);
            (range, true)
        }
        Command::Trim { range, .. } | Command::WriteZeroes { range, .. } => (range, true),
        Command::Cache { range } => (range, false),
        Command::BlockStatus { range, .. } => {
            assert!(negotiated.base_allocation.is_some(), "nobody negotiated it");
            (range, false)
        }
        Command::Flush | Command::Nothing | Command::Disconnect => return,
    };
    assert!(range.length > 0 && range.fits(negotiated.size), "{range:?}");
    assert!(!(changes && negotiated.read_only), "a change of a read-only export");
    assert!(payload_bytes == 0 || matches!(command, Command::Write { .. }));
}

/// What a server did with a stream.
#[derive(PartialEq, Eq)]
struct Transcript {
    output: Vec<u8>,
    closed: bool,
    disk: Vec<u8>,
}

fn serve(stream: &[u8], piece: usize) -> Transcript {
    let disk = Arc::new(Mutex::new(Disk::new(DISK_BYTES)));
    let mut output = Vec::new();
    let mut server = MemoryServer::new(disk.clone(), &mut output);
    for piece in stream.chunks(piece) {
        if server.is_closed() {
            break;
        }
        server.receive(piece, &mut output);
    }
    if let Some(negotiated) = server.negotiated() {
        assert_eq!(negotiated.size, DISK_BYTES as u64);
    }
    let closed = server.is_closed() || server.closed.is_some();
    let disk = disk.lock().expect("nobody panicked").bytes.clone();
    Transcript { output, closed, disk }
}

/// A whole session, in pieces of a length that the first byte says: the same as all at once.
pub fn session(bytes: &[u8]) {
    let (piece, stream) = split(bytes);
    let whole = serve(stream, usize::MAX);
    assert!(serve(stream, usize::from(piece) + 1) == whole, "how a stream is cut matters");
    assert!(whole.output.len() <= 4096 + stream.len() * GAIN, "{} bytes", whole.output.len());
}

/// The client's side: a handshake, or replies to requests, as the first byte says.
pub fn replies(bytes: &[u8]) {
    let (choice, input) = split(bytes);
    let mode = MODES[usize::from(choice) % 3];
    if choice & 0x10 == 0 {
        let wishes = Wishes { export: String::new(), mode, base_allocation: mode.has_chunks() };
        let mut out = Vec::new();
        let advance = ClientHandshake::new(wishes).advance(input, &mut out);
        assert!(out.len() <= 4096, "a handshake of {} bytes", out.len());
        if let Ok(advance) = advance {
            assert!(advance.consumed <= input.len());
            if let ClientStep::NeedInput { bytes } = advance.step {
                assert!(bytes > input.len() - advance.consumed, "it asks for what it has");
            }
        }
        return;
    }
    let mut rest = input;
    while let Ok(ReplyDecoded::Message { bytes, reply, .. }) = decode_reply(mode, rest) {
        assert!(bytes > 0 && bytes <= rest.len());
        if let Reply::Data { range } = reply {
            assert!(range.length <= limits::MAX_PAYLOAD.into());
        }
        if let Reply::Status { runs, .. } = reply {
            assert!(runs.into_iter().all(|run| run.length > 0));
        }
        rest = &rest[bytes..];
    }
}
