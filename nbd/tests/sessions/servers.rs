//! The client codec against the servers that people use.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nbd::client::{
    ClientHandshake, ClientStep, Flags, Reply, ReplyDecoded, Request, Session, Wishes, decode_reply,
};
use nbd::{ByteRange, Cookie, Errno, ReplyMode};

use super::tools::run;

const SIZE: u64 = 8 << 20;

/// A server in the background, until dropped.
struct Background<'a> {
    dir: &'a Path,
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap_or_default();
        run(self.dir, "kill", &[pid.trim()]);
    }
}

/// A blocking client with one request at a time.
struct Client {
    stream: UnixStream,
    session: Session,
    input: Vec<u8>,
}

/// The reply to one request, put together.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    error: Option<Errno>,
    data: Vec<u8>,
    described: u64,
}

fn read_some(stream: &mut UnixStream, input: &mut Vec<u8>) {
    let mut piece = [0; 1000];
    let count = stream.read(&mut piece).expect("the server is there");
    assert!(count > 0, "the server hung up");
    input.extend_from_slice(&piece[..count]);
}

impl Client {
    fn connect(socket: &Path, wishes: Wishes) -> Self {
        let mut stream = UnixStream::connect(socket).expect("the server listens");
        let mut handshake = ClientHandshake::new(wishes);
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            let advance = handshake.advance(&input, &mut out).expect("a session");
            input.drain(..advance.consumed);
            if let ClientStep::Connected(session) = advance.step {
                return Self { stream, session, input };
            }
            stream.write_all(&out).expect("the server is there");
            out.clear();
            read_some(&mut stream, &mut input);
        }
    }

    fn ask(&mut self, request: Request, data: &[u8]) -> Answer {
        let mut out = Vec::new();
        self.session.encode(Cookie(42), request, Flags::NONE, &mut out);
        out.extend_from_slice(data);
        self.stream.write_all(&out).expect("the server is there");
        let mut answer = Answer::default();
        if let Request::Read(range) = request {
            answer.data.resize(range.length as usize, 0xee);
        }
        while !self.message(request, &mut answer) {}
        answer
    }

    /// Takes one message of the reply; true at its end.
    fn message(&mut self, request: Request, answer: &mut Answer) -> bool {
        loop {
            match decode_reply(self.session.mode, &self.input).expect("a reply") {
                ReplyDecoded::NeedMore { .. } => read_some(&mut self.stream, &mut self.input),
                ReplyDecoded::Message { bytes, cookie, done, reply } => {
                    assert_eq!(cookie, Cookie(42));
                    let data = match (reply, request) {
                        (Reply::Data { range }, _) => Some(range),
                        (Reply::Ok, Request::Read(range))
                            if self.session.mode == ReplyMode::Simple =>
                        {
                            Some(range)
                        }
                        (Reply::Hole { range }, Request::Read(whole)) => {
                            let start = (range.offset - whole.offset) as usize;
                            answer.data[start..start + range.length as usize].fill(0);
                            None
                        }
                        (Reply::Error { errno, .. }, _) => {
                            answer.error = Some(errno);
                            None
                        }
                        (Reply::Status { runs, .. }, _) => {
                            answer.described = runs.map(|run| run.length).sum();
                            None
                        }
                        (Reply::Ok | Reply::Hole { .. }, _) => None,
                    };
                    self.input.drain(..bytes);
                    if let (Some(part), Request::Read(whole)) = (data, request) {
                        let length = part.length as usize;
                        while self.input.len() < length {
                            read_some(&mut self.stream, &mut self.input);
                        }
                        let start = (part.offset - whole.offset) as usize;
                        answer.data[start..start + length].copy_from_slice(&self.input[..length]);
                        self.input.drain(..length);
                    }
                    return done;
                }
            }
        }
    }
}

/// Uses every command on a server with an empty export of [`SIZE`] bytes.
fn exercise(socket: &Path) {
    for mode in [ReplyMode::Simple, ReplyMode::Structured, ReplyMode::Extended] {
        let wishes = Wishes { export: String::new(), mode, base_allocation: true };
        let mut client = Client::connect(socket, wishes);
        assert_eq!(client.session.size, SIZE);
        assert!(client.session.mode <= mode);
        assert_eq!(client.session.base_allocation.is_some(), client.session.mode.has_chunks());
        let ok = Answer::default();
        let range = ByteRange::new(4096, 8192);
        assert_eq!(client.ask(Request::Write(range), &[7; 8192]), ok);
        assert_eq!(client.ask(Request::WriteZeroes(ByteRange::new(4096, 4096)), &[]), ok);
        let read = client.ask(Request::Read(ByteRange::new(0, 16384)), &[]);
        assert_eq!(read.error, None);
        assert!(read.data[..8192].iter().all(|byte| *byte == 0));
        assert!(read.data[8192..12288].iter().all(|byte| *byte == 7));
        assert!(read.data[12288..].iter().all(|byte| *byte == 0));
        assert_eq!(client.ask(Request::Trim(range), &[]), ok);
        assert_eq!(client.ask(Request::Flush, &[]), ok);
        if client.session.base_allocation.is_some() {
            let status = client.ask(Request::BlockStatus(ByteRange::new(0, SIZE)), &[]);
            assert_eq!(status.error, None);
            assert!(status.described > 0);
        }
        let beyond = client.ask(Request::Read(ByteRange::new(SIZE, 512)), &[]);
        assert_eq!(beyond.error, Some(Errno::Invalid));
        assert_eq!(client.ask(Request::Write(ByteRange::new(4096, 512)), &[0; 512]), ok);
        let mut out = Vec::new();
        client.session.encode(Cookie(0), Request::Disconnect, Flags::NONE, &mut out);
        client.stream.write_all(&out).expect("the server is there");
        assert_eq!(client.stream.read(&mut [0]).expect("an orderly end"), 0);
    }
}

#[test]
fn the_client_uses_nbdkit() {
    let dir = tempfile::tempdir().expect("a directory");
    if run(dir.path(), "nbdkit", &["-U", "nbd", "-P", "pid", "memory", "8M"]).is_some() {
        let _server = Background { dir: dir.path() };
        exercise(&dir.path().join("nbd"));
    }
}

#[test]
fn the_client_uses_qemu_nbd() {
    let dir = tempfile::tempdir().expect("a directory");
    let (socket, pid, image) =
        (dir.path().join("nbd"), dir.path().join("pid"), dir.path().join("a"));
    std::fs::File::create(&image).and_then(|file| file.set_len(SIZE)).expect("a file");
    let [socket_argument, pid_argument, image] =
        [&socket, &pid, &image].map(|path| path.display().to_string());
    let arguments = [
        "--fork",
        "--persistent",
        "--shared=4",
        "--format=raw",
        "--discard=unmap",
        "--socket",
        &socket_argument,
        "--pid-file",
        &pid_argument,
        &image,
    ];
    if run(dir.path(), "qemu-nbd", &arguments).is_some() {
        let _server = Background { dir: dir.path() };
        exercise(&socket);
    }
}
