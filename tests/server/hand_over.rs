//! Another server in the place of one that runs, and a restart, under clients that connect again.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use krait::config::key::Key;
use krait::config::{Flags, Settings, load};
use krait::control::Predecessor;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::fixture::{Home, Server, now, pause};
use crate::writers::{VOLUME, Writers};

/// What a client may be without a reply for, while one server takes the place of another.
const MOST: Duration = Duration::from_secs(1);

/// Longest wait for a process to end.
const END: Duration = Duration::from_secs(40);

fn size() -> String {
    VOLUME.to_string()
}

fn replace(home: &Home) -> Server {
    home.serve_with(&size(), &["--replace"])
}

#[test]
fn hand_over_under_load_loses_nothing_and_takes_clients_less_than_a_second() {
    let home = Home::on_cores("1");
    let mut server = home.serve(&size());
    let writers = Writers::start(&server.socket);
    for round in 1..=3 {
        writers.write_on(2000);
        let old = std::mem::replace(&mut server, replace(&home));
        assert_eq!(old.ended(), Some(0), "round {round}");
    }
    writers.write_on(2000);
    let tale = writers.verify();
    eprintln!("hand-over: {tale:?}");
    assert_eq!(tale.refused, 0, "who connects again waits: {tale:?}");
    assert_eq!(tale.ended, 3 * 4, "each client loses one connection each time: {tale:?}");
    assert!(tale.gap < MOST, "{tale:?}");
    let status = home.status("demo");
    assert_eq!(status["incarnation"], 4, "the same host opens it each time: {status}");
    let socket = server.socket.clone();
    assert!(server.stop().success());
    assert!(!socket.exists(), "the last server removes the socket");
}

#[test]
fn restart_under_load_loses_nothing() {
    let home = Home::on_cores("1");
    let server = home.serve(&size());
    let writers = Writers::start(&server.socket);
    writers.write_on(2000);
    assert!(server.stop().success());
    let _server = home.serve(&size());
    writers.write_on(2000);
    let tale = writers.verify();
    eprintln!("restart: {tale:?}");
    assert_eq!(tale.ended, 4, "{tale:?}");
}

#[test]
fn replace_without_a_server_is_a_start() {
    let home = Home::on_cores("1");
    let server = replace(&home);
    assert!(server.stop().success());
}

#[test]
fn commands_work_before_and_after_a_hand_over_and_tcp_stays_on_its_port() {
    let home = Home::on_cores("1");
    let tcp = ["--listen", "tcp:127.0.0.1:0"];
    let old = home.serve_with("1M", &tcp);
    let ports = crate::clients::listening_ports(old.pid().as_raw_nonzero().get());
    let new = home.serve_with("1M", &[tcp[0], tcp[1], "--replace"]);
    assert_eq!(old.ended(), Some(0));
    assert_eq!(crate::clients::listening_ports(new.pid().as_raw_nonzero().get()), ports);
    let uri = format!("nbd://127.0.0.1:{}/demo", ports[0]);
    crate::fixture::client("nbdinfo", |command| command.args(["--size", &uri]));
    crate::shell::ok(&home, "volume create other --size 1M");
    let second = home.krait().args(["serve", "--listen", "unix:other.sock"]).output();
    let said = second.expect("the program");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains(&format!("by process {}", new.pid().as_raw_nonzero())), "{said}");
}

/// Starts a server that is to fail, and waits for that; its exit code and its last words.
fn fails(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let words = home.path("words");
    let log = File::create(&words).expect("room");
    let mut command = home.krait();
    command.args(["serve", "--replace"]).args(arguments).stderr(log);
    let status = wait(&mut command.spawn().expect("the program"));
    (status.code(), std::fs::read_to_string(words).expect("what it said"))
}

#[test]
fn a_server_that_cannot_take_the_place_leaves_the_old_one_serving() {
    let home = Home::on_cores("1");
    let server = home.serve(&size());
    let writers = Writers::start(&server.socket);
    let listen = format!("unix:{}", server.socket.display());
    writers.write_on(500);
    let (code, said) = fails(&home, &["--listen", "unix:other.sock"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("goes on: it listens on") && said.contains("other.sock"), "{said}");
    let (code, said) = fails(&home, &["--listen", &listen, "--store", "file:///nowhere/else"]);
    assert!(code != Some(0), "{said}");
    let other = format!("file://{}", home.path("other").display());
    let (code, said) = fails(&home, &["--listen", &listen, "--store", &other]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("goes on: it serves the store"), "{said}");
    let (code, said) = fails(&home, &["--listen", &listen, "--wal-segment", "17"]);
    assert_eq!(code, Some(2), "{said}");
    writers.write_on(500);
    let tale = writers.verify();
    assert_eq!((tale.ended, tale.refused), (0, 0), "no client noticed: {tale:?}");
    assert!(server.stop().success());
}

#[test]
fn a_store_in_memory_is_not_left() {
    let home = Home::on_cores("1");
    let server = home.serve_with("1M", &["--store", "memory:"]);
    let listen = format!("unix:{}", server.socket.display());
    let (code, said) = fails(&home, &["--listen", &listen, "--store", "memory:"]);
    assert_eq!(code, Some(2), "{said}");
    let size = crate::fixture::client("nbdinfo", |c| c.args(["--size", &server.uri()]));
    assert!(size.is_none_or(|size| size.trim() == "1048576"), "it goes on");
}

fn settings(home: &Home, server: &Server) -> Settings {
    let values = vec![
        (Key::DataDir, vec![home.path("data").display().to_string()]),
        (Key::Listen, vec![format!("unix:{}", server.socket.display())]),
    ];
    load(&Flags { config: None, values }).expect("settings").settings
}

#[test]
fn a_new_process_that_dies_before_the_point_of_no_return_changes_nothing() {
    let home = Home::on_cores("1");
    let server = home.serve(&size());
    let writers = Writers::start(&server.socket);
    writers.write_on(500);
    let (_, sockets) = Predecessor::find(&settings(&home, &server)).expect("sockets");
    writers.write_on(500);
    drop(sockets);
    writers.write_on(500);
    let tale = writers.verify();
    assert_eq!((tale.ended, tale.refused), (0, 0), "no client noticed: {tale:?}");
    assert!(server.socket.exists());
}

#[test]
fn a_new_process_that_dies_behind_it_costs_a_start_and_no_data() {
    let home = Home::on_cores("1");
    let server = home.serve(&size());
    let writers = Writers::start(&server.socket);
    writers.write_on(2000);
    let found = Predecessor::find(&settings(&home, &server)).expect("sockets");
    let mut asker = UnixStream::connect(home.path("data/control.sock")).expect("a server");
    let pid = found.0.pid();
    asker.write_all(format!("{{\"op\":\"leave\",\"pid\":{pid}}}\n").as_bytes()).expect("a server");
    drop((asker, found));
    assert_eq!(server.ended(), Some(9), "it says that nobody took its place");
    let _server = home.serve(&size());
    writers.write_on(2000);
    let tale = writers.verify();
    assert_eq!(tale.ended, 4, "{tale:?}");
}

#[test]
fn an_old_process_that_dies_is_not_replaced() {
    let home = Home::on_cores("1");
    let server = home.serve("1M");
    let settings = settings(&home, &server);
    let (old, _sockets) = Predecessor::find(&settings).expect("sockets");
    server.kill();
    let error = old.leave(&settings).expect_err("nobody says that all is durable");
    assert!(error.to_string().contains("no server runs"), "{error}");
}

#[test]
fn a_client_that_takes_no_replies_does_not_hold_up_a_hand_over() {
    let home = Home::on_cores("1");
    let old = home.serve("64M");
    let mut deaf =
        Client::connect(&old.socket, "demo", nbd::ReplyMode::Structured).expect("a server");
    let megabyte = |n: u64| nbd::client::Request::Read(nbd::ByteRange::new(n << 20, 1 << 20));
    for n in 0..32 {
        deaf.send(megabyte(n), nbd::client::Flags::NONE, &[]).expect("room");
    }
    let started = now();
    let new = home.serve_with("64M", &["--replace"]);
    assert_eq!(old.ended(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(new.stop().success());
}

/// Starts a server in the place of another one, to be killed at any time.
fn begin(home: &Home, server: &Server) -> Child {
    let mut command = home.krait();
    command.args(["serve", "--wal-cap", "256M", "--replace", "--listen"]);
    command.arg(format!("unix:{}", server.socket.display())).stderr(Stdio::null());
    command.spawn().expect("the program")
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = now() + END;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if now() > deadline {
            child.kill().expect("it runs");
            panic!("it ends in bounded time");
        }
        pause();
    }
}

#[test]
fn a_kill_of_the_new_process_at_any_time_loses_nothing_that_was_acknowledged() {
    let home = Home::on_cores("1");
    let mut server = home.serve(&size());
    let writers = Writers::start(&server.socket);
    let (mut went_on, mut restarted) = (0, 0);
    for round in 0..12u64 {
        writers.write_on(300);
        let mut new = begin(&home, &server);
        let deadline = now() + Duration::from_millis(round * 37 % 330);
        while now() < deadline {
            pause();
        }
        // It must not begin to serve now: what a killed server had in memory may be lost.
        kill_process(Pid::from_child(&new), Signal::STOP).expect("it runs");
        let serves = std::fs::read_to_string(home.path("data/lock")).expect("a lock");
        if serves.trim() == new.id().to_string() {
            drop(std::mem::replace(&mut server, adopt_end(&home, &mut new)));
            continue;
        }
        new.kill().expect("it runs");
        let killed = wait(&mut new);
        assert!(!killed.success(), "{killed}");
        let sent = writers.acknowledged();
        let deadline = now() + END;
        loop {
            assert!(now() < deadline, "the old process goes on, or ends");
            pause();
            if writers.acknowledged() > sent + 300 {
                went_on += 1;
                break;
            }
            if let Some(code) = server.exit_code() {
                assert!(code == 9 || code == 0, "exit code {code}");
                restarted += 1;
                server = home.serve(&size());
                break;
            }
        }
    }
    let tale = writers.verify();
    eprintln!("killed: {went_on} times the old one went on, {restarted} times one was started");
    assert!(went_on > 0, "{tale:?}");
}

/// Ends a server that has taken the place, and starts the next one.
fn adopt_end(home: &Home, new: &mut Child) -> Server {
    for signal in [Signal::CONT, Signal::TERM] {
        kill_process(Pid::from_child(new), signal).expect("it runs");
    }
    assert!(wait(new).success());
    home.serve(&size())
}

#[test]
fn a_kill_loses_nothing_to_clients_that_connect_again_where_writes_are_logged_first() {
    let home = Home::on_cores("1");
    let mut server = home.serve_with(&size(), &["--durability", "wal"]);
    let writers = Writers::start(&server.socket);
    for _ in 0..3 {
        writers.write_on(300);
        server.kill();
        server = home.serve(&size());
    }
    writers.write_on(300);
    let tale = writers.verify();
    eprintln!("killed: {tale:?}");
    assert_eq!(tale.ended, 3 * 4, "{tale:?}");
}
