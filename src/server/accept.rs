//! Listening, and dealing connections to cores.

use std::cell::Cell;
use std::fs;
use std::net::ToSocketAddrs as _;
use std::rc::Rc;
use std::sync::Arc;

use async_channel::Sender;
use wal::runtime::Runtime;

use super::clients::Clients;
use super::error::ServeError;
use super::limits::{ACCEPT_PAUSE, BIND_PAUSE, BIND_TRIES, MAX_CONNECTIONS};
use super::member::Order;
use crate::config::Listen;
use crate::runtime::listener::ListenError;
use crate::runtime::{BoundListener, GlommioRuntime, ListenAddr, Listener};

/// Listens on all addresses of the settings; the directory of a socket is made if it is missing.
pub(super) fn bind(addresses: &[Listen]) -> Result<Vec<BoundListener>, ServeError> {
    let mut listeners = Vec::new();
    for address in addresses {
        match address {
            Listen::Unix(path) => {
                if let Some(dir) = path.parent() {
                    let made = fs::create_dir_all(dir);
                    made.map_err(|source| ServeError::File {
                        action: "make directory",
                        path: dir.to_owned(),
                        source,
                    })?;
                }
                listeners.push(bind_one(&ListenAddr::Unix(path.clone()))?);
            }
            Listen::Tcp { host, port } => {
                let resolved = (host.as_str(), *port).to_socket_addrs();
                let resolve = |source| ServeError::Resolve { host: host.clone(), source };
                for address in resolved.map_err(resolve)? {
                    listeners.push(bind_one(&ListenAddr::Tcp(address))?);
                }
            }
        }
    }
    Ok(listeners)
}

/// Listens on one address. A server that was killed a moment ago may still seem to listen: the
/// kernel takes its rings, which hold the sockets, apart in the background.
fn bind_one(address: &ListenAddr) -> Result<BoundListener, ListenError> {
    for _ in 1..BIND_TRIES {
        match BoundListener::bind(address) {
            Err(ListenError::InUse { .. }) => {}
            bound => return bound,
        }
        #[expect(clippy::disallowed_methods, reason = "no executor runs yet")]
        std::thread::sleep(BIND_PAUSE);
    }
    BoundListener::bind(address)
}

/// Deals connections to the cores in turn.
pub(super) struct Dealer {
    cores: Vec<Sender<Order>>,
    clients: Arc<Clients>,
    next: Cell<usize>,
    refusing: Cell<bool>,
}

impl Dealer {
    pub(super) fn new(cores: Vec<Sender<Order>>, clients: Arc<Clients>) -> Rc<Self> {
        Rc::new(Self { cores, clients, next: Cell::new(0), refusing: Cell::new(false) })
    }

    /// Accepts connections for as long as it is polled.
    pub(super) async fn accept(&self, listener: &Listener) {
        loop {
            match listener.accept().await {
                Ok(socket) => {
                    let Some(admitted) = self.clients.admit() else {
                        if !self.refusing.replace(true) {
                            log::warn!(
                                "{MAX_CONNECTIONS} clients are connected: no more are let in"
                            );
                        }
                        continue;
                    };
                    self.refusing.set(false);
                    let core = self.next.get();
                    self.next.set((core + 1) % self.cores.len());
                    // Fails only if the core has ended, as the server does then.
                    let _ = self.cores[core].send(Order::Serve(socket, admitted)).await;
                }
                Err(error) => {
                    log::error!("{}: accept: {error}", listener.address());
                    GlommioRuntime.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
