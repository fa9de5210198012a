//! A server over memory without I/O, as a model for real ones: bytes in, bytes out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nbd::{
    BlockStatus, ByteRange, CloseReason, Command, Config, Decoded, Errno, ExportInfo,
    ExportSummary, Handshake, Last, Negotiated, Refusal, Replies, Step, Tag, TlsPolicy, decode,
    limits, wire,
};

const BLOCK: usize = 4096;

/// Bytes, and which blocks were ever written.
#[derive(Debug)]
pub struct Disk {
    pub bytes: Vec<u8>,
    written: Vec<bool>,
}

impl Disk {
    pub fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], written: vec![false; size.div_ceil(BLOCK)] }
    }

    fn set(&mut self, range: ByteRange, data: Option<&[u8]>) {
        let (start, end) = bounds(range);
        match data {
            Some(data) => self.bytes[start..end].copy_from_slice(data),
            None => self.bytes[start..end].fill(0),
        }
        let whole = if data.is_some() {
            start / BLOCK..end.div_ceil(BLOCK)
        } else {
            start.div_ceil(BLOCK)..end / BLOCK
        };
        for block in whole {
            self.written[block] = data.is_some();
        }
    }

    /// Runs of equal state that cover `range`.
    fn runs(&self, range: ByteRange) -> Vec<(ByteRange, bool)> {
        let (mut at, end) = bounds(range);
        let mut runs: Vec<(ByteRange, bool)> = Vec::new();
        while at < end {
            let written = self.written[at / BLOCK];
            let next = usize::min((at / BLOCK + 1) * BLOCK, end);
            let length = (next - at) as u64;
            match runs.last_mut() {
                Some((run, state)) if *state == written => run.length += length,
                _ => runs.push((ByteRange::new(at as u64, length), written)),
            }
            at = next;
        }
        runs
    }
}

fn bounds(range: ByteRange) -> (usize, usize) {
    let start = usize::try_from(range.offset).expect("checked by decode");
    (start, start + usize::try_from(range.length).expect("checked by decode"))
}

/// The exports of the server: `disk` (also the default) and `rom`, the same read-only.
pub type SharedDisk = Arc<Mutex<Disk>>;

fn lock(disk: &SharedDisk) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
enum Phase {
    Handshake(Handshake),
    Transmission(Negotiated),
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct MemoryServer {
    disk: SharedDisk,
    phase: Phase,
    buffer: Vec<u8>,
    skip: usize,
    /// Why the handshake ended, if it did without an export.
    pub closed: Option<CloseReason>,
}

impl MemoryServer {
    pub fn new(disk: SharedDisk, out: &mut Vec<u8>) -> Self {
        let phase = Phase::Handshake(Handshake::new(Config { tls: TlsPolicy::Unsupported }, out));
        Self { disk, phase, buffer: Vec::new(), skip: 0, closed: None }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// What was negotiated, once it was.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::Transmission(negotiated) => Some(negotiated),
            Phase::Handshake(_) | Phase::Closed => None,
        }
    }

    /// Takes bytes from the client and appends the answers.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.buffer.extend_from_slice(input);
        let mut used = 0;
        loop {
            let skipped = usize::min(self.skip, self.buffer.len() - used);
            self.skip -= skipped;
            used += skipped;
            match self.step(used, out) {
                Some(more) => used += more,
                None => break,
            }
        }
        self.buffer.drain(..used);
        let most = usize::max(limits::MAX_HANDSHAKE_INPUT, 32 + limits::MAX_PAYLOAD as usize);
        assert!(self.is_closed() || self.buffer.len() <= most, "a bounded buffer is enough");
    }

    /// Does one thing with the buffer from `at` on; gives the bytes used, nothing if it must wait.
    fn step(&mut self, at: usize, out: &mut Vec<u8>) -> Option<usize> {
        let input = &self.buffer[at..];
        match &mut self.phase {
            Phase::Closed => None,
            Phase::Handshake(handshake) => {
                let advance = handshake.advance(input, out);
                assert!(advance.consumed <= input.len());
                match advance.step {
                    Step::NeedInput { bytes } => {
                        assert!(bytes > input.len() - advance.consumed, "asks for what it has");
                        return (advance.consumed > 0).then_some(advance.consumed);
                    }
                    Step::ListExports => {
                        let line = |name| ExportSummary { name, description: "memory" };
                        handshake.answer_list([line("disk"), line("rom")], out);
                    }
                    Step::FindExport { name, .. } => match export(&name, &lock(&self.disk)) {
                        Some(export) => handshake.answer_export(&export, out),
                        None => handshake.refuse(Refusal::UnknownExport, out),
                    },
                    Step::Transmission(negotiated) => {
                        self.phase = Phase::Transmission(negotiated);
                    }
                    Step::Close(reason) => {
                        self.closed = Some(reason);
                        self.phase = Phase::Closed;
                    }
                    Step::StartTls => panic!("TLS was not offered"),
                }
                Some(advance.consumed)
            }
            Phase::Transmission(negotiated) => {
                let replies = Replies::new(negotiated.mode);
                match decode(negotiated, input) {
                    Err(_) => {
                        self.phase = Phase::Closed;
                        Some(0)
                    }
                    Ok(Decoded::NeedMore { bytes }) => {
                        assert!(bytes > input.len(), "asks for what it has");
                        None
                    }
                    Ok(Decoded::Refused { header_bytes, tag, skip_payload, rejection }) => {
                        assert!(skip_payload <= limits::MAX_SKIPPED_PAYLOAD);
                        self.skip = skip_payload as usize;
                        replies.error(tag, rejection.errno(), rejection.message(), out);
                        Some(header_bytes)
                    }
                    Ok(Decoded::Command { command: Command::Disconnect, .. }) => {
                        self.phase = Phase::Closed;
                        Some(0)
                    }
                    Ok(Decoded::Command { header_bytes, tag, command, payload_bytes }) => {
                        let end = header_bytes + payload_bytes as usize;
                        let payload = input.get(header_bytes..end)?;
                        serve(&mut lock(&self.disk), negotiated, tag, command, payload, out);
                        Some(end)
                    }
                }
            }
        }
    }
}

fn export(name: &str, disk: &Disk) -> Option<ExportInfo> {
    let mut export = ExportInfo::new(if name.is_empty() { "disk" } else { name }, 0);
    export.size = disk.bytes.len() as u64;
    export.description = "memory".to_owned();
    export.read_only = name == "rom";
    ["", "disk", "rom"].contains(&name).then_some(export)
}

fn serve(
    disk: &mut Disk,
    negotiated: &Negotiated,
    tag: Tag,
    command: Command,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let replies = Replies::new(negotiated.mode);
    match command {
        Command::Read { range, unfragmented } => {
            return read(disk, replies, tag, range, unfragmented, out);
        }
        Command::Write { range, .. } => disk.set(range, Some(payload)),
        Command::Trim { range, .. } => disk.set(range, None),
        Command::WriteZeroes { range, no_hole, fast, .. } => {
            if no_hole && fast {
                return replies.error(tag, Errno::NotSupported, "allocating is slow", out);
            }
            disk.set(range, None);
        }
        Command::Flush | Command::Cache { .. } | Command::Nothing => {}
        Command::BlockStatus { range, one } => {
            let context = negotiated.base_allocation.expect("checked by decode");
            let runs = disk.runs(range).into_iter().map(|(run, written)| {
                let hole = wire::NBD_STATE_HOLE | wire::NBD_STATE_ZERO;
                BlockStatus { length: run.length, state: if written { 0 } else { hole } }
            });
            return replies.status(tag, context, runs.take(if one { 1 } else { usize::MAX }), out);
        }
        Command::Disconnect => panic!("handled before"),
    }
    replies.ok(tag, out);
}

fn read(
    disk: &Disk,
    replies: Replies,
    tag: Tag,
    range: ByteRange,
    unfragmented: bool,
    out: &mut Vec<u8>,
) {
    if unfragmented || !replies.mode().has_chunks() {
        replies.data(tag, range, Last::Yes, out);
        let (start, end) = bounds(range);
        out.extend_from_slice(&disk.bytes[start..end]);
        return;
    }
    for (run, written) in disk.runs(range) {
        if written {
            replies.data(tag, run, Last::No, out);
            let (start, end) = bounds(run);
            out.extend_from_slice(&disk.bytes[start..end]);
        } else {
            replies.hole(tag, run, Last::No, out);
        }
    }
    replies.ok(tag, out);
}
