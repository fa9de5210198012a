//! Listens in on the connections of a server.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// Most bytes of one direction that are kept: handshake and the first requests.
const KEPT: usize = 6 << 10;

/// What went over one connection, each way.
#[derive(Clone, Default)]
pub struct Talk {
    pub client: Vec<u8>,
    pub server: Vec<u8>,
}

/// A socket whose connections go on to a server, and what they said.
pub struct Tap {
    talks: Arc<Mutex<Vec<Talk>>>,
}

impl Tap {
    /// Listens at `socket`, for the server at `behind`.
    pub fn new(socket: &Path, behind: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a free name");
        let talks = Arc::new(Mutex::new(Vec::new()));
        let (kept, behind) = (Arc::clone(&talks), behind.to_owned());
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                let server = UnixStream::connect(&behind).expect("the server accepts");
                let number = {
                    let mut talks = kept.lock().expect("no panic");
                    talks.push(Talk::default());
                    talks.len() - 1
                };
                let (to, from) = (server.try_clone(), client.try_clone());
                let (to, from) = (to.expect("a socket"), from.expect("a socket"));
                let there = Arc::clone(&kept);
                thread::spawn(move || {
                    pass(from, to, |bytes| {
                        keep(&mut there.lock().expect("no panic")[number].client, bytes);
                    });
                });
                let back = Arc::clone(&kept);
                thread::spawn(move || {
                    pass(server, client, |bytes| {
                        keep(&mut back.lock().expect("no panic")[number].server, bytes);
                    });
                });
            }
        });
        Self { talks }
    }

    /// Everything so far.
    pub fn talks(&self) -> Vec<Talk> {
        self.talks.lock().expect("no panic").clone()
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = KEPT - kept.len();
    kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
}

fn pass(mut from: UnixStream, mut to: UnixStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        see(&buffer[..bytes]);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    // Fails if the other side is gone already.
    let _ = to.shutdown(Shutdown::Write);
}
