//! Clients that mean no good, or break, disturb nobody else.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use nbd::wire;

use crate::fixture::{Home, noise};
use crate::raw::{enter, reply, request};

/// Whether the server ended the connection.
fn is_closed(mut stream: UnixStream) -> bool {
    let mut rest = Vec::new();
    // A reset is as good as an end.
    stream.read_to_end(&mut rest).map_or_else(|error| error.raw_os_error().is_some(), |_| true)
}

fn honest(client: &mut UnixStream, round: u64) {
    let data = noise(8192);
    let mut bytes = request(wire::NBD_CMD_WRITE, round, round * 8192, 8192);
    bytes.extend(&data);
    bytes.extend(request(wire::NBD_CMD_READ, round + 1000, round * 8192, 8192));
    client.write_all(&bytes).expect("room");
    let mut found = vec![0; 8192];
    for _ in 0..2 {
        match reply(client) {
            (0, cookie) if cookie == round => {}
            (0, cookie) if cookie == round + 1000 => client.read_exact(&mut found).expect("data"),
            other => panic!("an honest request got {other:?}"),
        }
    }
}

#[test]
fn garbage_half_requests_and_lies_end_only_their_own_connection() {
    let home = Home::on_cores("1");
    let server = home.serve("1G");
    let mut client = enter(&server);
    honest(&mut client, 1);

    let mut garbage = server.connect();
    garbage.write_all(&noise(100_000)).ok();
    assert!(is_closed(garbage), "garbage in a handshake");
    honest(&mut client, 2);

    let mut garbage = enter(&server);
    garbage.write_all(&noise(1000)).ok();
    assert!(is_closed(garbage), "garbage where requests belong");
    honest(&mut client, 3);

    let half = request(wire::NBD_CMD_WRITE, 1, 0, 30 << 20);
    let mut cut = enter(&server);
    cut.write_all(&half).expect("room");
    cut.write_all(&noise(300_000)).expect("room");
    drop(cut);
    honest(&mut client, 4);

    let mut endless = enter(&server);
    endless.write_all(&request(wire::NBD_CMD_WRITE, 1, 0, u32::MAX)).expect("room");
    assert!(is_closed(endless), "a payload that nobody skips");
    honest(&mut client, 5);
}

#[test]
fn requests_that_make_no_sense_are_refused_and_the_connection_goes_on() {
    let home = Home::on_cores("1");
    let server = home.serve("1G");
    let mut client = enter(&server);
    for (command, offset, length) in [
        (wire::NBD_CMD_READ, u64::MAX - 5, 4096),
        (wire::NBD_CMD_READ, 1 << 30, 1),
        (wire::NBD_CMD_READ, 0, 33 << 20),
        (wire::NBD_CMD_TRIM, 1 << 30, 4096),
        (wire::NBD_CMD_BLOCK_STATUS, 0, 4096),
        (77, 0, 0),
    ] {
        client.write_all(&request(command, 9, offset, length)).expect("room");
        let (error, cookie) = reply(&mut client);
        assert!(error != 0 && cookie == 9, "command {command} at {offset}");
    }
    // Longer than allowed, but short enough to be skipped.
    let mut long = request(wire::NBD_CMD_WRITE, 10, 0, 33 << 20);
    long.resize(long.len() + (33 << 20), 1);
    client.write_all(&long).expect("room");
    assert_eq!(reply(&mut client).1, 10);
    honest(&mut client, 3);
}

#[test]
fn a_refused_write_is_answered_once_its_payload_has_arrived() {
    let home = Home::on_cores("1");
    let server = home.serve("1M");
    let mut client = enter(&server);
    let mut write = request(wire::NBD_CMD_WRITE, 9, 1 << 20, 1 << 20);
    write.resize(write.len() + (1 << 20) - 1, 1);
    client.write_all(&write).expect("room");
    client.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a timeout");
    let early = client.read(&mut [0]).expect_err("no reply is due");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    client.write_all(&[1]).expect("room");
    let (error, cookie) = reply(&mut client);
    assert!(error != 0 && cookie == 9, "{error}");
}

#[test]
fn clients_that_take_no_replies_hold_up_nobody() {
    let home = Home::on_cores("1");
    let server = home.serve("1G");
    let mut client = enter(&server);
    let mut greedy: Vec<UnixStream> = (0..4).map(|_| enter(&server)).collect();
    for stream in &mut greedy {
        stream.set_nonblocking(true).expect("a flag");
        let read = request(wire::NBD_CMD_READ, 1, 0, 32 << 20);
        for _ in 0..200 {
            // The server stops reading at some point, as it must.
            if stream.write(&read).is_err() {
                break;
            }
        }
    }
    for round in 1..50 {
        honest(&mut client, round);
    }
}
