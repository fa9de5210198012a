//! Each client that people use, in one small test.

use std::fs;

use crate::fixture::{Home, client, noise};

#[test]
fn clients_nbdinfo_sees_size_and_abilities() {
    let home = Home::new();
    let server = home.serve("1G");
    let Some(seen) = client("nbdinfo", |command| command.arg(server.uri())) else { return };
    for line in [
        "export-size: 1073741824",
        "is_read_only: false",
        "can_multi_conn: true",
        "can_fua: true",
        "can_trim: true",
        "can_zero: true",
        "can_fast_zero: true",
        "can_cache: true",
        "block_size_maximum: 33554432",
        "base:allocation",
    ] {
        assert!(seen.contains(line), "no `{line}` in\n{seen}");
    }
    let list = client("nbdinfo", |command| command.args(["--list", &server.uri()]));
    assert!(list.expect("it is there").contains("export=\"demo\""));
}

#[test]
fn clients_nbdcopy_gets_back_what_it_put_over_several_connections() {
    let home = Home::new();
    let server = home.serve("64M");
    let (image, copy) = (home.path("image"), home.path("copy"));
    fs::write(&image, noise(64 << 20)).expect("room");
    if client("nbdcopy", |c| c.args(["-C", "4"]).arg(&image).arg(server.uri())).is_none() {
        return;
    }
    client("nbdcopy", |c| c.args(["-C", "4"]).arg(server.uri()).arg(&copy));
    assert!(fs::read(&image).expect("image") == fs::read(&copy).expect("copy"), "it differs");
}

#[test]
fn clients_qemu_img_converts_and_compares() {
    let home = Home::new();
    let server = home.serve("48M");
    let image = home.path("image.raw");
    let mut content = noise(48 << 20);
    content[10 << 20..30 << 20].fill(0);
    fs::write(&image, content).expect("room");
    let convert = ["convert", "-n", "-f", "raw", "-O", "raw"];
    if client("qemu-img", |c| c.args(convert).arg(&image).arg(server.uri())).is_none() {
        return;
    }
    let compare = ["compare", "-f", "raw", "-F", "raw"];
    client("qemu-img", |c| c.args(compare).arg(&image).arg(server.uri()));
    let map = client("qemu-img", |c| c.args(["map", "--output=json"]).arg(server.uri()));
    assert!(map.expect("it is there").contains("\"data\": false"), "zeros are not data");
}

#[test]
fn clients_qemu_io_writes_zeros_discards_and_reads() {
    let home = Home::new();
    let server = home.serve("1G");
    let commands = [
        "write -P 7 4095 9001",
        "read -P 7 4095 9001",
        "read -P 0 0 4095",
        "write -f -P 8 16M 4M",
        "read -P 8 16M 4M",
        "write -z 16M 2M",
        "write -z -u 18M 1M",
        "discard 19M 512k",
        "read -P 0 16M 3584k",
        "read -P 8 20447232 512k",
        "flush",
    ];
    client("qemu-io", |command| {
        command.args(["-f", "raw"]);
        for text in commands {
            command.args(["-c", text]);
        }
        command.arg(server.uri())
    });
}

#[test]
fn clients_nbdsh_reads_its_writes_on_another_connection() {
    let home = Home::new();
    let server = home.serve("64M");
    let script = format!(
        r#"
import os
other = nbd.NBD()
other.connect_uri("{uri}")
for n, size in enumerate([1, 511, 512, 4096, 5000, 65536, 65537, 1 << 20, 9 << 20, 32 << 20]):
    data, at = os.urandom(size), 4 * 1024 * 1024 - 1234 * n
    h.pwrite(data, at)
    assert other.pread(size, at) == data, size
    other.pwrite(data[::-1], at)
    assert h.pread(size, at) == data[::-1], size
"#,
        uri = server.uri()
    );
    let _ran = server.nbdsh(&script);
}

#[test]
fn clients_nbdsh_has_200_requests_in_flight() {
    let home = Home::new();
    let server = home.serve("64M");
    let _ran = server.nbdsh(
        r#"
def batch(start):
    cookies = [start(n) for n in range(200)]
    while h.aio_in_flight() > 0:
        h.poll(-1)
    for cookie in cookies:
        assert h.aio_command_completed(cookie)
block = lambda n: bytes([n]) * 4096
batch(lambda n: h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(block(n))), n * 300000))
found = [nbd.Buffer(4096) for n in range(200)]
batch(lambda n: h.aio_pread(found[n], n * 300000))
for n in range(200):
    assert bytes(found[n].to_bytearray()) == block(n), n
batch(lambda n: h.aio_flush())
"#,
    );
}

#[test]
fn clients_fio_verifies_what_it_wrote() {
    let home = Home::new();
    let server = home.serve("64M");
    client("fio", |command| {
        command.args(["--name=verify", "--ioengine=nbd", "--rw=randrw", "--bsrange=512-128k"]);
        command.args(["--size=32M", "--iodepth=32", "--verify=crc32c", "--fsync=64"]);
        command.arg(format!("--uri={}", server.uri())).current_dir(home.path(""))
    });
}

#[test]
fn clients_connect_over_tcp() {
    let home = Home::on_cores("1");
    let server = home.serve_with("1M", &["--listen", "tcp:127.0.0.1:0"]);
    let ping = home.krait().args(["volume", "list"]).output().expect("the program");
    assert!(ping.status.success());
    let ports = listening_ports(server.pid().as_raw_nonzero().get());
    let [port] = ports[..] else { panic!("one port is listened on: {ports:?}") };
    let uri = format!("nbd://127.0.0.1:{port}/demo");
    let size = client("nbdinfo", |command| command.args(["--size", &uri]));
    assert!(size.is_none_or(|size| size.trim() == "1048576"));
}

/// TCP ports that a process listens on.
pub fn listening_ports(pid: i32) -> Vec<u16> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("it runs");
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let socket = format!("socket:[{}]", fields.get(9)?);
        let listens = fields[3] == "0A" && sockets.contains(&socket);
        listens.then(|| u16::from_str_radix(fields[1].rsplit(':').next()?, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}
