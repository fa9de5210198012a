//! Both ends of the control socket in one process, and the lock.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use super::*;
use crate::config::{ByteSize, Rpo, Settings, StoreUrl};

fn settings(data_dir: &Path) -> Settings {
    Settings {
        data_dir: data_dir.to_owned(),
        store: StoreUrl::Memory,
        disk_cache: crate::config::DiskCache {
            size: ByteSize::default(),
            policy: crate::config::CachePolicy::Lru,
            pin: Vec::new(),
        },
        gc_grace: std::time::Duration::from_secs(60),
        compression: chunk::Compression::None,
        new_volumes: chunk::Promises::default(),
        s3: crate::config::S3Settings::default(),
        cores: 1,
        memory: ByteSize::mib(256),
        listen: Vec::new(),
        read_only: Vec::new(),
        log: log::LevelFilter::Off,
        wal_cap: ByteSize::gib(1),
        wal_segment: ByteSize::mib(16),
        rpo: Rpo { age: std::time::Duration::from_secs(10), bytes: ByteSize::mib(64) },
    }
}

/// A server whose core 0 deletes anything but "busy", and stops answering at a drain.
struct Fixture {
    settings: Settings,
    server: Option<ControlServer>,
    core: Option<JoinHandle<()>>,
    _lock: DataDirLock,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn below(sub: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join(sub));
        lock::make_data_dir(&settings.data_dir).unwrap();
        let lock = DataDirLock::acquire(&settings).unwrap();
        let (sender, receiver) = channel();
        let core = std::thread::Builder::new().spawn(move || core_0(&receiver)).unwrap();
        let server = Some(ControlServer::start(&lock, sender).unwrap());
        Self { settings, server, core: Some(core), _lock: lock, _dir: dir }
    }

    fn client(&self) -> ControlClient {
        ControlClient::connect(&self.settings).unwrap()
    }

    fn raw(&self) -> UnixStream {
        UnixStream::connect(self.settings.control_path()).unwrap()
    }

    fn stop(&mut self) {
        self.server = None;
        self.core.take().unwrap().join().unwrap();
    }
}

fn core_0(requests: &async_channel::Receiver<ControlRequest>) {
    while let Ok(ControlRequest { op, reply }) = requests.recv_blocking() {
        match op {
            Op::Delete { volume, .. } if volume == "busy" => {
                let message = "volume busy has 2 clients: disconnect them".to_owned();
                reply.send(Err(Refusal { kind: ErrorKind::Busy, message }));
            }
            Op::Delete { .. } => reply.send(Ok(Answer::Deleted)),
            Op::Volumes => reply.send(Ok(Answer::Volumes { volumes: Vec::new() })),
            Op::Ping | Op::Status { .. } => reply.send(Ok(Answer::Drained)),
            Op::Drain { .. }
            | Op::Attach { .. }
            | Op::Detach { .. }
            | Op::DropLog { .. }
            | Op::Collect { .. }
            | Op::Resize { .. }
            | Op::CreateSnapshot { .. }
            | Op::CreateSnapshots { .. }
            | Op::ComingSnapshots { .. }
            | Op::SettleSnapshots { .. }
            | Op::DeleteSnapshot { .. }
            | Op::Clone { .. }
            | Op::Flatten { .. }
            | Op::Flattening { .. }
            | Op::Leave { .. } => drop(reply),
            Op::ShareSockets { .. } => {
                let answer = Answer::Sockets { pid: 7, paths: vec![None, Some("/p".to_owned())] };
                let socket = || UnixStream::pair().unwrap().0.into();
                reply.send_files(answer, vec![socket(), socket()]);
            }
        }
    }
}

#[test]
fn questions_on_one_connection_are_answered_in_turn() {
    let fixture = Fixture::below("d");
    let mut client = fixture.client();
    assert_eq!(client.volumes().unwrap(), []);
    client.delete("free".to_owned(), false).unwrap();
    let refused = client.delete("busy".to_owned(), true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert_eq!(refused.to_string(), "volume busy has 2 clients: disconnect them");
    assert!(matches!(client.server(), Err(ControlError::Unexpected { .. })));
    assert_eq!(client.volumes().unwrap(), []);
}

#[test]
fn a_request_that_core_0_drops_is_answered() {
    let fixture = Fixture::below("d");
    let error = fixture.client().drain("vm1".to_owned(), "1s".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
}

#[test]
fn the_socket_is_the_owners_alone() {
    let fixture = Fixture::below("d");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.settings.control_path()), 0o600);
    assert_eq!(mode(&fixture.settings.data_dir), 0o700);
}

#[test]
fn lines_that_are_no_request_are_refused_and_the_connection_goes_on() {
    let fixture = Fixture::below("d");
    let stream = fixture.raw();
    let mut reader = BufReader::new(&stream);
    for line in
        ["{}", "not json", "{\"op\":\"sing\"}", "{\"op\":\"status\",\"volume\":\"a\",\"x\":1}"]
    {
        (&stream).write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        reader.read_line(&mut answer).unwrap();
        assert!(answer.contains("\"invalid\"") && answer.contains("not understood"), "{answer}");
    }
    (&stream).write_all(b"{\"op\":\"volumes\"}\n").unwrap();
    let mut answer = String::new();
    reader.read_line(&mut answer).unwrap();
    assert_eq!(answer, "{\"ok\":{\"answer\":\"volumes\",\"volumes\":[]}}\n");
}

#[test]
fn an_endless_line_ends_only_its_own_connection() {
    let fixture = Fixture::below("d");
    let mut stream = fixture.raw();
    stream.write_all(&vec![b'x'; limits::MAX_LINE]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("too long"), "{answer}");
    assert_eq!(fixture.client().volumes().unwrap(), []);
}

#[test]
fn connections_over_the_limit_are_told_so() {
    let fixture = Fixture::below("d");
    let idle: Vec<_> = (0..limits::MAX_CONNECTIONS).map(|_| fixture.raw()).collect();
    let mut answer = String::new();
    fixture.raw().read_to_string(&mut answer).unwrap();
    assert!(answer.contains("too many"), "{answer}");
    drop(idle);
}

#[test]
fn a_stopped_server_leaves_no_socket_and_a_killed_ones_is_replaced() {
    let mut fixture = Fixture::below("d");
    fixture.stop();
    assert!(!fixture.settings.control_path().exists());
    let error = ControlClient::connect(&fixture.settings).unwrap_err();
    assert!(matches!(error, ControlError::NotRunning { .. }), "{error}");

    drop(std::os::unix::net::UnixListener::bind(fixture.settings.control_path()).unwrap());
    assert!(ControlClient::connect_if_running(&fixture.settings).unwrap().is_none());
    let (sender, _receiver) = channel();
    let server = ControlServer::start(&fixture._lock, sender).unwrap();
    fixture.client();
    drop(server);
}

#[test]
fn a_data_directory_with_a_long_path_works() {
    let fixture = Fixture::below(&format!("{}/{}", "a".repeat(120), "b".repeat(120)));
    assert_eq!(fixture.client().volumes().unwrap(), []);
}

#[test]
fn the_lock_admits_one_and_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let missing = DataDirLock::acquire(&settings(&dir.path().join("none"))).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let settings = settings(dir.path());
    let lock = DataDirLock::acquire(&settings).unwrap();
    let error = DataDirLock::acquire(&settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&format!("by process {}", std::process::id())), "{error}");
    assert!(DataDirLock::acquire_shared(&settings).is_err());
    drop(lock);
    let one = DataDirLock::acquire_shared(&settings).unwrap();
    let two = DataDirLock::acquire_shared(&settings).unwrap();
    let error = DataDirLock::acquire(&settings).unwrap_err();
    assert!(matches!(error, LockError::Held { holder: None, .. }), "{error}");
    drop((one, two));
    DataDirLock::acquire(&settings).unwrap();
}

/// Lets some time pass, as on a busy machine.
fn a_moment() {
    #[expect(clippy::disallowed_methods, reason = "a thread of a test")]
    std::thread::sleep(std::time::Duration::from_millis(200));
}

#[test]
fn a_server_that_has_the_directory_and_does_not_listen_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let lock = DataDirLock::acquire(&settings).unwrap();
    let late = std::thread::Builder::new().spawn(move || {
        a_moment();
        let (sender, _receiver) = channel();
        (ControlServer::start(&lock, sender).unwrap(), lock)
    });
    assert!(ControlClient::connect_if_running(&settings).unwrap().is_some());
    drop(late.unwrap().join().unwrap());
    assert!(ControlClient::connect_if_running(&settings).unwrap().is_none());
}

#[test]
fn a_command_that_has_the_directory_for_itself_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let lock = DataDirLock::acquire(&settings).unwrap();
    let late = std::thread::Builder::new().spawn(move || {
        a_moment();
        drop(lock);
    });
    assert!(ControlClient::connect_if_running(&settings).unwrap().is_none());
    assert!(!DataDirLock::is_held(&settings), "it has ended by now");
    late.unwrap().join().unwrap();
}

#[test]
fn a_server_shares_its_sockets_and_one_that_does_not_leave_keeps_its_lock() {
    let fixture = Fixture::below("d");
    let (old, sockets) = Predecessor::find(&fixture.settings).unwrap();
    let paths: Vec<_> = sockets.into_iter().map(|(path, _)| path).collect();
    assert_eq!((old.pid(), paths), (7, vec![None, Some("/p".into())]));
    let error = old.leave(&fixture.settings).unwrap_err();
    assert!(error.to_string().contains("stopping"), "{error}");
    assert!(DataDirLock::is_held(&fixture.settings));
}

#[test]
fn a_lock_that_is_passed_is_held_all_the_time_and_another_file_is_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let passed = DataDirLock::acquire(&settings).unwrap().pass().unwrap();
    assert!(DataDirLock::is_held(&settings));
    let lock = DataDirLock::adopt(&settings, passed).unwrap();
    let second = DataDirLock::acquire(&settings).unwrap_err();
    let holder = format!("by process {}", std::process::id());
    assert!(second.to_string().contains(&holder), "{second}");
    let stray = std::fs::File::open(settings.lock_path()).unwrap();
    let stray = DataDirLock::adopt(&settings, stray.into());
    assert!(matches!(stray, Err(LockError::NotPassed { .. })), "{stray:?}");
    drop(lock);
    assert!(!DataDirLock::is_held(&settings));
    let other = tempfile::tempfile().unwrap();
    let other = DataDirLock::adopt(&settings, other.into());
    assert!(matches!(other, Err(LockError::NotPassed { .. })), "{other:?}");
}
