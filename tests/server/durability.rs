//! What a client was promised outlives the process.

use crate::fixture::Home;

const WRITE: &str = r#"
for n in range(64):
    h.pwrite(bytes([n + 1]) * 70000, n * 1000000)
"#;

const READ: &str = r#"
for n in range(64):
    assert h.pread(70000, n * 1000000) == bytes([n + 1]) * 70000, n
assert h.pread(1000, 70000) == bytes(1000)
"#;

#[test]
fn flushed_writes_survive_a_kill() {
    let home = Home::new();
    let server = home.serve("64M");
    if !server.nbdsh(&format!("{WRITE}h.flush()")) {
        return;
    }
    server.kill();
    assert!(home.serve("64M").nbdsh(READ));
}

#[test]
fn flushed_writes_survive_many_kills_and_another_number_of_cores() {
    let mut home = Home::new();
    for round in 0..6 {
        let server = home.serve("64M");
        let script = format!(
            "for n in range({round}):\n    assert h.pread(4096, n * 9000000) == bytes([n + 7]) * 4096, n\n\
             h.pwrite(bytes([{round} + 7]) * 4096, {round} * 9000000)\nh.flush()\n"
        );
        if !server.nbdsh(&script) {
            return;
        }
        server.kill();
        home = home.with_cores(if round % 2 == 0 { "1" } else { "2" });
    }
}

#[test]
fn fua_write_survives_a_kill() {
    let home = Home::new();
    let server = home.serve("64M");
    let script = "h.pwrite(b'x' * 4096, 4096, flags=nbd.CMD_FLAG_FUA)\n\
                  h.pwrite(b'y' * 3000000, 3000000, flags=nbd.CMD_FLAG_FUA)\n\
                  h.zero(4096, 3002368, flags=nbd.CMD_FLAG_FUA)\n";
    if !server.nbdsh(script) {
        return;
    }
    server.kill();
    assert!(home.serve("64M").nbdsh(
        "assert h.pread(4096, 4096) == b'x' * 4096\n\
         assert h.pread(2368, 3000000) == b'y' * 2368\n\
         assert h.pread(4096, 3002368) == bytes(4096)\n\
         assert h.pread(993536, 3006464) == b'y' * 993536\n"
    ));
}

#[test]
fn a_stop_keeps_every_acknowledged_write() {
    let home = Home::new();
    let server = home.serve("64M");
    if !server.nbdsh(WRITE) {
        return;
    }
    let socket = server.socket.clone();
    assert!(server.stop().success());
    assert!(!socket.exists(), "the socket is removed");
    assert!(home.serve("64M").nbdsh(READ));
}

#[test]
fn a_stop_with_an_idle_client_takes_no_long() {
    let home = Home::new();
    let server = home.serve("64M");
    let idle = server.connect();
    let started = crate::fixture::now();
    assert!(server.stop().success());
    assert!(started.elapsed().as_secs() < 4, "{:?}", started.elapsed());
    drop(idle);
}
