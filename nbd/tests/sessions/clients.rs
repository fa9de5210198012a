//! The tools that people use, against the memory server on a unix socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::memory_server::{Disk, MemoryServer, SharedDisk};
use super::tools::run;

const SIZE: usize = 8 << 20;

/// A server on a socket, until the end of the test process.
struct Served {
    dir: TempDir,
    disk: SharedDisk,
}

fn serve() -> Served {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(Mutex::new(Disk::new(SIZE)));
    let listener = UnixListener::bind(dir.path().join("nbd")).expect("a socket");
    let shared = Arc::clone(&disk);
    spawn("accept", move || {
        for stream in listener.incoming() {
            let (stream, disk) = (stream.expect("a connection"), Arc::clone(&shared));
            spawn("connection", move || connection(stream, disk));
        }
    });
    Served { dir, disk }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread");
}

/// Serves until either side closes; a client that vanishes is no error.
fn connection(mut stream: UnixStream, disk: SharedDisk) {
    let mut out = Vec::new();
    let mut server = MemoryServer::new(disk, &mut out);
    let mut input = vec![0; 256 << 10];
    loop {
        if stream.write_all(&out).is_err() || server.is_closed() {
            return;
        }
        out.clear();
        match stream.read(&mut input) {
            Ok(0) | Err(_) => return,
            Ok(count) => server.receive(&input[..count], &mut out),
        }
    }
}

impl Served {
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.path("nbd"))
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> Option<String> {
        run(self.dir.path(), tool, arguments)
    }

    /// A file with data, zeroes and an odd end.
    fn source(&self) -> (String, Vec<u8>) {
        let mut bytes: Vec<u8> = (0..SIZE).map(|at| (at / 7 % 251) as u8).collect();
        bytes[1 << 20..3 << 20].fill(0);
        let path = self.path("source");
        std::fs::write(&path, &bytes).expect("a file");
        (path, bytes)
    }
}

#[test]
fn nbdinfo_sees_sizes_flags_and_contexts() {
    let served = serve();
    let Some(json) = served.run("nbdinfo", &["--json", &served.uri("disk")]) else { return };
    for part in [
        "\"protocol\": \"newstyle-fixed\"",
        "\"structured\": true",
        "\"export-size\": 8388608",
        "\"description\": \"memory\"",
        "\"base:allocation\"",
        "\"is_read_only\": false",
        "\"can_cache\": true",
        "\"can_df\": true",
        "\"can_fast_zero\": true",
        "\"can_flush\": true",
        "\"can_fua\": true",
        "\"can_multi_conn\": true",
        "\"can_trim\": true",
        "\"can_zero\": true",
        "\"block_size_minimum\": 1",
        "\"block_size_preferred\": 4096",
        "\"block_size_maximum\": 33554432",
    ] {
        assert!(json.contains(part), "no {part} in {json}");
    }
    let json = served.run("nbdinfo", &["--json", &served.uri("rom")]).expect("nbdinfo is there");
    assert!(json.contains("\"is_read_only\": true"), "{json}");
    let list = served.run("nbdinfo", &["--list", &served.uri("")]).expect("nbdinfo is there");
    assert!(list.contains("export=\"disk\"") && list.contains("export=\"rom\""), "{list}");
    let map = served.run("nbdinfo", &["--map", &served.uri("disk")]).expect("nbdinfo is there");
    assert!(map.contains("8388608") && map.contains("hole,zero"), "{map}");
}

#[test]
fn nbdcopy_copies_in_and_out_over_four_connections() {
    let served = serve();
    let (source, bytes) = served.source();
    let uri = served.uri("disk");
    let connections = ["--connections=4", "--requests=32", "--flush"];
    if served.run("nbdcopy", &[&connections[..], &[&source, &uri]].concat()).is_none() {
        return;
    }
    assert!(served.disk.lock().expect("no panic").bytes == bytes);
    let copy = served.path("copy");
    std::fs::File::create(&copy).and_then(|file| file.set_len(SIZE as u64)).expect("a file");
    served.run("nbdcopy", &[&connections[..], &[&uri, &copy]].concat());
    assert!(std::fs::read(Path::new(&copy)).expect("the copy") == bytes);
}

#[test]
fn nbdsh_gets_every_command_and_the_right_errors() {
    let served = serve();
    let script = r#"
import errno
def fails(number, call):
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == number, error
    else:
        raise AssertionError("no error")
size = h.get_size()
h.set_strict_mode(0)
h.pwrite(b"a" * 5000, 100)
assert h.pread(5000, 100) == b"a" * 5000
assert h.pread(10, 95) == b"\0" * 5 + b"a" * 5
assert h.pread(4096, 4096, nbd.CMD_FLAG_DF) == b"a" * 1004 + b"\0" * 3092
h.pwrite(b"b", size - 1, nbd.CMD_FLAG_FUA)
h.zero(4096, 4096)
assert h.pread(4096, 4096) == b"\0" * 4096
fails(errno.ENOTSUP, lambda: h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE))
h.trim(4096, 0)
h.cache(65536, 0)
h.flush()
seen = []
def status(context, offset, extents, error):
    seen.append((context, offset, list(extents)))
h.block_status(size, 0, status)
assert seen == [("base:allocation", 0, [size - 4096, 3, 4096, 0])], seen
seen.clear()
h.block_status(8192, 4096, status, nbd.CMD_FLAG_REQ_ONE)
assert seen == [("base:allocation", 4096, [8192, 3])], seen
fails(errno.EINVAL, lambda: h.pread(2, size - 1))
fails(errno.ENOSPC, lambda: h.pwrite(b"ab", size - 1))
fails(errno.ENOSPC, lambda: h.zero(2, size - 1))
fails(errno.EINVAL, lambda: h.trim(2, size - 1))
fails(errno.EINVAL, lambda: h.cache(2, size - 1))
fails(errno.EINVAL, lambda: h.block_status(2, size - 1, status))
fails(errno.EINVAL, lambda: h.flush(nbd.CMD_FLAG_DF))
h.flush(nbd.CMD_FLAG_FUA)
fails(errno.EINVAL, lambda: h.block_status(0, 0, status))
h.pwrite(b"", 0)
assert h.pread(1, size - 1) == b"b"
"#;
    let meta = "h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)";
    let connect = format!("h.connect_uri({:?})", served.uri("disk"));
    if served.run("nbdsh", &["-c", meta, "-c", &connect, "-c", script]).is_none() {
        return;
    }
    let script = r#"
import errno
h.set_strict_mode(0)
for call in [lambda: h.pwrite(b"a", 0), lambda: h.zero(1, 0), lambda: h.trim(1, 0)]:
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == errno.EPERM, error
    else:
        raise AssertionError("a read-only export was written")
assert h.pread(1, 0) == b"\0"
"#;
    served.run("nbdsh", &["-u", &served.uri("rom"), "-c", script]);
}

#[test]
fn nbdsh_works_with_simple_replies_and_many_requests_in_flight() {
    let served = serve();
    let connect = format!("h.connect_uri({:?})", served.uri("disk"));
    let script = r#"
assert not h.get_structured_replies_negotiated()
cookies = [h.aio_pwrite(bytes([i]) * 512, i * 512) for i in range(200)]
while h.aio_in_flight() > 0:
    h.poll(-1)
assert all(h.aio_command_completed(cookie) for cookie in cookies)
buffers = [nbd.Buffer(512) for i in range(200)]
cookies = [h.aio_pread(buffers[i], i * 512) for i in range(200)]
while h.aio_in_flight() > 0:
    h.poll(-1)
assert all(buffers[i].to_bytearray() == bytes([i]) * 512 for i in range(200))
try:
    h.pread(1, h.get_size())
except nbd.Error:
    pass
assert h.pread(1, 512) == b"\1"
"#;
    served.run(
        "nbdsh",
        &["-c", "h.set_request_structured_replies(False)", "-c", &connect, "-c", script],
    );
}

#[test]
fn qemu_io_and_qemu_img_work() {
    let served = serve();
    let uri = served.uri("disk");
    let commands = [
        "write -P 5 0 64k",
        "write -P 6 -f 64k 64k",
        "read -P 5 0 64k",
        "write -z 4k 8k",
        "read -P 0 4k 8k",
        "discard 64k 64k",
        "read -P 0 64k 64k",
        "flush",
        "write -P 7 8388096 512",
        "read -P 7 8388096 512",
    ];
    let mut arguments = vec!["-f", "raw"];
    for command in commands {
        arguments.extend(["-c", command]);
    }
    arguments.push(&uri);
    let Some(printed) = served.run("qemu-io", &arguments) else { return };
    assert!(!printed.contains("failed"), "{printed}");
    let (source, bytes) = served.source();
    served.run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", &source, &uri]);
    assert!(served.disk.lock().expect("no panic").bytes == bytes);
    served.run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &source, &uri]);
    let map =
        served.run("qemu-img", &["map", "--output=json", "-f", "raw", &uri]).unwrap_or_default();
    assert!(map.contains("\"zero\": true"), "{map}");
}

#[test]
fn fio_verifies_what_it_wrote() {
    let served = serve();
    let uri = format!("--uri={}", served.uri("disk"));
    let arguments = [
        "--name=verify",
        "--ioengine=nbd",
        &uri,
        "--rw=randwrite",
        "--bs=4k",
        "--size=4M",
        "--iodepth=32",
        "--verify=crc32c",
        "--randseed=1",
    ];
    served.run("fio", &arguments);
}
