//! Listening and streams, over unix sockets and TCP.

use krait::engine::mesh::{CoreId, Mesh};
use krait::runtime::listener::ListenError;
use krait::runtime::{
    BoundListener, ByteStream, CoreContext, CoreOptions, CorePlan, IncomingFd, ListenAddr, RingMesh,
};
use std::future::Future;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;
use wal::runtime::Runtime;

const LOCALHOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory with a short path")
}

fn bind_tcp(port: u16) -> Result<BoundListener, ListenError> {
    BoundListener::bind(&ListenAddr::Tcp(SocketAddr::new(LOCALHOST.ip(), port)))
}

fn bind_unix(path: &Path) -> Result<BoundListener, ListenError> {
    BoundListener::bind(&ListenAddr::Unix(path.to_owned()))
}

fn port(listener: &BoundListener) -> u16 {
    match listener.address() {
        ListenAddr::Tcp(address) => address.port(),
        ListenAddr::Unix(path) => panic!("{} has no port", path.display()),
    }
}

/// Runs `main` on one core while `client` runs on the calling thread.
fn serve<Fut: Future<Output = ()> + 'static>(
    listener: BoundListener,
    main: impl FnOnce(CoreContext, BoundListener) -> Fut + Clone + Send + 'static,
    client: impl FnOnce(),
) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = CoreOptions { cores: Some(1), ..CoreOptions::new(dir.path()) };
    let plan = CorePlan::new(&options).expect("plan");
    let running = plan.start(vec![listener], main).expect("start");
    client();
    running.join().expect("end");
}

/// Answers everything with itself until the client has finished.
async fn echo(_: CoreContext, listener: BoundListener) {
    let stream = listener.serve().accept().await.expect("accept").into_stream();
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = stream.read_some(&mut bytes).await.expect("read");
        if read == 0 {
            return;
        }
        stream.write_all(&bytes[..read]).await.expect("write");
    }
}

fn ask_for_echo(mut stream: impl Read + Write) {
    for size in [1, 100, 70_000] {
        let sent: Vec<u8> = (0..size).map(|byte: u32| (byte % 251) as u8).collect();
        stream.write_all(&sent).expect("write");
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).expect("read");
        assert!(back == sent);
    }
}

#[test]
fn a_tcp_client_is_served() {
    let listener = bind_tcp(0).expect("bind");
    let port = port(&listener);
    serve(listener, echo, || {
        ask_for_echo(TcpStream::connect((LOCALHOST.ip(), port)).expect("connect"));
    });
}

#[test]
fn a_unix_client_is_served_and_the_file_goes_with_the_listener() {
    let dir = data_dir();
    let path = dir.path().join("nbd.sock");
    serve(bind_unix(&path).expect("bind"), echo, || {
        ask_for_echo(UnixStream::connect(&path).expect("connect"));
    });
    assert!(!path.exists());
}

#[test]
fn a_second_server_on_a_tcp_port_is_refused() {
    let first = bind_tcp(0).expect("bind");
    let error = bind_tcp(port(&first)).expect_err("taken");
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    let error = TcpListener::bind((LOCALHOST.ip(), port(&first))).expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_tcp_port_can_be_taken_again_after_connections_of_the_last_server() {
    let listener = bind_tcp(0).expect("bind");
    let port = port(&listener);
    // The server closes first, so that its side lingers.
    let main = |_, listener: BoundListener| async move {
        listener.serve().accept().await.expect("accept");
    };
    serve(listener, main, || {
        let mut client = TcpStream::connect((LOCALHOST.ip(), port)).expect("connect");
        assert_eq!(client.read(&mut [0; 8]).expect("the end"), 0);
    });
    bind_tcp(port).expect("bind again");
}

#[test]
fn a_live_unix_server_is_not_replaced_and_a_stale_file_is() {
    let dir = data_dir();
    let path = dir.path().join("nbd.sock");
    let first = UnixListener::bind(&path).expect("bind");
    let error = bind_unix(&path).expect_err("alive");
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert_eq!(error.to_string(), format!("unix:{}: another server listens there", path.display()));
    drop(first);
    assert!(path.exists(), "stale");
    let second = bind_unix(&path).expect("bind over a stale file");
    UnixStream::connect(&path).expect("connect to the new one");
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = data_dir();
    let path = dir.path().join("precious");
    std::fs::write(&path, "content").expect("write");
    let error = bind_unix(&path).expect_err("not a socket");
    assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "content");
    let error = bind_unix(&dir.path().join("no/where")).expect_err("no directory");
    assert!(matches!(error, ListenError::Io { .. }), "{error}");
}

/// The reply is far larger than what a socket holds, and in more slices than one call takes.
#[test]
fn a_long_reply_of_many_slices_arrives_whole_through_a_slow_reader() {
    let dir = data_dir();
    let path = dir.path().join("nbd.sock");
    let parts = |number: usize| vec![(number % 251) as u8; number % 4096];
    let main = move |_, listener: BoundListener| async move {
        let stream = listener.serve().accept().await.expect("accept").into_stream();
        let parts: Vec<Vec<u8>> = (0..3000).map(parts).collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        stream.write_all_vectored(&mut slices).await.expect("write");
    };
    serve(bind_unix(&path).expect("bind"), main, || {
        let mut client = UnixStream::connect(&path).expect("connect");
        let mut received = Vec::new();
        let mut bytes = vec![0; 200_000];
        loop {
            match client.read(&mut bytes).expect("read") {
                0 => break,
                read => received.extend_from_slice(&bytes[..read]),
            }
            if received.len() < 2_000_000 {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        let expected: Vec<u8> = (0..3000).flat_map(parts).collect();
        assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
    });
}

/// One task waits for requests while another one is stuck in a reply.
#[test]
fn a_stream_is_read_while_it_is_written() {
    let (ours, mut theirs) = UnixStream::pair().expect("pair");
    let main = |context: CoreContext, ours: UnixStream| async move {
        let stream =
            std::rc::Rc::new(IncomingFd::from(std::os::fd::OwnedFd::from(ours)).into_stream());
        let writer = std::rc::Rc::clone(&stream);
        context.runtime.spawn(async move {
            writer.write_all(&vec![1; 4 << 20]).await.expect("write");
            writer.shutdown();
        });
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.expect("read");
        assert_eq!(&request, b"hello");
        assert_eq!(stream.read_some(&mut request).await.expect("the end"), 0);
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = CoreOptions { cores: Some(1), ..CoreOptions::new(dir.path()) };
    let plan = CorePlan::new(&options).expect("plan");
    let running = plan.start(vec![ours], main).expect("start");
    std::thread::park_timeout(Duration::from_millis(20));
    theirs.write_all(b"hello").expect("write");
    let mut reply = Vec::new();
    theirs.read_to_end(&mut reply).expect("read");
    assert_eq!(reply.len(), 4 << 20);
    drop(theirs);
    running.join().expect("end");
}

#[test]
fn a_broken_connection_is_an_error_for_reader_and_writer() {
    let listener = bind_tcp(0).expect("bind");
    let port = port(&listener);
    let main = |context: CoreContext, listener: BoundListener| async move {
        let incoming = listener.serve().accept().await.expect("accept");
        assert_eq!(incoming.peer().expect("TCP").ip(), LOCALHOST.ip());
        let stream = incoming.into_stream();
        let early = stream.read_exact(&mut [0; 8]).await.expect_err("three bytes came");
        assert_eq!(early.kind(), ErrorKind::UnexpectedEof);
        let mut result = Ok(());
        for _ in 0..100 {
            result = stream.write_all(&[0; 1024]).await;
            if result.is_err() {
                break;
            }
            context.runtime.sleep(Duration::from_millis(5)).await;
        }
        let error = result.expect_err("nobody is there");
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    };
    serve(listener, main, || {
        let mut client = TcpStream::connect((LOCALHOST.ip(), port)).expect("connect");
        client.write_all(b"abc").expect("write");
        client.shutdown(Shutdown::Both).expect("shutdown");
    });
}

#[test]
fn a_connection_is_served_by_another_core_than_accepted_it() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = CoreOptions { cores: Some(2), share_cpus: true, ..CoreOptions::new(dir.path()) };
    let plan = CorePlan::new(&options).expect("plan");
    let listener = bind_tcp(0).expect("bind");
    let port = port(&listener);
    let mut ends = RingMesh::<IncomingFd>::build(2).into_iter();
    let mut next = || ends.next().expect("two ends");
    let seeds = vec![(next(), Some(listener)), (next(), None)];
    let running = plan.start(seeds, |context, (end, listener)| async move {
        let mesh = end.bind(&context.runtime);
        if let Some(listener) = listener {
            let incoming = listener.serve().accept().await.expect("accept");
            mesh.send(CoreId(1), incoming).await;
        } else {
            let stream = mesh.receive().await.into_stream();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.expect("read");
            stream.write_all(&bytes).await.expect("write");
        }
    });
    let running = running.expect("start");
    let mut client = TcpStream::connect((LOCALHOST.ip(), port)).expect("connect");
    client.write_all(b"ping").expect("write");
    let mut back = [0; 4];
    client.read_exact(&mut back).expect("read");
    assert_eq!(&back, b"ping");
    running.join().expect("end");
}
