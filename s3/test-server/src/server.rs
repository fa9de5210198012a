//! The server as a thread of a test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::auth::SimpleAuth;
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::backend::Backend;
use crate::connection::Connection;
use crate::faults::Faults;
use crate::objects::{Object, Objects};
use crate::service::{Change, Read, Service, Traffic};
use crate::{ACCESS_KEY, SECRET_KEY};

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// Buckets that are there from the start.
    pub buckets: Vec<String>,
    /// Whether it overwrites in spite of `If-None-Match`.
    pub ignores_conditions: bool,
    /// Certificate and key in PEM; without them it speaks in the clear.
    pub tls: Option<(String, String)>,
    /// What random faults depend on.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            buckets: vec!["krait-test".to_owned()],
            ignores_conditions: false,
            tls: None,
            seed: 0,
        }
    }
}

/// What the server does at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Up,
    /// Connections are refused, those that were open are gone.
    Down,
    Ended,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    secure: bool,
    faults: Faults,
    objects: Arc<Objects>,
    traffic: Arc<Traffic>,
    phase: watch::Sender<Phase>,
    settled: watch::Receiver<Phase>,
    thread: Option<JoinHandle<()>>,
}

/// Buckets in names below `localhost`, and in paths for all other hosts.
struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> s3s::S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        Ok(match name.strip_suffix(".localhost") {
            Some(bucket) => VirtualHost::new("localhost").with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

impl TestServer {
    /// Starts a server on a thread of its own.
    ///
    /// # Errors
    /// If the address is taken, or the certificate is of no use.
    pub fn start(options: Options) -> io::Result<Self> {
        Self::start_on(Arc::new(Objects::default()), options)
    }

    /// Starts another server on the same objects, with an address, faults and counts of its own: as
    /// the way of one host among several to one store.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn beside(&self, options: Options) -> io::Result<Self> {
        Self::start_on(Arc::clone(&self.objects), options)
    }

    fn start_on(objects: Arc<Objects>, options: Options) -> io::Result<Self> {
        for bucket in &options.buckets {
            objects.lock().buckets.entry(bucket.clone()).or_default();
        }
        let (faults, traffic) = (Faults::new(options.seed), Arc::new(Traffic::default()));
        let s3 = protocol(Arc::clone(&objects), options.ignores_conditions);
        let service = Service { s3, faults: faults.clone(), traffic: Arc::clone(&traffic) };
        let tls = options.tls.as_ref().map(|(certificate, key)| acceptor(certificate, key));
        let tls = tls.transpose()?;
        let secure = tls.is_some();
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (phase, orders) = watch::channel(Phase::Up);
        let (reached, settled) = watch::channel(Phase::Up);
        let builder = std::thread::Builder::new().name("s3-test-server".to_owned());
        let serve = move || {
            runtime.block_on(run(listener, service, tls, orders, reached));
        };
        let thread = Some(builder.spawn(serve)?);
        Ok(Self { address, secure, faults, objects, traffic, phase, settled, thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as clients want it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Refuses connections and drops those that are open, until [`Self::up`].
    pub fn down(&self) {
        self.order(Phase::Down);
    }

    /// Listens again, on the same address.
    pub fn up(&self) {
        self.order(Phase::Up);
    }

    /// The bytes of an object, past all protocols and faults.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let state = self.objects.lock();
        state.buckets.get(bucket)?.get(key).map(|object| object.body.clone())
    }

    /// Puts an object, past all protocols and faults.
    ///
    /// # Panics
    /// If there is no such bucket.
    pub fn insert(&self, bucket: &str, key: &str, body: impl Into<Bytes>) {
        let mut state = self.objects.lock();
        let objects = state.buckets.get_mut(bucket).expect("the bucket is there");
        objects.insert(key.to_owned(), Object::new(body.into()));
    }

    /// Keys of a bucket.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.objects.lock();
        state
            .buckets
            .get(bucket)
            .map(|objects| objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Large uploads that have begun and not ended.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.objects.lock().uploads.len()
    }

    /// Connections that were made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.traffic.connections.load(Ordering::Relaxed)
    }

    /// Requests that came.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.traffic.requests.load(Ordering::Relaxed)
    }

    /// Requests that were answered with success and may have changed something, in order.
    ///
    /// # Panics
    /// If a connection panicked.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.traffic.changes.lock().expect("no holder of this lock panics").clone()
    }

    /// Requests that read something and were answered with success, in order.
    ///
    /// # Panics
    /// If a connection panicked.
    #[must_use]
    pub fn reads(&self) -> Vec<Read> {
        self.traffic.reads.lock().expect("no holder of this lock panics").clone()
    }

    /// Most requests that were answered at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        self.traffic.most_running.load(Ordering::Relaxed)
    }

    fn order(&self, phase: Phase) {
        self.phase.send_replace(phase);
        let mut settled = self.settled.clone();
        // An error says that the thread has ended, which no caller waits for here.
        drop(futures_lite::future::block_on(settled.wait_for(|reached| *reached == phase)));
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Ended);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn protocol(objects: Arc<Objects>, ignores_conditions: bool) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Backend { objects, ignores_conditions });
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    builder.set_host(Hosts);
    builder.build()
}

fn acceptor(certificate: &str, key: &str) -> io::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let (certificate, key) =
        (certificate.map_err(io::Error::other)?, key.map_err(io::Error::other)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Listens until the end, with pauses as ordered.
async fn run(
    first: std::net::TcpListener,
    service: Service,
    tls: Option<TlsAcceptor>,
    mut orders: watch::Receiver<Phase>,
    reached: watch::Sender<Phase>,
) {
    let address = first.local_addr().expect("it is bound");
    let mut first = Some(first);
    loop {
        let phase = *orders.borrow_and_update();
        match phase {
            Phase::Ended => return,
            Phase::Down => {
                reached.send_replace(Phase::Down);
                if orders.changed().await.is_err() {
                    return;
                }
            }
            Phase::Up => {
                let listener = match first.take() {
                    Some(first) => TcpListener::from_std(first),
                    None => TcpListener::bind(address).await,
                };
                let listener = listener.expect("the address was ours before");
                reached.send_replace(Phase::Up);
                // Its connections end with it.
                let mut connections = JoinSet::new();
                let accepting = async {
                    accept(&listener, &service, tls.as_ref(), &mut connections).await;
                    true
                };
                let go_on = async { orders.changed().await.is_ok() };
                if !futures_lite::future::or(go_on, accepting).await {
                    return;
                }
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    service: &Service,
    tls: Option<&TlsAcceptor>,
    connections: &mut JoinSet<()>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        drop(stream.set_nodelay(true));
        service.traffic.connections.fetch_add(1, Ordering::Relaxed);
        let reset = Arc::new(AtomicBool::new(false));
        let stream = Connection::new(stream, Arc::clone(&reset));
        let (service, tls) = (service.clone(), tls.cloned());
        connections.spawn(async move {
            match tls {
                None => serve(stream, service, reset).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, service, reset).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    service: Service,
    reset: Arc<AtomicBool>,
) {
    let answer = service_fn(|request| service.answer(request, &reset));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).max_buf_size(1 << 20);
    // Broken connections are the business of this server.
    drop(builder.serve_connection(TokioIo::new(stream), answer).await);
}
